"""numpy.memmap: an array in a file, which neither grows nor keeps more than the kernel happens to have written."""

from typing import Any

from . import ArrayLoops, Settings, register


@register
class MemmapArray(ArrayLoops):
    side = "memmap"
    container = "array"
    title = "numpy.memmap"
    requires = "numpy"
    install = "pip install numpy"
    configuration = "as long as the data from the beginning"
    after_kill = "every operation that returned"
    after_power_loss = "any of the pages"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        import numpy

        path = settings.directory / "array"
        self.used = settings.entries if path.exists() else 0
        mode: Any = "r+" if path.exists() else "w+"
        self.data = numpy.memmap(path, "i8", mode=mode, shape=(settings.entries,))

    def load(self, keys: list, values: list) -> None:
        data = self.data
        for place, value in enumerate(values, self.used):
            data[place] = value
        self.used += len(values)

    def load_bulk(self, keys: list, values: list) -> None:
        self.data[self.used : self.used + len(values)] = values
        self.used += len(values)

    def iterate(self) -> tuple[Any, Any]:
        used = self.data[: self.used]
        used.sum()
        return None, int(used[-1])

    def sync(self) -> None:
        self.data.flush()

    def __len__(self) -> int:
        return self.used
