#!/usr/bin/env python3
"""Durable operations per second, beside what the disk itself can do.

An operation is durable if it survives a power failure once it has returned. All sides of a row are open in
one process on one file system and take turns every few operations, so that all meet the same disk. The disk's
own rate is `os.pwrite` of 4 KiB and `os.fdatasync`, block after block of a file that is there already; Python
takes a few microseconds of that, as it does from the others. As a program it is one row: `durable.py JSON`
prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import compare
from compare import OURS, Settings
from data import SEED

DISK = "disk"
BLOCK = 4096
DISK_BYTES = 64 << 20
ENTRIES = 1_000_000  # stored before, at most
VALUE_BYTES = 100
SLICE = 50  # durable steps of one side at a stretch
STEPS = 1000  # of each side in a round, at most: enough for sqlite3 to meet its checkpoints
ROUNDS = 3  # for each repetition


@dataclass(frozen=True)
class Row:
    title: str
    container: str  # of its adapters
    together: int = 1  # operations that become durable in one step


ROWS: dict[str, Row] = {
    "durable.put": Row("`d[k] = v; d.sync()`", "durable"),
    "durable.transaction": Row(
        "`with store.transaction():`, 10 operations on two dicts", compare.TRANSACTIONS, compare.TOGETHER
    ),
}


class Disk:
    """What the disk does without any store."""

    def __init__(self, directory: Path, together: int) -> None:
        self.together = together
        self.block = random.Random(SEED).randbytes(BLOCK)
        self.descriptor = os.open(directory / "blocks", os.O_RDWR | os.O_CREAT)
        # Block by block: the page cache keeps what was written at once together, and syncs it more slowly.
        for offset in range(0, DISK_BYTES, BLOCK):
            os.pwrite(self.descriptor, self.block, offset)
        os.fsync(self.descriptor)
        self.offset = 0

    def put(self, items: list[tuple[int, bytes]]) -> None:
        descriptor, block = self.descriptor, self.block
        for _ in range(len(items) // self.together):
            os.pwrite(descriptor, block, self.offset)
            os.fdatasync(descriptor)
            self.offset = (self.offset + BLOCK) % DISK_BYTES

    def close(self) -> None:
        os.close(self.descriptor)


# -------------------------------------------------------------------------------- one row, in its own process


class Turns:
    """The sides of a row, which take turns."""

    def __init__(self, task: dict, directory: Path) -> None:
        self.row = ROWS[task["row"]]
        self.random = random.Random(SEED)
        self.entries = min(task["n"], ENTRIES)
        self.steps = min(task["ops"], STEPS)
        known = compare.adapters(self.row.container)
        self.sides = {DISK: Disk(directory, self.row.together)}
        for side in task["sides"]:
            (directory / side).mkdir()
            self.sides[side] = known[side](Settings(directory / side, self.entries, value_kind="bytes"))
            value = self.random.randbytes(VALUE_BYTES)
            self.sides[side].fill((key, value) for key in range(self.entries))
        self.written: dict[str, dict[int, bytes]] = {side: {} for side in self.sides}

    def items(self, steps: int) -> list[tuple[int, bytes]]:
        """Random keys, of which about half are stored already."""
        choose, randbytes = self.random.randrange, self.random.randbytes
        return [(choose(2 * self.entries), randbytes(VALUE_BYTES)) for _ in range(steps * self.row.together)]

    def slices(self) -> Iterator[int]:
        for start in range(0, self.steps, SLICE):
            yield min(SLICE, self.steps - start)

    def round(self) -> dict[str, float]:
        """Steps per second of each side; the order turns round after every slice."""
        seconds = dict.fromkeys(self.sides, 0.0)
        order = list(self.sides)
        for steps in self.slices():
            for side in order:
                items = self.items(steps)
                started = time.perf_counter()
                self.sides[side].put(items)
                seconds[side] += time.perf_counter() - started
                self.written[side].update(items)
            order.reverse()
        return {side: self.steps / spent for side, spent in seconds.items()}

    def check(self) -> None:
        for side, written in self.written.items():
            for key, value in written.items() if side != DISK else ():
                if self.sides[side].value(key) != value:
                    raise AssertionError(f"{side}: what was stored under {key} is not there")

    def close(self) -> None:
        for side in self.sides.values():
            side.close()


def perform(task: dict) -> dict:
    """Rounds until there are enough or time is up. One before is not counted: logs grow to their length."""
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=task["directory"]) as directory:
        turns = Turns(task, Path(directory))
        os.sync()
        turns.round()
        stop = time.monotonic() + task["budget"] * len(turns.sides)
        rounds = [turns.round()]
        while len(rounds) < task["rounds"] and time.monotonic() < stop:
            rounds.append(turns.round())
        turns.check()
        turns.close()
    return {"entries": turns.entries, "steps": turns.steps, "rounds": rounds}


# --------------------------------------------------------------------------------------------------- all rows


def taking_part(row: Row, chosen: list[str]) -> list[str]:
    return [side for side in compare.adapters(row.container) if side in chosen]


def run_row(name: str, task: dict) -> dict:
    os.sync()
    arguments = [sys.executable, __file__, json.dumps({"row": name, **task})]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"benchmarks: {name} failed, its message is above; the task was {task}")
    return json.loads(done.stdout)


def measure(wanted: list[str], chosen: list[str], task: dict, announce: Callable[[str], None]) -> dict:
    """Results of the wanted rows by name. `chosen` are sides that can run; without ours there are none."""
    results = {}
    for name in wanted if OURS in chosen else ():
        sides = taking_part(ROWS[name], chosen)
        announce(f"{name}: {', '.join(sides)}")
        known = compare.adapters(ROWS[name].container)
        described = {side: f"{known[side].column()}: {known[side].configuration}" for side in sides}
        results[name] = {"sides": described} | run_row(name, task | {"sides": sides})
    return results


if __name__ == "__main__":
    print(json.dumps(perform(json.loads(sys.argv[1]))))
