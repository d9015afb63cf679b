#!/usr/bin/env python3
"""What a store costs beside time: bytes on disk, memory, bytes written by `sync()`, opening, recovery.

Each probe is a function of this process that starts fresh processes for whatever must not inherit its memory.
Run as a program it is such a process: `disk.py STEP JSON` carries out one step and prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from data import SEED
from workloads import allocated_bytes, memory_bytes

LIMITS = {"default": None, "64 MiB": 64 << 20}  # memory_limit
SAMPLE_SECONDS = 0.02  # between two looks at a child's memory
OPENINGS = 9
RECOVERED_OPERATIONS = 2_000_000
SYNCED_ENTRIES = 1_000_000
SYNCED_OPERATIONS = 1000
SYNCED_BATCH = 50  # operations between two looks at the counters of the device
SYNCED_VALUE_BYTES = 100
LARGE_VALUES = 2000
LARGE_BYTES = 1 << 20
LARGE_ROUNDS = 5
DEVICE_FIELDS = {"reads": 0, "sectors written": 6}  # in the kernel's `stat` of a block device


# ------------------------------------------------------------------------ steps, each in a process of its own


def open_container(task: dict) -> Any:
    import pyrsistence

    kind = {"dict": pyrsistence.EMDict, "list": pyrsistence.EMList}[task["container"]]
    limit = task.get("memory_limit")
    return kind(task["path"], **({} if limit is None else {"memory_limit": limit}))


def information(container: Any) -> Any:
    info = container.info
    return info() if callable(info) else info


def field(info: Any, name: str) -> int:
    return info[name] if isinstance(info, dict) else getattr(info, name)


def step_load(task: dict) -> dict:
    """Integers under integers, one by one."""
    container = open_container(task)
    started = time.perf_counter()
    if task["container"] == "list":
        for value in range(task["n"]):
            container.append(value)
    else:
        for key in range(task["n"]):
            container[key] = key
    loaded = time.perf_counter()
    container.close()
    closed = time.perf_counter()
    return {
        "load_seconds": loaded - started,
        "close_seconds": closed - loaded,
        "memory": memory_bytes(),
        "disk": allocated_bytes(Path(task["path"])),
    }


def step_open(task: dict) -> dict:
    """Opening, without the import of the package, which a program pays once whatever it opens."""
    import pyrsistence  # noqa: F401

    started = time.perf_counter()
    container = open_container(task)
    opened = time.perf_counter()
    expected = task["n"] if task.get("entries") is None else task["entries"]
    first = container[task["key"]]
    answered = time.perf_counter()
    if len(container) != expected or first != task["value"]:
        raise AssertionError(f"{task['path']}: {len(container)} entries, {first} under {task['key']}; {task}")
    container.close()
    return {"open": opened - started, "first": answered - started}


def step_write_and_die(task: dict) -> None:
    """Overwrites, notes in `task["acknowledged"]` what returned, and is killed without warning."""
    container = open_container(task)
    checkpoint, since = None, 0
    for done in range(task["operations"]):
        container[done % task["n"]] = -done
        if done % 1000 == 999:
            info = information(container)
            since = since + 1000 if field(info, "checkpoint") == checkpoint else 1000
            checkpoint = field(info, "checkpoint")
    report = {
        "key": done % task["n"],
        "value": -done,
        "since_checkpoint": since,
        "log_bytes": field(information(container), "log_bytes"),
    }
    Path(task["acknowledged"]).write_text(json.dumps(report))
    os.kill(os.getpid(), signal.SIGKILL)


def step_fill(task: dict) -> dict:
    container = open_container(task)
    value = bytes(SYNCED_VALUE_BYTES)
    for key in range(task["n"]):
        container[key] = value
    container.close()
    return {}


def step_sync(task: dict) -> dict:
    """Overwrites values of 100 bytes at random, with a sync after each."""
    container = open_container(task)
    choose = random.Random(SEED)
    keys = choose.choices(range(task["n"]), k=task["operations"])
    value = choose.randbytes(SYNCED_VALUE_BYTES)
    path = Path(task["path"])
    os.sync()
    written, devices = process_bytes("write_bytes"), []
    started = time.perf_counter()
    for batch in range(0, len(keys), SYNCED_BATCH):
        on_device = device_bytes_written(path)
        piece = keys[batch : batch + SYNCED_BATCH]
        for key in piece:
            container[key] = value
            container.sync()
        devices.append(per_operation(on_device, device_bytes_written(path), len(piece)))
    seconds = time.perf_counter() - started
    outcome = {
        "seconds": seconds / len(keys),
        "process": per_operation(written, process_bytes("write_bytes"), len(keys)),
        # Other programs use the device as well: a burst of theirs must not look like ours.
        "device": None if None in devices else statistics.median(devices),
    }
    container.close()
    return outcome


def step_large_values(task: dict) -> dict:
    """Stores values of 1 MiB one by one, with one sync in the end."""
    container = open_container(task)
    started = time.perf_counter()
    for key, value in large_values(task["values"]):
        container[key] = value
    container.sync()
    seconds = time.perf_counter() - started
    container.close()
    return {"seconds": seconds}


def step_large_file(task: dict) -> dict:
    """Writes the same bytes to a new file, with one sync in the end."""
    with open(task["path"], "xb", buffering=0) as file:
        started = time.perf_counter()
        for _, value in large_values(task["values"]):
            file.write(value)
        os.fsync(file.fileno())
        return {"seconds": time.perf_counter() - started}


def large_values(count: int) -> Iterator[tuple[int, bytes]]:
    """Different ones, each made from random bytes at the cost of a copy."""
    block = random.Random(SEED).randbytes(LARGE_BYTES)
    for key in range(count):
        yield key, key.to_bytes(8, "little") + block[8:]


STEPS: dict[str, Callable[[dict], Any]] = {
    "load": step_load,
    "open": step_open,
    "write-and-die": step_write_and_die,
    "fill": step_fill,
    "sync": step_sync,
    "large-values": step_large_values,
    "large-file": step_large_file,
}


# ------------------------------------------------------------------------------------- what the kernel counts


def process_bytes(which: str) -> int | None:
    """`read_bytes`: what the disk had to read for this process. `write_bytes`: what it made dirty in the page
    cache or wrote; a dirtied large folio counts whole."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return None
    return int(dict(line.split(": ") for line in lines)[which])


