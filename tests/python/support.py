"""Helpers of the tests: operations as data, strict comparison, child processes, the scale."""

import bisect
import collections
import contextlib
import datetime
import functools
import itertools
import math
import operator
import os
import random
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy
import sortedcontainers
from pyrsistence import (
    EMArray,
    EMCounter,
    EMDefaultDict,
    EMDeque,
    EMDict,
    EMList,
    EMMultiDict,
    EMPriorityQueue,
    EMSet,
    EMSortedDict,
    EMSortedSet,
    Error,
    OrderError,
)



class PriorityQueue:
    """What an EMPriorityQueue does, on a sorted list."""

    def __init__(self):
        self.priorities, self.items_ = [], []

    def __len__(self):
        return len(self.items_)

    def __iter__(self):
        return iter(self.items_)

    def items(self):
        return zip(self.priorities, self.items_)

    def push(self, item, *priority):
        hash(priority[0] if priority else item)  # as a key of a dict
        place = bisect.bisect_right(self.priorities, priority[0] if priority else item)
        self.priorities.insert(place, priority[0] if priority else item)
        self.items_.insert(place, item)

    def update(self, items):
        for item in items:
            self.push(item)

    def pop(self):
        return self.popitem()[1]

    def popitem(self):
        return self.priorities.pop(0), self.items_.pop(0)

    def peek(self):
        return self.items_[0]

    def peekitem(self):
        return self.priorities[0], self.items_[0]

    def pushpop(self, *arguments):
        self.push(*arguments)
        return self.pop()

    def replace(self, *arguments):
        hash(arguments[-1])
        if not self.items_:
            raise IndexError
        bisect.bisect_right(self.priorities, arguments[-1])
        first = self.pop()
        self.push(*arguments)
        return first

    def clear(self):
        self.__init__()

    def copy(self):
        copied = PriorityQueue()
        copied.priorities, copied.items_ = [*self.priorities], [*self.items_]
        return copied


class MultiDict:
    """What an EMMultiDict does, on lists in a sorted dict. Each value remembers how its key was written."""

    def __init__(self):
        self.lists = sortedcontainers.SortedDict()

    def __len__(self):
        return sum(map(len, self.lists.values()))

    def __iter__(self):
        return (pairs[0][0] for pairs in self.lists.values())

    def __reversed__(self):
        return (self.lists[key][-1][0] for key in reversed(self.lists))

    def __contains__(self, key):
        return key in self.lists

    def __getitem__(self, key):
        return [value for _, value in self.lists[key]]

    def __setitem__(self, key, values):
        values = list(values)
        self.popall(key)
        self.extend(key, values)

    def __delitem__(self, key):
        del self.lists[key]

    def items(self):
        return itertools.chain.from_iterable(self.lists.values())

    def values(self):
        return (value for _, value in self.items())

    def add(self, key, value):
        self.lists.setdefault(key, []).append((key, value))

    def extend(self, key, values):
        for value in values:
            self.add(key, value)

    def update(self, pairs):
        for key, value in pairs:
            self.add(key, value)

    def getall(self, key):
        return [value for _, value in self.lists.get(key, [])]

    def count(self, key):
        return len(self.getall(key))

    def popall(self, key):
        return [value for _, value in self.lists.pop(key, [])]

    def discard(self, key, value):
        pairs = self.lists.get(key, [])
        place = next((i for i, (_, other) in enumerate(pairs) if other == value), None)
        if place is None:
            return False
        del pairs[place]
        if not pairs:
            del self.lists[key]
        return True

    def irange(self, low, high, inclusive, reverse):
        return (self.lists[key][-1 if reverse else 0][0] for key in self.lists.irange(low, high, inclusive, reverse))

    def clear(self):
        self.lists.clear()

    def copy(self):
        copied = MultiDict()
        copied.update(self.items())
        return copied


SHORT = 7  # maxlen of a short deque


