#!/usr/bin/env python3
"""A networkx.DiGraph whose nodes, edges and attributes live in EMDicts instead of main memory.

NetworkX asks a graph class for the dicts it is made of. Here the outer ones (node -> attributes, node ->
neighbours) are EMDicts in temporary directories. A read from an EMDict is a copy, and NetworkX changes the
inner dicts in place, so those are dicts that write themselves back after every change:

    g[u][v]["w"] = 9        reaches both stores that know the edge, successors and predecessors

An inner dict shows the state in which it was read: ask the graph again to see what was written since.

Run on its own, it builds the import graph of the standard library in memory and on disk, and compares their
immediate dominators. Needs networkx 3.
"""

import argparse
import ast
import pickle
import shutil
import sys
import sysconfig
import tempfile
import time
import weakref
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import networkx

from pyrsistence import EMDict


class WriteBackDict(dict):
    """A dict that hands itself to `write` after every change, even one that raised half way."""

    __slots__ = ("write",)

    def __init__(self, items=(), write: Callable[[dict], None] | None = None) -> None:
        super().__init__(items)
        self.write = write

    def __reduce__(self):
        return dict, (dict(self),)  # a copy or a pickle of it stands on its own


def _writing_back(name: str) -> Callable:
    change = getattr(dict, name)

    def method(self, *args, **kwargs):
        try:
            return change(self, *args, **kwargs)
        finally:
            if self.write is not None:
                self.write(self)

    method.__name__ = name
    return method


for _name in ("__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update"):
    setattr(WriteBackDict, _name, _writing_back(_name))


class TemporaryDict(EMDict):
    """Node -> attributes, in a directory of its own that disappears with the object."""

    serializer = None  # an object with pickle(obj) -> bytes and unpickle(bytes) -> obj, or None

    def __init__(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="em-graph-")
        super().__init__(self.directory, pickler=self.serializer, unpickler=self.serializer)
        self._remove = weakref.finalize(self, shutil.rmtree, self.directory, ignore_errors=True)

    def close(self) -> None:
        super().close()
        self._remove()

    def __del__(self) -> None:
        if hasattr(self, "_remove") and self._remove.alive:  # at exit the directory has gone first
            self.close()

    def __getitem__(self, node):
        return WriteBackDict(super().__getitem__(node), self._writer(node))

    def __setitem__(self, node, attributes) -> None:
        super().__setitem__(node, dict(attributes))
        if isinstance(attributes, WriteBackDict):
            attributes.write = self._writer(node)

    def _writer(self, node) -> Callable[[dict], None]:
        # The dict may outlive its node: writing it back must not bring the node to life again.
        def write(attributes: dict) -> None:
            if node in self:
                EMDict.__setitem__(self, node, dict(attributes))

        return write


class Adjacency(TemporaryDict):
    """Node -> {neighbour: edge attributes}.

    `twin` is the same relation seen from the other end: NetworkX gives both the same attribute dict, on disk
    they are two copies, and a change to one must reach the other.
    """

    twin: "Adjacency | None" = None

    def __getitem__(self, node):
        neighbours = super().__getitem__(node)
        self._bind_edges(node, neighbours)
        return neighbours

    def __setitem__(self, node, neighbours) -> None:
        EMDict.__setitem__(self, node, self._plain(neighbours))
        if isinstance(neighbours, WriteBackDict):
            neighbours.write = self._writer(node)
            self._bind_edges(node, neighbours)

    @staticmethod
    def _plain(neighbours: dict) -> dict:
        return {neighbour: dict(attributes) for neighbour, attributes in neighbours.items()}

    def _writer(self, node) -> Callable[[dict], None]:
        def write(neighbours: dict) -> None:
            if node in self:
                EMDict.__setitem__(self, node, self._plain(neighbours))
                self._bind_edges(node, neighbours)

        return write

    def _bind_edges(self, node, neighbours: dict) -> None:
        for neighbour, attributes in neighbours.items():
            bound = WriteBackDict(attributes, self._edge_writer(node, neighbour))
            dict.__setitem__(neighbours, neighbour, bound)

    def _edge_writer(self, node, neighbour) -> Callable[[dict], None]:
        def write(attributes: dict) -> None:
            self._replace(node, neighbour, attributes)
            if self.twin is not None:
                self.twin._replace(neighbour, node, attributes)

        return write

    def _replace(self, node, neighbour, attributes: dict) -> None:
        """Stores the attributes of one edge, unless it has been removed meanwhile."""
        neighbours = EMDict.__getitem__(self, node) if node in self else {}
        if neighbour in neighbours:
            neighbours[neighbour] = dict(attributes)
            EMDict.__setitem__(self, node, neighbours)


