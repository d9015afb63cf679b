"""diskcache (https://grantjenks.com/docs/diskcache): its Index, a dict on sqlite3 that evicts nothing."""

from contextlib import AbstractContextManager

from . import BATCH, MappingLoops, Settings, register

PAGE_BYTES = 4096


@register
class DiskCache(MappingLoops):
    side = "diskcache"
    container = "dict"
    title = "diskcache"
    requires = "diskcache"
    configuration = (
        f"Index; `transact()` around {BATCH:,} writes; for its sqlite3 synchronous=OFF, 512 MiB cache, mmap"
    )
    after_kill = "all but the open transaction"
    after_power_loss = "may be damaged"
    budget_share = 0.05

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        import diskcache

        self.cache = diskcache.Cache(
            str(settings.directory / "store"),
            eviction_policy="none",
            sqlite_cache_size=settings.cache_bytes // PAGE_BYTES,
            sqlite_mmap_size=settings.cache_bytes,
            sqlite_synchronous=0,
        )
        self.data = diskcache.Index.fromcache(self.cache)

    def writing(self) -> AbstractContextManager:
        return self.data.transact()

    def close(self) -> None:
        self.cache.close()
