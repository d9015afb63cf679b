"""shelve from the standard library: str keys, pickled values, on whichever dbm Python was built with."""

import dbm
import os
import pickle
import shelve

from . import MappingLoops, Settings, register


@register
class Shelve(MappingLoops):
    side = "shelve"
    container = "dict"
    title = "shelve"
    configuration = "highest pickle protocol, no writeback"
    after_kill = "depends on the dbm; may be damaged"
    after_power_loss = "may be damaged"
    ordered = False
    budget_share = 0.1

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.data = shelve.open(str(settings.directory / "store"), protocol=pickle.HIGHEST_PROTOCOL)

    @classmethod
    def column(cls) -> str:
        return f"shelve ({dbm._defaultmod.__name__})" if _choose_dbm() else cls.title

    def load(self, keys: range) -> None:
        data = self.data
        for key in keys:
            data[str(key)] = key

    def load_bulk(self, keys: range) -> None:
        self.data.update((str(key), key) for key in keys)

    def get(self, keys: list[int]) -> None:
        data = self.data
        for key in keys:
            data[str(key)]

    def overwrite(self, keys: list[int]) -> None:
        data = self.data
        for key in keys:
            data[str(key)] = key + 1

    def iterate(self) -> int:
        value = -1
        for key, value in self.data.items():
            int(key)
        return value

    def value(self, key: int) -> int:
        return self.data[str(key)]

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
