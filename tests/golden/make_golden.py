"""Writes the golden stores of the current format version, which every later release must open.

    cmake --build build --target make_divided
    python tests/golden/make_golden.py build/tests/cpp/make_divided

There is one folder for each format version. Before a version is released its folder is written anew whenever the
format changes; from the release on it is never touched again, and the next version gets a folder and functions
of its own (``dict_v2`` ...), beside the old ones, which the tests go on comparing with.

``dict`` and ``list`` are stores that were closed, ``divided`` is a dict whose index has a delta and a filter, which
takes a program in C++, since from Python only far larger ones get them. ``array`` is a closed array, ``sorted`` a closed sorted dict; ``killed`` is a store whose process died, so
that its log must be replayed; the log is sparse, so only its blocks that are not zero are kept, in ``log.blocks``: u64
offset and 4096 bytes each.
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
import uuid

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
    folder = HERE / "v2"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    subprocess.run([program, folder / "divided"], check=True)
    import pyrsistence

    with pyrsistence.EMArray(folder / "array", "i8") as array:
        array_v2(array)
    with pyrsistence.EMSortedDict(folder / "sorted") as sorted_dict:
        sorted_v2(sorted_dict)
    for lock in folder.glob("*/lock"):
        lock.unlink()
    for file in sorted(folder.glob("*/*")):
        print(f"{file.stat().st_size:8} {file.relative_to(HERE)}")


if __name__ == "__main__":
    main(sys.argv[1])
