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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import compare
from compare import BATCH, Adapter, Settings
from data import GROUPS, KINDS, SEED, Data, Scatter, zipfian

SLICE = 1000  # elements
RANGE = 100  # keys
INSERTED = 100  # at a time: in a list of many millions each may take milliseconds
CHECKED = 100  # values compared after each row
WRITES = 0.05  # of the mixed load


@dataclass(frozen=True)
class Row:
    """One line of a table: an operation of the adapters, timed."""

    name: str
    title: str
    operation: str
    measure: Callable[[Run, Callable], dict]


@dataclass(frozen=True)
class Workload:
    """A chain of rows on one container; workloads of one table are shown together."""

    name: str
    table: str
    container: str
    data: Data
    rows: tuple[Row, ...]
    scattered: bool = False  # loaded in random order
    reopened: bool = False  # opening the closed store is timed, too

    @property
    def title(self) -> str:
        return self.data.title if self.container == "dict" else "Integers in a list"

    def needs(self, wanted: set[str]) -> list[Row]:
        """The rows up to the last one wanted: each builds on what the ones before it stored."""
        last = max((index for index, row in enumerate(self.rows) if row.name in wanted), default=-1)
        return [row for index, row in enumerate(self.rows[: last + 1]) if index == 0 or row.name in wanted]


