#!/usr/bin/env python3
"""Shadow memory: one byte of flags for every byte of an address space, one EMList per range.

The same as shadow_memory.py with Python's own types instead of NumPy's; benchmarks/shadow_memory.py compares them.

Run on its own, it shadows the executable and read-only mappings of the running Python interpreter, marks the
bytes that are printable text, forgets everything, opens the directory again and queries it.
"""

import argparse
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pyrsistence import EMList

CHUNK = 1 << 20  # elements moved at a time: bounds the memory of a call, whatever the size of the range

TEXT = 1
LONG = 2


class ShadowMemory:
    """Flags for address ranges, kept in `directory/0xSTART-0xEND`; END is not part of a range."""

    def __init__(self, directory: str | Path, mode: str = "a") -> None:
        self.directory = Path(directory)
        self.ranges: dict[tuple[int, int], EMList] = {}
        self._mode = mode
        for path in sorted(self.directory.glob("0x*-0x*")):
            start, end = (int(bound, 16) for bound in path.name.split("-"))
            self.ranges[start, end] = EMList(path, mode=mode)

    def add(self, start: int, end: int) -> None:
        """Adds the range `[start, end)`, with every flag clear."""
        for low, high in self.ranges:
            if start < high and low < end:
                raise ValueError(f"{start:#x}-{end:#x} overlaps {low:#x}-{high:#x}")
        self.directory.mkdir(parents=True, exist_ok=True)
        flags = EMList(self.directory / f"{start:#x}-{end:#x}", mode="w")
        while len(flags) < end - start:
            flags.extend(bytes(min(CHUNK, end - start - len(flags))))
        self.ranges[start, end] = flags

    def set(self, start: int, end: int, flag: int) -> None:
        """Sets `flag` on every shadowed byte of `[start, end)`."""
        for flags, low, high in self._pieces(start, end):
            flags[low:high] = [old | flag for old in flags[low:high]]

    def clear(self, start: int, end: int, flag: int) -> None:
        """Clears `flag` on every shadowed byte of `[start, end)`."""
        for flags, low, high in self._pieces(start, end):
            flags[low:high] = [old & ~flag for old in flags[low:high]]

    def __getitem__(self, address: int) -> int:
        for (start, end), flags in self.ranges.items():
            if start <= address < end:
                return flags[address - start]
        raise KeyError(f"no range holds {address:#x}")

    def count(self, flag: int) -> int:
        """The number of bytes that have `flag`, in all ranges."""
        table = bytes(1 if value & flag else 0 for value in range(256))
        return sum(
            bytes(flags[low:high]).translate(table).count(1)
            for start, end in self.ranges
            for flags, low, high in self._pieces(start, end)
        )

    def next(self, address: int, flag: int) -> int | None:
        """The lowest address from `address` on that has `flag`, or None."""
        table = bytes(1 if value & flag else 0 for value in range(256))
        for start, end in sorted(self.ranges):
            for flags, low, high in self._pieces(max(start, address), end):
                found = bytes(flags[low:high]).translate(table).find(1)
                if found >= 0:
                    return start + low + found
        return None

    def sync(self) -> None:
        for flags in self.ranges.values():
            flags.sync()

    def close(self) -> None:
        for flags in self.ranges.values():
            flags.close()
        self.ranges.clear()

    def __enter__(self) -> "ShadowMemory":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pieces(self, start: int, end: int) -> Iterator[tuple[EMList, int, int]]:
        """The parts of `[start, end)` that are shadowed: list, first and last index, at most CHUNK apart."""
        for (low, high), flags in self.ranges.items():
            first, last = max(start, low) - low, min(end, high) - low
            for index in range(first, last, CHUNK):
                yield flags, index, min(index + CHUNK, last)


def mappings() -> Iterator[tuple[int, int]]:
    """The mappings of this process that hold code or constants, from its own memory map."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        bounds, permissions, *_, name = line.split()
        if permissions.startswith("r-") and name.startswith("/"):
            start, _, end = bounds.partition("-")
            yield int(start, 16), int(end, 16)


def mark_text(shadow: ShadowMemory, start: int, end: int) -> None:
    """Flags the printable strings of at least eight characters in this process's memory."""
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        memory.seek(start)
        content = memory.read(end - start)
    for match in re.finditer(rb"[\x20-\x7e]{8,}", content):
        length = match.end() - match.start()
        flag = TEXT | LONG if length >= 64 else TEXT
        shadow.set(start + match.start(), start + match.end(), flag)


def build(directory: Path, limit: int) -> None:
    with ShadowMemory(directory) as shadow:
        total = 0
        for start, end in mappings():
            end = min(end, start + limit - total)
            if start == end:
                break
            shadow.add(start, end)
            mark_text(shadow, start, end)
            total += end - start
        print(f"{len(shadow.ranges)} ranges, {total:,} bytes shadowed")


def query(directory: Path) -> None:
    with ShadowMemory(directory, mode="r") as shadow:
        size = sum(end - start for start, end in shadow.ranges)
        print(f"reopened: {len(shadow.ranges)} ranges, {size:,} bytes")
        print(f"bytes of text: {shadow.count(TEXT):,}, in strings of 64 and more: {shadow.count(LONG):,}")
        first = shadow.next(0, LONG)
        if first is not None:
            print(f"the first long string is at {first:#x}, flags {shadow[first]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="a directory to keep; without it, a temporary one")
    parser.add_argument("--limit", type=int, default=4 << 20, help="bytes of address space to shadow")
    arguments = parser.parse_args()
    if arguments.out and arguments.out.exists() and any(arguments.out.iterdir()):
        parser.error(f"{arguments.out} is not empty: name a new directory")
    with tempfile.TemporaryDirectory() as temporary:
        directory = arguments.out or Path(temporary) / "shadow"
        build(directory, arguments.limit)
        query(directory)


if __name__ == "__main__":
    main()
