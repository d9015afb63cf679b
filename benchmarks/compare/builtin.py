"""Python's own collections, which keep nothing: the speed to be measured against."""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from . import Adapter, MappingLoops, QueueLoops, SequenceLoops, SetLoops, Settings, register


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