class Run:
    """One side's way through a workload. Places are 0, 1, 2, ... in the order of loading."""

    def __init__(self, adapter: Adapter, workload: Workload, task: dict) -> None:
        self.adapter = adapter
        self.data = workload.data
        self.entries: int = task["n"]
        self.operations: int = task["ops"]
        self.budget = task["budget"] * adapter.budget_share  # seconds for each row
        self.random = random.Random(SEED + task["repetition"])
        self.order = Scatter(self.entries) if workload.scattered else None
        self.load_seconds = 0.0
        self.reached = 0  # entries stored
        self.versions = 1  # that a value may have by now
        self.disturbed = False  # entries have gone or moved
        self.taken = 0  # entries that went from the front

    def indices(self, places: Iterable[int]) -> list[int]:
        return list(places) if self.order is None else list(map(self.order, places))

    def timed(
        self, call: Callable, batches: Iterator[tuple], check: Callable | None = None
    ) -> tuple[float, int]:
        """Seconds in `call`, and how many operations those were when batches or budget ended.

        Each batch is (indices, arguments); what `call` returns is checked.
        """
        spent, done = 0.0, 0
        for indices, arguments in batches:
            started = time.perf_counter()
            outcome = call(*arguments)
            spent += time.perf_counter() - started
            done += len(indices)
            if check is not None:
                check(outcome, indices)
            if spent > self.budget:
                break
        return spent, done

    def chosen(self) -> Iterator[list[int]]:
        """Indices of stored entries at random, with repetitions."""
        for count in pieces(self.operations, BATCH):
            yield self.indices(self.random.choices(range(self.reached), k=count))

    def fail(self, message: str) -> None:
        raise AssertionError(f"{self.adapter.side}: {message}")

    def expect(self, index: int, value: Any) -> None:
        """Value is one of the versions of what was stored, and of its type."""
        allowed = [self.data.value(index, version) for version in range(self.versions)]
        if value not in allowed or type(value) is not type(allowed[0]):
            self.fail(f"{value!r} under {self.data.key(index)!r} after storing {allowed!r}")

    def expect_last(self, value: Any, indices: list[int]) -> None:
        self.expect(indices[-1], value)

    def expect_length(self, length: int) -> None:
        if len(self.adapter) != length:
            self.fail(f"{len(self.adapter)} entries after storing {length}")

    def verify(self) -> None:
        """What the container gives back, here and there, is what was stored."""
        if not self.disturbed and type(self.adapter).value is not Adapter.value:
            step = max(1, self.reached // CHECKED)
            for index in self.indices([*range(0, self.reached, step), self.reached - 1]):
                self.expect(index, self.adapter.value(self.data.key(index)))


def pieces(total: int, size: int) -> Iterator[int]:
    for start in range(0, total, size):
        yield min(size, total - start)


def result(seconds: float, operations: int, wanted: int) -> dict:
    return {"ns": seconds / operations * 1e9, "operations": operations, "wanted": wanted}


# -------------------------------------------------------------------------------------------------- measuring


def load(run: Run, call: Callable) -> dict:
    def batches() -> Iterator[tuple]:
        for start in range(0, run.entries, BATCH):
            indices = run.indices(range(start, min(start + BATCH, run.entries)))
            yield indices, (run.data.keys(indices), run.data.values(indices))

    run.load_seconds, run.reached = run.timed(call, batches())
    run.expect_length(run.reached)
    return result(run.load_seconds, run.reached, run.entries)


def durable(run: Run, call: Callable) -> dict:
    """The load and one sync after it, per entry."""
    started = time.perf_counter()
    call()
    return result(run.load_seconds + time.perf_counter() - started, run.reached, run.entries)


def get(run: Run, call: Callable) -> dict:
    batches = ((indices, (run.data.keys(indices),)) for indices in run.chosen())
    return result(*run.timed(call, batches, run.expect_last), run.operations)


def get_many(run: Run, call: Callable) -> dict:
    def check(values: Sequence, indices: list[int]) -> None:
        if len(values) != len(indices):
            run.fail(f"{len(values)} values for {len(indices)} keys")
        run.expect(indices[-1], values[-1])

    batches = ((indices, (run.data.keys(indices),)) for indices in run.chosen())
    return result(*run.timed(call, batches, check), run.operations)


def miss(run: Run, call: Callable) -> dict:
    def check(found: int, indices: list[int]) -> None:
        if found != 0:
            run.fail(f"{found} of {len(indices)} keys are there that were never stored")

    batches = ((indices, (list(map(run.data.absent, indices)),)) for indices in run.chosen())
    return result(*run.timed(call, batches, check), run.operations)


def overwrite(run: Run, call: Callable) -> dict:
    version, run.versions = run.versions, run.versions + 1
    written: list[int] = []

    def batches() -> Iterator[tuple]:
        for indices in run.chosen():
            written[:] = indices
            yield indices, (run.data.keys(indices), run.data.values(indices, version))

    outcome = result(*run.timed(call, batches()), run.operations)
    for index in written[:: max(1, len(written) // CHECKED)]:
        value = run.adapter.value(run.data.key(index))
        if value != run.data.value(index, version):
            run.fail(f"{value!r} is what overwriting left under {run.data.key(index)!r}")
    return outcome


def iterate(run: Run, call: Callable) -> dict:
    started = time.perf_counter()
    key, value = call()
    outcome = result(time.perf_counter() - started, run.reached, run.entries)
    adapter, last = run.adapter, run.reached - 1
    if adapter.ordered and (adapter.settings.ascending or adapter.container == "sorted dict"):
        if key not in (None, run.data.key(last)):
            run.fail(f"iteration over {run.reached} entries ended with {key!r}")
        run.expect(last, value)
    elif value != adapter.value(key) or type(key) is not type(run.data.key(0)):
        run.fail(f"iteration ended with {value!r} under {key!r}")
    return outcome


def mixed(run: Run, call: Callable) -> dict:
    """Popular entries are read, and sometimes overwritten."""
    run.versions = max(run.versions, 2)
    scattered = Scatter(run.reached, seed=1)

    def batches() -> Iterator[tuple]:
        for count in pieces(run.operations, BATCH):
            indices = run.indices(map(scattered, zipfian(run.random, run.reached, count)))
            values = [run.data.value(index, 1) if run.random.random() < WRITES else None for index in indices]
            values[-1] = None  # the one that is checked
            yield indices, (run.data.keys(indices), values)

    return result(*run.timed(call, batches(), run.expect_last), run.operations)


def delete(run: Run, call: Callable) -> dict:
    """Half of the entries at most, each once."""
    run.disturbed = True
    scattered = Scatter(run.reached, seed=2)
    total = min(run.operations, max(1, run.reached // 2))

    def batches() -> Iterator[tuple]:
        for start in range(0, total, BATCH):
            indices = run.indices(map(scattered, range(start, min(start + BATCH, total))))
            yield indices, (run.data.keys(indices),)

    seconds, done = run.timed(call, batches())
    run.expect_length(run.reached - done)
    gone = run.indices(map(scattered, range(max(0, done - CHECKED), done)))
    if run.adapter.miss(run.data.keys(gone)) != 0:
        run.fail("keys are there that were deleted")
    return result(seconds, done, total)


def slices(run: Run, call: Callable) -> dict:
    """Time for each element."""
    length = min(SLICE, run.reached)
    starts = range(run.reached - length + 1)

    def check(piece: Any, places: list[int]) -> None:
        if len(piece) != length:
            run.fail(f"{len(piece)} elements in a slice of {length}")
        for offset, value in enumerate(piece):
            run.expect(places[-1] + offset, value)

    total = max(1, run.operations // length)
    chosen = (run.random.choices(starts, k=count) for count in pieces(total, INSERTED))
    seconds, done = run.timed(call, ((places, (places, length)) for places in chosen), check)
    return result(seconds, done * length, total * length)


def ranges(run: Run, call: Callable) -> dict:
    """Time for each key."""
    length = min(RANGE, run.reached)
    starts = range(run.reached - length + 1)

    def check(piece: Any, places: list[int]) -> None:
        expected = run.data.keys([*range(places[-1], places[-1] + length)])
        if list(piece) != expected:
            run.fail(f"{len(piece)} keys from {expected[0]!r} on, which are not those that follow it")

    total = max(1, run.operations // length)
    chosen = (run.random.choices(starts, k=count) for count in pieces(total, INSERTED))
    seconds, done = run.timed(call, ((places, (run.data.keys(places), length)) for places in chosen), check)
    return result(seconds, done * length, total * length)


def insert(run: Run, call: Callable) -> dict:
    run.disturbed = True
    written: list[tuple[int, Any]] = []

    def batches() -> Iterator[tuple]:
        for count in pieces(run.operations, INSERTED):
            places = run.random.choices(range(run.reached), k=count)
            values = run.data.values(places, 2)
            written[:] = zip(places, values)
            yield places, (places, values)

    seconds, done = run.timed(call, batches())
    run.expect_length(run.reached + done)
    place, value = written[-1]
    if run.adapter.value(place) != value:
        run.fail(f"{run.adapter.value(place)!r} where {value!r} was inserted")
    return result(seconds, done, run.operations)


def turn(run: Run, call: Callable) -> dict:
    """As long as before, but for another operation's worth of values at the end."""
    run.disturbed = True
    taken = 0

    def batches() -> Iterator[tuple]:
        for start in range(0, run.operations, BATCH):
            places = range(start, min(start + BATCH, run.operations))
            yield list(places), (run.data.values(list(places), 1),)

    def check(value: Any, places: list[int]) -> None:
        nonlocal taken
        taken += len(places)
        run.expect(places[-1], value)

    outcome = result(*run.timed(call, batches(), check), run.operations)
    run.expect_length(run.reached)
    run.taken = taken
    return outcome


def drain(run: Run, call: Callable) -> dict:
    """From the front, behind what turn() took."""
    run.disturbed = True
    total = min(run.operations, run.reached - run.taken)

    def batches() -> Iterator[tuple]:
        for start in range(run.taken, run.taken + total, BATCH):
            places = list(range(start, min(start + BATCH, run.taken + total)))
            yield places, (places,)

    seconds, done = run.timed(call, batches(), run.expect_last)
    run.expect_length(run.reached - done)
    return result(seconds, done, total)


def expect_group(run: Run, key: int, values: Iterable[int]) -> None:
    """Of what was stored under the key nothing is missing, nothing is there twice, and nothing else is there."""
    found = sorted(values)
    stored = [index for index in GROUPS.members(key) if index < run.entries]
    if run.reached < run.entries:  # in random order: some of each group
        right = 0 < len(found) == len(set(found) & set(stored))
    else:
        right = found == stored
    if not right:
        run.fail(f"{found!r} under {key!r} after storing {stored!r}")


def add(run: Run, call: Callable) -> dict:
    """Several values under each key: there is no value of a key that verify() could compare."""
    outcome = load(run, call)
    run.disturbed = True
    step = max(1, run.reached // CHECKED)
    for key in run.data.keys(run.indices(range(0, run.reached, step))):
        expect_group(run, key, run.adapter.get_all([key]))
    return outcome


def get_all(run: Run, call: Callable) -> dict:
    """Time for each key."""

    def check(values: Iterable[int], indices: list[int]) -> None:
        expect_group(run, run.data.key(indices[-1]), values)

    batches = ((indices, (run.data.keys(indices),)) for indices in run.chosen())
    return result(*run.timed(call, batches, check), run.operations)


def iterate_groups(run: Run, call: Callable) -> dict:
    started = time.perf_counter()
    key, value = call()
    outcome = result(time.perf_counter() - started, run.reached, run.entries)
    if value not in GROUPS.members(key):
        run.fail(f"iteration ended with {value!r} under {key!r}")
    return outcome


# -------------------------------------------------------------------------------------------------- workloads


WORKLOADS: dict[str, Workload] = {}


def register(workload: Workload) -> None:
    WORKLOADS[workload.name] = workload


def sync_row(name: str) -> Row:
    return Row(name, "the same with `sync()` at the end", "sync", durable)


def dict_rows(table: str) -> tuple[Row, ...]:
    return (
        Row(f"{table}.insert", "`d[k] = v`, one by one", "load", load),
        sync_row(f"{table}.insert-sync"),
        Row(f"{table}.get", "`d[k]`, random keys", "get", get),
        Row(f"{table}.get-many", "the same, 10,000 keys in one call", "get_many", get_many),
        Row(f"{table}.miss", "`d.get(k)`, absent keys", "miss", miss),
        Row(f"{table}.overwrite", "`d[k] = v`, random keys", "overwrite", overwrite),
        Row(f"{table}.iterate", "`for k, v in d.items()`", "iterate", iterate),
        Row(f"{table}.mixed", "95% `d[k]`, 5% `d[k] = v`, zipfian keys", "mixed", mixed),
        Row(f"{table}.delete", "`del d[k]`, random keys", "delete", delete),
    )


def bulk_rows(name: str, title: str) -> tuple[Row, ...]:
    return Row(name, title, "load_bulk", load), sync_row(f"{name}-sync")


def register_dicts(table: str, data: Data) -> None:
    register(Workload(table, table, "dict", data, dict_rows(table)))
    if data.ascending:
        rows = (Row(f"{table}.insert-random", "`d[k] = v`, new keys in random order", "load", load),)
        register(Workload(f"{table}-random", table, "dict", data, rows, scattered=True))
    rows = bulk_rows(f"{table}.update", "`d.update(...)`, in bulk")
    register(Workload(f"{table}-bulk", table, "dict", data, rows, reopened=True))


for _table, _kind in {"dict": "int", "str": "str", "address": "address", "blob": "blob"}.items():
    register_dicts(_table, KINDS[_kind])
register(
    Workload(
        "list",
        "list",
        "list",
        KINDS["int"],
        (
            Row("list.append", "`l.append(x)`, one by one", "load", load),
            sync_row("list.append-sync"),
            Row("list.get", "`l[i]`, random places", "get", get),
            Row("list.set", "`l[i] = x`, random places", "overwrite", overwrite),
            Row("list.iterate", "`for x in l`", "iterate", iterate),
            Row("list.slice", "`l[i:i + 1000]`, random places, per element", "slices", slices),
            Row("list.insert", "`l.insert(i, x)`, random places", "insert", insert),
        ),
    )
)
register(
    Workload(
        "list-bulk",
        "list",
        "list",
        KINDS["int"],
        bulk_rows("list.extend", "`l.extend(...)`, in bulk"),
        reopened=True,
    )
)


register(
    Workload(
        "set",
        "set",
        "set",
        KINDS["int"],
        (
            Row("set.add", "`s.add(x)`, one by one", "load", load),
            Row("set.contains", "`x in s`, random members", "get", get),
            Row("set.miss", "`x in s`, absent ones", "miss", miss),
            Row("set.iterate", "`for x in s`", "iterate", iterate),
            Row("set.discard", "`s.discard(x)`, random members", "delete", delete),
        ),
    )
)
register(
    Workload(
        "set-random",
        "set",
        "set",
        KINDS["int"],
        (Row("set.add-random", "`s.add(x)`, new members in random order", "load", load),),
        scattered=True,
    )
)
register(
    Workload("set-bulk", "set", "set", KINDS["int"], (Row("set.update", "`s.update(...)`, in bulk", "load_bulk", load),))
)
register(
    Workload(
        "deque",
        "deque",
        "deque",
        KINDS["int"],
        (
            Row("deque.append", "`d.append(x)`, one by one", "load", load),
            Row("deque.turn", "`d.append(x); d.popleft()`", "turn", turn),
            Row("deque.popleft", "`d.popleft()`", "drain", drain),
        ),
    )
)
register(
    Workload(
        "deque-bulk", "deque", "deque", KINDS["int"], (Row("deque.extend", "`d.extend(...)`, in bulk", "load_bulk", load),)
    )
)

register(
    Workload(
        "array",
        "array",
        "array",
        KINDS["int"],
        (
            Row("array.append", "`a.append(x)`, one by one; of a memmap `a[i] = x`", "load", load),
            Row("array.get", "`a[i]`, random places", "get", get),
            Row("array.set", "`a[i] = x`, random places", "overwrite", overwrite),
            Row("array.scan", "the sum of all: by `blocks()`; of a memmap `a.sum()`", "iterate", iterate),
        ),
    )
)
register(
    Workload(
        "array-bulk",
        "array",
        "array",
        KINDS["int"],
        (Row("array.extend", "`a.extend(list)`, in bulk; of a memmap `a[i:j] = list`", "load_bulk", load),),
    )
)


register(
    Workload(
        "sorted",
        "sorted",
        "sorted dict",
        KINDS["int"],
        (
            Row("sorted.insert", "`d[k] = v`, new keys in random order", "load", load),
            Row("sorted.get", "`d[k]`, random keys", "get", get),
            Row("sorted.miss", "`d.get(k)`, absent keys", "miss", miss),
            Row("sorted.range", "100 keys from `d.irange(k)`, per key", "ranges", ranges),
            Row("sorted.overwrite", "`d[k] = v`, random keys", "overwrite", overwrite),
            Row("sorted.iterate", "`for k, v in d.items()`", "iterate", iterate),
            Row("sorted.delete", "`del d[k]`, random keys", "delete", delete),
        ),
        scattered=True,
    )
)
register(
    Workload(
        "sorted-ascending",
        "sorted",
        "sorted dict",
        KINDS["int"],
        (Row("sorted.append", "`d[k] = v`, ascending keys", "load", load),),
    )
)
register(
    Workload(
        "queue",
        "queue",
        "priority queue",
        KINDS["int"],
        (
            Row("queue.push", "`q.push(x)`, in random order", "load", load),
            Row("queue.pop", "`q.pop()`", "drain", drain),
        ),
        scattered=True,
    )
)
register(
    Workload(
        "multi",
        "multi",
        "multi dict",
        GROUPS,
        (
            Row("multi.add", "`d.add(k, v)`, in random order", "load", add),
            sync_row("multi.add-sync"),
            Row("multi.getall", "`d.getall(k)` of ten values, random keys, per key", "get_all", get_all),
            Row("multi.iterate", "`for k, v in d.items()`", "iterate", iterate_groups),
        ),
        scattered=True,
    )
)


# -------------------------------------------------------------------------------------------- one measurement


def takes_part(adapter: type[Adapter], workload: Workload) -> bool:
    """A side that cannot load, or is measured with other data, has nothing to show."""
    suits = adapter.kinds is None or workload.data.name in adapter.kinds
    return suits and adapter.offers(workload.rows[0].operation)


def rows_for(adapter: type[Adapter], rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if adapter.offers(row.operation)]


def settings_for(data: Data, directory: Path, entries: int, **more: Any) -> Settings:
    kinds = {"key_kind": data.key_kind, "value_kind": data.value_kind, "payload": data.payload}
    return Settings(directory, entries, **{**kinds, "ascending": data.ascending, **more})


def allocated_bytes(directory: Path) -> int:
    """What the files below directory occupy, which for sparse files is less than their length."""
    return sum(path.lstat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())


def memory_bytes() -> dict[str, int]:
    """Of this process. VmHWM: the peak of resident memory, mapped files included; RssAnon: without, now."""
    wanted = {"VmHWM", "VmRSS", "RssAnon"}
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return {name: int(fields[name].split()[0]) * 1024 for name in sorted(wanted & fields.keys())}


def reopen(run: Run) -> float:
    """Seconds until the closed store answers again; its files are still in the page cache."""
    started = time.perf_counter()
    run.adapter = type(run.adapter)(run.adapter.settings)
    run.adapter.value(run.data.key(run.reached // 2))
    seconds = time.perf_counter() - started
    run.expect_length(run.reached)
    run.verify()
    run.adapter.close()
    return seconds


def perform(task: dict) -> dict:
    """One side, one workload, one repetition."""
    workload = WORKLOADS[task["workload"]]
    adapter_class = compare.adapters(workload.container)[task["side"]]
    ascending = workload.data.ascending and not workload.scattered
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=task["directory"]) as directory:
        settings = settings_for(workload.data, Path(directory), task["n"], ascending=ascending)
        adapter = adapter_class(settings)
        run = Run(adapter, workload, task)
        rows = {}
        for row in rows_for(adapter_class, workload.needs(set(task["rows"]))):
            rows[row.name] = row.measure(run, getattr(adapter, row.operation))
            run.verify()
        memory = memory_bytes()
        adapter.close()
        disk = allocated_bytes(Path(directory)) if adapter.persistent else None
        opened = reopen(run) if workload.reopened and adapter.persistent else None
    return {"rows": rows, "reached": run.reached, "memory": memory, "disk": disk, "open": opened}


if __name__ == "__main__":
    print(json.dumps(perform(json.loads(sys.argv[1]))))
