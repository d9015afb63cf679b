"""sqlitedict (https://github.com/piskvorky/sqlitedict): a dict on sqlite3 in a thread of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import BATCH, MappingLoops, Settings, register


def same(value: Any) -> Any:
    return value


@register
class SqliteDictPackage(MappingLoops):
    side = "sqlitedict"
    container = "dict"
    title = "sqlitedict"
    requires = "sqlitedict"
    configuration = (
        f"WAL, `commit()` after {BATCH:,} writes, outer_stack=False; int and bytes as sqlite3 keeps them, "
        "other values pickled"
    )
    after_kill = "all but the open transaction"
    after_power_loss = "may be damaged"
    ordered = False
    budget_share = 0.05

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        import sqlitedict

        encoding = {} if settings.value_kind == "object" else {"encode": same, "decode": same}
        number = {"encode_key": str, "decode_key": int} if settings.key_kind == "int" else {}
        path = str(settings.directory / "store.sqlite")
        self.data = sqlitedict.SqliteDict(path, journal_mode="WAL", outer_stack=False, **encoding, **number)

    @contextmanager
    def writing(self) -> Iterator[None]:
        yield
        self.data.commit()

    def close(self) -> None:
        self.data.close()
