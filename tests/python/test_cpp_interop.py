"""A store of built-in types written by C++ opens in Python, and the reverse."""

import shutil
import subprocess
from pathlib import Path

import pytest
from pyrsistence import EMArray, EMDeque, EMDict, EMList, EMMultiDict, EMPriorityQueue, EMSet, EMSortedDict

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "build" / "libpyrsistence.a"


@pytest.fixture(scope="module")
def interop(tmp_path_factory):
    """Runs the C++ program and returns what it prints, as lines."""
    compiler = shutil.which("g++")
    if compiler is None or not LIBRARY.exists():
        pytest.skip("needs g++ and the library that 'make build' makes")
    program = tmp_path_factory.mktemp("interop") / "interop"
    source = Path(__file__).with_name("interop.cpp")
    subprocess.run(
        [compiler, "-std=c++20", f"-I{ROOT}/include", source, LIBRARY, "-pthread", "-o", program], check=True
    )

    def run(command, directory):
        done = subprocess.run([program, command, directory], check=True, capture_output=True, text=True)
        return done.stdout.splitlines()

    return run


def test_python_reads_what_cpp_wrote(interop, tmp_path):
    interop("write", tmp_path)
    with EMDict(tmp_path / "edges") as edges:
        expected = {(i, -i): {"weight": i / 2} for i in range(1000) if i != 3}
        assert list(edges.items()) == list(expected.items())
    with EMList(tmp_path / "names") as names:
        assert names == ["x" * 100_000, "n0", "été", *(f"n{i}" for i in range(2, 1000))]
        names.check()
    with EMDict(tmp_path / "weights") as weights:
        assert weights[1] == 2 and weights[0.5] == 1
        assert all(type(key) is float for key in weights)
        weights.check()
    with EMSet(tmp_path / "seen") as seen, EMDeque(tmp_path / "last") as last:
        assert list(seen) == ["b", "a"] and list(last) == [4, 3, 2] and last.maxlen == 3
    with EMSortedDict(tmp_path / "symbols") as symbols, EMPriorityQueue(tmp_path / "tasks") as tasks:
        assert list(symbols.items()) == [(i / 2 - 2, str(i)) for i in range(10)]
        assert all(type(key) is float for key in symbols) and list(tasks.items()) == [(1.5, "b"), (1.5, "a")]
        symbols.check()
    with EMMultiDict(tmp_path / "callers") as callers:
        assert dict(callers.groups()) == {0: ["c6", "c3", "c0"], 0.5: ["c7", "c1"], 1: ["c8", "c5", "c2"]}
        assert all(type(key) is float for key in callers)
        callers.check()
    with EMArray(tmp_path / "samples", "f4") as samples, EMArray(tmp_path / "links") as links:
        assert samples.tolist() == [i / 2 for i in range(3000)]
        assert links.dtype.names == ("from", "count") and links[0]["count"].tolist() == [1, 2]


def test_cpp_reads_what_python_changed(interop, tmp_path):
    interop("write", tmp_path)
    with EMDict(tmp_path / "edges", mode="w") as edges:
        edges[True, 2**40] = {"weight": 7}  # a bool and an int where C++ has an integer and a double
        edges[1, -1] = {"weight": -0.5, "other": 1.0}
    with EMList(tmp_path / "names") as names:
        names[:] = ["été", "", "y" * 40]
    with EMDict(tmp_path / "weights") as weights:
        weights.clear()
        weights[1] = 5  # one key with the 1.0 of C++
        weights[0.25] = True
    with EMSet(tmp_path / "seen") as seen, EMDeque(tmp_path / "last") as last:
        seen ^= {"b", "c"}
        last.append(True)
    with EMSortedDict(tmp_path / "symbols") as symbols, EMPriorityQueue(tmp_path / "tasks") as tasks:
        symbols.delete_range(-1)
        symbols[2**70] = "big"
        symbols[True] = "one"
        tasks.push("c", 1)
    with EMMultiDict(tmp_path / "callers") as callers, EMList(tmp_path / "mixed") as mixed:
        del callers[0]
        callers.discard(0.5, "c7")
        callers.add(True, "one")
        callers[2**70] = ["big", "bigger"]
        mixed.extend([1, 2.5, True, 1.0, 2**40])
    with EMArray(tmp_path / "samples") as samples, EMArray(tmp_path / "links") as links:
        samples.truncate(2)
        samples += 0.25
        links.extend([(8, (3, 4))])
    printed = interop("read", tmp_path)
    with EMList(tmp_path / "mixed") as mixed:  # sorted stably, and as Python wrote them
        assert list(map(repr, mixed)) == [repr(2**40), "2.5", "1", "True", "1.0"]
    assert printed == [
        f"1 {2**40} 7", "1 -1 -0.5",
        "été", "", "y" * 40,
        "1 5", "0.25 1",
        "5",
        "a", "c",
        "-2 0", "-1.5 1", "1 one", "1.18059e+21 big",
        "1 c", "1.5 b", "1.5 a",
        "0.5 c1", "1 c8", "1 c5", "1 c2", "1 one", "1.18059e+21 big", "1.18059e+21 bigger",
        "c8", "c5", "c2", "one",
        "3", "2", "1",
        "0.25", "0.75",
        "7 2", "8 4",
    ]  # fmt: skip
