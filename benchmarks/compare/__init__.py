"""The sides of every comparison: one module per library, one class per container and configuration.

A class joins by `@register`; nothing else names it. Its methods are the loops that a user of that library
would write, because only they are timed: `load`, `load_bulk`, `get`, `overwrite` and `iterate` deal in Python
ints on both ends, and whatever packing a library needs is part of its price.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OURS = "pyrsistence"
# The container of durable adapters whose `put` makes TOGETHER items one transaction over two containers:
# an item goes into that of its key's lowest bit.
TRANSACTIONS = "durable-transactions"
TOGETHER = 10


@dataclass
class Settings:
    """What an adapter may need to know when it opens its store."""

    directory: Path
    entries: int
    options: dict[str, Any] = field(default_factory=dict)


class Adapter:
    """One side of a comparison. Loading goes by ascending keys 0, 1, 2, ... and stores each under itself."""

    side: str  # the name on the command line
    container: str  # the workload it belongs to
    title: str  # heading of its column
    requires: str | None = None  # module to import; None: nothing beyond the standard library
    install = "pip install {}"  # the remedy when it is missing
    configuration: str
    after_kill: str  # what is left when the process is killed
    after_power_loss: str  # what is left after a power failure, without any further call
    persistent = True
    ordered = True  # iteration ends with the entry stored last
    # Sides known to be hundreds of times slower get this share of the time that a row may take.
    budget_share = 1.0
    writes_only = False  # reads are those of another side

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @classmethod
    def column(cls) -> str:
        """The heading, where it depends on what is installed."""
        return cls.title

    def load(self, keys: range) -> None:
        """One call of the library for each entry."""
        raise NotImplementedError

    def load_bulk(self, keys: range) -> None:
        """By whatever the library offers for many entries at once."""
        raise NotImplementedError

    def sync(self) -> None:
        """Everything stored so far survives a power failure."""

    def get(self, keys: list[int]) -> None:
        raise NotImplementedError

    def overwrite(self, keys: list[int]) -> None:
        """Stores key + 1 under each key."""
        raise NotImplementedError

    def iterate(self) -> int:
        """Meets every entry once, in the library's own order; returns the value met last."""
        raise NotImplementedError

    def value(self, key: int) -> int:
        """For checking, not timed."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def close(self) -> None:
        pass


class DurableAdapter(Adapter):
    """For operations that have survived a power failure once they return; keys are ints, values bytes."""

    container = "durable"
    after_kill = after_power_loss = "every operation that returned"

    def fill(self, items: Iterable[tuple[int, bytes]]) -> None:
        """Ascending keys, by whatever is quickest; everything is durable at the end. Not timed."""
        raise NotImplementedError

    def put(self, items: list[tuple[int, bytes]]) -> None:
        """Each item becomes durable before the next; or, in TRANSACTIONS, each group of TOGETHER items."""
        raise NotImplementedError


class MappingLoops(Adapter):
    """For what behaves as a dict: `self.data`."""

    data: Any

    def load(self, keys: range) -> None:
        data = self.data
        for key in keys:
            data[key] = key

    def load_bulk(self, keys: range) -> None:
        self.data.update(zip(keys, keys))

    def get(self, keys: list[int]) -> None:
        data = self.data
        for key in keys:
            data[key]

    def overwrite(self, keys: list[int]) -> None:
        data = self.data
        for key in keys:
            data[key] = key + 1

    def iterate(self) -> int:
        value = -1
        for _key, value in self.data.items():
            pass
        return value

    def value(self, key: int) -> int:
        return self.data[key]

    def __len__(self) -> int:
        return len(self.data)


class SequenceLoops(MappingLoops):
    """For what behaves as a list: `self.data`."""

    def load(self, keys: range) -> None:
        append = self.data.append
        for key in keys:
            append(key)

    def load_bulk(self, keys: range) -> None:
        self.data.extend(keys)

    def iterate(self) -> int:
        value = -1
        for value in self.data:
            pass
        return value


_adapters: dict[tuple[str, str], type[Adapter]] = {}


def register(cls: type[Adapter]) -> type[Adapter]:
    name = (cls.container, cls.side)
    if name in _adapters:
        raise ValueError(f"two adapters are called {name}: {_adapters[name].__module__} and {cls.__module__}")
    _adapters[name] = cls
    return cls


def adapters(container: str) -> dict[str, type[Adapter]]:
    """Side -> adapter, ours first, then in order of `sides()`."""
    _import_all()
    found = {side: cls for (kind, side), cls in _adapters.items() if kind == container}
    return dict(sorted(found.items(), key=lambda item: (item[0] != OURS, item[0] != "builtin", item[0])))


def sides() -> list[str]:
    _import_all()
    return sorted({side for _, side in _adapters}, key=lambda side: (side != OURS, side != "builtin", side))


def missing(cls: type[Adapter]) -> str | None:
    """Why this adapter cannot run here, or None."""
    if cls.requires is None:
        return None
    try:
        importlib.import_module(cls.requires)
    except ImportError as error:
        return f"{error} ({cls.install.format(cls.requires)})"
    return None


def _import_all() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def chunks(keys: Iterable[int], size: int) -> Iterable[Iterable[int]]:
    """Slices of a range or list: what goes into one transaction."""
    return (keys[start : start + size] for start in range(0, len(keys), size))  # type: ignore[index,arg-type]
