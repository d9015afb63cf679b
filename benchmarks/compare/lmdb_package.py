"""lmdb (https://lmdb.readthedocs.io): writable map, asynchronous flushing, transactions of many writes."""

import functools
import itertools
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from . import (
    BATCH,
    TOGETHER,
    TRANSACTIONS,
    DurableAdapter,
    OneByOne,
    PackedLoops,
    Settings,
    chunks,
    register,
)
from .packing import NUMBER, Packing

# The map is a sparse file, and must hold the copies of the pages that a transaction changes.
MAP_BYTES_PER_ENTRY = 256
MAP_BYTES_PER_BYTE = 4
SMALLEST_MAP = 1 << 30
NATIVE_NUMBER = Packing.by(struct.Struct("=Q").pack, lambda packed: struct.unpack("=Q", packed)[0])


class Lmdb(PackedLoops):
    requires = "lmdb"
    flags = {"writemap": True, "map_async": True}

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        import lmdb

        entry = MAP_BYTES_PER_ENTRY + MAP_BYTES_PER_BYTE * settings.payload
        self.environment = lmdb.open(
            str(settings.directory / "store"),
            map_size=max(SMALLEST_MAP, settings.entries * entry),
            max_dbs=1,
            # Its documentation: better without, at random and when the data is larger than memory.
            readahead=not settings.beyond_memory,
            **self.flags,
        )
        self.database = self.open_database()
        self.begin = functools.partial(self.environment.begin, db=self.database)

    def open_database(self) -> object:
        return self.environment.open_db()

    def reading(self) -> AbstractContextManager:
        return self.begin()

    def writing(self) -> AbstractContextManager:
        return self.begin(write=True)

    working = writing

    def pairs(self, reader: Any) -> Iterable[tuple[bytes, bytes]]:
        return reader.cursor()

    def __len__(self) -> int:
        with self.begin() as transaction:
            return transaction.stat(self.database)["entries"]

    def sync(self) -> None:
        self.environment.sync(True)

    def close(self) -> None:
        self.environment.close()


class BatchedLmdb(Lmdb):
    side = "lmdb"
    title = "lmdb"
    configuration = (
        f"writemap, map_async, transactions of {BATCH:,}; append=True to load in order, putmulti for bulk, "
        "getmulti for many; no readahead beyond memory; a multi-dict is a database with dupsort, "
        "dupfixed, integerkey and integerdup, which keeps equal pairs once"
    )
    after_kill = "all but the open transaction"
    after_power_loss = "may be damaged"

    def load(self, keys: list, values: list) -> None:
        append = self.settings.ascending
        with self.begin(write=True) as transaction:
            put = transaction.put
            for key, value in zip(self.keys.pack(keys), self.values.pack(values)):
                put(key, value, append=append)

    def load_bulk(self, keys: list, values: list) -> None:
        packed = zip(self.keys.pack(keys), self.values.pack(values))
        with self.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(packed, append=self.settings.ascending)

    def get_many(self, keys: list) -> Sequence:
        """getmulti leaves out what is not there, and takes keys in any order."""
        with self.begin() as transaction, transaction.cursor() as cursor:
            found = cursor.getmulti(list(self.keys.pack(keys)))
        return list(self.values.unpack(value for _key, value in found))

    @contextmanager
    def storing(self) -> Iterator[Callable[[Any, Any], object]]:
        pack_key, pack_value = self.keys.pack_one, self.values.pack_one
        transaction, left = self.begin(write=True), BATCH

        def store(key: Any, value: Any) -> None:
            nonlocal transaction, left
            transaction.put(pack_key(key), pack_value(value))
            left -= 1
            if left == 0:
                transaction.commit()
                transaction, left = self.begin(write=True), BATCH

        yield store
        transaction.commit()


@register
class LmdbDict(BatchedLmdb):
    container = "dict"


@register
class LmdbSortedDict(BatchedLmdb):
    container = "sorted dict"

    def ranges(self, keys: list, length: int) -> Sequence:
        with self.begin() as transaction, transaction.cursor() as cursor:
            for key in self.keys.pack(keys):
                cursor.set_key(key)
                found = cursor.iternext(keys=True, values=False)
                piece = list(self.keys.unpack(itertools.islice(found, length)))
        return piece