class EMDiGraph(networkx.DiGraph):
    """A directed graph on disk: NetworkX's methods and algorithms, a few nodes at a time in main memory."""

    node_dict_factory = TemporaryDict
    node_attr_dict_factory = WriteBackDict
    adjlist_outer_dict_factory = Adjacency
    adjlist_inner_dict_factory = WriteBackDict
    edge_attr_dict_factory = dict

    def __init__(self, incoming_graph_data=None, **attributes) -> None:
        super().__init__(**attributes)
        self._stores = (self._node, self._succ, self._pred)
        self._succ.twin, self._pred.twin = self._pred, self._succ
        if incoming_graph_data is not None:
            networkx.convert.to_networkx_graph(incoming_graph_data, create_using=self)
            self.graph.update(attributes)

    def close(self) -> None:
        """Removes the graph's directories now, not when it is collected."""
        for store in self._stores:
            store.close()


class CompressedPickler:
    """A serializer of our own: pickles, deflated."""

    def pickle(self, obj: object) -> bytes:
        return zlib.compress(pickle.dumps(obj), 1)

    def unpickle(self, content: bytes) -> object:
        return pickle.loads(zlib.decompress(content))


class CompressedDict(TemporaryDict):
    serializer = CompressedPickler()


class CompressedAdjacency(Adjacency):
    serializer = CompressedPickler()


class CompressedDiGraph(EMDiGraph):
    """The same graph, with every key and value going through `CompressedPickler`."""

    node_dict_factory = CompressedDict
    adjlist_outer_dict_factory = CompressedAdjacency


# ------------------------------------------------------------------------------------- a real graph


def standard_library(limit: int) -> dict[str, Path]:
    """Module name -> source file, of the interpreter's own library."""
    root = Path(sysconfig.get_paths()["stdlib"])
    modules = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if not {"site-packages", "test", "tests", "idlelib", "lib2to3"} & set(parts):
            modules[".".join(part for part in parts if part != "__init__")] = path
            if len(modules) == limit:
                break
    return modules


def imports(module: str, path: Path) -> Iterator[str]:
    """The names a module imports, as absolute ones."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            origin = [*above, *filter(None, [node.module])]
            yield ".".join(origin)
            yield from (".".join([*origin, alias.name]) for alias in node.names)


def import_edges(limit: int) -> Iterator[tuple[str, str, dict]]:
    """(importer, imported, attributes)."""
    modules = standard_library(limit)
    for module, path in modules.items():
        try:
            names = set(imports(module, path))
        except SyntaxError:  # a template, not a module
            continue
        for name in sorted(names & modules.keys() - {module}):
            yield module, name, {"depth": name.count(".") + 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=0, help="how many modules to read; 0: all")
    parser.add_argument("--root", help="the module to start from; without it, the one with most imports")
    arguments = parser.parse_args()
    edges = list(import_edges(arguments.limit))
    plain = networkx.DiGraph(edges)
    root = arguments.root or max(plain, key=plain.out_degree)
    if root not in plain:
        parser.error(f"{root} imports nothing and is not imported: name another module")
    expected = networkx.immediate_dominators(plain, root)
    for kind in (EMDiGraph, CompressedDiGraph):
        began = time.perf_counter()
        graph = kind(edges)
        same = networkx.immediate_dominators(graph, root) == expected
        seconds = time.perf_counter() - began
        print(
            f"{kind.__name__}: {len(graph):,} modules, {graph.number_of_edges():,} imports, {seconds:.2f} s; "
            f"the dominators of {len(expected):,} modules below {root} {'agree' if same else 'DIFFER'}"
        )
        graph.close()
        if not same:
            sys.exit(1)


if __name__ == "__main__":
    main()