class ArrayModel:
    """An ndarray that grows, as EMArray does."""

    def __init__(self, data=()):
        self.data = numpy.array(data, "i4")

    def copy(self):
        return ArrayModel(self.data)

    def __len__(self):
        return len(self.data)

    def __iter__(self):
        return iter(self.data.copy())

    def __contains__(self, value):
        return value in self.data

    def __getitem__(self, key):
        return self.data[key].copy()

    def __setitem__(self, key, value):
        self.data[key] = value

    def __eq__(self, other):
        return self.data == other

    def __lt__(self, other):
        return self.data < other

    def tolist(self):
        return self.data.tolist()

    def append(self, item):
        new = numpy.zeros(1, "i4")
        new[0] = item
        self.data = numpy.concatenate([self.data, new])

    def extend(self, items):
        self.data = numpy.concatenate([self.data, numpy.asarray(items, "i4")])

    def resize(self, length):
        if length < 0:
            raise ValueError
        zeros = numpy.zeros(max(0, length - len(self)), "i4")
        self.data = numpy.concatenate([self.data[:length], zeros])

    def truncate(self, length):
        if not 0 <= length <= len(self):
            raise ValueError
        self.resize(length)

    def pop(self):
        if not len(self):
            raise IndexError
        last = self.data[-1]
        self.data = self.data[:-1].copy()
        return last

    def clear(self):
        self.resize(0)

    def fill(self, value):
        self.data.fill(value)

    def sync(self):
        pass


def _model_in_place(name):
    def operation(self, other):
        getattr(self.data, name)(other)
        return self

    return operation


for _name in ("iadd", "isub", "imul", "ior", "ixor", "iand", "itruediv"):
    setattr(ArrayModel, f"__{_name}__", _model_in_place(f"__{_name}__"))

TYPES = {
    "dict": EMDict,
    "list": EMList,
    "set": EMSet,
    "deque": EMDeque,
    "short deque": functools.partial(EMDeque, maxlen=SHORT),
    "counter": EMCounter,
    "default dict": functools.partial(EMDefaultDict, int),
    "sorted dict": EMSortedDict,
    "sorted set": EMSortedSet,
    "priority queue": EMPriorityQueue,
    "multi-dict": EMMultiDict,
    "array": functools.partial(EMArray, dtype="i4"),
}
MODELS = {
    "dict": dict,
    "list": list,
    "set": set,
    "deque": collections.deque,
    "short deque": functools.partial(collections.deque, maxlen=SHORT),
    "counter": collections.Counter,
    "default dict": functools.partial(collections.defaultdict, int),
    "sorted dict": sortedcontainers.SortedDict,
    "sorted set": sortedcontainers.SortedSet,
    "priority queue": PriorityQueue,
    "multi-dict": MultiDict,
    "array": ArrayModel,
}
SCALE = float(os.environ.get("PYRSISTENCE_TEST_SCALE") or 1)


def scaled(count):
    return max(1, int(count * SCALE))


@contextlib.contextmanager
def seeded(name):
    """A random generator whose seed is printed when the test fails; PYRSISTENCE_TEST_SEED repeats a run."""
    seed = int(os.environ.get("PYRSISTENCE_TEST_SEED") or random.SystemRandom().getrandbits(32))
    print(f"{name}: PYRSISTENCE_TEST_SEED={seed}")
    yield random.Random(seed), seed


# ---- Comparison ----


