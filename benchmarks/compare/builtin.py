"""Python's own dict and list, which keep nothing: the speed to be measured against."""

from . import MappingLoops, SequenceLoops, Settings, register


@register
class BuiltinDict(MappingLoops):
    side = "builtin"
    container = "dict"
    title = "dict"
    configuration = "in memory"
    after_kill = "nothing"
    after_power_loss = "nothing"
    persistent = False

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.data = {}


@register
class BuiltinList(SequenceLoops):
    side = "builtin"
    container = "list"
    title = "list"
    configuration = "in memory"
    after_kill = "nothing"
    after_power_loss = "nothing"
    persistent = False

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.data = []
