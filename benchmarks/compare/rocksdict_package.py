"""rocksdict (https://rocksdict.github.io/RocksDict): RocksDB with the settings of its tuning guide.

Raw mode with our packing takes less time than its own encoding of Python objects, which is left out here.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from . import BATCH, PackedLoops, Settings, register

MEMTABLE_BYTES = 64 << 20
BLOCK_BYTES = 16 << 10


@register
class RocksDict(PackedLoops):
    side = "rocksdict"
    container = "dict"
    title = "rocksdict"
    requires = "rocksdict"
    configuration = (
        f"raw mode; batches of {BATCH:,} to load, overwrite and delete, single puts in a mixed load; dynamic "
        "levels, blocks of 16 KiB, bloom filters of 10 bits, 512 MiB block cache, lz4; its log is not synced"
    )
    after_kill = "every operation that returned"
    after_power_loss = "a prefix of the operations"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        import rocksdict

        self.library = rocksdict
        self.data = rocksdict.Rdict(str(settings.directory / "store"), self.options())

    def options(self) -> Any:
        """As https://github.com/facebook/rocksdb/wiki/Setup-Options-and-Basic-Tuning says."""
        options = self.library.Options(raw_mode=True)
        options.create_if_missing(True)
        options.increase_parallelism(os.cpu_count() or 1)
        options.set_write_buffer_size(min(MEMTABLE_BYTES, self.settings.cache_bytes // 4))
        options.set_level_compaction_dynamic_level_bytes(True)
        options.set_bytes_per_sync(1 << 20)
        options.set_compression_type(self.library.DBCompressionType.lz4())
        options.set_block_based_table_factory(self.blocks())
        return options

    def blocks(self) -> Any:
        blocks = self.library.BlockBasedOptions()
        blocks.set_block_size(BLOCK_BYTES)
        blocks.set_block_cache(self.library.Cache(self.settings.cache_bytes))
        blocks.set_cache_index_and_filter_blocks(True)
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(True)
        blocks.set_bloom_filter(10, False)
        return blocks

    def reading(self) -> AbstractContextManager:
        return nullcontext(self.data)

    working = reading

    @contextmanager
    def writing(self) -> Iterator[Any]:
        batch = self.library.WriteBatch(raw_mode=True)
        yield batch
        self.data.write(batch)

    def pairs(self, reader: Any) -> Iterable[tuple[bytes, bytes]]:
        return reader.items()

    def load_bulk(self, keys: list, values: list) -> None:
        self.load(keys, values)

    def get_many(self, keys: list) -> Sequence:
        return list(self.values.unpack(self.data.get(list(self.keys.pack(keys)))))

    def sync(self) -> None:
        self.data.flush_wal(True)

    def close(self) -> None:
        self.data.close()