@register
class LmdbList(BatchedLmdb):
    container = "list"
    title = "lmdb as a list"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.keys = NATIVE_NUMBER  # what integerkey wants

    def open_database(self) -> object:
        return self.environment.open_db(b"list", integerkey=True)

    def iterate(self) -> tuple[Any, Any]:
        value = None
        with self.begin() as transaction:
            for value in self.values.unpack(transaction.cursor().iternext(keys=False, values=True)):
                pass
        return None, value

    def slices(self, places: list[int], length: int) -> Sequence:
        with self.begin() as transaction, transaction.cursor() as cursor:
            for place in self.keys.pack(places):
                cursor.set_key(place)
                values = cursor.iternext(keys=False, values=True)
                piece = list(self.values.unpack(itertools.islice(values, length)))
        return piece


@register
class LmdbMultiDict(BatchedLmdb):
    container = "multi dict"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.keys = self.values = NATIVE_NUMBER  # what integerkey and integerdup want

    def open_database(self) -> object:
        flags = {"dupsort": True, "dupfixed": True, "integerkey": True, "integerdup": True}
        return self.environment.open_db(b"multi", **flags)

    def get_all(self, keys: list) -> Iterable:
        unpack = self.values.unpack
        with self.begin() as transaction, transaction.cursor() as cursor:
            for key in self.keys.pack(keys):
                cursor.set_key(key)
                values = list(unpack(cursor.iternext_dup()))
        return values


@register
class LmdbTransactionPerOperation(OneByOne, Lmdb):
    """After a kill it promises what pyrsistence promises; after a power failure less."""

    side = "lmdb-op"
    container = "dict"
    title = "lmdb, a transaction each"
    configuration = "writemap, map_async, every write its own transaction"
    after_kill = "every operation that returned"
    after_power_loss = "may be damaged"

    def load(self, keys: list, values: list) -> None:
        self.put_each(keys, values, self.settings.ascending)

    def overwrite(self, keys: list, values: list) -> None:
        self.put_each(keys, values, False)

    def put_each(self, keys: list, values: list, append: bool) -> None:
        begin = self.begin
        for key, value in zip(self.keys.pack(keys), self.values.pack(values)):
            with begin(write=True) as transaction:
                transaction.put(key, value, append=append)


@register
class DurableLmdb(DurableAdapter, Lmdb):
    side = "lmdb"
    title = "lmdb"
    configuration = "defaults (sync, metasync), a write transaction each"
    flags = {}

    def fill(self, items: Iterable[tuple[int, bytes]]) -> None:
        pack = NUMBER.pack
        with self.begin(write=True) as transaction:
            for key, value in items:
                transaction.put(pack(key), value, append=True)

    def put(self, items: list[tuple[int, bytes]]) -> None:
        pack, begin = NUMBER.pack, self.begin
        for key, value in items:
            with begin(write=True) as transaction:
                transaction.put(pack(key), value)

    def value(self, key: int) -> bytes:
        with self.begin() as transaction:
            return transaction.get(NUMBER.pack(key))


@register
class LmdbTransactions(DurableLmdb):
    container = TRANSACTIONS
    configuration = "defaults (sync, metasync), two databases"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.databases = self.database, self.environment.open_db(b"odd")

    def fill(self, items: Iterable[tuple[int, bytes]]) -> None:
        pack = NUMBER.pack
        with self.begin(write=True) as transaction:
            for key, value in items:
                transaction.put(pack(key), value, append=True, db=self.databases[key & 1])

    def put(self, items: list[tuple[int, bytes]]) -> None:
        pack, begin, databases = NUMBER.pack, self.begin, self.databases
        for batch in chunks(items, TOGETHER):
            with begin(write=True) as transaction:
                for key, value in batch:
                    transaction.put(pack(key), value, db=databases[key & 1])

    def value(self, key: int) -> bytes:
        with self.begin() as transaction:
            return transaction.get(NUMBER.pack(key), db=self.databases[key & 1])
