"""Nothing grows, whatever is called however often and however it fails; what refers to itself is collected."""

import concurrent.futures
import gc
import json
import os
import sys
import weakref
from pathlib import Path

import pyrsistence
import pytest
import support
from method_calls import ALWAYS_RAISE, CALLS, NEVER_RAISE
from repeat_calls import MALLINFO

# What every class has, and what belongs to types.
NO_METHODS = {"__abstractmethods__", "__class__", "__dict__", "__doc__", "__init_subclass__", "__module__", "__slots__"}
NO_METHODS |= {"__subclasshook__", "__weakref__"}
FUNCTIONS = {name for name in pyrsistence.__all__ if callable(getattr(pyrsistence, name)) and name.islower()}


def methods(cls):
    """All that `object` has not, or has differently, but what is private, and what says where the class was written."""
    own = {name for name in dir(cls) if getattr(cls, name) is not getattr(object, name, None)} - NO_METHODS
    own = {name for name in own if not isinstance(getattr(cls, name), (int, tuple))}
    return {name for name in own if not name.startswith("_") or name.startswith("__")}


def test_every_public_method_is_called():
    assert CALLS["functions"].keys() == FUNCTIONS
    containers = {name for name in pyrsistence.__all__ if name.startswith("EM")}
    assert CALLS.keys() == containers | {"Store", "Snapshots", "functions"}
    for name in CALLS.keys() - {"functions"}:
        assert methods(getattr(pyrsistence, name)) == CALLS[name].keys() - {"_repr_html_"}, name


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The programs, as many at a time as there are processors."""
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else str(tmp_path_factory.mktemp("stores"))
    environment = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0", "TMPDIR": folder}

    def run(name):
        code = "import repeat_calls, sys; repeat_calls.run(sys.argv[1])"
        return support.run_child(code, name, timeout=600, check=False, **environment)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {name: pool.submit(run, name) for name in CALLS}


@pytest.mark.skipif(MALLINFO is None, reason="LEAKS ARE NOT TESTED: this C library has no mallinfo2()")
@pytest.mark.parametrize("name", CALLS)
def test_nothing_grows(name, runs):
    """Of open, closed, read-only containers, with good and bad arguments, with picklers that work, fail, or lie."""
    done = runs[name].result()
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["leaks"] == []
    for method, outcomes in found["outcomes"].items():
        if method in ("__setitem__", "__delitem__") and name in ("EMSortedSet", "EMArray") and outcomes == ["raised"]:
            continue  # refused: their slots serve only one of them
        wanted = {"raised", "returned"} - ({"returned"} if method in ALWAYS_RAISE else set())
        wanted -= {"raised"} if method in NEVER_RAISE else set()
        assert wanted <= set(outcomes), f"{name}.{method} never {(wanted - set(outcomes)).pop()}"


# ------------------------------------------------------------------------------------------------------- cycles


class Holder:
    """A pickler, a key function and a factory that can refer to what uses it."""

    def pickle(self, value):
        return repr(value).encode()

    def unpickle(self, data):
        return eval(data)

    def __call__(self, *_):
        return 1


FILLED = {
    "EMDict": "c[1] = 2",
    "EMList": "c.append(1)",
    "EMSet": "c.add(1)",
    "EMDeque": "c.append(1)",
    "EMCounter": "c[1] = 2",
    "EMDefaultDict": "c[1] = 2",
    "EMSortedDict": "c[1] = 2",
    "EMSortedSet": "c.add(1)",
    "EMPriorityQueue": "c.push(1)",
    "EMMultiDict": "c.add(1, 2)",
    "Store": "c.dict('a')",
}
# What a pickler may refer to, if its container has it.
PARTS = """
    c | iter(c) | started(iter(c)) | reversed(c) | started(reversed(c)) | c.keys() | c.values() | iter(c.values())
    iter(c.items()) | started(iter(c.items())) | c.groups() | started(c.groups()) | c.irange() | c.islice()
    c.elements() | c.transaction() | c.transaction().__enter__() | c.snapshot() | iter(c.snapshot()) | c.snapshots
    c.edit(1) | c.__iter__ | c['a'] | iter(c['a']) | c.append
""".strip().replace("\n", "|").split("|")


def started(iterator):
    next(iterator, None)
    return iterator


@pytest.mark.parametrize("name", FILLED)
def test_cycles_through_picklers_are_collected(name):
    cls, parts = getattr(pyrsistence, name), 0
    for part in PARTS:
        holder = Holder()
        c = cls(holder, None, holder, holder) if name == "EMDefaultDict" else cls(None, holder, holder)
        exec(FILLED[name], {"c": c})
        try:
            holder.part = eval(part.strip(), {"c": c, "started": started})
        except (AttributeError, KeyError, TypeError, ValueError):  # it has none
            c.close()
            continue
        parts += 1
        gone, path = weakref.ref(holder), Path(c.path)
        del holder, c
        gc.collect()
        assert gone() is None and not path.exists(), part
    assert parts >= 8


def test_cycles_through_default_factories_and_attributes_are_collected():
    class Related(pyrsistence.EMArray):
        pass

    for make in (lambda: pyrsistence.EMDefaultDict(Holder(), None), lambda: Related(None, "i4")):
        c = make()
        holder = c.default_factory if isinstance(c, pyrsistence.EMDefaultDict) else Holder()
        holder.container, c.holder = c, holder
        gone, path = weakref.ref(holder), Path(c.path)
        del c, holder
        gc.collect()
        assert gone() is None and not path.exists()


@pytest.mark.parametrize("how", ["__em_key__", "register_key"])
def test_cycles_through_what_identifies_keys_are_collected(how):
    """The class of a key may refer to the container, and to itself, as a function that names it does."""

    def make():
        class Block:
            __hash__ = object.__hash__

        holder, c = Holder(), pyrsistence.EMDict(None)

        def identity(block):
            return isinstance(block, Block) and holder.container is not None

        holder.container = c
        if how == "register_key":
            pyrsistence.register_key(Block, identity)
        else:
            Block.__em_key__ = identity
        block = Block()
        assert block not in c
        return weakref.ref(holder), weakref.ref(Block), Path(c.path)

    gone, cls, path = make()
    gc.collect()
    assert gone() is None and cls() is None and not path.exists()


@pytest.mark.parametrize(
    "code",
    [
        "external_sort([3, 1, 2], key=holder)",
        "started(external_sort([3, 1, 2], key=holder))",
        "external_sort([3, 1, 2] * 99, key=holder, memory_limit=200)",
        "merge([1, 3], [2], key=holder)",
        "started(merge([1, 3], [2], key=holder))",
        "merge(holders(holder), [2])",
        "started(merge(holders(holder), [2], key=holder))",
        "group_by([3, 1, 2], holder)",
        "started(group_by([3, 1, 2], holder))",
        "unique([1, 2], key=holder)",
    ],
)
def test_cycles_through_external_iterators_are_collected(code):
    def holders(holder):
        yield 1
        yield holder

    holder = Holder()
    holder.part = eval(code, {**vars(pyrsistence), "started": started, "holder": holder, "holders": holders})
    gone = weakref.ref(holder)
    del holder
    gc.collect()
    assert gone() is None
