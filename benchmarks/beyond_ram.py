#!/usr/bin/env python3
"""More data than memory: `python benchmarks/beyond_ram.py`.

The store is loaded in order and without a limit. Then each row is a fresh process in a memory cgroup, which
begins with empty caches: random insertion of new keys, random reads one by one and many at once, and a scan.
What the disk can do is measured in between. Needs a disk with room for three times the largest multiple, and
the right to make a memory cgroup.

    python benchmarks/beyond_ram.py --write-docs               what the project publishes; hours
    python benchmarks/beyond_ram.py --limit 64M --factors 2    a trial

As a program with JSON as its argument it is one step, and prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import compare
import disk
import report
import run
from compare import BATCH, OURS, Adapter
from data import KINDS, SEED, Scatter
from memory_limit import MemoryLimit, Unavailable
from workloads import allocated_bytes, pieces, settings_for

DATA = KINDS["page"]
NUMBERS = run.NUMBERS.with_name("beyond-ram-results.json")
RIVALS = "lmdb,rocksdict"
MANY = 1000  # keys in a call that takes many
FEW = 200  # reads between two looks at the clock: each may be a seek
PROBE_SECONDS = 3
ROOM = 3  # bytes on disk for each byte of keys and values
BYTES = {"M": 1 << 20, "G": 1 << 30}
ROOT = run.HERE.parent
PROBE = ROOT / "build-bench" / "disk_probe"


# ------------------------------------------------------------------------ steps, each in a process of its own


def open_store(task: dict) -> Adapter:
    at_random = task["step"] not in ("load", "scan")
    memory = {"cache_bytes": task["limit"] // 4, "beyond_memory": at_random, "ascending": task["step"] == "load"}
    settings = settings_for(DATA, Path(task["path"]), 2 * task["n"], **memory)
    return compare.adapters("dict")[task["side"]](settings)


def step_load(task: dict) -> dict:
    """All entries, as quickly as the library can."""
    adapter = open_store(task)
    started = time.perf_counter()
    for start in range(0, task["n"], BATCH):
        indices = range(start, min(start + BATCH, task["n"]))
        adapter.load_bulk(DATA.keys(indices), DATA.values(indices))
    adapter.close()
    return {"seconds": time.perf_counter() - started, "disk": allocated_bytes(Path(task["path"]))}


class Counters:
    """What the kernel has read: for this process, and on the device for everyone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.start = self.now()

    def now(self) -> tuple[int | None, int | None]:
        return disk.process_bytes("read_bytes"), disk.device_count(self.path, "reads")

    def per(self, operations: int) -> dict[str, float | None]:
        read, reads = (disk.per_operation(*both, operations) for both in zip(self.start, self.now()))
        return {"bytes": read, "reads": reads}


def spend(call: Callable, batches: Iterator[tuple], budget: float) -> tuple[float, int]:
    """Seconds and operations until the budget is spent."""
    spent, done = 0.0, 0
    for operations, arguments, check in batches:
        started = time.perf_counter()
        outcome = call(*arguments)
        spent += time.perf_counter() - started
        done += operations
        check(outcome)
        if spent > budget:
            break
    return spent, done


def unchecked(_outcome: Any) -> None:
    pass


def expecting(expected: Any) -> Callable[[Any], None]:
    def check(outcome: Any) -> None:
        if outcome != expected:
            raise AssertionError(f"{outcome!r} instead of {expected!r}")

    return check


def step_insert(task: dict) -> dict:
    """New keys between those that are there, by whatever takes many entries at once, and a sync in the end."""
    adapter, scattered = open_store(task), Scatter(task["n"], seed=task["n"])

    def batches() -> Iterator[tuple]:
        for start in range(0, task["n"], BATCH):
            indices = list(map(scattered, range(start, min(start + BATCH, task["n"]))))
            yield len(indices), (list(map(DATA.absent, indices)), DATA.values(indices, 1)), unchecked

    seconds, done = spend(adapter.load_bulk, batches(), task["budget"])
    started = time.perf_counter()
    adapter.sync()
    return finish(adapter, seconds + time.perf_counter() - started, done)


