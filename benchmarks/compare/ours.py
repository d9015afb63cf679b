"""pyrsistence itself, used as its documentation says: with nothing configured."""

from collections.abc import Iterable

from . import (
    OURS,
    TOGETHER,
    TRANSACTIONS,
    DurableAdapter,
    MappingLoops,
    SequenceLoops,
    Settings,
    chunks,
    register,
)

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


@register
class OurDurableDict(DurableAdapter):
    side = OURS
    title = "EMDict"
    requires = "pyrsistence"
    install = "pip install ."
    configuration = "`sync()` after each"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        from pyrsistence import EMDict

        self.data = EMDict(settings.directory / "store", **settings.options)

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

    def close(self) -> None:
        self.data.close()


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
