"""The sides of every comparison: one module per library, one class per container and configuration.

A class joins by `@register`; nothing else names it. Its methods are the loops that a user of that library
would write, because only they are timed. Each call gets at most BATCH operations: keys and values that are
Python objects of the kinds that `Settings` names. Whatever packing a library needs for them is part of its
price, and so are the objects that come back. A side with transactions makes one of each call.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from .packing import AS_BYTES, last_pair

OURS = "pyrsistence"
BATCH = 10_000  # operations in a call, at most: what goes into one transaction
# The container of durable adapters whose `put` makes TOGETHER items one transaction over two containers:
# an item goes into that of its key's lowest bit.
TRANSACTIONS = "durable-transactions"
TOGETHER = 10


@dataclass
class Settings:
    """What an adapter may need to know when it opens its store."""

    directory: Path
    entries: int
    key_kind: str = "int"
    value_kind: str = "int"
    payload: int = 16  # bytes in a key and its value, about
    ascending: bool = True  # keys are loaded in order
    cache_bytes: int = 512 << 20  # for what a library keeps in memory of its own
    beyond_memory: bool = False  # there is more data than memory, and it is read at random
    options: dict[str, Any] = field(default_factory=dict)


class Adapter:
    """One side of a comparison. What it does not override it does not offer, and has no figure for."""

    side: str  # the name on the command line
    # "dict", "list", "set", "deque", "sorted dict", "priority queue", "multi dict", "array" or one of the durable ones
    container: str
    title: str  # heading of its column
    requires: str | None = None  # module to import; None: nothing beyond the standard library
    package: str | None = None  # what pip installs for that, if it is called otherwise
    install = "pip install {}"  # the remedy when it is missing
    configuration: str
    after_kill: str  # what is left when the process is killed
    after_power_loss: str  # what is left after a power failure, without any further call
    persistent = True
    ordered = True  # iteration ends with the greatest key or the entry stored last
    # Sides known to be many times slower get this share of the time that a row may take.
    budget_share = 1.0
    only: frozenset[str] | None = None  # operations worth measuring; None: all it offers
    kinds: frozenset[str] | None = None  # kinds of data it is measured with; None: all

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @classmethod
    def column(cls) -> str:
        """The heading, where it depends on what is installed."""
        return cls.title

    @classmethod
    def offers(cls, operation: str) -> bool:
        if cls.only is not None and operation not in cls.only:
            return False
        return getattr(cls, operation) is not getattr(Adapter, operation)

    def load(self, keys: list, values: list) -> None:
        """One call of the library for each entry; in a list, keys are the places behind its end."""
        raise NotImplementedError

    def load_bulk(self, keys: list, values: list) -> None:
        """By whatever the library offers for many entries at once."""
        raise NotImplementedError

    def storing(self) -> AbstractContextManager[Callable[[Any, Any], object]]:
        """A call that stores one entry; where there are transactions, each BATCH of calls is one."""
        raise NotImplementedError

    def sync(self) -> None:
        """Everything stored so far survives a power failure."""

    def get(self, keys: list) -> Any:
        """Gets every value, returns the last."""
        raise NotImplementedError

    def get_many(self, keys: list) -> Sequence:
        """All values, by one call of the library."""
        raise NotImplementedError

    def get_all(self, keys: list) -> Iterable:
        """Gets all values of every key, returns those of the last."""
        raise NotImplementedError

    def miss(self, keys: list) -> int:
        """Asks for every key, returns how many are there."""
        raise NotImplementedError

    def overwrite(self, keys: list, values: list) -> None:
        raise NotImplementedError

    def delete(self, keys: list) -> None:
        raise NotImplementedError

    def mixed(self, keys: list, values: list) -> Any:
        """Gets each key whose value is None, stores the others; returns the last value got."""
        raise NotImplementedError

    def iterate(self) -> tuple[Any, Any]:
        """Meets every entry once, in the library's own order; returns the last. Lists have None as key."""
        raise NotImplementedError

    def insert(self, places: list[int], values: list) -> None:
        """Each value before the one that is at its place now."""
        raise NotImplementedError

    def slices(self, places: list[int], length: int) -> Sequence:
        """So many values from each place on, returns the last such slice."""
        raise NotImplementedError

    def ranges(self, keys: list, length: int) -> Sequence:
        """So many keys from each one on, in their order; returns the last such range."""
        raise NotImplementedError

    def turn(self, values: list) -> Any:
        """Appends each value at one end and takes one from the other; returns the last one taken."""
        raise NotImplementedError

    def drain(self, places: list[int]) -> Any:
        """Takes so many values from the front; returns the last one."""
        raise NotImplementedError

    def value(self, key: Any) -> Any:
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


