#!/usr/bin/env python3
"""Writes docs/methods.md: every method of the built-in collections, and what the one on disk does.

Each method is called, on a built-in collection and on ours with the same content, and results, errors and what is left
are compared. A method without an example, an example that differs without a reason, and a reason that is not needed
any more are errors. Where there is no such collection, idioms are compared: what one writes here for what one writes
there. `--check` compares with the file instead of writing it. Needs the installed package.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import heapq
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pyrsistence
import sortedcontainers

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "methods.md"
# What every object has, and what belongs to types and not to collections.
NO_METHODS = {"__abstractmethods__", "__slots__", "__subclasshook__", "__new__", "__getattribute__", "__doc__", "__module__", "__dict__", "__weakref__"}

# Expressions on `c`, the collection, and `kind`, its class; several are separated by lines.
COMMON = {
    "__len__": "len(c)",
    "__repr__": "repr(c)",
    "__hash__": "hash(c)",
    "__iter__": "list(iter(c))",
    "__sizeof__": "c.__sizeof__()",
    "__class_getitem__": "kind[int].__args__",
    "__init__": "kind([1, 2])",
    "__reduce__": "c.__reduce__()",
    "copy": "c.copy()",
    "__copy__": "__import__('copy').copy(c)",
    "clear": "c.clear()",
}
MAPPING = COMMON | {
    "__init__": "kind({'x': 1})",
    "__contains__": "'a' in c\n'z' in c\n[] in c",
    "__getitem__": "c['a']\nc['z']\nc[[]]",
    "__setitem__": "c.__setitem__('a', 7)\nc.__setitem__('z', 7)\nc.__setitem__([], 7)",
    "__delitem__": "c.__delitem__('a')\nc.__delitem__('z')",
    "__reversed__": "list(reversed(c))",
    "__eq__": "c == {'a': 1, 'b': 2, 'c': 3}\nc == {}\nc == 5",
    "__ne__": "c != {'a': 1, 'b': 2, 'c': 3}\nc != {}",
    "__lt__": "c < {}",
    "__le__": "c <= {}",
    "__gt__": "c > {}",
    "__ge__": "c >= {}",
    "__or__": "c | {'z': 1, 'a': 9}\nc | [('z', 1)]",
    "__ror__": "{'z': 1, 'a': 9} | c",
    "__ior__": "c.__ior__({'z': 1})\nc.__ior__([('z', 2)])",
    "fromkeys": "kind.fromkeys('xyz', 0)",
    "get": "c.get('a')\nc.get('z')\nc.get('z', 5)\nc.get([])",
    "items": "list(c.items())\n('a', 1) in c.items()\nc.items() & {('a', 1)}",
    "keys": "list(c.keys())\nc.keys() - {'a'}\nlist(reversed(c.keys()))",
    "values": "list(c.values())\nlist(reversed(c.values()))\n2 in c.values()",
    "pop": "c.pop('a')\nc.pop('z')\nc.pop('z', 5)",
    "popitem": "c.popitem()",
    "setdefault": "c.setdefault('a', 5)\nc.setdefault('z')\nc.setdefault([], 1)",
    "update": "c.update({'z': 1})\nc.update([('y', 2)], x=3)\nc.update(5)\nc.update([(1, 2, 3)])",
}
SEQUENCE = COMMON | {
    "__contains__": "2 in c\n9 in c",
    "__getitem__": "c[0]\nc[-1]\nc[9]\nc['a']\nc[0:2]",
    "__setitem__": "c.__setitem__(0, 7)\nc.__setitem__(9, 7)\nc.__setitem__(slice(0, 2), [5])",
    "__delitem__": "c.__delitem__(0)\nc.__delitem__(9)\nc.__delitem__(slice(0, 2))",
    "__reversed__": "list(reversed(c))",
    "__eq__": "c == model\nc == 5",
    "__ne__": "c != model",
    "__lt__": "c < model\nc < 5",
    "__le__": "c <= model",
    "__gt__": "c > model",
    "__ge__": "c >= model",
    "__add__": "c + model\nc + (1,)",
    "__iadd__": "c.__iadd__((7, 8))\nc.__iadd__(5)",
    "__mul__": "c * 2\nc * -1\nc * 'a'",
    "__rmul__": "2 * c",
    "__imul__": "c.__imul__(2)\nc.__imul__(0)",
    "append": "c.append(5)",
    "count": "c.count(2)\nc.count('z')",
    "extend": "c.extend([4, 5])\nc.extend(5)\nc.extend(c)",
    "index": "c.index(2)\nc.index(9)\nc.index(2, 1, 3)\nc.index(2, 2)",
    "insert": "c.insert(1, 5)\nc.insert(-1, 5)\nc.insert('a', 5)",
    "pop": "c.pop()",
    "remove": "c.remove(2)\nc.remove(9)",
    "reverse": "c.reverse()",
}
LIST = SEQUENCE | {
    "pop": "c.pop()\nc.pop(0)\nc.pop(9)",
    "sort": "c.sort()\nc.sort(key=lambda x: -x)\nc.sort(reverse=True)",
}
DEQUE = SEQUENCE | {
    "appendleft": "c.appendleft(5)",
    "extendleft": "c.extendleft([4, 5])\nc.extendleft(5)",
    "popleft": "c.popleft()",
    "rotate": "c.rotate()\nc.rotate(-2)\nc.rotate('a')",
    "maxlen": "c.maxlen",
}
SET = COMMON | {
    "__contains__": "1 in c\n9 in c\n[] in c\n{1} in c",
    "__eq__": "c == {1, 2, 3}\nc == [1, 2, 3]",
    "__ne__": "c != {1, 2, 3}",
    "__lt__": "c < {1, 2, 3, 4}\nc < [1]",
    "__le__": "c <= {1, 2, 3}",
    "__gt__": "c > {1}",
    "__ge__": "c >= {1, 9}",
    **{f"__{name}__": f"c.__{name}__({{2, 3, 4}})\nc.__{name}__([2])" for name in ("and", "or", "sub", "xor")},
    **{f"__r{name}__": f"{{2, 3, 4}} {sign} c" for name, sign in zip(("and", "or", "sub", "xor"), "&|-^")},
    **{f"__i{name}__": f"c.__i{name}__({{2, 3, 4}})\nc.__i{name}__([2])" for name in ("and", "or", "sub", "xor")},
    "add": "c.add(1)\nc.add(9)\nc.add([])",
    "discard": "c.discard(1)\nc.discard(9)\nc.discard([])",
    "remove": "c.remove(1)\nc.remove(9)\nc.remove([])",
    "pop": "[c.pop(), c.pop(), c.pop()].sort()\nc.clear() or c.pop()",
    "update": "c.update([7, 8], {9})\nc.update(5)",
    **{
        name: f"c.{name}([2, 3, 4])\nc.{name}(5)"
        for name in ("union", "intersection", "difference", "symmetric_difference", "isdisjoint", "issubset", "issuperset")
    },
    **{f"{name}_update": f"c.{name}_update([2, 3, 4])" for name in ("intersection", "difference", "symmetric_difference")},
}
COUNTER = MAPPING | {
    "__getitem__": "c['a']\nc['z']",
    "__missing__": "c.__missing__('z')",
    **{f"__{name}__": f"c.__{name}__(other)" for name in ("add", "sub", "or", "and", "iadd", "isub", "ior", "iand")},
    **{f"__{name}__": f"c.__{name}__(other)" for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "__pos__": "+c",
    "__neg__": "-c",
    "__delitem__": "c.__delitem__('a')\nc.__delitem__('z')",
    "elements": "list(c.elements())",
    "most_common": "c.most_common()\nc.most_common(2)\nc.most_common(0)",
    "subtract": "c.subtract('aab')\nc.subtract({'a': 5}, z=1)",
    "total": "c.total()",
    "update": "c.update('aab')\nc.update({'a': 5}, z=1)",
}
DEFAULT = MAPPING | {"__init__": "kind(int, {'x': 1})", "__missing__": "c.__missing__('z')", "default_factory": "c.default_factory()"}

RANGES = {
    "bisect": "c.bisect(KEY)",
    "bisect_left": "c.bisect_left(KEY)",
    "bisect_right": "c.bisect_right(KEY)",
    "index": "c.index(KEY)\nc.index(KEY, 0, 3)\nc.index(OTHER)",
    "irange": "list(c.irange(KEY))\nlist(c.irange(None, KEY, (True, False), True))\nlist(c.irange(KEY, KEY))",
    "islice": "list(c.islice(1))\nlist(c.islice(-2, None, True))\nlist(c.islice(0, 2))",
    "__reversed__": "list(reversed(c))",
    "key": "c.key",
}


def ranges(key: str, other: str) -> dict[str, str]:
    return {name: text.replace("KEY", key).replace("OTHER", other) for name, text in RANGES.items()}


SORTED_DICT = MAPPING | ranges("'b'", "'z'") | {
    "__getitem__": "c['a']\nc['z']",
    "__setitem__": "c.__setitem__('a', 7)\nc.__setitem__('z', 7)\nc.__setitem__(1, 7)",
    "__reduce__": "c.__reduce__()",
    "items": "list(c.items())\nc.items()[0]\nc.items()[-2:]\n('a', 1) in c.items()",
    "keys": "list(c.keys())\nc.keys()[0]\nlist(reversed(c.keys()))",
    "values": "list(c.values())\nc.values()[-1]\nlist(reversed(c.values()))",
    "iloc": "c.iloc[0]",
    "peekitem": "c.peekitem()\nc.peekitem(0)\nc.peekitem(9)",
    "popitem": "c.popitem()\nc.popitem(0)\nc.clear() or c.popitem()",
}
SORTED_SET = SET | ranges("2", "9") | {
    "__getitem__": "c[0]\nc[-1]\nc[9]\nc[0:2]\nc[::-1]",
    "__delitem__": "c.__delitem__(0)\nc.__delitem__(9)\nc.__delitem__(slice(0, 2))",
    "__contains__": "1 in c\n9 in c\n[] in c",
    "__eq__": "c == {1, 2, 3}",
    "__or__": "c | {7}", "__and__": "c & {2, 3, 4}", "__sub__": "c - {2}", "__xor__": "c ^ {3, 4}",
    "__ior__": "c.__ior__({7})", "__iand__": "c.__iand__({2, 3, 4})", "__isub__": "c.__isub__({2})", "__ixor__": "c.__ixor__({3, 4})",
    "__lt__": "c < {1, 2, 3, 4}",
    "count": "c.count(2)\nc.count(9)",
    "pop": "c.pop()\nc.pop(0)\nc.pop(9)\nc.clear() or c.pop()",
    "update": "c.update([7, 8], {9}) and None\nc.update(5)",
    "isdisjoint": "c.isdisjoint([7])\nc.isdisjoint([1])",
    **{f"{name}_update": f"c.{name}_update([2, 3, 4]) and None" for name in ("intersection", "difference", "symmetric_difference")},
}
# heapq on a list, and the same with a queue. What the last statement gives is compared, else what is left.
HEAP = {
    "heappush": ("heappush(h, 2); sorted(h)", "q.push(2); list(q)"),
    "heappop": ("heappop(h), sorted(h)", "q.pop(), list(q)"),
    "heappushpop": ("heappushpop(h, 4), heappushpop(h, 0), sorted(h)", "q.pushpop(4), q.pushpop(0), list(q)"),
    "heapreplace": ("heapreplace(h, 0), sorted(h)", "q.replace(0), list(q)"),
    "heapify": ("heapify(h); h[0]", "q.peek()"),
    "merge": ("list(merge([1, 4], [2, 3]))", "list(pyrsistence.merge([1, 4], [2, 3]))"),
    "nlargest": ("nlargest(2, h)", "nlargest(2, q)"),
    "nsmallest": ("nsmallest(2, h)", "list(itertools.islice(q, 2))"),
}
# A defaultdict(list), and an EMMultiDict. Values of a key that has none left: there is no such key.
LISTS = [
    ("d['a'].append(9)", "d.add('a', 9)"),
    ("d['z'].append(9)", "d.add('z', 9)"),
    ("d['a'].extend([8, 9])", "d.extend('a', [8, 9])"),
    ("for k, v in [('a', 9), ('z', 8)]: d[k].append(v)", "d.update([('a', 9), ('z', 8)])"),
    ("d['a']", "d['a']"),
    ("d.get('z')", "d.get('z')"),
    ("d.get('z', [])", "d.getall('z')"),
    ("'a' in d, 'z' in d", "'a' in d, 'z' in d"),
    ("2 in d['a']", "2 in d['a']"),
    ("len(d['a'])", "d.count('a')"),
    ("len(d)", "sum(1 for key in d)"),
    ("sum(map(len, d.values()))", "len(d)"),
    ("d['a'] = [7, 8]", "d['a'] = [7, 8]"),
    ("d['a'][0] = 7", "d['a'] = [7, *d['a'][1:]]"),
    ("d['a'].remove(1)", "d.remove('a', 1)"),
    ("d.pop('a')", "d.popall('a')"),
    ("d.pop('z', [])", "d.popall('z')"),
    ("del d['a']", "del d['a']"),
    ("del d['z']", "del d['z']"),
    ("d.clear()", "d.clear()"),
    ("sorted(d)", "list(d)"),
    ("sorted(d.items())", "list(d.groups())"),
    ("[(k, v) for k in sorted(d) for v in d[k]]", "list(d.items())"),
    ("[k for k in sorted(d) if 'b' <= k < 'd']", "list(d.irange('b', 'd', (True, False)))"),
    ("min(d), max(d)", "next(iter(d)), next(reversed(d))"),
]
# An ndarray of one dimension, or a memmap, and an EMArray; `f` is a file.
ARRAYS = [
    ("a[1], a[-1]", "a[1], a[-1]", ""),
    ("a[9]", "a[9]", ""),
    ("a[1:3]", "a[1:3]", "a copy"),
    ("a[::-2]", "a[::-2]", "a copy"),
    ("a[[0, 2, 2]]", "a[[0, 2, 2]]", ""),
    ("a[a > 2]", "a[a > 2]", ""),
    ("a[None]", "a[:][None]", ""),
    ("a[0] = 7", "a[0] = 7", ""),
    ("a[1:3] = 0", "a[1:3] = 0", ""),
    ("a[...] = [5, 6, 7, 8]", "a[...] = [5, 6, 7, 8]", ""),
    ("a[::2] = [7, 8]", "a[::2] = [7, 8]", ""),
    ("a[[0, 0]] = [7, 8]", "a[[0, 0]] = [7, 8]", ""),
    ("a[a > 2] = 0", "a[a > 2] = 0", ""),
    ("a[0] = 'x'", "a[0] = 'x'", ""),
    ("len(a), 3 in a, list(a)", "len(a), 3 in a, list(a)", ""),
    ("a.dtype, a.shape, a.ndim, a.size", "a.dtype, a.shape, a.ndim, a.size", ""),
    ("a.itemsize, a.nbytes", "a.itemsize, a.nbytes", ""),
    ("a.tolist()", "a.tolist()", ""),
    ("a == 3, a < 3", "a == 3, a < 3", ""),
    ("a += 1; a -= 2; a *= 7", "a += 1; a -= 2; a *= 7", "256 KiB at a time"),
    ("a //= 2; a %= 5; a **= 2", "a //= 2; a %= 5; a **= 2", "likewise"),
    ("a &= 6; a |= 8; a ^= 1; a <<= 2; a >>= 1", "a &= 6; a |= 8; a ^= 1; a <<= 2; a >>= 1", "likewise"),
    ("a /= 2", "a /= 2", "refused for integers, as there"),
    ("a + 1", "a[:] + 1", "loads all"),
    ("a.fill(7)", "a.fill(7)", ""),
    ("numpy.append(a, 5)", "a.append(5)", "in place; the dtype stays"),
    ("numpy.append(a, [5, 6])", "a.extend([5, 6])", "in place; the dtype stays"),
    ("numpy.concatenate([a, a])", "a.extend(a)", "in place"),
    ("numpy.delete(a, -1)", "a.pop()", "in place; returns the item"),
    ("a[:2]", "a.truncate(2)", "in place"),
    ("a.resize(6, refcheck=False)", "a.resize(6)", "new items are zero"),
    ("a.copy()", "a.copy()", "a temporary store; `a.copy(path)` stays"),
    ("numpy.array(a)", "numpy.array(a)", "loads all, as every function of NumPy"),
    ("a.astype('f8')", "a[:].astype('f8')", "loads all"),
    ("a.sort()", "a[:] = numpy.sort(a)", "loads all"),
    ("a.sum()", "sum(block.sum() for block in a.blocks())", "256 KiB at a time"),
    ("a.max()", "max(block.max() for block in a.blocks())", "256 KiB at a time"),
    ("a.mean()", "numpy.mean(a)", "loads all"),
    ("a.tobytes()", "b''.join(block.tobytes() for block in a.blocks())", ""),
    ("a.tofile(f)", "with open(f, 'wb') as file: [block.tofile(file) for block in a.blocks()]", "256 KiB at a time"),
]

DIFFERENCES = {
    "key": "always None: an order that a function makes is not stored; make it a part of the key",
    "iloc": "a name that is deprecated there; `keys()[i]`",
    "__repr__": "names the store and the container, and shows five entries at most",
    "__sizeof__": "the handle alone: what is stored is no memory of it",
    "__reduce__": "pickles the handle, not the content",
    "__copy__": "refused, since a directory cannot be copied so: `copy()` makes a temporary copy",
    "__init__": "takes a directory; `update()` or `extend()` fills it",
}


class Model(NamedTuple):
    name: str
    builtin: type
    fill: Callable[[], Any]
    """Makes a built-in collection with content."""
    ours: Callable[[Any], Any]
    """Makes ours, with the content of a built-in one."""
    examples: dict[str, str]


def filled(make: Callable[[], Any], method: str) -> Callable[[Any], Any]:
    def ours(content: Any) -> Any:
        container = make()
        getattr(container, method)(content)
        return container

    return ours


MODELS = [
    Model("dict", dict, lambda: {"a": 1, "b": 2, "c": 3}, filled(lambda: pyrsistence.EMDict(None), "update"), MAPPING),
    Model("list", list, lambda: [1, 2, 3, 2], filled(lambda: pyrsistence.EMList(None), "extend"), LIST),
    Model("set", set, lambda: {1, 2, 3}, filled(lambda: pyrsistence.EMSet(None), "update"), SET),
    Model(
        "deque",
        collections.deque,
        lambda: collections.deque([1, 2, 3, 2], maxlen=6),
        filled(lambda: pyrsistence.EMDeque(None, maxlen=6), "extend"),
        DEQUE,
    ),
    Model(
        "sortedcontainers.SortedDict",
        sortedcontainers.SortedDict,
        lambda: sortedcontainers.SortedDict({"a": 1, "b": 2, "c": 3}),
        filled(lambda: pyrsistence.EMSortedDict(None), "update"),
        SORTED_DICT,
    ),
    Model(
        "sortedcontainers.SortedSet",
        sortedcontainers.SortedSet,
        lambda: sortedcontainers.SortedSet([1, 2, 3]),
        filled(lambda: pyrsistence.EMSortedSet(None), "update"),
        SORTED_SET,
    ),
    Model(
        "Counter",
        collections.Counter,
        lambda: collections.Counter("abcab"),
        filled(lambda: pyrsistence.EMCounter(None), "update"),
        COUNTER,
    ),
    Model(
        "defaultdict",
        collections.defaultdict,
        lambda: collections.defaultdict(int, {"a": 1, "b": 2, "c": 3}),
        filled(lambda: pyrsistence.EMDefaultDict(int, None), "update"),
        DEFAULT,
    ),
]


# ------------------------------------------------------------------------------------------------- comparison

MAPPINGS = (dict, pyrsistence.EMDict, pyrsistence.EMSortedDict)
SETS = (set, frozenset, sortedcontainers.SortedSet, pyrsistence.EMSet, pyrsistence.EMSortedSet)
OURS = (pyrsistence.EMDict, pyrsistence.EMList, pyrsistence.EMSet, pyrsistence.EMDeque, pyrsistence.EMSortedDict, pyrsistence.EMSortedSet)


def content(thing: Any) -> Any:
    if isinstance(thing, MAPPINGS):
        return dict(thing.items())
    if isinstance(thing, SETS):
        return set(thing)
    return list(thing) if isinstance(thing, (list, collections.deque, *OURS)) else thing


def outcome(container: Any, kind: type, model: Any, expression: str) -> Any:
    """What the expression gives or raises, and what it leaves."""
    names = {"c": container, "kind": kind, "model": model, "other": collections.Counter("aaz")}
    with contextlib.ExitStack() as stack:
        try:
            result = eval(expression, names)
            if isinstance(result, OURS) and result is not container:
                stack.enter_context(result)
            given = content(result)
        except Exception as error:
            given = TypeError if isinstance(error, pyrsistence.OrderError) else type(error)
        return given, content(container)


def same(model: Model, expression: str) -> bool:
    expected = outcome(model.fill(), model.builtin, model.fill(), expression)
    with model.ours(model.fill()) as container:
        return outcome(container, type(container), model.fill(), expression) == expected


def methods(model: Model) -> list[str]:
    """All that it has and object has not, or has differently; some classes give their instances methods."""
    own = {name for base in model.builtin.__mro__ if base is not object for name in vars(base)}
    own |= vars(model.fill()).keys() if hasattr(model.fill(), "__dict__") else set()
    private = {name for name in own if name.startswith("_") and not name.startswith("__")}
    return sorted(own - NO_METHODS - private, key=lambda name: (name.startswith("_"), name))


# Arrays of numbers, `k` and `v`, with the built-in collections and those on disk: dict, list and set.
INTO = [
    ("d.update(zip(k, v))", "d.update(numpy.column_stack((k, v)))", "no object for each number; all of one dtype"),
    ("[d.get(x) for x in k]", "d.get_many(k)", "likewise, but for the values"),
    ("[d.get(x, 0) for x in k]", "d.get_many(k, 0)", "likewise"),
    ("l.extend(v)", "l.extend(v)", "no object for each number"),
    ("s.update(k)", "s.update(k)", "likewise"),
]


def rows(model: Model, used: set[str]) -> Iterator[tuple[str, str, str]]:
    for name in methods(model):
        if name not in model.examples:
            raise SystemExit(f"{model.name}.{name} has no example in {Path(__file__).name}")
        reason = DIFFERENCES.get(name)
        failed = [line for line in model.examples[name].splitlines() if not same(model, line)]
        if failed and reason is None:
            raise SystemExit(f"{model.name}.{name} differs in {failed}, and nothing says why")
        if failed:
            used.add(name)
        yield name, "differs" if failed else "as there", reason if failed else ""


def table() -> str:
    text = """# Methods of the built-in collections, and of those on disk

