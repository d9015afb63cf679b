"""Runs the benchmarks on a thousand entries, so that the instrument works when somebody wants to measure."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "benchmarks" / "run.py"
DOCUMENT = ROOT / "docs" / "performance.md"
SMALL = ("--n", "1000", "--ops", "500", "--repeat", "1", "--budget", "1", "--keep-caches")


def run(*arguments, environment=None, check=True):
    command = [sys.executable, str(RUN), *map(str, arguments)]
    environment = {**os.environ, **(environment or {})}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def without(directory, module):
    """An environment in which importing the module fails."""
    (directory / f"{module}.py").write_text(f"raise ImportError('no {module} here')\n")
    return {"PYTHONPATH": os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")])}


# ------------------------------------------------------------------------------------------------- everything


def test_every_row_is_measured_and_every_table_written(tmp_path, benchmarks):
    document = shutil.copy(DOCUMENT, tmp_path / "performance.md")
    done = run(*SMALL, "--json", tmp_path / "numbers.json", "--write-docs", document)
    results = json.loads((tmp_path / "numbers.json").read_text())
    names = ("compare", "workloads", "disk", "durable", "latency")
    compare, workloads, disk, durable, latency = map(benchmarks, names)
    for workload in workloads.WORKLOADS.values():
        for side, adapter in compare.adapters(workload.container).items():
            if side in results["skipped"]:
                assert f"SKIPPED {side}" in done.stderr
            elif workloads.takes_part(adapter, workload):
                measured = results["workloads"][workload.name][side]["runs"][0]["rows"]
                assert set(measured) == {row.name for row in workloads.rows_for(adapter, workload.rows)}
                assert all(row["ns"] > 0 and row["operations"] > 0 for row in measured.values())
    assert set(results["disk"]) == set(disk.PROBES)
    assert results["disk"]["disk.recovery"]["replayed"] > 0
    assert set(results["durable"]) == set(durable.ROWS)
    assert set(results["latency"]) == set(latency.ROWS)
    for measured in results["latency"].values():
        assert {"pyrsistence", "builtin"} <= set(measured)
        assert all(side["ns"]["p50"] <= side["ns"]["worst"] for side in measured.values())
    for measured in results["durable"].values():
        assert set(measured["sides"]) == {"pyrsistence", "lmdb", "sqlite"} - set(results["skipped"])
        for rates in measured["rounds"]:
            assert set(rates) == {*measured["sides"], durable.DISK} and min(rates.values()) > 0
    assert compare.OURS not in results["skipped"]
    rewritten = Path(document).read_text()
    begins = DOCUMENT.read_text().count("benchmark:begin")
    assert rewritten.count("benchmark:begin") == rewritten.count("benchmark:end") == begins
    ours = rewritten[: rewritten.index("\n## From C++")]  # what follows is written by cpp_run.py
    assert "n = 1,000" in ours and "n = 16 M," not in ours and "Not measured yet" not in ours


def test_several_n_give_plots(tmp_path):
    pytest.importorskip("matplotlib")
    document = shutil.copy(DOCUMENT, tmp_path / "performance.md")
    rows = ("--rows", "dict.insert,dict.update", "--rivals", "builtin", "--json", tmp_path / "numbers.json")
    run(*SMALL, "--n", "500,1k", *rows, "--write-docs", document)
    results = json.loads((tmp_path / "numbers.json").read_text())
    assert set(results["series"]) == {"500", "1000"} and results["series"]["1000"] == results["workloads"]
    assert "](performance/dict.svg)" in Path(document).read_text()
    drawing = (tmp_path / "performance" / "dict.svg").read_text()
    assert "d[k] = v, one by one" in drawing and "bytes on disk per entry" in drawing


def test_tables_can_be_written_again_from_the_numbers(tmp_path):
    numbers = tmp_path / "numbers.json"
    first = run(*SMALL, "--rows", "list.append,dict.get", "--rivals", "builtin", "--json", numbers)
    again = run("--from-json", numbers)
    assert first.stdout == again.stdout
    assert run("--from-json", numbers, "--parts", "dict").stdout.startswith("dict\n")
    assert "no part is called 'set'" in run("--from-json", numbers, "--parts", "set", check=False).stderr
    assert "`l.append(x)`, one" in again.stdout and "`for x in l`" not in again.stdout


# ----------------------------------------------------------------------------------------------------- choice


def test_a_missing_rival_is_skipped_loudly(tmp_path):
    environment = without(tmp_path, "lmdb")
    arguments = ("--rows", "dict.insert", "--rivals", "lmdb,builtin", "--json", tmp_path / "numbers.json")
    done = run(*SMALL, *arguments, environment=environment)
    assert "SKIPPED lmdb: no lmdb here (pip install lmdb)" in done.stderr
    assert "Not measured: lmdb: no lmdb here" in done.stdout
    measured = json.loads((tmp_path / "numbers.json").read_text())["workloads"]["dict"]
    assert set(measured) == {"pyrsistence", "builtin"}


def test_missing_pyrsistence_is_a_failure(tmp_path):
    environment = without(tmp_path, "pyrsistence")
    arguments = ("--rows", "dict.insert,disk", "--rivals", "builtin", "--json", tmp_path / "numbers.json")
    done = run(*SMALL, *arguments, environment=environment, check=False)
    assert done.returncode == 1 and "SKIPPED pyrsistence" in done.stderr


@pytest.mark.parametrize("arguments", [("--rows", "dict.fly"), ("--rivals", "abacus")])
def test_an_unknown_name_is_answered_with_those_there_are(arguments):
    done = run(*arguments, check=False)
    assert done.returncode != 0 and arguments[1] in done.stderr
    assert "dict.insert" in done.stderr or "builtin" in done.stderr


# ---------------------------------------------------------------------------------------- no numbers for lies


TASK = {"n": 1000, "ops": 200, "budget": 5, "repetition": 0, "directory": None}


def printed(program):
    """The words in each line that a program prints which has the modules of benchmarks/."""
    code = f"import sys; sys.path.insert(0, {str(RUN.parent)!r}); import compare, workloads\n{program}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [tuple(line.split()) for line in done.stdout.splitlines()]


MEASURED = printed(
    """
