#!/usr/bin/env python3
"""Measures pyrsistence against its rivals: `python benchmarks/run.py`.

Every measurement is a fresh process on a fresh store; the sides take turns, and the whole is repeated. Tables
go to the standard output, numbers to a JSON file, and with --write-docs the tables into docs/performance.md:

    python benchmarks/run.py --n 16M --ops 2M --write-docs   what the project publishes
    python benchmarks/run.py --n 10k,100k,1M --write-docs    plots over n, tables of the largest
    python benchmarks/run.py --rows dict.get,disk.sync   some rows
    python benchmarks/run.py --rivals lmdb,builtin       some rivals
    python benchmarks/run.py --from-json FILE --write-docs   tables again, without measuring
"""

from __future__ import annotations

import argparse
import datetime
import fnmatch
import importlib.metadata
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import compare
import disk
import durable
import latency
import plots
import report
from compare import OURS
from workloads import WORKLOADS, takes_part

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parent / "docs" / "performance.md"
NUMBERS = HERE.parent / "build" / "benchmark-results.json"
UNITS = {"k": 1_000, "M": 1_000_000}


# -------------------------------------------------------------------------------------------------- arguments


def quantity(text: str) -> int:
    """1000, 500k or 16M."""
    factor = UNITS.get(text[-1:], 1)
    value = int(float(text.removesuffix("k").removesuffix("M")) * factor)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def quantities(text: str) -> list[int]:
    """Several, separated by commas, in ascending order."""
    return sorted({quantity(part) for part in text.split(",")})


def all_rows() -> list[str]:
    compared = [row.name for workload in WORKLOADS.values() for row in workload.rows]
    return [*compared, *latency.ROWS, *durable.ROWS, *disk.PROBES]


def select(patterns: str | None, names: list[str], what: str) -> list[str]:
    """The names that a comma-separated list of names, prefixes and wildcards means; all without a list."""
    if patterns is None:
        return names
    chosen = set()
    for pattern in filter(None, patterns.split(",")):
        fitting = {name for name in names if fnmatch.fnmatch(name, pattern) or name.startswith(f"{pattern}.")}
        if not fitting:
            raise SystemExit(f"no {what} is called '{pattern}'; there are {', '.join(names)}")
        chosen |= fitting
    return [name for name in names if name in chosen]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--n", type=quantities, default=[1_000_000], help="entries, such as 16M or 10k,1M (default: 1M)")
    add("--ops", type=quantity, default=200_000, help="random operations in a row, at most n (default: 200k)")
    add("--repeat", type=int, default=3, help="repetitions (default: 3)")
    add("--rows", help="rows, such as dict.get,list,disk.* (default: all)")
    add("--rivals", help="rivals to measure beside pyrsistence (default: all)")
    add("--budget", type=float, default=30.0, help="seconds after which a row stops (default: 30)")
    add("--directory", help="where stores are made; should be on a disk (default: the temporary directory)")
    add("--json", type=Path, default=NUMBERS, help="where the numbers go (default: %(default)s)")
    add(
        "--write-docs",
        nargs="?",
        type=Path,
        const=DOCUMENT,
        help="put tables into docs/performance.md or a file",
    )
    add("--parts", help="of what was measured, the parts to publish, such as set,plots (default: all)")
    add("--from-json", type=Path, help="do not measure, use these numbers")
    add("--keep-caches", action="store_true", help="empty the page cache of our own files only, also as root")
    add("--list", action="store_true", help="name all rows and rivals")
    add("--packages", action="store_true", help="name what pip installs for all rivals and plots")
    return parser.parse_args(arguments)


# ------------------------------------------------------------------------------------------------ environment


