#!/usr/bin/env python3
"""What is measured: workloads, each a chain of timed rows on one fresh container.

Run as a program it is one measurement: it takes a JSON task as its argument, carries it out in this process,
and prints one line of JSON. `run.py` starts one such process for each side and repetition, so that none
inherits the memory of another.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import compare
from compare import Adapter, Settings

# The clock is read, and the time spent so far compared with the budget, once in so many operations.
CHUNK = 100_000
SEED = 20_240_607


@dataclass(frozen=True)
class Row:
    """One line of a table: an operation, timed."""

    name: str
    title: str
    measure: Callable[[Run], dict]
    reads: bool = False


@dataclass(frozen=True)
class Workload:
    """A chain of rows on one container; workloads of one container share a table."""

    name: str
    container: str
    rows: tuple[Row, ...]

    def needs(self, wanted: set[str]) -> list[Row]:
        """The rows up to the last one wanted: each builds on what the ones before it stored."""
        last = max((index for index, row in enumerate(self.rows) if row.name in wanted), default=-1)
        return [row for index, row in enumerate(self.rows[: last + 1]) if index == 0 or row.name in wanted]


class Run:
    """One side's way through a workload."""

    def __init__(self, adapter: Adapter, task: dict) -> None:
        self.adapter = adapter
        self.entries: int = task["n"]
        self.operations: int = task["ops"]
        self.budget = task["budget"] * adapter.budget_share  # seconds for each row
        self.random = random.Random(SEED + task["repetition"])
        self.load_seconds = 0.0
        self.reached = 0  # entries stored

    def timed(self, call: Callable, pieces: Iterator) -> tuple[float, int]:
        """Seconds in `call`, and how many operations those were when pieces or budget ended."""
        spent, done = 0.0, 0
        for piece in pieces:
            started = time.perf_counter()
            call(piece)
            spent += time.perf_counter() - started
            done += len(piece)
            if spent > self.budget:
                break
        return spent, done

    def random_keys(self) -> Iterator[list[int]]:
        for start in range(0, self.operations, CHUNK):
            yield self.random.choices(range(self.reached), k=min(CHUNK, self.operations - start))


def result(seconds: float, operations: int) -> dict:
    return {"ns": seconds / operations * 1e9, "operations": operations}


def measure_load(run: Run, call: Callable[[range], None]) -> dict:
    keys = range(run.entries)
    pieces = (keys[start : start + CHUNK] for start in range(0, run.entries, CHUNK))
    run.load_seconds, run.reached = run.timed(call, pieces)
    if len(run.adapter) != run.reached:
        raise AssertionError(f"{run.adapter.side}: {len(run.adapter)} entries after storing {run.reached}")
    return result(run.load_seconds, run.reached)


def load(run: Run) -> dict:
    return measure_load(run, run.adapter.load)


def load_bulk(run: Run) -> dict:
    return measure_load(run, run.adapter.load_bulk)


def durable(run: Run) -> dict:
    """The load and one sync after it, per entry."""
    started = time.perf_counter()
    run.adapter.sync()
    return result(run.load_seconds + time.perf_counter() - started, run.reached)


def get(run: Run) -> dict:
    return result(*run.timed(run.adapter.get, run.random_keys()))


def overwrite(run: Run) -> dict:
    written: list[list[int]] = []

    def pieces() -> Iterator[list[int]]:
        for piece in run.random_keys():
            written[:] = [piece]
            yield piece

    outcome = result(*run.timed(run.adapter.overwrite, pieces()))
    for key in written[0][:: max(1, len(written[0]) // 1000)]:
        value = run.adapter.value(key)
        if value != key + 1:
            raise AssertionError(f"{run.adapter.side}: {value} under {key} after storing {key + 1}")
    return outcome


def iterate(run: Run) -> dict:
    started = time.perf_counter()
    last = run.adapter.iterate()
    outcome = result(time.perf_counter() - started, run.reached)
    if run.adapter.ordered and last != run.adapter.value(run.reached - 1):
        raise AssertionError(f"{run.adapter.side}: iteration over {run.reached} entries ended with {last}")
    return outcome


WORKLOADS: dict[str, Workload] = {}


def register(workload: Workload) -> None:
    WORKLOADS[workload.name] = workload


register(
    Workload(
        "dict",
        "dict",
        (
            Row("dict.insert", "`d[i] = i`, one by one", load),
            Row("dict.insert-sync", "the same with `sync()` at the end", durable),
            Row("dict.get", "`d[k]`, random keys", get, reads=True),
            Row("dict.overwrite", "`d[k] = k + 1`, random keys", overwrite),
            Row("dict.iterate", "`for k, v in d.items()`", iterate, reads=True),
        ),
    )
)
register(
    Workload(
        "dict-bulk",
        "dict",
        (
            Row("dict.update", "`d.update(...)`, in bulk", load_bulk),
            Row("dict.update-sync", "the same with `sync()` at the end", durable),
        ),
    )
)
register(
    Workload(
        "list",
        "list",
        (
            Row("list.append", "`l.append(i)`, one by one", load),
            Row("list.append-sync", "the same with `sync()` at the end", durable),
            Row("list.get", "`l[i]`, random places", get, reads=True),
            Row("list.set", "`l[i] = x`, random places", overwrite),
            Row("list.iterate", "`for x in l`", iterate, reads=True),
        ),
    )
)
register(
    Workload(
        "list-bulk",
        "list",
        (
            Row("list.extend", "`l.extend(...)`, in bulk", load_bulk),
            Row("list.extend-sync", "the same with `sync()` at the end", durable),
        ),
    )
)


def takes_part(adapter: type[Adapter], workload: Workload) -> bool:
    """A side that stores entry by entry has nothing for loading in bulk."""
    first = workload.rows[0].measure
    return first is not load_bulk or adapter.load_bulk is not Adapter.load_bulk


def rows_for(adapter: type[Adapter], rows: list[Row]) -> list[Row]:
    return [
        row
        for row in rows
        if not (row.reads and adapter.writes_only)
        and not (row.measure is durable and (adapter.writes_only or not adapter.persistent))
    ]


def allocated_bytes(directory: Path) -> int:
    """What the files below directory occupy, which for sparse files is less than their length."""
    return sum(path.lstat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())


def memory_bytes() -> dict[str, int]:
    """Of this process. VmHWM: the peak of resident memory, mapped files included; RssAnon: without, now."""
    wanted = {"VmHWM", "VmRSS", "RssAnon"}
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return {name: int(fields[name].split()[0]) * 1024 for name in sorted(wanted & fields.keys())}


def perform(task: dict) -> dict:
    """One side, one workload, one repetition."""
    workload = WORKLOADS[task["workload"]]
    adapter_class = compare.adapters(workload.container)[task["side"]]
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=task["directory"]) as directory:
        adapter = adapter_class(Settings(Path(directory), task["n"]))
        run = Run(adapter, task)
        needed = rows_for(adapter_class, workload.needs(set(task["rows"])))
        rows = {row.name: row.measure(run) for row in needed}
        memory = memory_bytes()
        adapter.close()
        disk = allocated_bytes(Path(directory)) if adapter.persistent else None
    return {"rows": rows, "reached": run.reached, "memory": memory, "disk": disk}


if __name__ == "__main__":
    print(json.dumps(perform(json.loads(sys.argv[1]))))
