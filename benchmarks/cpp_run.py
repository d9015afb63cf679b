#!/usr/bin/env python3
"""Measures the C++ containers against their rivals: `make bench-cpp`, or `python benchmarks/cpp_run.py`.

Every measurement is a fresh process of build-bench/cpp_benchmarks on a fresh store; the sides take turns, and the
whole is repeated. Tables go to the standard output, numbers to a JSON file, the tables to a Markdown file beside it,
and with --write-docs into docs/performance.md:

    python benchmarks/cpp_run.py --n 1M,16M --write-docs           what the project publishes
    python benchmarks/cpp_run.py --workloads random --sides LMDB   one workload, one rival
    python benchmarks/cpp_run.py --from-json FILE --write-docs     tables again, without measuring
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import report
import run
from compare import OURS

BUILD = run.HERE.parent / "build-bench"
PROGRAM = BUILD / "cpp_benchmarks"
NUMBERS = BUILD / "results.json"

# Table -> the ways in which a library is used there, as sums of rows of a workload.
TABLES = {
    "cpp-map": {
        "set, ascending keys": ("ascending", ["insert"]),
        "set, random keys": ("random", ["insert"]),
        "the same with sync": ("random", ["insert", "sync"]),
        "get": ("random", ["get"]),
        "set and get": ("random", ["insert", "get"]),
        "get what is missing": ("random", ["miss"]),
        "overwrite": ("random", ["overwrite"]),
        "iterate": ("random", ["iterate"]),
        "erase": ("random", ["erase"]),
    },
    "cpp-blobs": {
        "set": ("blobs", ["insert"]),
        "the same with sync": ("blobs", ["insert", "sync"]),
        "get": ("blobs", ["get"]),
    },
    "cpp-list": {
        "push_back": ("list", ["push_back"]),
        "the same with sync": ("list", ["push_back", "sync"]),
        "get": ("list", ["get"]),
        "set": ("list", ["set"]),
        "iterate": ("list", ["iterate"]),
        "insert anywhere": ("list", ["insert"]),
    },
    "cpp-sorted": {
        "set, random keys": ("sorted", ["insert"]),
        "the same with sync": ("sorted", ["insert", "sync"]),
        "get": ("sorted", ["get"]),
        "100 from lower_bound on, each": ("sorted", ["range"]),
        "iterate": ("sorted", ["iterate"]),
        "erase": ("sorted", ["erase"]),
    },
    "cpp-queue": {
        "push": ("queue", ["push"]),
        "the same with sync": ("queue", ["push", "sync"]),
        "pop": ("queue", ["pop"]),
    },
    "cpp-set": {
        "insert": ("set", ["insert"]),
        "the same with sync": ("set", ["insert", "sync"]),
        "contains": ("set", ["get"]),
        "contains, what is missing": ("set", ["miss"]),
        "iterate": ("set", ["iterate"]),
        "erase": ("set", ["erase"]),
    },
    "cpp-array": {
        "push_back": ("array", ["push_back"]),
        "the same with sync": ("array", ["push_back", "sync"]),
        "get": ("array", ["get"]),
        "set": ("array", ["set"]),
        "sum of all": ("array", ["iterate"]),
        "the same by read()": ("array", ["read"]),
    },
    "cpp-deque": {
        "push_back": ("deque", ["push"]),
        "the same with sync": ("deque", ["push", "sync"]),
        "push_back and pop_front": ("deque", ["turn"]),
        "pop_front": ("deque", ["pop"]),
    },
}
# Table -> the workload whose bytes on disk it tells.
SPACE = {table: next(iter(columns.values()))[0] for table, columns in TABLES.items()} | {"cpp-map": "random"}
ALL_ENTRIES = {"insert", "push", "push_back", "sync", "iterate", "read"}  # rows that go over all, and not over --ops

# "set and get" of Dict takes at most this share of the rival's time.
GOAL_N = 16_000_000
GOALS = {"Tkrzw HashDBM": 0.5, "LMDB": 0.3}


# -------------------------------------------------------------------------------------------------- arguments


def quantities(text: str) -> list[int]:
    return [run.quantity(part) for part in text.split(",")]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--n", type=quantities, default=[1_000_000], help="entries, such as 10k,16M (default: 1M)")
    add("--ops", type=run.quantity, help="random operations in a row (default: n, but at most 2M)")
    add("--repeat", type=int, default=3, help="repetitions (default: 3)")
    add("--workloads", help="such as random,sorted,queue,set,array,deque (default: all)")
    add("--sides", help="rivals to measure beside pyrsistence, such as LMDB,Tkrzw* (default: all)")
    add("--seconds", type=float, default=60.0, help="after which a row stops (default: 60)")
    add("--directory", default=os.environ.get("PYRSISTENCE_BENCH_DIR"), help="where stores are made; should be "
        "on a disk (default: PYRSISTENCE_BENCH_DIR, or the temporary directory)")  # fmt: skip
    add("--program", type=Path, default=PROGRAM, help="what to run (default: %(default)s)")
    add("--json", type=Path, default=NUMBERS, help="where the numbers go (default: %(default)s)")
    add("--write-docs", nargs="?", type=Path, const=run.DOCUMENT, help="put tables into docs/performance.md or a file")
    add("--from-json", type=Path, help="do not measure, use these numbers")
    return parser.parse_args(arguments)


# -------------------------------------------------------------------------------------------------- measuring


# STXXL writes its messages into files of the directory where it is called.
WITHOUT_LOGS = {**os.environ, "STXXLLOGFILE": os.devnull, "STXXLERRLOGFILE": os.devnull}


def measure_once(program: Path, task: dict, directory: str | None) -> dict[str, dict]:
    """Row -> ns, CPU time of all threads in ns, operations and bytes on disk."""
    # What the process before left unwritten must not be written during this one.
    os.sync()
    # A process that fails leaves its store behind; this folder goes with it.
    with tempfile.TemporaryDirectory(prefix="pyrsistence-bench-", dir=directory) as fresh:
        out = Path(fresh) / "out.json"
        command = [program, *(f"--{name}={value}" for name, value in task.items()), f"--directory={fresh}"]
        command += [f"--benchmark_out={out}", "--benchmark_out_format=json"]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=WITHOUT_LOGS)
        measured = json.loads(out.read_text())["benchmarks"] if done.returncode == 0 else []
    if not measured:
        raise SystemExit(f"{done.stderr}\nbenchmarks: failed: {' '.join(map(str, command))}")
    return {entry["name"].split("/")[2]: row(entry) for entry in measured}


def row(entry: dict) -> dict:
    return {
        "ns": entry["ns_per_operation"],
        "cpu_ns": entry["cpu_ns_per_operation"],
        "operations": int(entry["operations"]),
        "bytes_on_disk": int(entry["bytes_on_disk"]),
    }


def random_operations(options: argparse.Namespace, n: int) -> int:
    return min(n, options.ops or 2_000_000)


def measure(options: argparse.Namespace) -> dict:
    offered = {side["name"]: side for side in json.loads(subprocess.check_output([options.program, "--list"]))}
    rivals = run.select(options.sides, [name for name in offered if name != OURS], "side")
    names = list(dict.fromkeys(name for side in offered.values() for name in side["workloads"]))
    workloads = run.select(options.workloads, names, "workload")
    facts = run.environment(options.directory)
    facts["versions"] = {library(name): offered[name]["version"] for name in (OURS, *rivals)}
    if facts["file_system"] in report.WITHOUT_DISK:
        run.say(f"WARNING: stores are on {facts['file_system']}, not on a disk; use --directory")
    runs = []
    for repetition in range(options.repeat):
        for n in options.n:
            for workload in workloads:
                able = [side for side in (OURS, *rivals) if workload in offered[side]["workloads"]]
                for side in able if repetition % 2 == 0 else reversed(able):
                    task = {"side": side, "workload": workload, "n": n, "seconds": options.seconds}
                    task["ops"] = random_operations(options, n)
                    started = time.monotonic()
                    rows = measure_once(options.program, task, options.directory)
                    runs.append({**task, "rows": rows})
                    took = f"{time.monotonic() - started:.1f} s"
                    run.say(f"{repetition + 1}/{options.repeat} n = {report.count(n)}, {workload}: {side}, {took}")
    sides = {name: offered[name] for name in (OURS, *rivals)}
    return {"environment": facts, "settings": {"repeat": options.repeat}, "sides": sides, "runs": runs}


def library(side: str) -> str:
    """std of std::map, Tkrzw of Tkrzw HashDBM."""
    return side.replace("::", " ").split()[0]


# --------------------------------------------------------------------------------------------------- tables


def tables(results: dict) -> dict[str, str]:
    """Marker name -> Markdown, for what was measured."""
    sides = {"workloads": {"": results["sides"]}, "skipped": {}}
    made = {"cpp-environment": report.environment(results), "cpp-sides": report.sides(sides)}
    for table, columns in TABLES.items():
        sizes = sorted({measured["n"] for measured in results["runs"]})
        parts = [part for n in sizes if (part := speed(results, table, columns, n))]
        if parts:
            made[table] = "\n".join(parts)
    return made


def speed(results: dict, table: str, columns: dict, n: int) -> str:
    """ns per operation; in brackets the time ours takes divided by theirs."""
    runs = [measured for measured in results["runs"] if measured["n"] == n]
    cells = {}
    for side in results["sides"]:
        found = {title: total(runs, side, workload, rows) for title, (workload, rows) in columns.items()}
        if any(found.values()):
            cells[side] = found
    titles = [title for title in columns if any(found[title] for found in cells.values())]
    if not titles:
        return ""
    lines = [
        [side, *(cell(found, cells.get(OURS, {}), title, side) for title in titles), space(runs, side, SPACE[table])]
        for side, found in cells.items()
    ]
    made = report.markdown(["ns per operation", *titles, "bytes on disk per entry"], lines)
    spread = max(found[title]["spread"] for found in cells.values() for title in titles if found[title])
    operations = max(measured["ops"] for measured in runs)
    made += f"\nn = {report.count(n)}, {report.count(operations)} random operations, "
    made += f"median of {results['settings']['repeat']}, {results['environment']['date']}. In brackets: our time divided by "
    made += f"theirs. Largest spread of a cell: {spread:.0%} of its median.\n"
    return made + goals(cells, n) if table == "cpp-map" else made


def total(runs: list[dict], side: str, workload: str, rows: list[str]) -> dict | None:
    """The sum of the medians of rows, or nothing unless all of them were measured."""
    sums = {"ns": 0.0, "spread": 0.0, "short": None}
    for name in rows:
        fitting = [measured for measured in runs if (measured["side"], measured["workload"]) == (side, workload)]
        samples = [(measured, measured["rows"][name]) for measured in fitting if name in measured["rows"]]
        if not samples:
            return None
        found = report.summary([sample for _, sample in samples])
        wanted = samples[0][0]["n" if name in ALL_ENTRIES else "ops"]
        sums["ns"] += found["ns"]
        sums["spread"] = max(sums["spread"], found["spread"])
        if found["operations"] < wanted:
            sums["short"] = found["operations"]
    return sums


def cell(found: dict, ours: dict, title: str, side: str) -> str:
    if not found[title]:
        return "-"
    text = report.number(found[title]["ns"])
    if found[title]["short"] is not None:
        text += f" at {report.count(found[title]['short'])}"
    if side != OURS and ours.get(title):
        text += f" ({ours[title]['ns'] / found[title]['ns']:.2f})"
    return text


def space(runs: list[dict], side: str, workload: str) -> str:
    """After the sync that follows loading."""
    for measured in runs:
        if (measured["side"], measured["workload"]) == (side, workload) and "sync" in measured["rows"]:
            synced = measured["rows"]["sync"]
            return f"{synced['bytes_on_disk'] / synced['operations']:.1f}"
    return "-"


def goals(cells: dict, n: int) -> str:
    lines = ""
    for rival, goal in GOALS.items():
        both = [cells.get(side, {}).get("set and get") for side in (OURS, rival)]
        if n != GOAL_N or not all(both):
            continue
        share = both[0]["ns"] / both[1]["ns"]
        lines += f"\nGoal: set and get in {goal} of the time of {rival}; measured {share:.2f}, "
        lines += f"kept: {report.kept(share, goal)}.\n"
    return lines


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.from_json:
        results = json.loads(options.from_json.read_text())
    else:
        results = measure(options)
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    made = tables(results)
    text = "\n".join(f"## {name}\n\n{table}" for name, table in made.items())
    print(text)
    if not options.from_json:
        options.json.with_suffix(".md").write_text(text)
        run.say(f"numbers are in {options.json}, tables in {options.json.with_suffix('.md')}")
    if options.write_docs:
        report.write(options.write_docs, made)
        run.say(f"tables are in {options.write_docs}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