def first_value(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(key):
            return line.split(":", 1)[1].strip()
    return "unknown"


def file_system(directory: Path) -> str:
    """The type of the file system that holds directory."""
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _device, point, kind = line.split()[:3]
        if directory.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def versions() -> dict[str, str]:
    found = {"sqlite": sqlite3.sqlite_version}
    for name in ("pyrsistence", *compare.packages()):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    return dict(sorted(found.items()))


def environment(directory: str | None) -> dict:
    return {
        "cpu": first_value("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory": f"{int(first_value('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.0f} GiB",
        "kernel": platform.release(),
        "file_system": file_system(Path(directory or tempfile.gettempdir()).resolve()),
        "python": platform.python_version(),
        "versions": versions(),
        "date": datetime.date.today().isoformat(),
    }


# -------------------------------------------------------------------------------------------------- measuring


def say(text: str) -> None:
    print(f"benchmarks: {text}", file=sys.stderr, flush=True)


def participants(chosen: list[str]) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """(workload, side) in the order of one repetition, and why sides are missing."""
    turns, skipped = [], {}
    for workload in WORKLOADS.values():
        for side, adapter in compare.adapters(workload.container).items():
            if side not in chosen or not takes_part(adapter, workload):
                continue
            reason = compare.missing(adapter)
            if reason is None:
                turns.append((workload.name, side))
            else:
                skipped[side] = reason
    return turns, skipped


def measure_once(task: dict) -> dict:
    # What the process before left unwritten must not be written during this one.
    os.sync()
    arguments = [sys.executable, str(HERE / "workloads.py"), json.dumps(task)]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"benchmarks: {task['side']} failed, its message is above; the task was {task}")
    return json.loads(done.stdout)


def described(container: str, side: str) -> dict:
    adapter = compare.adapters(container)[side]
    facts = ("configuration", "after_kill", "after_power_loss")
    return {"column": adapter.column(), **{fact: getattr(adapter, fact) for fact in facts}, "runs": []}


def compare_sides(task: dict, repeat: int, turns: list[tuple[str, str]]) -> dict:
    """Workload -> side -> runs. The sides of a workload take turns, in every other repetition backwards."""
    results: dict[str, dict[str, dict]] = {}
    for repetition in range(repeat):
        for name, workload in WORKLOADS.items():
            if not workload.needs(set(task["rows"])):
                continue
            sides = [side for turn, side in turns if turn == name]
            for side in sides if repetition % 2 == 0 else reversed(sides):
                entry = results.setdefault(name, {}).setdefault(side, described(workload.container, side))
                started = time.monotonic()
                entry["runs"].append(
                    measure_once({**task, "workload": name, "side": side, "repetition": repetition})
                )
                say(f"{repetition + 1}/{repeat} {name}: {side}, {time.monotonic() - started:.1f} s")
    return results


def measure(options: argparse.Namespace) -> dict:
    """For several n, `series` has the comparisons of each; everything else is of the largest."""
    rows = select(options.rows, all_rows(), "row")
    rivals = select(options.rivals, [side for side in compare.sides() if side != OURS], "rival")
    turns, skipped = participants([OURS, *rivals])
    for side, reason in skipped.items():
        say(f"SKIPPED {side}: {reason}")
    facts = environment(options.directory)
    if facts["file_system"] in report.WITHOUT_DISK:
        say(
            f"WARNING: stores are on {facts['file_system']}, not on a disk, and a sync costs nothing there; "
            "use --directory"
        )
    tasks = [task_for(options, n) | {"rows": rows} for n in options.n]
    task = tasks[-1]
    results = {"environment": facts, "settings": {**task, "repeat": options.repeat}, "skipped": skipped}
    results["series"] = {each["n"]: compare_sides(each, options.repeat, turns) for each in tasks}
    results["workloads"] = results["series"][task["n"]]
    able = [side for side in (OURS, *rivals) if side not in skipped]
    results["latency"] = latency.measure([row for row in rows if row in latency.ROWS], able, task, say)
    task["rounds"] = durable.ROUNDS * options.repeat
    results["durable"] = durable.measure([row for row in rows if row in durable.ROWS], able, task, say)
    probes = [row for row in rows if row in disk.PROBES and OURS not in skipped]
    results["disk"] = disk.measure(probes, task["n"], options.directory, options.keep_caches, say)
    return results


def task_for(options: argparse.Namespace, n: int) -> dict:
    return {"n": n, "ops": min(n, options.ops), "budget": options.budget, "directory": options.directory}


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.list:
        print("rows:", *all_rows(), sep="\n  ")
        print("rivals:", *(side for side in compare.sides() if side != OURS), sep="\n  ")
        return 0
    if options.packages:
        print(*compare.packages(), "matplotlib")
        return 0
    return publish(options, obtain(options))


def obtain(options: argparse.Namespace) -> dict:
    if options.from_json is None:
        started = time.monotonic()
        results = measure(options)
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1) + "\n")
        say(f"{time.monotonic() - started:.0f} s; numbers are in {options.json}")
    # Read again, so that both ways give the same.
    return json.loads((options.from_json or options.json).read_text())


def publish(options: argparse.Namespace, results: dict) -> int:
    made = report.tables(results)
    if len(results["series"]) > 1:
        document = options.write_docs or options.json
        drawn = plots.draw(results, document.with_suffix(""), say)
        if drawn:
            made["plots"] = report.images(drawn, document.parent)
    made = {name: made[name] for name in select(options.parts, list(made), "part")}
    for name, text in made.items():
        print(f"{name}\n\n{text}")
    if options.write_docs:
        report.write(options.write_docs, made)
        say(f"tables are in {options.write_docs}")
    return 1 if OURS in results["skipped"] else 0


if __name__ == "__main__":
    sys.exit(main())
