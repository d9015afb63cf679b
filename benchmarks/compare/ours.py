"""pyrsistence itself, used as its documentation says: with nothing configured."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

from . import (
    OURS,
    TOGETHER,
    TRANSACTIONS,
    Adapter,
    ArrayLoops,
    DurableAdapter,
    HeapLoops,
    MappingLoops,
    QueueLoops,
    SequenceLoops,
    SetLoops,
    Settings,
    SortedLoops,
    chunks,
    register,
)


class Ours(Adapter):
    """One container in a store of its own, `self.data`."""

    side = OURS
    requires = "pyrsistence"
    install = "pip install ."
    configuration = "defaults"
    after_kill = "every operation that returned"
    after_power_loss = "an exact prefix of the operations, at least up to the last sync"
    collection: str  # its class

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        import pyrsistence

        self.data = getattr(pyrsistence, self.collection)(settings.directory / "store", **settings.options)

    def sync(self) -> None:
        self.data.sync()

    def close(self) -> None:
        self.data.close()


@register
class OurDict(Ours, MappingLoops):
    container = "dict"
    title = collection = "EMDict"

    def load_bulk(self, keys: list, values: list) -> None:
        """In a list, update() sees which pairs come next."""
        self.data.update(list(zip(keys, values)))

    def get_many(self, keys: list) -> Sequence:
        return self.data.get_many(keys)

    def storing(self) -> AbstractContextManager[Callable[[object, object], object]]:
        return nullcontext(self.data.__setitem__)


@register
class OurList(Ours, SequenceLoops):
    container = "list"
    title = collection = "EMList"


@register
class OurSet(Ours, SetLoops):
    container = "set"
    title = collection = "EMSet"


@register
class OurDeque(Ours, QueueLoops):
    container = "deque"
    title = collection = "EMDeque"


@register
class OurSortedDict(Ours, SortedLoops):
    container = "sorted dict"
    title = collection = "EMSortedDict"

    def load_bulk(self, keys: list, values: list) -> None:
        self.data.update(list(zip(keys, values)))


@register
class OurPriorityQueue(Ours, HeapLoops):
    container = "priority queue"
    title = collection = "EMPriorityQueue"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.push, self.pop = self.data.push, self.data.pop

    def __len__(self) -> int:
        return len(self.data)


@register
class OurMultiDict(Ours):
    container = "multi dict"
    title = collection = "EMMultiDict"

    def load(self, keys: list, values: list) -> None:
        add = self.data.add
        for key, value in zip(keys, values):
            add(key, value)

    def get_all(self, keys: list) -> Iterable:
        getall = self.data.getall
        for key in keys:
            values = getall(key)
        return values

    def iterate(self) -> tuple[object, object]:
        for pair in self.data.items():
            pass
        return pair

    def __len__(self) -> int:
        return len(self.data)


@register
class OurArray(Ours, ArrayLoops):
    container = "array"
    title = collection = "EMArray"

    def __init__(self, settings: Settings) -> None:
        settings.options = {**settings.options, "dtype": "i8"}
        super().__init__(settings)

    def iterate(self) -> tuple[object, object]:
        for block in self.data.blocks():
            block.sum()
        return None, int(block[-1])


@register
class OurDurableDict(DurableAdapter, Ours):
    title = collection = "EMDict"
    configuration = "`sync()` after each"

    def fill(self, items: Iterable[tuple[int, bytes]]) -> None:
        self.data.update(items)
        self.data.checkpoint()

    def put(self, items: list[tuple[int, bytes]]) -> None:
        data, sync = self.data, self.data.sync
        for key, value in items:
            data[key] = value
            sync()

    def value(self, key: int) -> bytes:
        return self.data[key]


@register
class OurTransactions(DurableAdapter):
    side = OURS
    container = TRANSACTIONS
    title = "Store"
    requires = "pyrsistence"
    install = "pip install ."
    configuration = "`with store.transaction():`, two dicts"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        from pyrsistence import Store

        self.store = Store(settings.directory / "store", **settings.options)
        self.dicts = self.store.dict("even"), self.store.dict("odd")

    def fill(self, items: Iterable[tuple[int, bytes]]) -> None:
        for key, value in items:
            self.dicts[key & 1][key] = value
        self.dicts[0].checkpoint()

    def put(self, items: list[tuple[int, bytes]]) -> None:
        store, dicts = self.store, self.dicts
        for batch in chunks(items, TOGETHER):
            with store.transaction():
                for key, value in batch:
                    dicts[key & 1][key] = value

    def value(self, key: int) -> bytes:
        return self.dicts[key & 1][key]

    def close(self) -> None:
        self.store.close()
