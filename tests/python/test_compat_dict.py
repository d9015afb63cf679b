"""Programs written for EMDict of the original pyrsistence run unchanged."""

import gc
import os
import pathlib
import pickle
import shutil
import stat
import subprocess
import sys
import tempfile

import pytest

import pyrsistence
from pyrsistence import EMDict


@pytest.fixture
def path(tmp_path):
    return tmp_path / "d"


class Pickler:
    def __init__(self):
        self.objects = []

    def pickle(self, obj):
        self.objects.append(obj)
        return pickle.dumps(obj)


class Unpickler:
    def unpickle(self, data):
        assert type(data) is bytes
        return pickle.loads(data)


# --- surface


@pytest.mark.parametrize("convert", [str, os.fspath, os.fsencode, pathlib.Path])
def test_the_constructor_makes_the_directory_for_its_owner_alone(path, convert):
    d = EMDict(dirname=convert(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    d.close()
    d = EMDict(convert(path), None, None)
    d.close()


def test_open_and_close(path):
    d = EMDict(str(path))
    d["k"] = 1
    with pytest.raises(RuntimeError, match="^EMDict already open$"):
        d.open(str(path))
    assert d.close() is None
    assert d.close() is None
    assert d.open(str(path)) is True
    assert d["k"] == 1
    d.close()
    other = path.with_name("other")
    assert d.open(dirname_of(other)) is True
    assert len(d) == 0
    d.close()


def dirname_of(path):
    return str(path)


def test_failures_to_open_are_runtime_errors(tmp_path):
    with pytest.raises(RuntimeError, match="^Cannot open EMDict"):
        EMDict(str(tmp_path / "no" / "such" / "parent"))
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeError, match="^Cannot open EMDict"):
        EMDict(str(tmp_path / "file"))


def test_closing_in_del_is_harmless(path):
    class Careful(EMDict):
        def __del__(self):
            self.close()

    d = Careful(str(path))
    d[1] = 1
    d.close()
    del d
    d = Careful(str(path))
    d[2] = 2
    del d
    with pytest.raises(RuntimeError):
        Careful(str(path / "missing" / "d"))
    gc.collect()
    with EMDict(path) as d:
        assert dict(d) == {1: 1, 2: 2}


def test_a_store_is_one_directory(tmp_path):
    d = EMDict(str(tmp_path / "d"))
    d.update((i, i) for i in range(1000))
    d.close()
    shutil.rmtree(tmp_path / "d")
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_cell_run_twice(path):
    d = EMDict(str(path))
    d["old"] = 1
    again = EMDict(str(path))
    assert again["old"] == 1
    shutil.rmtree(path)
    fresh = EMDict(str(path))
    assert len(fresh) == 0
    fresh["new"] = 1
    for each in (again, fresh):
        each.close()
    with EMDict(str(path)) as last:
        assert list(last) == ["new"]
    try:
        d.close()
    except OSError:
        pass  # its files are gone


# --- picklers


def test_a_pickler_sees_every_key_and_value(path):
    pickler = Pickler()
    with EMDict(str(path), pickler, Unpickler()) as d:
        d["k"] = 1
        d[(1, 2)] = {"a": [1]}
        assert pickler.objects == ["k", 1, (1, 2), {"a": [1]}]
        assert list(d.items()) == [("k", 1), ((1, 2), {"a": [1]})]
    with EMDict(str(path), pickler=Pickler(), unpickler=Unpickler()) as d:
        assert d["k"] == 1 and (1, 2) in d


def test_an_encrypting_pickler_with_a_nonce_finds_its_keys(path):
    class Cipher:
        def pickle(self, obj):
            nonce = os.urandom(8)
            return nonce + bytes(b ^ nonce[i % 8] for i, b in enumerate(pickle.dumps(obj)))

        def unpickle(self, data):
            nonce, data = data[:8], data[8:]
            return pickle.loads(bytes(b ^ nonce[i % 8] for i, b in enumerate(data)))

    with EMDict(path, Cipher(), Cipher()) as d:
        for i in range(100):
            d["key", i] = i
            d["key", i] = i + 1
        assert len(d) == 100 and all(d["key", i] == i + 1 for i in range(100))
    with EMDict(path) as d:
        assert len(d) == 100
        for read in (list, lambda d: list(d.values())):
            with pytest.raises(pyrsistence.Error, match="unpickler="):
                read(d)
    assert b"key" not in (path / "data").read_bytes()


# --- subclasses


class Node:
    def __init__(self, address, color):
        self.address, self.color = address, color

    def __eq__(self, other):
        return isinstance(other, Node) and self.address == other.address

    def __hash__(self):
        return hash(self.address)

    def __em_key__(self):
        return self.address


class Graph(EMDict):
    """The way the original was subclassed: picklers, wrapped items, a state of its own."""

    def __init__(self, path):
        self.place = path
        super().__init__(str(path), pickler=Pickler(), unpickler=Unpickler())

    def __setitem__(self, key, value):
        super().__setitem__(key, ("wrapped", value))

    def __getitem__(self, key):
        return super().__getitem__(key)[1]

    def __getstate__(self):
        return {"place": self.place}

    def __setstate__(self, state):
        self.__init__(state["place"])


def test_a_subclass_with_everything_overridden(path):
    g = Graph(path)
    g[1] = {2}
    g[Node(5, "red")] = {1}
    assert g[1] == {2} and g[Node(5, "blue")] == {1}
    assert EMDict.__getitem__(g, 1) == ("wrapped", {2})
    assert list(g.values()) == [{2}, {1}] and g.get(1) == {2} and g.pop(1) == {2}
    again = pickle.loads(pickle.dumps(g))
    assert type(again) is Graph and again[Node(5, "")] == {1} and again.place == path
    again.close()
    g.close()
    g.close()


# --- uses


def test_a_program_graph_without_its_orphans(tmp_path):
    """Four dicts; sets rewritten on every edge; keys deleted while they are walked."""
    successors, predecessors, vertices, edges = (EMDict(str(tmp_path / name)) for name in "spve")
    for node in range(300):
        vertices[node] = {"address": node}
        successors[node] = set()
        predecessors[node] = set()
    for source in range(0, 300, 3):
        target = (source * 7 + 3) % 300
        successors[source] = successors[source] | {target}
        predecessors[target] = predecessors[target] | {source}
        edges[source, target] = {"kind": "call"}
    for node in vertices.keys():  # noqa: SIM118 - as the programs have it
        if not successors[node] and not predecessors[node]:
            del vertices[node], successors[node], predecessors[node]
    used = {n for edge in edges.keys() for n in edge}  # noqa: SIM118
    assert set(vertices.keys()) == used and len(vertices) == len(successors) == len(used)
    for d in (successors, predecessors, vertices, edges):
        d.close()


class Block:
    def __init__(self, address, size):
        self.address, self.size = address, size


def test_a_disassembly(path):
    d = EMDict(str(path))
    for address in range(0, 0x10000, 16):
        d[address] = Block(address, 16)
    assert sum(block.size for block in d.values()) == 0x10000
    assert d[0x20].address == 0x20
    d.close()


def test_keys_written_by_one_process_are_found_by_another(path):
    program = (
        "import sys, pyrsistence\n"
        "d = pyrsistence.EMDict(sys.argv[1])\n"
        "for i in range(100): d['key-%d' % i] = i\n"
        "d.close()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "random"}
    subprocess.run([sys.executable, "-c", program, str(path)], env=environment, check=True)
    d = EMDict(str(path))
    assert all("key-%d" % i in d and d["key-%d" % i] == i for i in range(100)) and len(d) == 100
    d.close()


def test_networkx_with_an_emdict_as_outer_dict():
    networkx = pytest.importorskip("networkx")
    directories = []

    class Outer(EMDict):
        def __init__(self):
            self.directory = tempfile.mkdtemp()
            directories.append(self.directory)
            super().__init__(self.directory)

        def __setitem__(self, node, neighbours):
            super().__setitem__(node, dict(neighbours))

        def __getitem__(self, node):
            return Inner(self, node, super().__getitem__(node))

    class Inner(dict):
        """Writes itself back: what an EMDict returns is a copy."""

        def __init__(self, outer, node, content):
            super().__init__(content)
            self.outer, self.node = outer, node

        def __setitem__(self, key, value):
            super().__setitem__(key, value)
            EMDict.__setitem__(self.outer, self.node, dict(self))

        def __delitem__(self, key):
            super().__delitem__(key)
            EMDict.__setitem__(self.outer, self.node, dict(self))

    class Graph(networkx.DiGraph):
        adjlist_outer_dict_factory = Outer

    edges = [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (4, 3), (4, 5), (2, 5), (5, 6)]
    plain, stored = networkx.DiGraph(edges), Graph(edges)
    assert networkx.immediate_dominators(stored, 0) == networkx.immediate_dominators(plain, 0)
    for graph in (plain, stored):
        graph.remove_edge(2, 5)
        graph.remove_node(1)
    assert sorted(stored.edges) == sorted(plain.edges)
    assert networkx.immediate_dominators(stored, 0) == networkx.immediate_dominators(plain, 0)
    stored._succ.close()
    stored._pred.close()
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


class Hexing:
    """A pickler and unpickler that need not be given together."""

    def pickle(self, value):
        return repr(value).encode().hex().encode()

    def unpickle(self, data):
        return eval(bytes.fromhex(data.decode()))  # the test's own data


def test_a_store_is_refused_where_its_keys_could_not_be_found(tmp_path):
    """Keys of a custom pickler are found by digests; a handle without one would have missed every key in silence."""
    both = {"pickler": Hexing(), "unpickler": Hexing()}
    with EMDict(tmp_path / "d", **both) as d:
        d["k"] = 1
    with EMDict(tmp_path / "d") as d:
        assert len(d) == 1
        for use in (lambda: d["k"], lambda: "k" in d, lambda: d.update(k=2), lambda: d.pop("k")):
            with pytest.raises(pyrsistence.Error, match="with a pickler"):
                use()
    with EMDict(tmp_path / "d", unpickler=Hexing()) as d:
        assert d["k"] == 1 and list(d.items()) == [("k", 1)]
    with EMDict(tmp_path / "plain") as d:
        d["k"] = 1
    with pytest.raises(pyrsistence.FormatError, match="without a pickler"):
        EMDict(tmp_path / "plain", **both)
    with EMDict(tmp_path / "plain") as d:
        assert d == {"k": 1}
        d.clear()
    with EMDict(tmp_path / "plain", **both) as d:  # an empty dict takes any kind
        d["k"] = 2
        assert d["k"] == 2
