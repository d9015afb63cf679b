#!/usr/bin/env python3
"""EMArray, numpy.memmap and ndarray with data that are NumPy's already: scans in bytes per second, single items at two
sizes; a dict that is filled from arrays, and looked up with one."""

import argparse
import random
import tempfile
import time
from pathlib import Path

import numpy

from pyrsistence import EMArray, EMDict


def best(action, repetitions: int = 5) -> float:
    """Seconds of the fastest repetition."""
    times = []
    for _ in range(repetitions):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


def get(array, places: list) -> None:
    for place in places:
        array[place]


def put(array, places: list) -> None:
    for place in places:
        array[place] = 1.5


def scans(array: EMArray, mapped: numpy.memmap, values: numpy.ndarray) -> dict:
    """GB/s of going through all items; the first time the checksum of each page is computed."""
    rates = {"`extend(ndarray)`": best(lambda: array.extend(values), 1)}
    rates["of a memmap, `m[:] = ndarray`"] = best(lambda: mapped.__setitem__(slice(None), values), 1)
    array.checkpoint()
    rates["`blocks()`, the first time"] = best(lambda: [block.sum() for block in array.blocks()], 1)
    rates["`blocks()`"] = best(lambda: [block.sum() for block in array.blocks()])
    rates["`view()`"] = best(lambda: [pages.sum() for pages in array.view()])
    rates["of a memmap, `m.sum()`"] = best(mapped.sum)
    return {name: f"{values.nbytes / seconds / 1e9:.2f} GB/s" for name, seconds in rates.items()}


def items(array: EMArray, mapped: numpy.memmap, count: int) -> dict:
    """Nanoseconds for each of many random items."""
    choose = random.Random(1)
    places = [choose.randrange(count) for _ in range(200_000)]
    indices, plain = numpy.array(places), numpy.asarray(mapped)
    sides = {"EMArray": array, "memmap": mapped, "ndarray": plain}
    times = {f"`a[i]`, {name}": best(lambda side=side: get(side, places)) for name, side in sides.items()}
    times |= {f"`a[i] = x`, {name}": best(lambda side=side: put(side, places)) for name, side in sides.items()}
    times |= {f"`a[indices]`, {name}": best(lambda side=side: side[indices]) for name, side in sides.items()}
    return {name: f"{seconds / len(places) * 1e9:.0f} ns" for name, seconds in times.items()}


def pairs(count: int) -> dict:
    """Nanoseconds for each pair of two arrays that a new dict takes, and for each key of one that is looked up."""
    generator = numpy.random.default_rng(1)
    k, v = generator.permutation(count), generator.integers(0, 1 << 40, count)
    loads = {
        "`d.update(zip(k, v))`": lambda d: d.update(zip(k, v)),
        "`d.update(zip(k.tolist(), v.tolist()))`": lambda d: d.update(zip(k.tolist(), v.tolist())),
        "`d.update(dict(zip(k.tolist(), v.tolist())))`": lambda d: d.update(dict(zip(k.tolist(), v.tolist()))),
        "`d.update(numpy.column_stack((k, v)))`": lambda d: d.update(numpy.column_stack((k, v))),
    }
    times = {}
    for name, load in loads.items():
        with tempfile.TemporaryDirectory() as directory, EMDict(Path(directory) / "d") as d:
            times[name] = best(lambda load=load, d=d: load(d), 1)
            if name == list(loads)[-1]:
                times["`[d[x] for x in k]`"] = best(lambda: [d[x] for x in k])
                times["`d.get_many(k)`"] = best(lambda: d.get_many(k))
    return {name: f"{seconds / count * 1e9:.0f} ns" for name, seconds in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=16_000_000, help="items of 8 bytes")
    arguments = parser.parse_args()
    table: dict[str, list[str]] = {}
    sizes = (10_000, arguments.n)
    for size in sizes:
        with tempfile.TemporaryDirectory() as directory, EMArray(Path(directory) / "a", "f8") as array:
            mapped = numpy.memmap(Path(directory) / "m", "f8", mode="w+", shape=(size,))
            found = scans(array, mapped, numpy.random.default_rng(1).random(size)) | items(array, mapped, size)
            for name, figure in found.items():
                table.setdefault(name, []).append(figure)
    print("| | " + " | ".join(f"{size:,} items" for size in sizes) + " |\n|---|---:|---:|")
    for name, figures in table.items():
        print(f"| {name} | " + " | ".join(figures) + " |")
    count = min(1_000_000, arguments.n)
    print(f"\n| EMDict | {count:,} pairs |\n|---|---:|")
    for name, figure in pairs(count).items():
        print(f"| {name} | {figure} |")


if __name__ == "__main__":
    main()