for workload in workloads.WORKLOADS.values():
    for side, adapter in compare.adapters(workload.container).items():
        if workloads.takes_part(adapter, workload):
            print(workload.name, side)
"""
)


@pytest.mark.parametrize("workload, side", MEASURED)
def test_every_side_gives_back_what_was_stored(benchmarks, tmp_path, workload, side):
    """Each row compares what it reads with what was stored, and raises if it is something else."""
    compare, workloads = benchmarks("compare"), benchmarks("workloads")
    chain = workloads.WORKLOADS[workload]
    adapter = compare.adapters(chain.container)[side]
    if reason := compare.missing(adapter):
        pytest.skip(reason)
    task = {**TASK, "workload": workload, "side": side, "directory": str(tmp_path)}
    measured = workloads.perform({**task, "rows": [row.name for row in chain.rows]})
    assert measured["reached"] == 1000
    assert set(measured["rows"]) == {row.name for row in workloads.rows_for(adapter, chain.rows)}


@pytest.mark.parametrize("kind", ["int", "str", "address", "blob", "page"])
def test_data_is_the_same_everywhere_and_of_its_kind(benchmarks, kind):
    data = benchmarks("data").KINDS[kind]
    keys = data.keys(range(10_000))
    types = {"int": int, "str": str, "bytes": bytes, "object": dict}
    assert len(set(keys)) == len(keys) and {type(key) for key in keys} == {types[data.key_kind]}
    assert not set(keys) & set(map(data.absent, range(10_000)))
    assert (keys == sorted(keys)) == data.ascending
    assert data.values([7, 8], 1) == data.values([7, 8], 1)
    assert data.value(7) != data.value(7, 1) != data.value(8, 1)
    assert type(data.value(7)) is types[data.value_kind]


@pytest.mark.parametrize("size", [1, 2, 3, 1000, 4096])
def test_a_scattered_order_has_everything_once(benchmarks, size):
    scatter = benchmarks("data").Scatter(size)
    assert sorted(map(scatter, range(size))) == list(range(size))


IDLE = {
    "load": lambda self, keys, values: None,
    "get": lambda self, keys: -1,
    "miss": lambda self, keys: len(keys),
    "overwrite": lambda self, keys, values: None,
    "iterate": lambda self: (-1, -1),
    "mixed": lambda self, keys, values: -1,
    "delete": lambda self, keys: None,
}


@pytest.mark.parametrize("operation", IDLE)
def test_a_side_that_does_not_do_the_work_gets_no_numbers(benchmarks, operation):
    compare, workloads = benchmarks("compare"), benchmarks("workloads")
    honest = compare.adapters("dict")["builtin"]
    compare.register(type("Liar", (honest,), {"side": "liar", operation: IDLE[operation]}))
    rows = [row.name for row in workloads.WORKLOADS["dict"].rows if row.operation == operation]
    with pytest.raises(AssertionError, match="liar"):
        workloads.perform({**TASK, "workload": "dict", "side": "liar", "rows": rows})


def all_but_the_last(self, keys):
    return list(self.data[keys[-1]])[:-1]


def all_twice(self, keys):
    return self.data[keys[-1]] * 2


@pytest.mark.parametrize("budget", [5, 0])  # all entries, and the first batch of them
@pytest.mark.parametrize("get_all", [all_but_the_last, all_twice, lambda self, keys: [-1]])
def test_a_side_that_loses_values_of_a_key_gets_no_numbers(benchmarks, monkeypatch, budget, get_all):
    compare, workloads = benchmarks("compare"), benchmarks("workloads")
    monkeypatch.setattr(workloads, "BATCH", 500)
    honest = compare.adapters("multi dict")["builtin"]
    compare.register(type("Liar", (honest,), {"side": "liar", "get_all": get_all}))
    task = {**TASK, "budget": budget, "workload": "multi", "rows": ["multi.getall"]}
    assert workloads.perform({**task, "side": "builtin"})["reached"] == (1000 if budget else 500)
    if budget or get_all is not all_but_the_last:  # when only some were stored, nobody knows how many
        with pytest.raises(AssertionError, match="liar: .* after storing"):
            workloads.perform({**task, "side": "liar"})


def test_percentiles_are_those_of_single_operations(benchmarks):
    percentiles = benchmarks("latency").percentiles
    taken = {time: 1 for time in range(1, 10_001)}
    assert percentiles(taken) == {"p50": 5000, "p99": 9900, "p99.99": 9999, "worst": 10_000}


@pytest.mark.parametrize("side", ["pyrsistence", "sqlite"])
def test_a_side_that_stores_something_else_gets_no_numbers(benchmarks, side):
    compare, durable = benchmarks("compare"), benchmarks("durable")
    honest = compare.adapters("durable")[side]
    put = honest.put
    honest.put = lambda self, items: put(self, [*items[:-1], (items[-1][0], b"")])
    task = {"row": "durable.put", "sides": [side], "n": 50, "ops": 20, "rounds": 1, "budget": 1}
    with pytest.raises(AssertionError, match=f"{side}: what was stored under"):
        durable.perform({**task, "directory": None})


def test_two_adapters_of_one_name_are_refused(benchmarks):
    compare = benchmarks("compare")
    with pytest.raises(ValueError, match="two adapters"):
        compare.register(type("Twin", (compare.adapters("list")["builtin"],), {}))


# --------------------------------------------------------------------------------------------------- document


def marked(name, text):
    return f"<!-- benchmark:begin {name} -->\n{text}<!-- benchmark:end {name} -->\n"


def test_only_what_was_measured_is_replaced(benchmarks):
    fill = benchmarks("report").fill
    document = "before\n" + marked("one", "old\n") + "between\n" + marked("two", "kept\n") + "after\n"
    filled = fill(document, {"one": r"a \1 new" + "\n"})
    assert filled == document.replace("old", r"a \1 new")


@pytest.mark.parametrize("document", ["no markers\n", marked("one", "") * 2])
def test_markers_must_be_there_once(benchmarks, document):
    with pytest.raises(ValueError, match="benchmark:begin one"):
        benchmarks("report").fill(document, {"one": "text\n"})


def test_a_verdict_names_the_rows_that_are_lost(benchmarks):
    report = benchmarks("report")
    ours, theirs = {"ns": 200.0, "spread": 0.1}, {"ns": 100.0, "spread": 0.25}
    columns = {"pyrsistence": "EMDict", "builtin": "dict", "lmdb": "lmdb"}
    sides = {"pyrsistence": ours, "builtin": theirs, "lmdb": theirs}
    lost = report.verdict({"dict.get": sides}, columns, {"dict.get": "`d[k]`"})
    assert "Behind in: `d[k]` (lmdb)." in lost and "25%" in lost
    sides["pyrsistence"] = {**ours, "ns": 50.0}
    won = report.verdict({"dict.get": sides}, columns, {"dict.get": "`d[k]`"})
    assert "Ahead of lmdb in every row." in won


ROUNDS = [
    {"disk": 100.0, "pyrsistence": 90.0, "lmdb": 95.0},
    {"disk": 200.0, "pyrsistence": 150.0, "lmdb": 90.0},
]


@pytest.mark.parametrize("rounds, kept, ahead", [(ROUNDS, "yes", "yes"), (ROUNDS[1:], "**no**", "yes")])
def test_durable_rates_are_compared_round_by_round(benchmarks, rounds, kept, ahead):
    report = benchmarks("report")
    verdict = report.durable_verdict(rounds, ["pyrsistence", "lmdb"], {"file_system": "ext4"})
    assert f"Goal of 0.8 of the disk's rate, kept: {kept}; ahead of lmdb: {ahead}." in verdict


def test_rates_without_a_disk_are_called_what_they_are(benchmarks):
    report = benchmarks("report")
    measured = {
        "rounds": ROUNDS,
        "sides": {"pyrsistence": "EMDict", "lmdb": "lmdb"},
        "steps": 1,
        "entries": 1,
    }
    facts = {"file_system": "tmpfs", "date": "today"}
    table = report.durable_rates("title", measured, {"environment": facts})
    assert "**Measured on tmpfs, where a sync costs nothing" in table and "kept" not in table


# -------------------------------------------------------------------------------------- more data than memory


def test_a_memory_limit_holds(benchmarks):
    limits = benchmarks("memory_limit")
    try:
        with limits.MemoryLimit(32 << 20) as limit:
            inside = limit.run(["cat", "/proc/self/cgroup"], 60)
            code = "data = b'x' * (256 << 20)"
            greedy = limit.run([sys.executable, "-c", code], 60)
            group = limit.group
    except limits.Unavailable as error:
        pytest.skip(str(error))
    assert group.name in inside.stdout and greedy.returncode == -9 and not group.exists()


@pytest.mark.parametrize("side", ["pyrsistence", "lmdb", "rocksdict"])
def test_rows_beyond_memory_give_back_what_was_stored(benchmarks, tmp_path, side):
    """The steps check what they read; here without a limit, so that they run everywhere."""
    beyond, compare = benchmarks("beyond_ram"), benchmarks("compare")
    adapter = compare.adapters("dict")[side]
    if reason := compare.missing(adapter):
        pytest.skip(reason)
    task = {"side": side, "path": str(tmp_path), "limit": 64 << 20, "budget": 5, "n": 3000}
    beyond.run_step("load", task)
    for name, (_step, operation) in beyond.ROWS.items():
        if adapter.offers(operation):
            outcome = beyond.run_step(name, task)
            assert outcome["per_second"] > 0 and outcome["operations"] > 2000


def test_the_table_of_rows_beyond_memory(benchmarks):
    rows = {"n": 1000, "get": {"per_second": 10.0, "reads": 1.5, "bytes": 6144}, "scan": {"failure": "ended"}}
    results = {"settings": {"limit": 512 << 20, "factors": [2]}, "disk": [None]}
    results |= {"skipped": {"lmdb": "no lmdb"}}
    results |= {"sides": {"pyrsistence": {"column": "EMDict", "factors": {"2": rows}}}}
    table = benchmarks("report").beyond_ram({**results, "environment": {"date": "today"}})
    assert "| 2 × 512 MiB | EMDict | 1,000 | - | 10 | 1.50 | 6 | - | ended |" in table
    assert "was not measured" in table and "no lmdb" in table


@pytest.mark.parametrize("script, arguments", [("arrays.py", ["--n", 1000]), ("shadow_memory.py", ["--size", 20_000, "--marks", 50])])
def test_the_benchmarks_of_arrays_run(script, arguments):
    command = [sys.executable, str(RUN.parent / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("|") > 20


def test_external_sorting_is_measured_with_four_times_the_memory(benchmarks, tmp_path):
    numbers = tmp_path / "numbers.json"
    external = benchmarks("external")
    external.PROGRAM = tmp_path / "none"
    arguments = ["--n", "2k", "--python-limit", "0.004M", "--directory", str(tmp_path), "--json", str(numbers)]
    assert external.main(arguments) == 0
    results = json.loads(numbers.read_text())
    assert "less than" not in external.python_table(results)
    results["settings"]["python_limit"] *= 2
    assert "**less than 4 times the limit**" in external.python_table(results)
    document = (ROOT / "docs" / "performance.md").read_text()
    assert external.FACTOR == 4 and "times the memory limit of" in document and "times the limit**" not in document


def test_the_table_of_sides_keeps_those_that_other_runs_measured(benchmarks):
    head, skipped = "| side | configuration |\n| --- | --- |\n", "\nNot measured: c: why.\n"
    document = marked("sides", head + "| a | old |\n| b | old |\n")
    filled = benchmarks("report").fill(document, {"sides": head + "| a | new |\n" + skipped})
    assert filled == marked("sides", head + "| a | new |\n| b | old |\n" + skipped)
