"""ZODB (https://zodb.org): a BTree in a FileStorage, the class of BTree that fits the keys and values."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager

from . import BATCH, MappingLoops, Settings, register

# L: 64-bit integers, O: objects. The 32-bit I would not hold addresses.
LETTER = {"int": "L", "str": "O", "bytes": "O", "object": "O"}
CACHED_OBJECTS = 1_000_000


@register
class Zodb(MappingLoops):
    side = "zodb"
    container = "dict"
    title = "ZODB BTrees"
    requires = "ZODB"
    configuration = (
        f"FileStorage, not packed; LLBTree, LOBTree or OOBTree, a commit after {BATCH:,} writes; cache of "
        "1,000,000 objects and 512 MiB"
    )
    after_kill = "all but the open transaction"
    after_power_loss = "all but the open transaction"
    budget_share = 0.2

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        import transaction
        import ZODB
        import ZODB.FileStorage

        self.commit = transaction.commit
        storage = ZODB.FileStorage.FileStorage(str(settings.directory / "store.fs"))
        self.database = ZODB.DB(storage, cache_size=CACHED_OBJECTS, cache_size_bytes=settings.cache_bytes)
        self.connection = self.database.open()
        root = self.connection.root()
        if "entries" not in root:
            root["entries"] = self.tree()
            self.commit()
        self.data = root["entries"]

    def tree(self) -> object:
        name = f"{LETTER[self.settings.key_kind]}{LETTER[self.settings.value_kind]}BTree"
        return getattr(importlib.import_module(f"BTrees.{name}"), name)()

    def load_bulk(self, keys: list, values: list) -> None:
        with self.writing():
            self.data.update(list(zip(keys, values)))

    @contextmanager
    def writing(self) -> Iterator[None]:
        yield
        self.commit()

    def sync(self) -> None:
        """Every commit is synced."""
        self.commit()

    def close(self) -> None:
        self.connection.close()
        self.database.close()
