"""Python's own collections, which keep nothing: the speed to be measured against."""

import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from . import Adapter, HeapLoops, MappingLoops, QueueLoops, SequenceLoops, SetLoops, Settings, register


class Builtin(Adapter):
    side = "builtin"
    configuration = "in memory"
    after_kill = "nothing"
    after_power_loss = "nothing"
    persistent = False


@register
class BuiltinDict(Builtin, MappingLoops):
    container = title = "dict"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.data = {}

    def get_many(self, keys: list) -> Sequence:
        return list(map(self.data.__getitem__, keys))

    def storing(self) -> AbstractContextManager[Callable[[object, object], object]]:
        return nullcontext(self.data.__setitem__)


@register
class BuiltinList(Builtin, SequenceLoops):
    container = title = "list"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.data = []


@register
class BuiltinSet(Builtin, SetLoops):
    container = title = "set"
    ordered = False

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.data: set = set()


@register
class BuiltinDeque(Builtin, QueueLoops):
    container = title = "deque"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.data: deque[Any] = deque()


@register
class BuiltinHeap(Builtin, HeapLoops):
    container = "priority queue"
    title = "heapq"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.data: list = []

    def load(self, keys: list, values: list) -> None:
        data, push = self.data, heapq.heappush
        for value in values:
            push(data, value)

    def drain(self, places: list[int]) -> Any:
        data, pop = self.data, heapq.heappop
        for _ in places:
            taken = pop(data)
        return taken

    def __len__(self) -> int:
        return len(self.data)


@register
class BuiltinMultiDict(Builtin):
    container = "multi dict"
    title = "defaultdict(list)"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.data: defaultdict[Any, list] = defaultdict(list)

    def load(self, keys: list, values: list) -> None:
        data = self.data
        for key, value in zip(keys, values):
            data[key].append(value)

    def get_all(self, keys: list) -> Iterable:
        data = self.data
        for key in keys:
            values = data[key]
        return values

    def iterate(self) -> tuple[Any, Any]:
        for key, values in self.data.items():
            for value in values:
                pass
        return key, value

    def __len__(self) -> int:
        return sum(map(len, self.data.values()))
