"""Writes the golden stores of the current format version, which every later release must open.

    cmake --build build --target make_divided
    python tests/golden/make_golden.py build/tests/cpp/make_divided

There is one folder for each format version. Before a version is released its folder is written anew whenever the
format changes; from the release on it is never touched again, and the next version gets a folder and functions
of its own (``dict_v2`` ...), beside the old ones, which the tests go on comparing with.

``dict`` and ``list`` are stores that were closed, ``divided`` is a dict whose index has a delta and a filter, which
takes a program in C++, since from Python only far larger ones get them. ``array`` is a closed array, ``sorted`` a closed
sorted dict; ``killed``, ``queue``, ``sorted_set`` and ``multi_dict`` are stores whose process died, so that their logs must be
replayed; a log is sparse, so only its blocks that are not zero are kept, in ``log.blocks``: u64 offset and 4096 bytes each.
From version 2 on each store is a zip file.
"""

import collections
import datetime
import decimal
import fractions
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import uuid
import zipfile

HERE = pathlib.Path(__file__).parent
BLOCK = 4096


def atoms_v1():
    yield from (
        None,
        True,
        False,
        0,
        127,
        128,
        255,
        256,
        -1,
        -128,
        -129,
        2**63,
        2**64 - 1,
        2**64,
        -(2**64),
        3**200,
    )
    yield from (0.0, -0.0, 1.5, float("inf"), float("-inf"), 5e-324, 1 + 2j, complex(0.0, -0.0))
    yield from (
        "",
        "ascii",
        "x" * 31,
        "x" * 32,
        "\u00fc\u2603\U0001f40d",
        "\ud800",
        b"",
        b"\0" * 15,
        b"\xff" * 16,
    )
    yield from (
        bytearray(b"array"),
        (),
        (1, (2, ())),
        [],
        [1, [2]],
        {},
        {"b": 1, "a": [2]},
        {1, 2},
        frozenset({3}),
    )
    yield from (datetime.date(2024, 2, 29), decimal.Decimal("1.10"), collections.OrderedDict(a=1))
    yield from ("large " * 2800, b"\x01\x02" * 8193)


def keys_v1():
    yield from (
        None,
        True,
        0,
        -1,
        2**64,
        -(2**100),
        0.5,
        float("inf"),
        "",
        "key",
        "\u2603",
        "\ud800",
        b"",
        b"key",
    )
    yield from ((), (1, "a", (b"b", None)), frozenset({"a", ("b", 2)}), 1 + 2j)
    yield from (
        decimal.Decimal("0.1"),
        fractions.Fraction(1, 3),
        uuid.UUID(int=7),
        pathlib.PurePosixPath("/a/b"),
    )
    yield from (
        datetime.date(2024, 2, 29),
        datetime.datetime(2024, 2, 29, 1, 2, 3, 4),
        datetime.timedelta(-1, 5),
    )
    yield datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    yield datetime.datetime(2024, 2, 28, tzinfo=datetime.timezone.utc)
    yield from (datetime.time(23, 59), "k" * 300, "k" * 66_000)


def dict_v1(d):
    """Fills an empty dict or EMDict."""
    for i in range(700):
        d[i + 1000] = i
    for i, key in enumerate(keys_v1()):
        d[key] = i
    for i, value in enumerate(atoms_v1()):
        d["value", i] = value
    for i in range(0, 700, 3):
        del d[i + 1000]
    for i in range(1, 700, 30):
        d[i + 1000] = "replaced " * (i % 7)
    return d


def list_v1(l):
    """Fills an empty list or EMList."""
    l.extend(range(1500))
    l[100:100] = atoms_v1()
    del l[300:900:2]
    l.insert(0, "first")
    l.append("last")
    l[5] = b"replaced" * 10
    return l


def killed_v1(d):
    """What a process did before it died; the first half ends in a checkpoint."""
    for i in range(100):
        d[i] = f"value {i}"
    d["extent"] = b"before" * 2800
    getattr(d, "checkpoint", lambda: None)()
    for i in range(0, 100, 2):
        del d[i]
    d["extent"] = b"after" * 3300
    d[1] = list(range(50))
    d.popitem()
    d.update({("pair", i): i for i in range(30)})
    return d


def divided_v2(d):
    """What make_divided.cpp puts into a dict whose index has a delta and a filter."""
    for i in range(1000):
        if i % 7:
            d[i * 7919] = i
    return d


