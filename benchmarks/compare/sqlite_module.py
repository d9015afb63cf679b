"""sqlite3 from the standard library: a table with a primary key, write-ahead log, large cache."""

import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from typing import Any

from . import (
    BATCH,
    TOGETHER,
    TRANSACTIONS,
    Adapter,
    DurableAdapter,
    OneByOne,
    Settings,
    chunks,
    register,
)
from .packing import OBJECTS_AS_BYTES, last_pair

MMAP_BYTES = 8 << 30
COLUMN = {"int": "INTEGER", "str": "TEXT", "bytes": "BLOB", "object": "BLOB"}
GET = "SELECT value FROM entries WHERE key = ?"
INSERT = "INSERT INTO entries VALUES (?, ?)"
UPDATE = "UPDATE entries SET value = ? WHERE key = ?"
DELETE = "DELETE FROM entries WHERE key = ?"


class Sqlite(Adapter):
    synchronous: str

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.values = OBJECTS_AS_BYTES[settings.value_kind]
        self.path = settings.directory / "store.sqlite"
        self.connection = sqlite3.connect(self.path, isolation_level=None)
        self.execute = self.connection.execute
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={self.synchronous}",
            f"cache_size=-{settings.cache_bytes >> 10}",
            f"mmap_size={MMAP_BYTES}",
            "locking_mode=EXCLUSIVE",
        ):
            self.execute(f"PRAGMA {pragma}")
        self.create("entries")

    def create(self, table: str) -> None:
        """An integer primary key is the row number itself; with other keys a table is better without."""
        key, value = COLUMN[self.settings.key_kind], COLUMN[self.settings.value_kind]
        without = "" if key == "INTEGER" else " WITHOUT ROWID"
        self.execute(f"CREATE TABLE IF NOT EXISTS {table} (key {key} PRIMARY KEY, value {value}){without}")

    @contextmanager
    def transaction(self):
        self.execute("BEGIN")
        yield
        self.execute("COMMIT")

    def get(self, keys: list) -> Any:
        execute = self.execute
        for value in self.values.unpack(execute(GET, (key,)).fetchone()[0] for key in keys):
            pass
        return value

    def miss(self, keys: list) -> int:
        execute, found = self.execute, 0
        for key in keys:
            if execute(GET, (key,)).fetchone() is not None:
                found += 1
        return found

    def iterate(self) -> tuple[Any, Any]:
        pairs = self.execute("SELECT key, value FROM entries ORDER BY key")
        return last_pair(pairs, OBJECTS_AS_BYTES[self.settings.key_kind], self.values)

    def value(self, key: Any) -> Any:
        return self.get([key])

    def __len__(self) -> int:
        return self.execute("SELECT count(*) FROM entries").fetchone()[0]

    def sync(self) -> None:
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        descriptor = os.open(self.path, os.O_RDWR)
        os.fsync(descriptor)
        os.close(descriptor)

    def close(self) -> None:
        self.connection.close()


class BatchedSqlite(Sqlite):
    side = "sqlite"
    title = "sqlite3"
    synchronous = "OFF"
    configuration = (
        f"WAL, synchronous=OFF, transactions of {BATCH:,}; executemany for bulk, overwriting and deleting; "
        "WITHOUT ROWID unless the key is an integer; 512 MiB cache, mmap; a multi-dict is a table with an "
        "index of (key, value)"
    )
    after_kill = "all but the open transaction"
    after_power_loss = "may be damaged"

    def load(self, keys: list, values: list) -> None:
        execute = self.execute
        with self.transaction():
            for pair in zip(keys, self.values.pack(values)):
                execute(INSERT, pair)

    def load_bulk(self, keys: list, values: list) -> None:
        with self.transaction():
            self.connection.executemany(INSERT, zip(keys, self.values.pack(values)))

    def overwrite(self, keys: list, values: list) -> None:
        with self.transaction():
            self.connection.executemany(UPDATE, zip(self.values.pack(values), keys))

    def delete(self, keys: list) -> None:
        with self.transaction():
            self.connection.executemany(DELETE, ((key,) for key in keys))

    def mixed(self, keys: list, values: list) -> Any:
        execute, got = self.execute, None
        packed = iter(self.values.pack([value for value in values if value is not None]))
        with self.transaction():
            for key, value in zip(keys, values):
                if value is None:
                    (got,) = self.values.unpack(execute(GET, (key,)).fetchone())
                else:
                    execute(UPDATE, (next(packed), key))
        return got


