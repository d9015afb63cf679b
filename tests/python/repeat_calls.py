"""The program of test_leaks.py: repeats the calls of method_calls.py and looks at memory and references that stay.

    repeat_calls.py EMDict            one line of JSON: which methods returned and raised, and what grew

It is to run with PYTHONMALLOC=malloc, so that mallinfo2() counts Python's objects and the engine's alike, to the byte,
and with tcache_count=0, so that what malloc keeps for a thread does not count as in use.
"""

import collections
import copy
import ctypes
import fractions
import functools
import gc
import json
import pickle
import shutil
import sys
import tempfile
import uuid
import warnings
from pathlib import Path

import numpy
import pyrsistence
from method_calls import CALLS

ATTEMPTS = 12  # what grows in all of them, or in all but one, is a leak
CLEAN = 2  # attempts without growth that are enough
LEAST = 32  # bytes of whatever is allocated, with what malloc adds


class MallocInfo(ctypes.Structure):
    _names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in _names.split()]


def malloc_info():
    """None without glibc 2.33."""
    function = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if function is not None:
        function.restype = MallocInfo
    return function


MALLINFO = malloc_info()
clear_caches = getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache


def bytes_in_use():
    found = MALLINFO()
    return found.uordblks + found.hblkhd


# ---------------------------------------------------------------------------------------------------- arguments


class Failure(Exception):
    pass


def fail(*_, **__):
    raise Failure("on purpose")


def fine(*_, **__):
    return None


class Bad:
    """Nothing can be done with it."""

    __hash__ = __eq__ = __lt__ = __gt__ = __index__ = __iter__ = __len__ = __bool__ = __float__ = fail
    __fspath__ = __call__ = __reduce_ex__ = fail


class BadMember:
    """It can be in a set, but not in one of ours."""

    __reduce_ex__ = fail

    def __hash__(self):
        return 1

    def __eq__(self, other):
        return self is other


@functools.total_ordering
class Keyed:
    def __init__(self, number):
        self.number = number

    def __em_key__(self):
        return self.number

    def __hash__(self):
        return hash(self.number)

    def __eq__(self, other):
        return isinstance(other, Keyed) and self.number == other.number

    def __lt__(self, other):
        return self.number < other.number


class Thing(Keyed):
    """Pickled as a value."""


class Registered:
    def identity(self):
        return 1


class Pickler:
    """How it behaves can be changed: None pickles, another is called instead."""

    def __init__(self, fault):
        self.fault, self.faulty = fault, False

    def pickle(self, value):
        return self.fault() if self.faulty else pickle.dumps(value)

    def unpickle(self, data):
        return self.fault() if self.faulty else pickle.loads(data)


def broken():
    yield ("x", 1)
    yield ("y", 2)
    fail()


class Paths:
    """Names of files that are gone after each round, all of one length."""

    def __init__(self, root):
        self.root, self.made = Path(root), 0

    def fresh(self):
        self.made += 1
        return str(self.root / f"fresh-{self.made:03}")

    def clean(self):
        for number in range(1, self.made + 1):
            shutil.rmtree(self.root / f"fresh-{number:03}", ignore_errors=True)
        self.made = 0


# ------------------------------------------------------------------------------------------------------ subjects