def random_reads(task: dict, count: int) -> Iterator[list[int]]:
    choose = random.Random(SEED + task["n"])
    for size in pieces(task["n"], count):
        yield [choose.randrange(task["n"]) for _ in range(size)]


def step_get(task: dict) -> dict:
    adapter = open_store(task)
    chosen = random_reads(task, FEW)
    batches = ((len(some), (DATA.keys(some),), expecting(DATA.value(some[-1]))) for some in chosen)
    return reading(task, adapter, adapter.get, batches)


def step_get_many(task: dict) -> dict:
    adapter = open_store(task)
    chosen = (sorted(set(indices)) for indices in random_reads(task, MANY))
    batches = ((len(some), (DATA.keys(some),), expecting(DATA.values(some))) for some in chosen)
    return reading(task, adapter, lambda keys: list(adapter.get_many(keys)), batches)


def step_scan(task: dict) -> dict:
    """Everything once; ended from outside when the time is up."""
    adapter = open_store(task)
    batches = iter([(task["n"], (), unchecked)])
    return reading(task, adapter, adapter.iterate, batches)


def reading(task: dict, adapter: Adapter, call: Callable, batches: Iterator[tuple]) -> dict:
    counters = Counters(Path(task["path"]))
    seconds, done = spend(call, batches, task["budget"])
    return {**counters.per(done), **finish(adapter, seconds, done)}


def finish(adapter: Adapter, seconds: float, done: int) -> dict:
    outcome = {"per_second": done / seconds, "operations": done}
    adapter.close()
    return outcome


# Row -> what it does, and the operation that a side has to offer for it.
ROWS: dict[str, tuple[Callable[[dict], dict], str]] = {
    "insert": (step_insert, "load_bulk"),
    "get": (step_get, "get"),
    "get_many": (step_get_many, "get_many"),
    "scan": (step_scan, "iterate"),
}
STEPS = {"load": step_load, **{name: step for name, (step, _) in ROWS.items()}}


# --------------------------------------------------------------------------------------------------- the disk


def probe_disk(directory: str | None) -> dict | None:
    """What the C++ program beside this one measures, compiled if need be; None if there is none."""
    source = run.HERE / "cpp" / "disk_probe.cpp"
    if not PROBE.exists() and source.exists():
        PROBE.parent.mkdir(exist_ok=True)
        flags = ["-O2", "-std=c++20", "-pthread"]
        subprocess.run(["c++", *flags, str(source), "-o", str(PROBE)], check=True)
    if not PROBE.exists():
        run.say("SKIPPED the disk's own figures: there is no benchmarks/cpp/disk_probe.cpp")
        return None
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=directory) as scratch:
        arguments = [str(PROBE), f"{scratch}/probe", str(PROBE_SECONDS)]
        done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        run.say("SKIPPED the disk's own figures: disk_probe failed, its message is above")
        return None
    return json.loads(done.stdout)


# -------------------------------------------------------------------------------------------------- measuring


def measure_side(side: str, options: argparse.Namespace, limit: MemoryLimit) -> dict:
    """Factor -> rows. Each has a store of its own: what insertion scatters would slow down later scans."""
    adapter = compare.adapters("dict")[side]
    results: dict[str, dict] = {}
    for factor in options.factors:
        n = factor * options.limit // DATA.payload
        with tempfile.TemporaryDirectory(prefix="benchmark-", dir=options.directory) as scratch:
            if shutil.disk_usage(scratch).free < ROOM * n * DATA.payload:
                run.say(f"SKIPPED {side} at {factor} times the limit: not enough room on the disk")
                break
            task = {"side": side, "path": scratch, "limit": options.limit, "budget": options.budget, "n": n}
            loaded = run_step("load", task)
            results[str(factor)] = {"n": n, "load": loaded, **measure_rows(adapter, task, options, limit)}
    return {"column": adapter.column(), "configuration": adapter.configuration, "factors": results}


