"""lmdb (https://lmdb.readthedocs.io): 8-byte keys and values, writable map, asynchronous flushing."""

import functools
import struct
from collections.abc import Iterable

from . import TOGETHER, TRANSACTIONS, Adapter, DurableAdapter, Settings, chunks, register

BATCH = 10_000  # operations in a transaction
# The map is a sparse file, and must hold the copies of the pages that a transaction changes.
MAP_BYTES_PER_ENTRY = 256
SMALLEST_MAP = 1 << 30


class Lmdb(Adapter):
    requires = "lmdb"
    number = struct.Struct(">Q")
    flags = {"writemap": True, "map_async": True}

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        import lmdb

        self.environment = lmdb.open(
            str(settings.directory / "store"),
            map_size=max(SMALLEST_MAP, settings.entries * MAP_BYTES_PER_ENTRY),
            max_dbs=1,
            **self.flags,
        )
        self.database = self.open_database()
        self.begin = functools.partial(self.environment.begin, db=self.database)

    def open_database(self) -> object:
        return self.environment.open_db()

    def get(self, keys: list[int]) -> None:
        pack, unpack = self.number.pack, self.number.unpack
        with self.begin() as transaction:
            get = transaction.get
            for key in keys:
                (_value,) = unpack(get(pack(key)))

    def iterate(self) -> int:
        unpack = self.number.unpack
        value = -1
        with self.begin() as transaction:
            for packed_key, packed_value in transaction.cursor():
                (_key,) = unpack(packed_key)
                (value,) = unpack(packed_value)
        return value

    def value(self, key: int) -> int:
        with self.begin() as transaction:
            return self.number.unpack(transaction.get(self.number.pack(key)))[0]

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
    configuration = f"writemap, map_async, transactions of {BATCH:,}; append=True to load, putmulti for bulk"
    after_kill = "all but the open transaction"
    after_power_loss = "may be damaged"

    def load(self, keys: range) -> None:
        pack = self.number.pack
        for batch in chunks(keys, BATCH):
            with self.begin(write=True) as transaction:
                put = transaction.put
                for key in batch:
                    put(pack(key), pack(key), append=True)

    def load_bulk(self, keys: range) -> None:
        pack = self.number.pack
        for batch in chunks(keys, BATCH):
            with self.begin(write=True) as transaction, transaction.cursor() as cursor:
                cursor.putmulti(((pack(key), pack(key)) for key in batch), append=True)

    def overwrite(self, keys: list[int]) -> None:
        pack = self.number.pack
        for batch in chunks(keys, BATCH):
            with self.begin(write=True) as transaction:
                put = transaction.put
                for key in batch:
                    put(pack(key), pack(key + 1))


@register
class LmdbDict(BatchedLmdb):
    container = "dict"


@register
class LmdbList(BatchedLmdb):
    container = "list"
    title = "lmdb as a list"
    number = struct.Struct("=Q")  # what integerkey wants

    def open_database(self) -> object:
        return self.environment.open_db(b"list", integerkey=True)

    def iterate(self) -> int:
        unpack = self.number.unpack
        value = -1
        with self.begin() as transaction:
            for packed_value in transaction.cursor().iternext(keys=False, values=True):
                (value,) = unpack(packed_value)
        return value


@register
class LmdbTransactionPerOperation(Lmdb):
    """After a kill it promises what pyrsistence promises; after a power failure less."""

    side = "lmdb-op"
    container = "dict"
    title = "lmdb, a transaction each"
    configuration = "writemap, map_async, every write its own transaction"
    after_kill = "every operation that returned"
    after_power_loss = "may be damaged"
    budget_share = 0.1
    writes_only = True

    def load(self, keys: range) -> None:
        pack, begin = self.number.pack, self.begin
        for key in keys:
            with begin(write=True) as transaction:
                transaction.put(pack(key), pack(key), append=True)

    def overwrite(self, keys: list[int]) -> None:
        pack, begin = self.number.pack, self.begin
        for key in keys:
            with begin(write=True) as transaction:
                transaction.put(pack(key), pack(key + 1))


@register
class DurableLmdb(DurableAdapter, Lmdb):
    side = "lmdb"
    title = "lmdb"
    configuration = "defaults (sync, metasync), a write transaction each"
    flags = {}

    def fill(self, items: Iterable[tuple[int, bytes]]) -> None:
        pack = self.number.pack
        with self.begin(write=True) as transaction:
            for key, value in items:
                transaction.put(pack(key), value, append=True)

    def put(self, items: list[tuple[int, bytes]]) -> None:
        pack, begin = self.number.pack, self.begin
        for key, value in items:
            with begin(write=True) as transaction:
                transaction.put(pack(key), value)

    def value(self, key: int) -> bytes:
        with self.begin() as transaction:
            return transaction.get(self.number.pack(key))


@register
class LmdbTransactions(DurableLmdb):
    container = TRANSACTIONS
    configuration = "defaults (sync, metasync), two databases"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.databases = self.database, self.environment.open_db(b"odd")

    def fill(self, items: Iterable[tuple[int, bytes]]) -> None:
        pack = self.number.pack
        with self.begin(write=True) as transaction:
            for key, value in items:
                transaction.put(pack(key), value, append=True, db=self.databases[key & 1])

    def put(self, items: list[tuple[int, bytes]]) -> None:
        pack, begin, databases = self.number.pack, self.begin, self.databases
        for batch in chunks(items, TOGETHER):
            with begin(write=True) as transaction:
                for key, value in batch:
                    transaction.put(pack(key), value, db=databases[key & 1])

    def value(self, key: int) -> bytes:
        with self.begin() as transaction:
            return transaction.get(self.number.pack(key), db=self.databases[key & 1])
