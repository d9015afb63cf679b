#!/usr/bin/env python3
"""Pages that one operation needs, against the number of entries: `python benchmarks/touches.py`, as `make bench-touches`.

Of every container a store is made, closed and opened again for each single operation, so that nothing is known of its
pages. Pages that the operation reads from the data file are counted, each once, and those it writes: what the
external-memory model calls I/O, but for the catalog and the container's root page, which every operation needs.

    python benchmarks/touches.py --write-docs      what the project publishes; some minutes
    python benchmarks/touches.py --n 10k,100k      a trial
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import report
import run
from pyrsistence import EMArray, EMDeque, EMDict, EMList, EMMultiDict, EMPriorityQueue, EMSet, EMSortedDict, EMSortedSet

SAMPLES = 12
PER_KEY = 4  # values of one key in a multi-dict
SCANNED = 1000  # items in a range


class Operation(NamedTuple):
    """What is done once with a container of n entries; `pick` draws one of them, from 0 to n - 1."""

    title: str
    act: Callable[[Any, int, int], object]
    promise: str = "O(log n)"


class Kind(NamedTuple):
    """A container, how n entries get into it, and what is done with it."""

    open: Callable[[Path], Any]
    load: Callable[[Any, int], object]
    operations: tuple[Operation, ...]


def key(place: int) -> int:
    """Keys are even, so that there is room for new ones between them."""
    return 2 * place


def pairs(n: int) -> Iterable[tuple[int, int]]:
    return ((key(i), i) for i in range(n))


def scanned(iterator: Iterable[Any]) -> None:
    for _, _ in zip(range(SCANNED), iterator):
        pass


def all_of(container: Any, _place: int, _n: int) -> None:
    for _ in container:
        pass


SCAN = Operation("iterating over all", all_of, "O(n)")
KINDS = {
    "EMDict": Kind(
        EMDict,
        lambda d, n: d.update(pairs(n)),
        (
            Operation("`d[k]`", lambda d, i, n: d[key(i)]),
            Operation("`d.get(k)`, absent", lambda d, i, n: d.get(key(i) + 1)),
            Operation("`d[k] = v`", lambda d, i, n: d.__setitem__(key(i), -1)),
            Operation("`d[k] = v`, new", lambda d, i, n: d.__setitem__(key(i) + 1, -1)),
            Operation("`del d[k]`", lambda d, i, n: d.__delitem__(key(i))),
            Operation("`d.popitem()`", lambda d, i, n: d.popitem()),
            SCAN,
        ),
    ),
    "EMSet": Kind(
        EMSet,
        lambda s, n: s.update(map(key, range(n))),
        (
            Operation("`x in s`", lambda s, i, n: key(i) in s),
            Operation("`s.add(x)`, new", lambda s, i, n: s.add(key(i) + 1)),
            Operation("`s.discard(x)`", lambda s, i, n: s.discard(key(i))),
            SCAN,
        ),
    ),
    "EMList": Kind(
        EMList,
        lambda l, n: l.extend(range(n)),
        (
            Operation("`l[i]`", lambda l, i, n: l[i]),
            Operation("`l[i] = x`", lambda l, i, n: l.__setitem__(i, -1)),
            Operation("`l.append(x)`", lambda l, i, n: l.append(-1)),
            Operation("`l.insert(i, x)`", lambda l, i, n: l.insert(i, -1)),
            Operation("`del l[i]`", lambda l, i, n: l.__delitem__(i)),
            Operation("`l[i:i + 1000]`", lambda l, i, n: l[i : i + SCANNED], "O(log n + items)"),
            SCAN,
        ),
    ),
    "EMDeque": Kind(
        EMDeque,
        lambda d, n: d.extend(range(n)),
        (
            Operation("`d.append(x)`", lambda d, i, n: d.append(-1)),
            Operation("`d.appendleft(x)`", lambda d, i, n: d.appendleft(-1)),
            Operation("`d.pop()`", lambda d, i, n: d.pop()),
            Operation("`d.popleft()`", lambda d, i, n: d.popleft()),
            Operation("`d[i]`", lambda d, i, n: d[i]),
        ),
    ),
    "EMSortedDict": Kind(
        EMSortedDict,
        lambda d, n: d.update(pairs(n)),
        (
            Operation("`d[k]`", lambda d, i, n: d[key(i)]),
            Operation("`d[k] = v`, new", lambda d, i, n: d.__setitem__(key(i) + 1, -1)),
            Operation("`del d[k]`", lambda d, i, n: d.__delitem__(key(i))),
            Operation("`d.peekitem(i)`", lambda d, i, n: d.peekitem(i)),
            Operation("`d.bisect_left(k)`", lambda d, i, n: d.bisect_left(key(i))),
            Operation("1,000 of `d.irange(k)`", lambda d, i, n: scanned(d.irange(key(i))), "O(log n + items)"),
            SCAN,
        ),
    ),
    "EMSortedSet": Kind(
        EMSortedSet,
        lambda s, n: s.update(map(key, range(n))),
        (
            Operation("`s.add(x)`, new", lambda s, i, n: s.add(key(i) + 1)),
            Operation("`s.index(x)`", lambda s, i, n: s.index(key(i))),
            Operation("`s.pop(i)`", lambda s, i, n: s.pop(i)),
        ),
    ),
    "EMPriorityQueue": Kind(
        EMPriorityQueue,
        lambda q, n: q.update(range(n)),
        (
            Operation("`q.push(x)`", lambda q, i, n: q.push(i)),
            Operation("`q.pop()`", lambda q, i, n: q.pop()),
        ),
    ),
    "EMMultiDict": Kind(
        EMMultiDict,
        lambda d, n: d.update((i // PER_KEY, i) for i in range(n)),
        (
            Operation("`d.add(k, v)`", lambda d, i, n: d.add(i // PER_KEY, -1)),
            Operation("`d.getall(k)`", lambda d, i, n: d.getall(i // PER_KEY), "O(log n + values)"),
            Operation("`d.count(k)`", lambda d, i, n: d.count(i // PER_KEY)),
        ),
    ),
    "EMArray": Kind(
        lambda path: EMArray(path, "i8"),
        lambda a, n: a.extend(range(n)),
        (
            Operation("`a[i]`", lambda a, i, n: a[i]),
            Operation("`a[i] = x`", lambda a, i, n: a.__setitem__(i, -1)),
            Operation("`a.append(x)`", lambda a, i, n: a.append(-1)),
            SCAN,
        ),
    ),
}


# Pages more than with a tenth of the entries: a level in each tree of a dict; those that are written may also be split.
MORE_READ, MORE_WRITTEN = 3, 4


class Touches(NamedTuple):
    """The most that any of the sampled operations needed, in pages."""

    read: int
    written: int


def count(kind: Kind, path: Path, operation: Operation, n: int) -> Touches:
    choose = random.Random(f"{operation.title} {n}")
    most = Touches(0, 0)
    for _ in range(1 if operation.promise == "O(n)" else SAMPLES):
        with kind.open(path) as container:
            size = len(container)
            place = choose.randrange(size)
            before = container.info
            operation.act(container, place, size)
            after = container.info
        read, written = after.pages_read - before.pages_read, (after.frame_bytes - before.frame_bytes) // 4096
        most = Touches(max(most.read, read), max(most.written, written))
    return most


def measure(sizes: Iterable[int], kinds: Iterable[str] = KINDS) -> dict[tuple[str, str], dict[int, Touches]]:
    """What each operation of each container needs, by container, title and size."""
    found: dict[tuple[str, str], dict[int, Touches]] = {}
    for name in kinds:
        kind = KINDS[name]
        for n in sizes:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "store"
                with kind.open(path) as container:
                    kind.load(container, n)
                for operation in kind.operations:
                    found.setdefault((name, operation.title), {})[n] = count(kind, path, operation, n)
    return found


def promises() -> dict[tuple[str, str], str]:
    return {(name, one.title): one.promise for name, kind in KINDS.items() for one in kind.operations}


def broken(found: dict[tuple[str, str], dict[int, Touches]]) -> list[str]:
    """The operations whose pages grow faster than promised, or, of those that see all entries, slower."""
    complaints = []
    for operation, touches in found.items():
        promise = promises()[operation]
        for (small, few), (large, many) in itertools.pairwise(sorted(touches.items())):
            growth = large / small
            if promise == "O(n)":
                kept = 0.7 * growth <= many.read / few.read <= 1.3 * growth
            else:
                tenfolds = math.log10(growth)
                kept = many.read - few.read <= MORE_READ * tenfolds and many.written - few.written <= MORE_WRITTEN * tenfolds
            if not kept:
                complaints.append(f"{' '.join(operation)}: {promise} promised, {few} at {small:,}, {many} at {large:,}")
    return complaints


def table(found: dict[tuple[str, str], dict[int, Touches]]) -> str:
    sizes = list(next(iter(found.values())))
    rows = []
    for (name, title), touches in found.items():
        cells = [f"{t.read:,} / {t.written:,}" if t.written else f"{t.read:,}" for t in touches.values()]
        rows.append([name, title, promises()[name, title], *cells])
    return report.markdown(["container", "operation", "promised", *(f"{n:,}" for n in sizes)], rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=run.quantities, default=run.quantities("10k,100k,1M,10M"), help="entries, such as 10k,1M")
    parser.add_argument("--write-docs", nargs="?", type=Path, const=run.DOCUMENT, help="put the table into docs/performance.md")
    options = parser.parse_args(arguments)
    found = measure(options.n)
    text = table(found)
    print(text)
    if options.write_docs:
        report.write(options.write_docs, {"touches": text})
    for complaint in broken(found):
        print(complaint, file=sys.stderr)
    return 1 if broken(found) else 0


if __name__ == "__main__":
    sys.exit(main())
