"""shelve from the standard library: str keys, pickled values, on whichever dbm Python was built with."""

import dbm
import os
import pickle
import shelve
from typing import Any

from . import MappingLoops, Settings, register

# shelve encodes keys as UTF-8; ints are written in digits, bytes as the characters of the same numbers.
TO_TEXT = {"int": str, "str": str, "bytes": lambda key: str(key, "latin-1")}
FROM_TEXT = {"int": int, "str": str, "bytes": lambda key: key.encode("latin-1")}


@register
class Shelve(MappingLoops):
    side = "shelve"
    container = "dict"
    title = "shelve"
    configuration = "highest pickle protocol, no writeback"
    after_kill = "depends on the dbm; may be damaged"
    after_power_loss = "may be damaged"
    ordered = False
    budget_share = 0.05
    # Without delete: dbm.dumb writes its whole index anew for each.
    only = frozenset({"load", "load_bulk", "sync", "get", "miss", "overwrite", "iterate", "mixed"})

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.data = shelve.open(str(settings.directory / "store"), protocol=pickle.HIGHEST_PROTOCOL)
        self.text, self.key = TO_TEXT[settings.key_kind], FROM_TEXT[settings.key_kind]

    @classmethod
    def column(cls) -> str:
        return f"shelve ({dbm._defaultmod.__name__})" if _choose_dbm() else cls.title

    def load(self, keys: list, values: list) -> None:
        super().load(map(self.text, keys), values)

    def load_bulk(self, keys: list, values: list) -> None:
        super().load_bulk(map(self.text, keys), values)

    def get(self, keys: list) -> Any:
        return super().get(map(self.text, keys))

    def miss(self, keys: list) -> int:
        return super().miss(map(self.text, keys))

    def mixed(self, keys: list, values: list) -> Any:
        return super().mixed(map(self.text, keys), values)

    def iterate(self) -> tuple[Any, Any]:
        key = value = None
        for text, value in self.data.items():
            key = self.key(text)
        return key, value

    def value(self, key: Any) -> Any:
        return self.data[self.text(key)]

    def sync(self) -> None:
        self.data.sync()
        for path in self.settings.directory.iterdir():
            descriptor = os.open(path, os.O_RDWR)
            os.fsync(descriptor)
            os.close(descriptor)

    def close(self) -> None:
        self.data.close()


def _choose_dbm() -> bool:
    """Makes dbm decide which of its modules new files get; dbm has no public call for that."""
    import tempfile

    if getattr(dbm, "_defaultmod", None) is None:
        with tempfile.TemporaryDirectory() as directory:
            dbm.open(os.path.join(directory, "probe"), "n").close()
    return getattr(dbm, "_defaultmod", None) is not None