def identical(a, b):
    """Equal with equal types all the way down; NaN is equal to NaN, -0.0 is not 0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, complex):
        return identical(a.real, b.real) and identical(a.imag, b.imag)
    if isinstance(a, (list, tuple, collections.deque)):
        return len(a) == len(b) and all(map(identical, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(map(identical, a.items(), b.items()))
    if isinstance(a, (set, frozenset)):
        return sorted(map(_description, a)) == sorted(map(_description, b))
    if isinstance(a, (datetime.datetime, datetime.time)):
        return repr(a) == repr(b) and a.fold == b.fold
    return a == b


def _description(member):
    if isinstance(member, (frozenset, tuple)):
        parts = map(_description, member)
        return f"{type(member)}{sorted(parts) if isinstance(member, frozenset) else list(parts)}"
    return f"{type(member)}:{member!r}"


def contents(container):
    """A built-in collection with everything that `container` holds."""
    if isinstance(container, (EMArray, ArrayModel)):
        return container.tolist()
    if isinstance(container, (list, EMList, collections.deque, EMDeque)):
        return list(container)
    if isinstance(container, (sortedcontainers.SortedSet, EMSortedSet)):
        return list(container)
    if isinstance(container, (PriorityQueue, EMPriorityQueue, MultiDict, EMMultiDict)):
        return list(container.items())
    return set(container) if isinstance(container, (set, EMSet)) else dict(container.items())


def difference(found, expected):
    """None, or how two built-in collections differ; order counts in a dict too."""
    if isinstance(expected, (PriorityQueue, MultiDict)):
        expected = contents(expected)
    expected = contents(expected) if isinstance(expected, ArrayModel) else expected
    if len(found) != len(expected):
        return f"{len(found)} entries, {len(expected)} expected"
    if isinstance(expected, set):
        return None if identical(found, expected) else f"{_short(found)}, expected {_short(expected)}"
    if isinstance(expected, dict):
        found, expected = list(found.items()), list(expected.items())
    for i, (a, b) in enumerate(zip(found, expected)):
        if a is not b and not identical(a, b):
            return f"entry {i}: {_short(a)}, expected {_short(b)}"
    return None


def assert_same(container, expected):
    problem = difference(contents(container), expected)
    assert problem is None, problem
    assert len(container) == len(expected)


def _short(value):
    text = repr(value)
    return text if len(text) < 200 else f"{text[:90]}... ({len(text)} characters) ...{text[-90:]}"


# ---- Operations as data: (name, *arguments), the same for a container and its built-in model ----


def _insert_while_iterating(target, key, value):
    seen = 0
    for _ in target:
        seen += 1
        if seen > 10_000:
            return "never ends"
        target[key] = value
    return seen


def _delete_while_iterating(target, fraction):
    """On the model this deletes from a copy of the keys, which is what the store promises."""
    chooser = random.Random(fraction)
    keys = target.keys() if isinstance(target, (EMDict, EMSortedDict)) else list(target)
    visited = []
    for key in keys:
        visited.append(key)
        if chooser.random() < fraction:
            del target[key]
    return visited


def _append_while_iterating(target, value):
    """The end of an iterator is fixed when it is made; on the model, by a copy."""
    visited = []
    for item in list(target) if isinstance(target, list) else iter(target):
        visited.append(item)
        target.append(value)
        if len(visited) > 100_000:
            break
    return visited


def _ranges(target, low, high, inclusive, reverse):
    return list(target.irange(low, high, inclusive, reverse))


def _delete_slice(target, index):
    """In a set, whose members are found by places."""
    del target[index]
    return len(target)


def _nothing(name):
    """A method that returns None in one model and the target in another."""

    def operation(target, *arguments):
        getattr(target, name)(*arguments)

    return operation


def _count_one(target, key):
    target[key] += 1


def _in_place(function):
    def operation(target, *args):
        result = function(target, *args)
        assert result is target
        return len(target)

    return operation


SPECIAL = {
    "get_item": operator.getitem,
    "set_item": operator.setitem,
    "del_item": operator.delitem,
    "contains": lambda target, key: key in target,
    "not_contains": lambda target, key: key not in target,
    "len": len,
    "bool": bool,
    "iterate": list,
    "reversed": lambda target: list(reversed(target)),
    "values": lambda target: list(target.values()),
    "items": lambda target: list(target.items()),
    "keys": lambda target: list(target.keys()),
    "reversed_items": lambda target: list(reversed(target.items())),
    "keys_and": lambda target, keys: len(target.keys() & keys),
    "keys_minus": lambda target, keys: len(target.keys() - keys),
    "item_in": lambda target, item: item in target.items(),
    "equals": lambda target, other: target == other,
    "differs": lambda target, other: target != other,
    "ior": _in_place(operator.ior),
    "or": operator.or_,
    "ror": lambda target, other: other | target,
    "iadd": _in_place(operator.iadd),
    "imul": _in_place(operator.imul),
    "add": operator.add,
    "mul": operator.mul,
    "and": operator.and_,
    "rand": lambda target, other: other & target,
    "sub": operator.sub,
    "rsub": lambda target, other: other - target,
    "xor": operator.xor,
    "rxor": lambda target, other: other ^ target,
    "itruediv": _in_place(operator.itruediv),
    "every": lambda target, step: target[numpy.arange(len(target)) % step == 0],
    "set_every": lambda target, step, value: target.__setitem__(numpy.arange(len(target)) % step == 0, value),
    "iand": _in_place(operator.iand),
    "isub": _in_place(operator.isub),
    "ixor": _in_place(operator.ixor),
    "elements": lambda target: list(target.elements()),
    **{name: _nothing(name) for name in ("update", "intersection_update", "difference_update", "symmetric_difference_update")},
    "irange": _ranges,
    "islice": lambda target, *arguments: list(target.islice(*arguments)),
    "delete_slice": _delete_slice,
    "key_at": lambda target, index: target.keys()[index],
    "value_at": lambda target, index: target.values()[index],
    "item_at": lambda target, index: target.items()[index],
    "count_one": _count_one,
    "less_equal": lambda target, other: target <= other,
    "greater": lambda target, other: target > other,
    "greater_equal": lambda target, other: target >= other,
    "copy": lambda target: target.copy(),
    "less": lambda target, other: target < other,
    "update_keywords": lambda target, other: target.update(**other),
    "insert_while_iterating": _insert_while_iterating,
    "delete_while_iterating": _delete_while_iterating,
    "append_while_iterating": _append_while_iterating,
}


def plain(result):
    """The result as built-in objects that compare and travel between processes."""
    if isinstance(result, (numpy.ndarray, numpy.generic)):
        return type(result).__name__, result.dtype.str, result.shape, result.tolist()
    if isinstance(result, (EMDict, EMList, EMSet, EMDeque, EMSortedDict, EMSortedSet, EMPriorityQueue, EMMultiDict)):
        with contextlib.closing(result):
            return contents(result)
    if isinstance(result, (sortedcontainers.SortedSet, PriorityQueue, MultiDict)):
        return contents(result)
    if isinstance(result, (frozenset, collections.deque, dict)):
        return {frozenset: set, collections.deque: list}.get(type(result), dict)(result)
    return result


def operate(target, operation):
    """What an operation returns or raises, as data."""
    name, *arguments = operation
    try:
        if name in SPECIAL:
            return "returned", plain(SPECIAL[name](target, *arguments))
        if name == "sort":
            keyword = dict(arguments[0])
            keyword["key"] = {"repr": repr, "length": lambda value: len(repr(value))}[keyword["key"]]
            return "returned", target.sort(**keyword)
        return "returned", plain(getattr(target, name)(*arguments))
    except OrderError:
        return "raised", "TypeError"
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        return "raised", type(error).__name__


class Subject:
    """A container with its transactions and snapshots, driven by names and data only."""

    def __init__(self, kind, path, options):
        self.kind, self.path, self.options = kind, path, options
        self.container = TYPES[kind](path, **options)
        self.transactions, self.snapshots = [], {}

    def operate(self, operation):
        return operate(self.container, operation)

    def read(self):
        return contents(self.container)

    def reopen(self, mode):
        self.container.close()
        self.container = TYPES[self.kind](self.path, mode=mode, **self.options)

    def begin(self, durable):
        self.transactions.append(self.container.transaction(durable=durable).__enter__())

    def end(self, kept):
        error = (None, None, None) if kept else (ValueError, ValueError(), None)
        assert self.transactions.pop().__exit__(*error) is False

    def hold(self, label):
        self.snapshots[label] = self.container.snapshot()

    def drop(self, label):
        self.snapshots.pop(label).close()

    def read_held(self, label):
        return contents(self.snapshots[label])

    def keep(self, name):
        try:
            self.container.snapshots.create(name)
        except Error as error:
            return type(error).__name__
        return None

    def delete_kept(self, name):
        del self.container.snapshots[name]

    def names_kept(self):
        return list(self.container.snapshots)

    def read_kept(self, name):
        with TYPES[self.kind](self.path, at=name) as old:
            return contents(old)

    def close(self):
        for snapshot in self.snapshots.values():
            snapshot.close()
        self.container.close()


# ---- Child processes ----


def run_child(code, *arguments, check=True, timeout=120, **environment):
    """Runs Python code in a new process, with `sys.argv[1:]` and more environment variables."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    return done


@contextlib.contextmanager
def child(code, *arguments, **environment):
    """Starts Python code in a new process and kills it at the end; it speaks through its pipes."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def expect(process, line):
    found = process.stdout.readline().rstrip("\n")
    assert found == line, f"the child said {found!r}, expected {line!r}"
