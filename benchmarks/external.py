#!/usr/bin/env python3
"""External sorting and shuffling: `python benchmarks/external.py`, by way of `make bench-external`.

In C++, a file of 16-byte records four times as large as the memory limit is sorted into another one, in a memory
cgroup of twice the limit, so that the page cache cannot hold it. What that is measured by is reading and writing the data
twice, which no external sort can do without: in the same group, on the same disk, in turn. In Python, items are sorted
that take, as an EMList stores them, four times the memory limit or more, beside sorted() with all memory.

    python benchmarks/external.py --write-docs         what the project publishes; needs a disk with room for 4 GiB
    python benchmarks/external.py --limit 64M --n 20k   a trial

As a program with JSON as its argument it is one step, and prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import report
import run
from memory_limit import MemoryLimit, Unavailable

ROOT = run.HERE.parent
PROGRAM = ROOT / "build-bench" / "external_sort"
NUMBERS = run.NUMBERS.with_name("external-results.json")
FACTOR = 4  # data, in memory limits
GOAL = 1.5  # times of reading and writing twice
SIDES = {
    "copy": "reading and writing it twice",
    "sort": "`ExternalSorter`",
    "stxxl": "`stxxl::sorter`",
    "shuffle": "`ExternalShuffler`",
}
PYTHON_SIDES = ("external", "sorted", "shuffle")
UNITS = {"k": 1000, "M": 1_000_000}

KINDS: dict[str, tuple[str, Callable[[int], Any], Callable | None]] = {
    "int": ("`int`", lambda bits: bits, None),
    "float": ("`float`", lambda bits: bits / 3, None),
    "str": ("`str`", str, None),
    "key": ("`int`, by a key", lambda bits: bits, lambda item: -item),
    "tuple": ("`tuple` of two, by its first", lambda bits: (bits >> 40, bits), lambda item: item[0]),
    "pair": ("`tuple` of two", lambda bits: (bits >> 40, bits), None),
}


# ------------------------------------------------------------------------ steps, each in a process of its own


def python_step(task: dict) -> dict:
    """The bytes of the items as an EMList stores them; processor and elapsed nanoseconds per item."""
    import pyrsistence

    _title, make, key = KINDS[task["kind"]]
    rng = random.Random(1)
    items = [make(rng.getrandbits(60)) for _ in range(task["n"])]
    limits = {"memory_limit": task["limit"], "directory": task["directory"]}
    calls: dict[str, Callable] = {
        "external": lambda: pyrsistence.external_sort(items, key=key, **limits),
        "sorted": lambda: sorted(items, key=key),
        "shuffle": lambda: pyrsistence.shuffle(items, seed=1, **limits),
    }
    sample = items[:1000]
    stored = sum(len(pyrsistence._core._encode(item)) for item in sample)
    measured: dict[str, Any] = {"bytes": stored * task["n"] // len(sample)}
    for name, call in calls.items():
        started, used = time.perf_counter(), time.process_time()
        count = sum(1 for _ in call())
        measured[name] = [(time.perf_counter() - started) / count * 1e9, (time.process_time() - used) / count * 1e9]
        if count != task["n"]:
            raise AssertionError(f"{name}: {count} items")
    return measured


# ------------------------------------------------------------------------------------------------ measurement


def children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def one_side(side: str, folder: Path, options: argparse.Namespace, limit: MemoryLimit) -> tuple[float, float] | None:
    """Elapsed and processor seconds; None if the program was built without this side."""
    arguments = [str(PROGRAM), side, str(folder / "in"), str(folder / "out"), str(options.limit), str(folder)]
    before = children()
    done = limit.run(arguments, timeout=3600)
    used = children() - before
    if done.returncode == 3 or (done.returncode != 0 and side == "stxxl"):
        run.say(f"SKIPPED {side}: not in this build, or it failed with so little memory")
        return None
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} failed")
    return float(done.stdout.split()[-1]), used


def measure_cpp(options: argparse.Namespace, folder: Path) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    make = [str(PROGRAM), "make", str(folder / "in"), "-", str(FACTOR * options.limit), str(folder)]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
    with MemoryLimit(2 * options.limit) as limit:
        for _turn in range(options.repeat):
            for side in SIDES:
                run.say(f"{side}")
                if measured := one_side(side, folder, options, limit):
                    found.setdefault(side, []).append(measured)
                    if side in ("sort", "stxxl"):
                        one_side("check", folder, options, limit)
    return found


def measure_python(options: argparse.Namespace, folder: Path) -> dict[str, dict]:
    found = {}
    for kind in KINDS:
        run.say(f"Python, {kind}")
        task = {"kind": kind, "n": options.n, "limit": options.python_limit, "directory": str(folder)}
        done = subprocess.run([sys.executable, __file__, json.dumps(task)], check=True, stdout=subprocess.PIPE, text=True)
        found[kind] = json.loads(done.stdout)
    return found


def measure(options: argparse.Namespace) -> dict:
    results: dict[str, Any] = {"environment": run.environment(options.directory)}
    results["settings"] = {"limit": options.limit, "n": options.n, "python_limit": options.python_limit}
    results["settings"]["repeat"] = options.repeat
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        if not PROGRAM.exists():
            run.say(f"SKIPPED C++: there is no {PROGRAM}; make bench-external builds it")
        else:
            try:
                results["cpp"] = measure_cpp(options, Path(name))
            except Unavailable as error:
                run.say(f"SKIPPED C++: {error}")
        results["python"] = measure_python(options, Path(name))
    return results


# ------------------------------------------------------------------------------------------------------ tables


def cpp_table(results: dict) -> str:
    measured, limit = results["cpp"], results["settings"]["limit"]
    median = {side: [statistics.median(run[i] for run in runs) for i in (0, 1)] for side, runs in measured.items()}
    least = median["copy"][0]
    rows = [
        (SIDES[side], f"{elapsed:.1f}", f"{used:.1f}", f"{elapsed / least:.1f}", f"{limit * FACTOR / elapsed / 2**20:,.0f}")
        for side, (elapsed, used) in median.items()
    ]
    text = report.markdown(("", "seconds", "of them computing", "times the first", "MiB per second"), rows)
    if median["sort"][0] > GOAL * least:
        text += f"\n**Not within {GOAL} times of the first row**: on this disk sorting is bound by the processor.\n"
    text += f"\n{FACTOR * limit >> 20:,} MiB of records of 16 bytes at random, memory limit {limit >> 20} MiB, "
    text += f"median of {results['settings']['repeat']}, {results['environment']['date']}.\n"
    return text


def python_table(results: dict) -> str:
    rows = []
    for kind, measured in results["python"].items():
        times = (measured[side] for side in PYTHON_SIDES)
        rows.append((KINDS[kind][0], *(f"{report.number(elapsed)} ({report.number(used)})" for elapsed, used in times)))
    limit = results["settings"]["python_limit"]
    sizes = sorted(measured["bytes"] for measured in results["python"].values())
    text = report.markdown(("ns per item", "`external_sort`", "`sorted`, in memory", "`shuffle`"), rows)
    settings = results["settings"]
    text += f"\nn = {report.count(settings['n'])}, items of {sizes[0] >> 20} to {sizes[-1] >> 20} MiB as an `EMList` "
    text += "stores them, "
    text += f"{sizes[0] / limit:.1f} to {sizes[-1] / limit:.1f} times the memory limit of {limit / 2**20:g} MiB; "
    if sizes[0] < FACTOR * limit:
        text += f"**less than {FACTOR} times the limit**; "
    return text + f"in brackets the processor's time; {results['environment']['date']}.\n"


# --------------------------------------------------------------------------------------------------- arguments


def quantity(text: str) -> int:
    """64M or 1G, of 1024."""
    return int(float(text.rstrip("MG")) * {"M": 1 << 20, "G": 1 << 30}.get(text[-1:], 1))


def many(text: str) -> int:
    """20k or 4M, of 1000."""
    return int(float(text.rstrip("kM")) * UNITS.get(text[-1:], 1))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--limit", type=quantity, default=256 << 20, help="bytes of memory in C++, such as 256M (default)")
    add("--n", type=many, default=4_000_000, help="items in Python (default: 4M)")
    add("--python-limit", type=quantity, default=8 << 20, help="bytes of memory in Python (default: 8M)")
    add("--repeat", type=int, default=3, help="runs in C++, of which the median is taken (default: 3)")
    add("--directory", help="where files are made; must be on a disk (default: the temporary directory)")
    add("--json", type=Path, default=NUMBERS, help="where the numbers go (default: %(default)s)")
    document = {"nargs": "?", "type": Path, "const": run.DOCUMENT}
    add("--write-docs", **document, help="put the tables into docs/performance.md or a file")
    add("--from-json", type=Path, help="do not measure, use these numbers")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.from_json is None:
        results = measure(options)
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1) + "\n")
        run.say(f"numbers are in {options.json}")
    results = json.loads((options.from_json or options.json).read_text())
    made = {"external-python": python_table(results)}
    if "cpp" in results:
        made["external-cpp"] = cpp_table(results)
    for text in made.values():
        print(text)
    if options.write_docs:
        report.write(options.write_docs, made)
    return 0


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].startswith("{"):
        print(json.dumps(python_step(json.loads(sys.argv[1]))))
    else:
        sys.exit(main())