def measure_rows(adapter: type[Adapter], task: dict, options: argparse.Namespace, limit: MemoryLimit) -> dict:
    """Row -> figures, or why there are none. Insertion comes last: it changes what the others read."""
    rows = {}
    for name in ("get", "get_many", "scan", "insert"):
        if adapter.offers(ROWS[name][1]):
            disk.drop_caches(Path(task["path"]), options.keep_caches)
            rows[name] = run_limited(name, task, limit)
            run.say(f"{task['side']}, {task['n']:,} entries: {name}: {rows[name]}")
    return rows


def command(step: str, task: dict) -> list[str]:
    return [sys.executable, __file__, json.dumps({"step": step, **task})]


def run_step(step: str, task: dict) -> dict:
    done = subprocess.run(command(step, task), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def run_limited(step: str, task: dict, limit: MemoryLimit) -> dict:
    """A row that collapses is ended: a call of BATCH operations may go on when the budget is spent."""
    timeout = 3 * task["budget"] + 60
    try:
        done = limit.run(command(step, task), timeout)
    except subprocess.TimeoutExpired:
        return {"failure": f"ended after {timeout:.0f} s"}
    if done.returncode == -9:
        return {"failure": "killed for want of memory"}
    if done.returncode != 0:
        raise SystemExit(f"benchmarks: {step} failed, its message is above; the task was {task}")
    return json.loads(done.stdout)


def measure(options: argparse.Namespace) -> dict | None:
    """None where no memory cgroup can be made."""
    known = [side for side, adapter in compare.adapters("dict").items() if adapter.offers("load_bulk")]
    rivals = run.select(options.rivals, [side for side in known if side != OURS], "rival")
    results: dict[str, Any] = {"environment": run.environment(options.directory), "skipped": {}, "sides": {}}
    results["settings"] = {"limit": options.limit, "factors": options.factors, "budget": options.budget}
    try:
        with MemoryLimit(options.limit) as limit:
            results["disk"] = [probe_disk(options.directory)]
            for side in (OURS, *rivals):
                if reason := compare.missing(compare.adapters("dict")[side]):
                    run.say(f"SKIPPED {side}: {reason}")
                    results["skipped"][side] = reason
                    continue
                results["sides"][side] = measure_side(side, options, limit)
                results["disk"].append(probe_disk(options.directory))
    except Unavailable as error:
        run.say(f"SKIPPED everything: {error}")
        return None
    return results


# -------------------------------------------------------------------------------------------------- arguments


def quantity(text: str) -> int:
    """512M or 2G."""
    return int(float(text.rstrip("MG")) * BYTES.get(text[-1:], 1))


def multiples(text: str) -> list[int]:
    return sorted(map(int, text.split(",")))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--limit", type=quantity, default=512 << 20, help="bytes of memory, such as 512M (default)")
    add("--factors", type=multiples, default=[2, 8, 20], help="data, in multiples of that (default: 2,8,20)")
    add("--rivals", default=RIVALS, help=f"rivals to measure beside pyrsistence (default: {RIVALS})")
    add("--budget", type=float, default=60.0, help="seconds after which a row stops (default: 60)")
    add("--directory", help="where stores are made; must be on a disk (default: the temporary directory)")
    add("--json", type=Path, default=NUMBERS, help="where the numbers go (default: %(default)s)")
    document = {"nargs": "?", "type": Path, "const": run.DOCUMENT}
    add("--write-docs", **document, help="put the table into docs/performance.md or a file")
    add("--from-json", type=Path, help="do not measure, use these numbers")
    add("--keep-caches", action="store_true", help="empty the page cache of our own files only, also as root")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.from_json is None:
        results = measure(options)
        if results is None:
            return 0
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1) + "\n")
        run.say(f"numbers are in {options.json}")
    made = {"beyond-ram": report.beyond_ram(json.loads((options.from_json or options.json).read_text()))}
    print(made["beyond-ram"])
    if options.write_docs:
        report.write(options.write_docs, made)
    return 0


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].startswith("{"):
        request = json.loads(sys.argv[1])
        print(json.dumps(STEPS[request["step"]](request)))
    else:
        sys.exit(main())