def fill(c, names):
    k, other, v = names["k"], names["k2"], names["v"]
    if isinstance(c, (pyrsistence.EMList, pyrsistence.EMDeque)):
        c.clear()
        c.extend([v, k, v])
    elif isinstance(c, (pyrsistence.EMSet, pyrsistence.EMSortedSet)):
        c.clear()
        c.update([k, other])
    elif isinstance(c, pyrsistence.EMPriorityQueue):
        c.clear()
        c.push(v, k)
        c.push(v, other)
    elif isinstance(c, pyrsistence.EMMultiDict):
        c.clear()
        c.update([(k, v), (k, v), (other, v)])
    elif isinstance(c, pyrsistence.EMArray):
        c.clear()
        c.resize(4)
        c[:] = numpy.arange(4 * c.size // 4).reshape(c.shape)
    elif isinstance(c, pyrsistence.Store):
        for name in set(c) - {"a dict", "array"}:
            del c[name]
        c.dict("a dict")
        c.array("array", "i4")
    elif isinstance(c, pyrsistence.Snapshots):
        for name in list(c):
            if name != "kept":
                del c[name]
        if not len(c):
            c.create("kept")
    else:
        c.clear()
        c[k] = c[other] = v
        if isinstance(c, pyrsistence.EMDefaultDict):
            c.default_factory = int


class Subject:
    """A container with the arguments of its calls."""

    def __init__(self, name, what, paths):
        self.what = what
        pickler = Pickler({"failing picklers": fail, "wrong picklers": fine}.get(what, fine))
        self.pickler = pickler if "picklers" in what else None
        cls = getattr(pyrsistence, name if name not in ("Snapshots", "functions") else "EMDict")
        form = {"dtype": "f8", "shape": 2} if what == "rows" else {"dtype": "i4"}
        special = {
            pyrsistence.EMDefaultDict: functools.partial(cls, int),
            pyrsistence.EMArray: functools.partial(cls, **form),
        }
        make = special.get(cls, cls)
        arguments = (pickler, pickler) if self.pickler else ()
        keys = [("a", 1.5), ("b", 2.5), ("c", 3.5)]
        if what == "objects":
            ordered = "Sorted" in name or name in ("EMPriorityQueue", "EMMultiDict")
            keys = [(fractions.Fraction(1 + i, 7), uuid.UUID(int=i)) if ordered else Keyed(i) for i in range(3)]
        value = 3 if name in ("EMCounter", "EMArray") else Thing(1) if what == "objects" else ["a value", 2**70]
        self.names = {
            **{name: getattr(pyrsistence, name) for name in pyrsistence.__all__},
            **{"collections": collections, "copy": copy, "functools": functools, "numpy": numpy, "pickle": pickle},
            **{"kind": make, "k": keys[0], "k2": keys[1], "m": keys[2], "v": value},
            **{"items": [keys[0], keys[2], keys[0]] * 3, "unordered": 5, "bad": Bad(), "bad_member": BadMember()},
            **{"fail": fail, "fine": fine, "broken": broken, "fresh": paths.fresh, "Registered": Registered},
            "done": functools.partial(collections.deque, maxlen=0),
        }
        self.live, same = make(None, *arguments), make(None, *arguments)
        self.handles = [self.live, same]
        if name == "Snapshots":
            self.live = pyrsistence.Snapshots(self.live)
        else:
            fill(self.live, self.names)
            fill(same, self.names)
        self.names["same"] = same
        self.names["c"] = self.live if what != "snapshot" else self.live.snapshot()
        self.handles.append(self.names["c"])
        self.prepare()
        self.watched = [self.names[one] for one in ("c", "k", "k2", "m", "v", "bad", "bad_member", "same")]
        self.watched += [type(self.live), Keyed, Thing, Failure, fail, fine, pickler, None, True, NotImplemented]

    def prepare(self):
        """The same state before each call."""
        if self.pickler:
            self.pickler.faulty = False
        if self.what == "closed":
            self.handles[0].close()
        elif self.what != "snapshot":
            fill(self.live, self.names)
        if self.pickler:
            self.pickler.faulty = self.what != "picklers"

    def close(self):
        if self.pickler:
            self.pickler.faulty = False
        for handle in self.handles:
            getattr(handle, "close", fine)()


def subjects(name):
    if name == "Snapshots":
        return ["open", "closed"]
    if name == "functions":
        return ["open", "objects"]
    if name == "Store":
        return ["open", "snapshot", "closed"]
    if name == "EMArray":
        return ["open", "rows", "snapshot", "closed"]
    return ["open", "objects", "snapshot", "closed", "picklers", "failing picklers", "wrong picklers"]


# -------------------------------------------------------------------------------------------------- repetitions


class Call:
    def __init__(self, method, text):
        self.method, self.text = method, text
        try:
            self.code, self.run = compile(text, text, "eval"), eval
        except SyntaxError:
            self.code, self.run = compile(text, text, "exec"), exec
        self.outcomes = set()

    def __call__(self, subject):
        subject.prepare()
        names = subject.names.copy()
        try:
            result = self.run(self.code, names)
        except SystemError:
            raise
        except Exception:
            self.outcomes.add("raised")
            return
        self.outcomes.add("returned")
        if result is not subject.names["c"] and result is not subject.names["same"]:
            getattr(type(result), "close", fine)(result)


def settle():
    """Collects, and empties the caches of the interpreter: that of types' attributes holds names."""
    gc.collect()
    clear_caches()


def references(subject):
    return [sys.getrefcount(one) for one in subject.watched]


def growth(calls, subject, paths, rounds):
    """What `rounds` of the calls leave: (bytes, references of what is watched)."""
    settle()
    before = references(subject)
    used = bytes_in_use()
    for _ in range(rounds):
        for call in calls:
            call(subject)
        paths.clean()
    settle()
    left = bytes_in_use() - used
    return left, [now - then for then, now in zip(before, references(subject))]


def leaks(calls, subject, paths, rounds=1):
    """None, or what the last of many attempts left, nearly all of which left something."""
    own, own_references = growth([], subject, paths, rounds)  # what looking takes
    clean = 0
    for _ in range(ATTEMPTS):
        used, counts = growth(calls, subject, paths, rounds)
        left = used - own, [count - usual for count, usual in zip(counts, own_references)]
        clean += left[0] < LEAST * rounds and all(abs(count) < rounds for count in left[1])
        if clean == CLEAN:
            return None
    return left


def described(left, subject):
    references = {repr(one)[:60]: count for one, count in zip(subject.watched, left[1]) if count}
    return {"bytes": left[0], "references": references}


def main(name):
    calls = [Call(method, line) for method, lines in CALLS[name].items() for line in lines.splitlines()]
    found = []
    with tempfile.TemporaryDirectory() as root:
        paths = Paths(root)
        for what in subjects(name):
            subject = Subject(name, what, paths)
            growth(calls, subject, paths, 2)  # caches fill
            gc.freeze()
            if leaks(calls, subject, paths):
                for call in calls:  # which of them?
                    growth([call], subject, paths, 2)
                    if left := leaks([call], subject, paths, 10):
                        found.append({"of": what, "call": call.text, **described(left, subject)})
                if not found:
                    found.append({"of": what, "call": "all of them, one after the other"})
            subject.close()
            gc.unfreeze()
    outcomes = collections.defaultdict(set)
    for call in calls:
        outcomes[call.method] |= call.outcomes
    print(json.dumps({"outcomes": {method: sorted(both) for method, both in outcomes.items()}, "leaks": found}))


def run(name):
    warnings.simplefilter("ignore")
    unraisable = []
    sys.unraisablehook = lambda error: unraisable.append(f"{error.exc_value!r} in {error.object!r}")
    main(name)
    if unraisable:
        sys.exit("exceptions that nobody could catch: " + ", ".join(unraisable[:5]))


if __name__ == "__main__":
    run(sys.argv[1])