class OneByOne(Adapter):
    """Every write is a transaction of its own; reads are those of another side."""

    only = frozenset({"load", "overwrite"})
    kinds = frozenset({"int"})
    budget_share = 0.05


class MappingLoops(Adapter):
    """For what behaves as a dict: `self.data`."""

    data: Any

    def writing(self) -> AbstractContextManager:
        """Around the writes of a call: a transaction, where there are such."""
        return nullcontext()

    def load(self, keys: list, values: list) -> None:
        data = self.data
        with self.writing():
            for key, value in zip(keys, values):
                data[key] = value

    def load_bulk(self, keys: list, values: list) -> None:
        with self.writing():
            self.data.update(zip(keys, values))

    def get(self, keys: list) -> Any:
        data = self.data
        for key in keys:
            value = data[key]
        return value

    def miss(self, keys: list) -> int:
        get, found = self.data.get, 0
        for key in keys:
            if get(key) is not None:
                found += 1
        return found

    def overwrite(self, keys: list, values: list) -> None:
        self.load(keys, values)

    def delete(self, keys: list) -> None:
        data = self.data
        with self.writing():
            for key in keys:
                del data[key]

    def mixed(self, keys: list, values: list) -> Any:
        data, got = self.data, None
        with self.writing():
            for key, value in zip(keys, values):
                if value is None:
                    got = data[key]
                else:
                    data[key] = value
        return got

    def iterate(self) -> tuple[Any, Any]:
        key = value = None
        for key, value in self.data.items():
            pass
        return key, value

    def value(self, key: Any) -> Any:
        return self.data[key]

    def __len__(self) -> int:
        return len(self.data)


