#!/usr/bin/env python3
"""The shadow memory of examples/, one byte of flags for every byte of an address space, as EMArray and as EMList.

The same work for both: a range is added, strings in it are marked, all flags are counted, flagged bytes are searched for,
single bytes are looked up.
"""

import argparse
import importlib
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

BASE = 0x400000
SIDES = {"EMArray": "shadow_memory", "EMList": "shadow_memory_list"}


def work(shadow, size: int, marks: int):
    """Pairs of a name and a function, whose results must be equal on both sides."""
    choose = random.Random(5)
    strings = [(BASE + choose.randrange(size - 300), choose.randrange(8, 300)) for _ in range(marks)]
    places = [BASE + choose.randrange(size) for _ in range(100_000)]

    def mark():
        for start, length in strings:
            shadow.set(start, start + length, 1 + (length >= 64))

    yield "add the range", lambda: shadow.add(BASE, BASE + size)
    yield f"mark {marks:,} strings", mark
    yield "set a flag everywhere", lambda: shadow.set(BASE, BASE + size, 128)
    yield "count two flags", lambda: (shadow.count(1), shadow.count(128))
    yield "1,000 searches", lambda: [shadow.next(place, 2) for place in places[:1000]]
    yield "100,000 look-ups", lambda: sum(shadow[place] for place in places)


def measure(side: str, size: int, marks: int) -> tuple[dict, list]:
    """Seconds and results of each part of the work."""
    seconds, results = {}, []
    with tempfile.TemporaryDirectory() as directory:
        with importlib.import_module(SIDES[side]).ShadowMemory(Path(directory) / "shadow") as shadow:
            for name, part in work(shadow, size, marks):
                started = time.perf_counter()
                results.append(part())
                seconds[name] = time.perf_counter() - started
            started = time.perf_counter()
            shadow.sync()
            seconds["sync"] = time.perf_counter() - started
    return seconds, results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=16 << 20, help="bytes of address space")
    parser.add_argument("--marks", type=int, default=20_000, help="strings that are marked")
    arguments = parser.parse_args()
    measured = {side: measure(side, arguments.size, arguments.marks) for side in SIDES}
    (ours, found), (lists, expected) = measured["EMArray"], measured["EMList"]
    assert found == expected, "the two sides differ"
    print(f"{arguments.size:,} bytes, seconds\n\n| | EMArray | EMList | times as fast |\n|---|---:|---:|---:|")
    ours["all"], lists["all"] = sum(ours.values()), sum(lists.values())
    for name in ours:
        print(f"| {name} | {ours[name]:.3f} | {lists[name]:.3f} | {lists[name] / ours[name]:.1f} |")


if __name__ == "__main__":
    main()