Written by `tools/method_table.py`, which calls each of them on a built-in collection and on ours with the same content, and compares
results, errors and what is left. Results that are collections are temporary stores here.
"""
    used: set[str] = set()
    for model in MODELS:
        with model.ours(model.fill()) as container:
            ours = type(container).__name__
        text += f"\n## {model.name}: {ours}\n\n| method | here | |\n|---|---|---|\n"
        text += "".join(f"| `{name}` | {state} | {reason} |\n" for name, state, reason in rows(model, used))
    if idle := DIFFERENCES.keys() - used:
        raise SystemExit(f"these do not differ any more: {sorted(idle)}")
    text += "\n## heapq: EMPriorityQueue\n\n| function | here |\n|---|---|\n"
    text += "".join(idiom_row(*HEAP[name], heap, priority_queue) for name in heapq.__all__)
    text += "\n## defaultdict(list): EMMultiDict\n\nA key that has no value left is no key here; `d['z']` of one "
    text += "that is missing is a `KeyError`.\n"
    text += "\n| with `d = defaultdict(list)` | here |\n|---|---|\n"
    text += "".join(idiom_row(*idiom, lists, multi_dict) for idiom in LISTS)
    text += "\n## numpy.ndarray: EMArray\n\nOf one dimension. `a[:]` is an ndarray with everything that these have, "
    text += "and loads all.\n"
    text += "\n| with an ndarray `a` | here | |\n|---|---|---|\n"
    text += "".join(idiom_row(theirs, ours, ndarray, em_array, note) for theirs, ours, note in ARRAYS)
    text += "\n## numpy.ndarray: EMDict, EMList, EMSet\n\nStored are NumPy's scalars, as by a loop over the arrays. "
    text += "Of an array of ints and one of floats `column_stack` makes floats.\n"
    text += "`d.update(zip(k.tolist(), v.tolist()))` stores numbers of Python's.\n"
    text += "\n| with arrays `k` and `v`, and a dict `d`, list `l` or set `s` | here | |\n|---|---|---|\n"
    return text + "".join(idiom_row(theirs, ours, built_in, on_disk, note) for theirs, ours, note in INTO)


# ----------------------------------------------------------------------------------------------------- idioms


@contextlib.contextmanager
def heap() -> Iterator[tuple[dict[str, Any], Callable[[], Any]]]:
    """The names that an idiom uses, and what tells the content after it; so do the others."""
    made = [5, 1, 3]
    heapq.heapify(made)
    yield {"h": made} | {function: getattr(heapq, function) for function in heapq.__all__}, lambda: sorted(made)


@contextlib.contextmanager
def priority_queue() -> Iterator[tuple[dict[str, Any], Callable[[], Any]]]:
    with pyrsistence.EMPriorityQueue(None) as made:
        made.update([5, 1, 3])
        yield {"q": made, "nlargest": heapq.nlargest}, lambda: list(made)


@contextlib.contextmanager
def lists() -> Iterator[tuple[dict[str, Any], Callable[[], Any]]]:
    made: dict[str, list[int]] = collections.defaultdict(list, {"a": [1, 2], "b": [3], "d": [4]})
    yield {"d": made}, lambda: dict(made)


@contextlib.contextmanager
def multi_dict() -> Iterator[tuple[dict[str, Any], Callable[[], Any]]]:
    made: pyrsistence.EMMultiDict[str, int]
    with pyrsistence.EMMultiDict(None) as made:
        made.update([("a", 1), ("a", 2), ("b", 3), ("d", 4)])
        yield {"d": made}, lambda: dict(made.groups())


NUMBERS = [3, 1, 4, 2]


@contextlib.contextmanager
def ndarray() -> Iterator[tuple[dict[str, Any], Callable[[], Any]]]:
    with tempfile.NamedTemporaryFile() as file:
        names = {"a": numpy.array(NUMBERS, "i4"), "f": file.name}
        yield names, lambda: (Path(file.name).read_bytes(), numpy.array(names["a"]))


@contextlib.contextmanager
def em_array() -> Iterator[tuple[dict[str, Any], Callable[[], Any]]]:
    with pyrsistence.EMArray(None, "i4") as made, tempfile.NamedTemporaryFile() as file:
        made.extend(NUMBERS)
        yield {"a": made, "f": file.name}, lambda: (Path(file.name).read_bytes(), made[:])


def keys_and_values() -> dict[str, Any]:
    return {"k": numpy.array([3, 1, 4, 1]), "v": numpy.array([30, 10, 40, 20])}


@contextlib.contextmanager
def built_in() -> Iterator[tuple[dict[str, Any], Callable[[], Any]]]:
    made: dict[Any, Any] = {1: 0}
    items: list[Any] = []
    members: set[Any] = set()
    names = {"d": made, "l": items, "s": members} | keys_and_values()
    yield names, lambda: (list(made.items()), items, sorted(members))


@contextlib.contextmanager
def on_disk() -> Iterator[tuple[dict[str, Any], Callable[[], Any]]]:
    made: pyrsistence.EMDict[Any, Any]
    items: pyrsistence.EMList[Any]
    members: pyrsistence.EMSet[Any]
    with pyrsistence.EMDict(None) as made, pyrsistence.EMList(None) as items, pyrsistence.EMSet(None) as members:
        made[1] = 0
        names = {"d": made, "l": items, "s": members} | keys_and_values()
        yield names, lambda: (list(made.items()), list(items), sorted(members))


def plain(thing: Any) -> Any:
    """What can be compared: types and values all the way down."""
    if isinstance(thing, pyrsistence.EMArray):
        with thing:
            return plain(thing[:])
    if isinstance(thing, (numpy.ndarray, numpy.generic)):
        return type(thing).__name__, thing.dtype.str, thing.shape, thing.tolist()
    return type(thing)(map(plain, thing)) if isinstance(thing, (list, tuple)) else thing


def carried_out(code: str, make: Callable[[], Any]) -> tuple[Any, Any]:
    """What the last statement gives or raises, None if it gives nothing, and what is left."""
    with make() as (names, left):
        names |= {"pyrsistence": pyrsistence, "itertools": itertools, "numpy": numpy}
        *statements, last = code.split("; ")
        for statement in statements:
            exec(statement, names)
        try:
            compiled = compile(last, code, "eval")
        except SyntaxError:
            compiled = compile(last, code, "exec")
        try:
            given = plain(eval(compiled, names))
        except Exception as error:
            given = type(error)
        return given, plain(left())


def idiom_row(
    theirs: str, ours: str, make_theirs: Callable[[], Any], make_ours: Callable[[], Any], note: str | None = None
) -> str:
    """Both must give and leave the same, or ours leaves in place what theirs gives."""
    (expected, expected_left), (given, left) = carried_out(theirs, make_theirs), carried_out(ours, make_ours)
    new = note is not None and note.startswith("in place") and expected[2:] == left[1][2:]  # shape and values
    if not new and (given, left) != (expected, expected_left):
        raise SystemExit(f"{ours} gives {given} and leaves {left}, {theirs} {expected} and {expected_left}")
    same_text = ours == theirs and note is not None
    cells = [f"`{theirs}`", "the same" if same_text else f"`{ours}`", *([] if note is None else [note])]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if docs/methods.md is not as it would be written")
    made = table()
    if not parser.parse_args().check:
        DOCUMENT.write_text(made)
    elif DOCUMENT.read_text() != made:
        print(f"{DOCUMENT} is out of date: run {Path(__file__).name}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
