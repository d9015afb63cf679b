"""plyvel (https://plyvel.readthedocs.io): LevelDB, with write batches, a cache and bloom filters."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from . import BATCH, PackedLoops, Settings, register

WRITE_BUFFER_BYTES = 64 << 20


@register
class Plyvel(PackedLoops):
    side = "plyvel"
    container = "dict"
    title = "plyvel (LevelDB)"
    requires = "plyvel"
    configuration = (
        f"batches of {BATCH:,} to load, overwrite and delete, single puts in a mixed load; 64 MiB write "
        "buffer, 512 MiB cache, bloom filters of 10 bits, snappy; its log is not synced"
    )
    after_kill = "every operation that returned"
    after_power_loss = "a prefix of the operations"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        import plyvel

        self.data = plyvel.DB(
            str(settings.directory / "store"),
            create_if_missing=True,
            write_buffer_size=min(WRITE_BUFFER_BYTES, settings.cache_bytes // 4),
            lru_cache_size=settings.cache_bytes,
            bloom_filter_bits=10,
        )

    def reading(self) -> AbstractContextManager:
        return nullcontext(self.data)

    working = reading

    def writing(self) -> AbstractContextManager:
        return self.data.write_batch()

    def pairs(self, reader: Any) -> Iterable[tuple[bytes, bytes]]:
        return reader.iterator()

    def load_bulk(self, keys: list, values: list) -> None:
        self.load(keys, values)

    def sync(self) -> None:
        """A synced write syncs the log, and tables are synced when they are made."""
        with self.data.write_batch(sync=True):
            pass

    def close(self) -> None:
        self.data.close()