class PackedLoops(Adapter):
    """For stores of bytes under bytes, where one object can `get`, and one can `put` and `delete`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.keys, self.values = AS_BYTES[settings.key_kind], AS_BYTES[settings.value_kind]

    def reading(self) -> AbstractContextManager:
        """What gets."""
        raise NotImplementedError

    def writing(self) -> AbstractContextManager:
        """What puts and deletes: a transaction or batch, written at the end."""
        raise NotImplementedError

    def working(self) -> AbstractContextManager:
        """What gets and puts, and sees what it has put."""
        raise NotImplementedError

    def pairs(self, reader: Any) -> Iterable[tuple[bytes, bytes]]:
        raise NotImplementedError

    def load(self, keys: list, values: list) -> None:
        with self.writing() as writer:
            put = writer.put
            for key, value in zip(self.keys.pack(keys), self.values.pack(values)):
                put(key, value)

    def get(self, keys: list) -> Any:
        with self.reading() as reader:
            for value in self.values.unpack(map(reader.get, self.keys.pack(keys))):
                pass
        return value

    def miss(self, keys: list) -> int:
        found = 0
        with self.reading() as reader:
            for value in map(reader.get, self.keys.pack(keys)):
                if value is not None:
                    found += 1
        return found

    @contextmanager
    def storing(self) -> Iterator[Callable[[Any, Any], object]]:
        """For those whose single puts need no transaction."""
        pack_key, pack_value = self.keys.pack_one, self.values.pack_one
        with self.working() as worker:
            put = worker.put
            yield lambda key, value: put(pack_key(key), pack_value(value))

    def overwrite(self, keys: list, values: list) -> None:
        PackedLoops.load(self, keys, values)

    def delete(self, keys: list) -> None:
        with self.writing() as writer:
            delete = writer.delete
            for key in self.keys.pack(keys):
                delete(key)

    def mixed(self, keys: list, values: list) -> Any:
        packed = iter(self.values.pack([value for value in values if value is not None]))
        unpack, got = self.values.unpack_one, None
        with self.working() as worker:
            get, put = worker.get, worker.put
            for key, value in zip(self.keys.pack(keys), values):
                if value is not None:
                    put(key, next(packed))
                else:
                    got = get(key) if unpack is None else unpack(get(key))
        return got

    def iterate(self) -> tuple[Any, Any]:
        with self.reading() as reader:
            return last_pair(self.pairs(reader), self.keys, self.values)

    def value(self, key: Any) -> Any:
        return self.get([key])

    def __len__(self) -> int:
        """For stores that do not know."""
        with self.reading() as reader:
            return sum(1 for _ in self.pairs(reader))


class SequenceLoops(MappingLoops):
    """For what behaves as a list: `self.data`."""

    def load(self, keys: list, values: list) -> None:
        append = self.data.append
        for value in values:
            append(value)

    def load_bulk(self, keys: list, values: list) -> None:
        self.data.extend(values)

    def overwrite(self, keys: list, values: list) -> None:
        MappingLoops.load(self, keys, values)

    def iterate(self) -> tuple[Any, Any]:
        value = None
        for value in self.data:
            pass
        return None, value

    def insert(self, places: list[int], values: list) -> None:
        insert = self.data.insert
        for place, value in zip(places, values):
            insert(place, value)

    def slices(self, places: list[int], length: int) -> Sequence:
        data = self.data
        for place in places:
            piece = data[place : place + length]
        return piece


class SetLoops(MappingLoops):
    """For what behaves as a set: `self.data`. Values are the members themselves."""

    def load(self, keys: list, values: list) -> None:
        add = self.data.add
        for key in keys:
            add(key)

    def load_bulk(self, keys: list, values: list) -> None:
        self.data.update(keys)

    def get(self, keys: list) -> Any:
        data = self.data
        for key in keys:
            found = key in data
        return key if found else None

    def miss(self, keys: list) -> int:
        data, found = self.data, 0
        for key in keys:
            if key in data:
                found += 1
        return found

    def delete(self, keys: list) -> None:
        discard = self.data.discard
        for key in keys:
            discard(key)

    def iterate(self) -> tuple[Any, Any]:
        key = None
        for key in self.data:
            pass
        return key, key

    def value(self, key: Any) -> Any:
        return key if key in self.data else None


class QueueLoops(SequenceLoops):
    """For what behaves as a deque: `self.data`."""

    def turn(self, values: list) -> Any:
        append, popleft = self.data.append, self.data.popleft
        for value in values:
            append(value)
            taken = popleft()
        return taken

    def drain(self, places: list[int]) -> Any:
        popleft = self.data.popleft
        for _ in places:
            taken = popleft()
        return taken


class SortedLoops(MappingLoops):
    """For what behaves as a sortedcontainers.SortedDict: `self.data`."""

    def ranges(self, keys: list, length: int) -> Sequence:
        irange = self.data.irange
        for key in keys:
            piece = list(islice(irange(key), length))
        return piece


class HeapLoops(Adapter):
    """For priority queues that can `push` and `pop`. Values are their own priorities."""

    push: Callable[[Any], object]
    pop: Callable[[], Any]

    def load(self, keys: list, values: list) -> None:
        push = self.push
        for value in values:
            push(value)

    def drain(self, places: list[int]) -> Any:
        pop = self.pop
        for _ in places:
            taken = pop()
        return taken


class ArrayLoops(SequenceLoops):
    """For what behaves as an ndarray of ints: `self.data`."""

    def get(self, keys: list) -> Any:
        data = self.data
        for key in keys:
            value = data[key]
        return int(value)

    def value(self, key: Any) -> Any:
        return int(self.data[key])


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


def packages() -> list[str]:
    """What pip installs for all sides but ours."""
    _import_all()
    found = {cls.package or cls.requires for cls in _adapters.values() if cls.side != OURS}
    return sorted(found - {None})  # type: ignore[type-var]


def missing(cls: type[Adapter]) -> str | None:
    """Why this adapter cannot run here, or None."""
    if cls.requires is None:
        return None
    try:
        importlib.import_module(cls.requires)
    except ImportError as error:
        return f"{error} ({cls.install.format(cls.package or cls.requires)})"
    return None


def _import_all() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def chunks(items: list, size: int) -> Iterable[list]:
    """Slices: what goes into one transaction."""
    return (items[start : start + size] for start in range(0, len(items), size))