@register
class SqliteDict(BatchedSqlite):
    container = "dict"


@register
class SqliteList(BatchedSqlite):
    container = "list"
    title = "sqlite3 as a list"

    def iterate(self) -> tuple[Any, Any]:
        return None, super().iterate()[1]

    def slices(self, places: list[int], length: int) -> Sequence:
        query = "SELECT value FROM entries WHERE key >= ? ORDER BY key LIMIT ?"
        for place in places:
            piece = [value for (value,) in self.execute(query, (place, length))]
        return piece


@register
class SqliteMultiDict(BatchedSqlite):
    container = "multi dict"

    def create(self, table: str) -> None:
        self.execute(f"CREATE TABLE IF NOT EXISTS {table} (key INTEGER, value INTEGER)")
        self.execute(f"CREATE INDEX IF NOT EXISTS {table}_by_key ON {table} (key, value)")

    def get_all(self, keys: list) -> Iterable:
        execute = self.execute
        for key in keys:
            values = [value for (value,) in execute(GET, (key,))]
        return values


@register
class SqliteTransactionPerOperation(OneByOne, Sqlite):
    """Promises after a kill and after a power failure what pyrsistence promises."""

    side = "sqlite-op"
    container = "dict"
    title = "sqlite3, a transaction each"
    synchronous = "NORMAL"
    configuration = "WAL, synchronous=NORMAL, every write its own transaction, 512 MiB cache, mmap"
    after_kill = "every operation that returned"
    after_power_loss = "a prefix of the operations"

    def load(self, keys: list, values: list) -> None:
        execute = self.execute
        for pair in zip(keys, values):
            execute(INSERT, pair)

    def overwrite(self, keys: list, values: list) -> None:
        execute = self.execute
        for pair in zip(values, keys):
            execute(UPDATE, pair)


UPSERT = "INSERT INTO {} VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


@register
class DurableSqlite(DurableAdapter, Sqlite):
    side = "sqlite"
    title = "sqlite3"
    synchronous = "FULL"
    configuration = "WAL, synchronous=FULL, a transaction each, 512 MiB cache, mmap"

    def fill(self, items: Iterable[tuple[int, bytes]]) -> None:
        with self.transaction():
            self.connection.executemany(INSERT, items)
        self.sync()

    def put(self, items: list[tuple[int, bytes]]) -> None:
        execute, statement = self.execute, UPSERT.format("entries")
        for item in items:
            execute(statement, item)


@register
class SqliteTransactions(DurableSqlite):
    container = TRANSACTIONS
    configuration = "WAL, synchronous=FULL, two tables, 512 MiB cache, mmap"
    tables = ("entries", "odd")

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.create("odd")

    def fill(self, items: Iterable[tuple[int, bytes]]) -> None:
        with self.transaction():
            self.put_all(items)
        self.sync()

    def put_all(self, items: Iterable[tuple[int, bytes]]) -> None:
        execute, statements = self.execute, [UPSERT.format(table) for table in self.tables]
        for item in items:
            execute(statements[item[0] & 1], item)

    def put(self, items: list[tuple[int, bytes]]) -> None:
        for batch in chunks(items, TOGETHER):
            with self.transaction():
                self.put_all(batch)

    def value(self, key: int) -> bytes:
        query = f"SELECT value FROM {self.tables[key & 1]} WHERE key = ?"
        return self.execute(query, (key,)).fetchone()[0]
