"""lmdb (https://lmdb.readthedocs.io): 8-byte keys and values, writable map, asynchronous flushing."""

import struct

from . import Adapter, Settings, chunks, register

BATCH = 10_000  # operations in a transaction
# The map is a sparse file, and must hold the copies of the pages that a transaction changes.
MAP_BYTES_PER_ENTRY = 256
SMALLEST_MAP = 1 << 30

NUMBER = struct.Struct(">Q")


class Lmdb(Adapter):
    requires = "lmdb"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        import lmdb

        self.environment = lmdb.open(
            str(settings.directory / "store"),
            map_size=max(SMALLEST_MAP, settings.entries * MAP_BYTES_PER_ENTRY),
            writemap=True,
            map_async=True,
        )

    def get(self, keys: list[int]) -> None:
        pack, unpack = NUMBER.pack, NUMBER.unpack
        with self.environment.begin() as transaction:
            get = transaction.get
            for key in keys:
                (_value,) = unpack(get(pack(key)))

    def iterate(self) -> None:
        unpack = NUMBER.unpack
        with self.environment.begin() as transaction:
            for packed_key, packed_value in transaction.cursor():
                (_key,) = unpack(packed_key)
                (_value,) = unpack(packed_value)

    def value(self, key: int) -> int:
        with self.environment.begin() as transaction:
            return NUMBER.unpack(transaction.get(NUMBER.pack(key)))[0]

    def __len__(self) -> int:
        return self.environment.stat()["entries"]

    def sync(self) -> None:
        self.environment.sync(True)

    def close(self) -> None:
        self.environment.close()


class BatchedLmdb(Lmdb):
    side = "lmdb"
    title = "lmdb"
    configuration = f"writemap, map_async, transactions of {BATCH:,}, append=True when loading"
    after_kill = "all but the open transaction"
    after_power_loss = "may be damaged"

    def load(self, keys: range) -> None:
        pack = NUMBER.pack
        for batch in chunks(keys, BATCH):
            with self.environment.begin(write=True) as transaction:
                put = transaction.put
                for key in batch:
                    put(pack(key), pack(key), append=True)

    def overwrite(self, keys: list[int]) -> None:
        pack = NUMBER.pack
        for batch in chunks(keys, BATCH):
            with self.environment.begin(write=True) as transaction:
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

    def iterate(self) -> None:
        unpack = NUMBER.unpack
        with self.environment.begin() as transaction:
            for packed_value in transaction.cursor().iternext(keys=False, values=True):
                (_value,) = unpack(packed_value)


@register
class LmdbTransactionPerOperation(Lmdb):
    """After a kill it promises what pyrsistence promises; after a power failure less."""

    side = "lmdb-op"
    container = "dict"
    title = "lmdb, a transaction each"
    configuration = "writemap, map_async, every write its own transaction"
    after_kill = "every operation that returned"
    after_power_loss = "may be damaged"
    budget_share = 0.15
    writes_only = True

    def load(self, keys: range) -> None:
        pack, begin = NUMBER.pack, self.environment.begin
        for key in keys:
            with begin(write=True) as transaction:
                transaction.put(pack(key), pack(key), append=True)

    def overwrite(self, keys: list[int]) -> None:
        pack, begin = NUMBER.pack, self.environment.begin
        for key in keys:
            with begin(write=True) as transaction:
                transaction.put(pack(key), pack(key + 1))
