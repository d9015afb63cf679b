#!/usr/bin/env python3
"""How long single operations take: the distribution over a whole load, with its worst.

The clock is read before and after each call, and about 50 ns of the result are the clock's. As a program it
is one side of one row: `latency.py JSON` prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import compare
from compare import BATCH, OURS
from data import KINDS, Scatter
from workloads import pieces, settings_for

# Share of the operations that take no longer.
PERCENTILES = {"p50": 0.5, "p99": 0.99, "p99.99": 0.9999, "worst": 1.0}


@dataclass(frozen=True)
class Row:
    title: str
    scattered: bool


ROWS: dict[str, Row] = {
    "latency.insert": Row("each `d[i] = i`, in order", False),
    "latency.insert-random": Row("each `d[i] = i`, in random order", True),
}


def load(store: Callable, batches: Iterator[list[int]], budget: float) -> Counter[int]:
    """Time in ns -> operations that took as long. Stops when the budget, in seconds, is spent."""
    taken: Counter[int] = Counter()
    clock = time.perf_counter_ns
    stop = clock() + budget * 1e9
    for keys in batches:
        times = []
        note = times.append
        for key in keys:
            started = clock()
            store(key, key)
            note(clock() - started)
        taken.update(times)
        if clock() > stop:
            break
    return taken


def percentiles(taken: Counter[int]) -> dict[str, int]:
    operations = sum(taken.values())
    found: dict[str, int] = {}
    below = 0
    for time_taken in sorted(taken):
        below += taken[time_taken]
        for name, share in PERCENTILES.items():
            if name not in found and below >= share * operations:
                found[name] = time_taken
    return found


def perform(task: dict) -> dict:
    row, kind = ROWS[task["row"]], KINDS["int"]
    adapter_class = compare.adapters("dict")[task["side"]]
    order = Scatter(task["n"]) if row.scattered else int
    starts = range(0, task["n"], BATCH)
    sizes = pieces(task["n"], BATCH)
    batches = (list(map(order, range(start, start + size))) for start, size in zip(starts, sizes))
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=task["directory"]) as directory:
        settings = settings_for(kind, Path(directory), task["n"], ascending=not row.scattered)
        adapter = adapter_class(settings)
        with adapter.storing() as store:
            taken = load(store, batches, task["budget"] * adapter.budget_share)
        operations = sum(taken.values())
        checked = [order(place) for place in range(0, operations, max(1, operations // 100))]
        if any(adapter.value(key) != key for key in checked):
            raise AssertionError(f"{task['side']}: what was stored is not there")
        adapter.close()
    return {"operations": operations, "ns": percentiles(taken)}


def measure_side(task: dict) -> dict:
    os.sync()
    arguments = [sys.executable, __file__, json.dumps(task)]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"benchmarks: {task['side']} failed, its message is above; the task was {task}")
    return json.loads(done.stdout)


def measure(wanted: list[str], chosen: list[str], task: dict, announce: Callable[[str], None]) -> dict:
    """Row -> side -> percentiles, for the wanted rows and chosen sides. Once: the worst has no median."""
    known = {side: adapter for side, adapter in compare.adapters("dict").items() if adapter.offers("storing")}
    results: dict[str, dict] = {}
    for name in wanted if OURS in chosen else ():
        for side in filter(chosen.__contains__, known):
            announce(f"{name}: {side}")
            measured = measure_side({**task, "row": name, "side": side})
            results.setdefault(name, {})[side] = {"column": known[side].column(), **measured}
    return results


if __name__ == "__main__":
    print(json.dumps(perform(json.loads(sys.argv[1]))))
