"""sqlite3 from the standard library: a table with an INTEGER PRIMARY KEY, write-ahead log, large cache."""

import os
import sqlite3
from collections.abc import Iterable

from . import TOGETHER, TRANSACTIONS, Adapter, DurableAdapter, Settings, chunks, register

BATCH = 10_000  # operations in a transaction
CACHE_KIB = 512 << 10
MMAP_BYTES = 8 << 30


class Sqlite(Adapter):
    synchronous: str
    after_power_loss: str

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.path = settings.directory / "store.sqlite"
        self.connection = sqlite3.connect(self.path, isolation_level=None)
        self.execute = self.connection.execute
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={self.synchronous}",
            f"cache_size=-{CACHE_KIB}",
            f"mmap_size={MMAP_BYTES}",
            "locking_mode=EXCLUSIVE",
        ):
            self.execute(f"PRAGMA {pragma}")
        self.execute("CREATE TABLE entries (key INTEGER PRIMARY KEY, value INTEGER)")

    def get(self, keys: list[int]) -> None:
        execute = self.execute
        for key in keys:
            execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()[0]

    def iterate(self) -> int:
        value = -1
        for _key, value in self.execute("SELECT key, value FROM entries ORDER BY key"):
            pass
        return value

    def value(self, key: int) -> int:
        return self.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()[0]

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
        f"WAL, synchronous=OFF, transactions of {BATCH:,}; executemany for bulk and overwriting; "
        "512 MiB cache, mmap"
    )
    after_kill = "all but the open transaction"
    after_power_loss = "may be damaged"

    def load(self, keys: range) -> None:
        execute = self.execute
        for batch in chunks(keys, BATCH):
            execute("BEGIN")
            for key in batch:
                execute("INSERT INTO entries VALUES (?, ?)", (key, key))
            execute("COMMIT")

    def load_bulk(self, keys: range) -> None:
        for batch in chunks(keys, BATCH):
            self.execute("BEGIN")
            self.connection.executemany("INSERT INTO entries VALUES (?, ?)", ((key, key) for key in batch))
            self.execute("COMMIT")

    def overwrite(self, keys: list[int]) -> None:
        update = "UPDATE entries SET value = ? WHERE key = ?"
        for batch in chunks(keys, BATCH):
            self.execute("BEGIN")
            self.connection.executemany(update, ((key + 1, key) for key in batch))
            self.execute("COMMIT")


@register
class SqliteDict(BatchedSqlite):
    container = "dict"


@register
class SqliteList(BatchedSqlite):
    container = "list"
    title = "sqlite3 as a list"


@register
class SqliteTransactionPerOperation(Sqlite):
    """Promises after a kill and after a power failure what pyrsistence promises."""

    side = "sqlite-op"
    container = "dict"
    title = "sqlite3, a transaction each"
    synchronous = "NORMAL"
    configuration = "WAL, synchronous=NORMAL, every write its own transaction, 512 MiB cache, mmap"
    after_kill = "every operation that returned"
    after_power_loss = "a prefix of the operations"
    budget_share = 0.1
    writes_only = True

    def load(self, keys: range) -> None:
        execute = self.execute
        for key in keys:
            execute("INSERT INTO entries VALUES (?, ?)", (key, key))

    def overwrite(self, keys: list[int]) -> None:
        execute = self.execute
        for key in keys:
            execute("UPDATE entries SET value = ? WHERE key = ?", (key + 1, key))


UPSERT = "INSERT INTO {} VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


@register
class DurableSqlite(DurableAdapter, Sqlite):
    side = "sqlite"
    title = "sqlite3"
    synchronous = "FULL"
    configuration = "WAL, synchronous=FULL, a transaction each, 512 MiB cache, mmap"

    def fill(self, items: Iterable[tuple[int, bytes]]) -> None:
        self.execute("BEGIN")
        self.connection.executemany("INSERT INTO entries VALUES (?, ?)", items)
        self.execute("COMMIT")
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
        self.execute("CREATE TABLE odd (key INTEGER PRIMARY KEY, value BLOB)")

    def fill(self, items: Iterable[tuple[int, bytes]]) -> None:
        self.execute("BEGIN")
        self.put_all(items)
        self.execute("COMMIT")
        self.sync()

    def put_all(self, items: Iterable[tuple[int, bytes]]) -> None:
        execute, statements = self.execute, [UPSERT.format(table) for table in self.tables]
        for item in items:
            execute(statements[item[0] & 1], item)

    def put(self, items: list[tuple[int, bytes]]) -> None:
        for batch in chunks(items, TOGETHER):
            self.execute("BEGIN")
            self.put_all(batch)
            self.execute("COMMIT")

    def value(self, key: int) -> bytes:
        query = f"SELECT value FROM {self.tables[key & 1]} WHERE key = ?"
        return self.execute(query, (key,)).fetchone()[0]