def array_v2(a):
    """Fills an empty list or EMArray of "i8"."""
    a.extend(range(3000))
    a[1000] = -1
    a[1500:1502] = [5, 6]
    a.append(2**62)
    return a


def sorted_v2(d):
    """Fills an empty dict or EMSortedDict."""
    for i in range(300):
        d[(i * 7919) % 4001] = i
    for i in range(20):
        d[i / 7] = f"value {i}"
    d.update({2**70: "int", -(2**70): "negative", float("inf"): "last", 2000.5: b"large" * 100})
    for i in range(0, 4000, 9):
        d.pop(i, None)
    return d


def checkpoint(container):
    """What comes behind it is in the log only."""
    getattr(container, "checkpoint", lambda: None)()


def queue_v2(q):
    """Fills an empty EMPriorityQueue or its model."""
    for i in range(60):
        q.push(f"task {i} {'x' * 150}", i * 7919 % 11)
    for i in range(10):
        q.push([i], i / 7)
    q.push(b"large" * 4000, fractions.Fraction(1, 3))
    q.push("last", 2**70)
    q.push("first", -(2**70))
    checkpoint(q)
    for i in range(10):
        q.pop()
        q.push(f"late {i}", i % 3)
    q.replace(b"large" * 3500, 20)
    q.replace("between", 20.5)
    return q


def sorted_set_v2(s):
    """Fills an empty EMSortedSet or set."""
    s.update((i * 7919 % 13, f"{'x' * 150} {i}") for i in range(60))
    s.update(((5,), (5, "x" * 300), (5, "\0"), (-(2**70), "\u2603")))
    checkpoint(s)
    for i in range(0, 60, 3):
        s.discard((i * 7919 % 13, f"{'x' * 150} {i}"))
    s.update((12.5, f"late {i}") for i in range(10))
    return s


def multi_dict_v2(d):
    """Fills an empty EMMultiDict or its model."""
    for i in range(50):
        d.add(f"key {i % 7}", i)
        d.add("key 5", {"value": "x" * 150, "number": i})
    d.add("k" * 300, b"large" * 4000)
    checkpoint(d)
    d.popall("key 6")
    for i in range(0, 50, 5):
        d.discard("key 5", {"value": "x" * 150, "number": i})
    for i in range(10):
        d.add(f"key {i % 4}", f"late {i}")
    d.add("", b"large" * 3500)
    return d


def blocks_of_log(path):
    """What restore_log() makes a log of."""
    log = (path / "log").read_bytes()
    places = [at for at in range(0, len(log), BLOCK) if log.count(0, at, at + BLOCK) < BLOCK]
    return b"".join(struct.pack("<Q", at) + log[at : at + BLOCK] for at in places)


def pack(path, to, killed=False):
    """A store that was closed, or what the process leaves if it is killed now."""
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        packed.write(path / "data", "data")
        if killed:
            packed.writestr("log.blocks", blocks_of_log(path))
        else:
            packed.write(path / "log", "log")


def restore_log(path):
    """Makes the sparse file ``log`` of a copy of ``killed``."""
    data = (path / "log.blocks").read_bytes()
    with open(path / "log", "wb") as log:
        for at in range(0, len(data), 8 + BLOCK):
            log.seek(struct.unpack_from("<Q", data, at)[0])
            log.write(data[at + 8 : at + 8 + BLOCK])
        log.truncate(log.tell() + (1 << 20))
    (path / "log.blocks").unlink()


def main(program):
    import pyrsistence

    folder = HERE / "v2"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with tempfile.TemporaryDirectory() as name:
        closed = pathlib.Path(name)
        subprocess.run([program, closed / "divided"], check=True)
        with pyrsistence.EMArray(closed / "array", "i8") as array:
            array_v2(array)
        with pyrsistence.EMSortedDict(closed / "sorted") as sorted_dict:
            sorted_v2(sorted_dict)
        for store in closed.iterdir():
            pack(store, folder / f"{store.name}.zip")
    for name, cls, fill in (
        ("queue", pyrsistence.EMPriorityQueue, queue_v2),
        ("sorted_set", pyrsistence.EMSortedSet, sorted_set_v2),
        ("multi_dict", pyrsistence.EMMultiDict, multi_dict_v2),
    ):
        with cls(None) as container:
            pack(pathlib.Path(fill(container).path), folder / f"{name}.zip", killed=True)
    for file in sorted(folder.iterdir()):
        print(f"{file.stat().st_size:8} {file.relative_to(HERE)}")


if __name__ == "__main__":
    main(sys.argv[1])