def device_count(path: Path, which: str) -> int | None:
    """What the block device under path has done for everyone; None if it has no counters."""
    number = os.stat(path).st_dev
    counters = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat")
    try:
        return int(counters.read_text().split()[DEVICE_FIELDS[which]])
    except OSError:
        return None


def device_bytes_written(path: Path) -> int | None:
    sectors = device_count(path, "sectors written")
    return None if sectors is None else sectors * 512  # the kernel's unit, whatever the device's sectors


def per_operation(before: int | None, after: int | None, operations: int) -> float | None:
    return None if before is None or after is None else (after - before) / operations


def drop_caches(path: Path, keep_others: bool) -> str:
    """Takes path out of the page cache, and unless keep_others everything else too; says how."""
    os.sync()
    if not keep_others:
        try:
            Path("/proc/sys/vm/drop_caches").write_text("3")
            return "drop_caches"
        except OSError:
            pass
    for file in path.rglob("*"):
        if file.is_file():
            with open(file, "rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return "posix_fadvise"


def read_by_another_program(path: Path) -> None:
    """As a backup would: every file whole, so that the kernel reads ahead in large folios."""
    for file in path.rglob("*"):
        if file.is_file():
            subprocess.run(["cat", file], stdout=subprocess.DEVNULL, check=True)


# ----------------------------------------------------------------------------------------------------- probes


def command(step: str, task: dict) -> list[str]:
    return [sys.executable, __file__, step, json.dumps(task)]


def run_step(step: str, task: dict) -> dict:
    done = subprocess.run(command(step, task), stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"step {step} ended with {done.returncode}; its message is above; {task}")
    return json.loads(done.stdout)


def watched_step(step: str, task: dict) -> dict:
    """As run_step, and samples the private memory of the process from outside."""
    peak = 0
    with subprocess.Popen(command(step, task), stdout=subprocess.PIPE, text=True) as child:
        status = Path(f"/proc/{child.pid}/status")
        while child.poll() is None:
            for line in status.read_text().splitlines():
                if line.startswith("RssAnon:"):
                    peak = max(peak, int(line.split()[1]) * 1024)
            time.sleep(SAMPLE_SECONDS)
        output = child.stdout.read()  # type: ignore[union-attr]
    if child.returncode != 0:
        raise RuntimeError(f"step {step} ended with {child.returncode}; its message is above; {task}")
    return {**json.loads(output), "peak_anonymous": peak}


def probe_load(scratch: Path, entries: int, _keep_caches: bool) -> dict:
    """Bytes on disk per entry and peak memory, for each container and memory_limit."""
    results = {}
    for container in ("dict", "list"):
        for label, limit in LIMITS.items():
            path = scratch / f"{container}-{label.split()[0]}"
            task = {"container": container, "path": str(path), "n": entries, "memory_limit": limit}
            outcome = watched_step("load", task)
            results[f"{container}, {label}"] = {
                "ns": outcome["load_seconds"] / entries * 1e9,
                "close_seconds": outcome["close_seconds"],
                "bytes_per_entry": outcome["disk"] / entries,
                "peak_anonymous": outcome["peak_anonymous"],
                "peak_resident": outcome["memory"]["VmHWM"],
            }
    return results


def probe_open(scratch: Path, entries: int, keep_caches: bool) -> dict:
    """Seconds to open, and to the first answer, warm and cold."""
    task = {"container": "dict", "path": str(scratch / "dict-default"), "n": entries}
    task |= {"key": entries // 3, "value": entries // 3}
    warm = [run_step("open", task) for _ in range(OPENINGS)]
    cold = []
    for _ in range(OPENINGS):
        how = drop_caches(Path(task["path"]), keep_caches)
        cold.append(run_step("open", task))
    return {"warm": medians(warm), "cold": medians(cold), "cold_by": how}


def medians(samples: list[dict]) -> dict:
    return {name: statistics.median(sample[name] for sample in samples) for name in samples[0]}


def probe_recovery(scratch: Path, entries: int, _keep_caches: bool) -> dict:
    """Seconds to open a store whose writer was killed, and operations replayed per second."""
    acknowledged = scratch / "acknowledged.json"
    task = {"container": "dict", "path": str(scratch / "dict-default"), "n": entries}
    writing = task | {"operations": min(entries, RECOVERED_OPERATIONS), "acknowledged": str(acknowledged)}
    killed = subprocess.run(command("write-and-die", writing))
    if killed.returncode != -signal.SIGKILL or not acknowledged.exists():
        raise RuntimeError(f"the writer ended with {killed.returncode} instead of by SIGKILL")
    report = json.loads(acknowledged.read_text())
    opened = run_step("open", task | {"key": report["key"], "value": report["value"]})
    again = run_step("open", task | {"key": report["key"], "value": report["value"]})
    replayed = report["since_checkpoint"]
    return {
        "operations": writing["operations"],
        "replayed": replayed,
        "log_bytes": report["log_bytes"],
        "open": opened["open"],
        "open_again": again["open"],
        "per_second": replayed / opened["open"],
    }


def probe_sync(scratch: Path, entries: int, keep_caches: bool) -> dict:
    """Bytes written for one operation of 100 bytes with a sync, from cold files."""
    path = scratch / "synced"
    task = {"container": "dict", "path": str(path), "n": min(entries, SYNCED_ENTRIES)}
    task["operations"] = min(task["n"], SYNCED_OPERATIONS)
    run_step("fill", task)
    results = {}
    for label in ("cold", "cold, then read whole by another program"):
        how = drop_caches(path, keep_caches)
        if "read whole" in label:
            read_by_another_program(path)
        results[label] = run_step("sync", task)
    return {"n": task["n"], "operations": task["operations"], "cold_by": how, "conditions": results}


def probe_large(scratch: Path, entries: int, _keep_caches: bool) -> dict:
    """Seconds to load large values, and to write the same bytes to a file, by turns."""
    values = max(2, min(entries // 500, LARGE_VALUES))
    seconds: dict[str, list[float]] = {"large-values": [], "large-file": []}
    for turn in range(LARGE_ROUNDS):
        for step in list(seconds)[:: 1 if turn % 2 else -1]:
            path = scratch / f"{step}-{turn}"
            os.sync()
            task = {"container": "dict", "path": str(path), "values": values}
            seconds[step].append(run_step(step, task)["seconds"])
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    ours, file = seconds["large-values"], seconds["large-file"]
    return {
        "values": values,
        "seconds": statistics.median(ours),
        "file_seconds": statistics.median(file),
        "ratio": statistics.median(ours) / statistics.median(file),
        "ratios": [one / other for one, other in zip(ours, file, strict=True)],
    }


# In this order: opening and recovery use the store that loading left.
PROBES: dict[str, Callable[[Path, int, bool], dict]] = {
    "disk.load": probe_load,
    "disk.open": probe_open,
    "disk.recovery": probe_recovery,
    "disk.sync": probe_sync,
    "disk.large": probe_large,
}
NEEDS_LOADED = {"disk.open", "disk.recovery"}


def measure(
    wanted: list[str],
    entries: int,
    directory: str | None,
    keep_caches: bool,
    announce: Callable[[str], None],
) -> dict:
    """Results of the wanted probes by name."""
    results = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=directory) as scratch:
        for name, probe in PROBES.items():
            if name in wanted:
                announce(name)
                results[name] = probe(Path(scratch), entries, keep_caches)
            elif name == "disk.load" and NEEDS_LOADED & set(wanted):
                run_step("load", {"container": "dict", "path": f"{scratch}/dict-default", "n": entries})
    return results


if __name__ == "__main__":
    print(json.dumps(STEPS[sys.argv[1]](json.loads(sys.argv[2]))))
