"""sortedcontainers: a dict and a sorted list of its keys, in memory."""

from . import Settings, SortedLoops, register
from .builtin import Builtin


@register
class SortedContainersDict(Builtin, SortedLoops):
    side = "sortedcontainers"
    container = "sorted dict"
    title = "SortedDict"
    requires = "sortedcontainers"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        from sortedcontainers import SortedDict

        self.data = SortedDict()
