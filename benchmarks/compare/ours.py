"""pyrsistence itself, used as its documentation says: with nothing configured."""

from . import OURS, MappingLoops, SequenceLoops, Settings, register

AFTER_KILL = "every operation that returned"
AFTER_POWER_LOSS = "an exact prefix of the operations, at least up to the last sync"


@register
class OurDict(MappingLoops):
    side = OURS
    container = "dict"
    title = "EMDict"
    requires = "pyrsistence"
    install = "pip install ."
    configuration = "defaults"
    after_kill = AFTER_KILL
    after_power_loss = AFTER_POWER_LOSS

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        from pyrsistence import EMDict

        self.data = EMDict(settings.directory / "store", **settings.options)

    def sync(self) -> None:
        self.data.sync()

    def close(self) -> None:
        self.data.close()


@register
class OurList(SequenceLoops):
    side = OURS
    container = "list"
    title = "EMList"
    requires = "pyrsistence"
    install = "pip install ."
    configuration = "defaults"
    after_kill = AFTER_KILL
    after_power_loss = AFTER_POWER_LOSS

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        from pyrsistence import EMList

        self.data = EMList(settings.directory / "store", **settings.options)

    def sync(self) -> None:
        self.data.sync()

    def close(self) -> None:
        self.data.close()
