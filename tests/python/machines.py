"""Random programs on a container and on its built-in model, side by side: the operations, and two machines.

One machine keeps the container in the test's own process; the store of the other lives in a worker process
that is killed with SIGKILL now and then.
"""

import collections
import itertools
import shutil
import tempfile

import support
import worker
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pyrsistence import ReadOnlyError

# 16,384 bytes are the largest value in a page, 4,096 are a page.
SIZES = [1000, 4000, 4096, 16_383, 16_384, 16_385, 20_000, 70_000]
LONGEST = 300

atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 40),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=12),
    st.binary(max_size=12),
)
large = st.builds(lambda size, byte: bytes([byte]) * size, st.sampled_from(SIZES), st.integers(0, 255))
values = st.one_of(
    st.integers(0, 9),
    atoms,
    atoms,
    large,
    st.recursive(
        atoms,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.tuples(inner, inner), st.dictionaries(st.text(max_size=3), inner)
        ),
        max_leaves=6,
    ),
)

# Few enough that most are met again; 1, 1.0 and True are the same key, and so are 0.0 and -0.0.
few_keys = st.one_of(
    st.integers(-2, 12),
    st.sampled_from([0.0, -0.0, 1.0, True, False, None, 2.5, "", "a", b"", b"a", (), (1, "a"), (True, "a")]),
    st.sampled_from([frozenset({1, 2}), frozenset({2.0, True}), 2**64, -(2**64), float(2**64), 1 + 0j]),
)
keys = st.one_of(
    few_keys,
    few_keys,
    few_keys,
    st.text(max_size=6),
    st.integers(),
    st.builds(lambda size: "k" * size, st.sampled_from([300, 4096, 16_384, 65_500, 70_000])),
)
odd_keys = st.one_of(keys, st.builds(list), st.builds(dict), st.just(([],)))  # some are unhashable
dicts = st.dictionaries(keys, values, max_size=5)
pairs = st.lists(st.tuples(keys, values), max_size=4)


def op(name, *arguments):
    return st.tuples(st.just(name), *arguments)


dict_operations = st.one_of(
    op("set_item", keys, values),
    op("set_item", keys, values),
    op("set_item", odd_keys, values),
    op("get_item", odd_keys),
    op("del_item", keys),
    op("del_item", odd_keys),
    op("contains", odd_keys),
    op("not_contains", keys),
    op("get", keys),
    op("get", odd_keys, values),
    op("pop", keys),
    op("pop", keys, values),  # dict does not look at the key if it is empty
    op("popitem"),
    op("setdefault", keys),
    op("setdefault", odd_keys, values),
    op("update", dicts),
    op("update", pairs),
    op("update", st.sampled_from([[1], [(1, 2, 3)], 5, [("a", 1), 7]])),
    op("update_keywords", st.dictionaries(st.sampled_from("abcd"), values)),
    op("ior", dicts),
    op("ior", pairs),
    op("or", dicts),
    op("ror", dicts),
    op("or", st.just([])),
    op("copy"),
    op("clear"),
    op("len"),
    op("bool"),
    op("iterate"),
    op("reversed"),
    op("keys"),
    op("values"),
    op("items"),
    op("reversed_items"),
    op("keys_and", st.frozensets(few_keys, max_size=4)),
    op("keys_minus", st.frozensets(few_keys, max_size=4)),
    op("item_in", st.tuples(few_keys, values)),
    op("equals", dicts),
    op("differs", dicts),
    op("insert_while_iterating", keys, values),
    op("delete_while_iterating", st.floats(0, 1)),
)

indices = st.one_of(st.integers(-12, 12), st.integers(-400, 400), st.booleans())
odd_indices = st.one_of(indices, st.just("0"), st.none(), st.just(1.0), st.integers(2**62, 2**80))
bounds = st.one_of(st.none(), st.integers(-12, 12), st.integers(-400, 400), st.just(2**80))
steps = st.one_of(st.none(), st.just(1), st.sampled_from([2, 3, -1, -2, 7, 0]))
slices = st.builds(slice, bounds, bounds, steps)
lists = st.lists(values, max_size=8)
sequences = st.one_of(lists, lists, st.lists(values, max_size=8).map(tuple), st.text(max_size=5))

list_operations = st.one_of(
    op("append", values),
    op("append", values),
    op("extend", sequences),
    op("extend", sequences),
    op("extend", st.just(5)),
    op("insert", odd_indices, values),
    op("insert", indices, values),
    op("get_item", odd_indices),
    op("get_item", slices),
    op("set_item", odd_indices, values),
    op("set_item", slices, sequences),
    op("set_item", slices, st.just(5)),
    op("del_item", odd_indices),
    op("del_item", slices),
    op("pop"),
    op("pop", odd_indices),
    op("remove", values),
    op("index", values),
    op("index", values, bounds, bounds),
    op("count", values),
    op("contains", values),
    op("reverse"),
    op("sort", st.fixed_dictionaries({"key": st.sampled_from(["repr", "length"]), "reverse": st.booleans()})),
    op("copy"),
    op("clear"),
    op("len"),
    op("bool"),
    op("iterate"),
    op("reversed"),
    op("equals", lists),
    op("differs", lists),
    op("less", lists),
    op("iadd", sequences),
    op("add", lists),
    op("mul", st.integers(-1, 2)),
    op("imul", st.integers(-1, 2)),
    op("append_while_iterating", values),
)
# Equal members have equal types here: it is not said which of two that are equal a result takes.
members = st.one_of(
    st.integers(-2, 12),
    st.sampled_from(["", "a", "b", b"", b"a", (), (1, "a"), frozenset({1, 2}), None, 2.5, 2**64, -(2**64)]),
    st.text(max_size=3),
    st.builds(lambda size: "k" * size, st.sampled_from([300, 4096, 16_384, 65_500, 70_000])),
)
odd_members = st.one_of(members, members, st.builds(list), st.just(([],)))
sets = st.one_of(st.sets(members, max_size=6), st.frozensets(members, max_size=6))
others = st.one_of(sets, sets, st.lists(members, max_size=6), st.just(5), st.just([[]]))

set_operations = st.one_of(
    op("add", members),
    op("add", members),
    op("add", odd_members),
    op("update", others),
    op("update", others, others),
    op("discard", odd_members),
    op("remove", odd_members),
    op("remove", st.sets(st.integers(1, 2), max_size=2)),
    op("contains", odd_members),
    op("contains", st.sets(st.integers(1, 2), max_size=2)),
    *(op(name, others) for name in ("union", "intersection", "difference", "symmetric_difference")),
    *(op(f"{name}_update", others) for name in ("intersection", "difference", "symmetric_difference")),
    *(op(name, others, others) for name in ("union", "intersection", "difference", "difference_update")),
    *(op(name, others) for name in ("isdisjoint", "issubset", "issuperset")),
    *(op(name, st.one_of(sets, st.just([1]))) for name in ("or", "and", "sub", "xor", "ior", "iand", "isub", "ixor")),
    *(op(name, sets) for name in ("ror", "rand", "rsub", "rxor")),
    *(op(name, sets) for name in ("equals", "differs", "less", "less_equal", "greater", "greater_equal")),
    op("copy"),
    op("clear"),
    op("len"),
    op("bool"),
)

deques = st.one_of(lists.map(collections.deque), lists)
deque_operations = st.one_of(
    op("append", values),
    op("append", values),
    op("appendleft", values),
    op("appendleft", values),
    op("extend", sequences),
    op("extendleft", sequences),
    op("extend", st.just(5)),
    op("insert", odd_indices, values),
    op("insert", indices, values),
    op("get_item", odd_indices),
    op("get_item", slices),
    op("set_item", odd_indices, values),
    op("del_item", odd_indices),
    op("del_item", slices),
    op("pop"),
    op("popleft"),
    op("pop", indices),
    op("remove", values),
    op("index", values),
    op("index", values, st.integers(-12, 12), st.integers(-400, 400)),
    op("count", values),
    op("contains", values),
    op("rotate"),
    op("rotate", st.one_of(indices, st.just("1"))),
    op("reverse"),
    op("copy"),
    op("clear"),
    op("len"),
    op("bool"),
    op("iterate"),
    op("reversed"),
    op("equals", deques),
    op("differs", deques),
    op("less", deques),
    op("iadd", sequences),
    op("add", deques),
    op("mul", st.integers(-1, 2)),
    op("imul", st.integers(-1, 2)),
)

counts = st.dictionaries(few_keys, st.integers(-3, 3), max_size=4)
counters = counts.map(collections.Counter)
counted = st.one_of(st.lists(few_keys, max_size=8), counts)
counter_operations = st.one_of(
    op("get_item", odd_keys),
    op("set_item", few_keys, st.integers(-3, 3)),
    op("count_one", few_keys),
    op("del_item", few_keys),
    op("update", counted),
    op("update", counted),
    op("subtract", counted),
    op("update_keywords", st.dictionaries(st.sampled_from("abcd"), st.integers(-3, 3))),
    op("most_common"),
    op("most_common", st.integers(-1, 4)),
    op("total"),
    op("elements"),
    *(op(name, st.one_of(counters, counters, st.just([1]))) for name in ("add", "sub", "or", "and", "iadd", "isub")),
    *(op(name, counters) for name in ("ior", "iand", "less", "less_equal", "greater", "greater_equal")),
    *(op(name, st.one_of(counters, counts)) for name in ("equals", "differs")),
    op("popitem"),
    op("pop", few_keys),
    op("setdefault", few_keys, st.integers(-3, 3)),
    op("copy"),
    op("clear"),
    op("items"),
)

default_dict_operations = st.one_of(
    op("get_item", odd_keys),
    op("count_one", few_keys),
    op("get", few_keys),
    op("contains", few_keys),
    op("or", counts),
    op("ror", counts),
    op("copy"),
    dict_operations,
)


def odd_key(operation):
    """Whether it stores a key that cannot be compared with numbers."""
    return operation[0] == "set_item" and isinstance(operation[1], (str, bytes, tuple))


# Comparable with each other, in many types.
numbers = st.one_of(
    st.integers(-3, 12),
    st.integers(-3, 12),
    st.integers(-300, 300),
    st.integers(),
    st.sampled_from([0.0, -0.0, 1.0, True, 2.5, -0.5, 2**64, -(2**64), float(2**64), 1e300, -1e-300, float("inf")]),
    st.fractions(-3, 3, max_denominator=7),
    st.decimals(-3, 3, places=1),
    st.floats(allow_nan=False),
)
odd_numbers = st.one_of(numbers, numbers, numbers, st.sampled_from(["a", b"", (1,), []]))
number_bounds = st.one_of(st.none(), numbers)
number_pairs = st.lists(st.tuples(numbers, values), max_size=4)
places = st.one_of(st.integers(-12, 12), st.integers(-100, 100))
flags = st.tuples(st.booleans(), st.booleans())
range_operations = [
    op("bisect_left", numbers),
    op("bisect_right", numbers),
    op("bisect", numbers),
    op("index", numbers),
    op("index", numbers, places),
    op("irange", number_bounds, number_bounds, flags, st.booleans()),
    op("islice", st.one_of(st.none(), places), st.one_of(st.none(), places), st.booleans()),
    op("reversed"),
]
sorted_dict_operations = st.one_of(
    op("set_item", numbers, values),
    op("set_item", numbers, values),
    op("set_item", odd_numbers, values),
    op("get_item", odd_numbers),
    op("del_item", odd_numbers),
    op("contains", odd_numbers),
    op("get", odd_numbers),
    op("pop", numbers),
    op("pop", numbers, values),
    op("popitem"),
    op("popitem", places),
    op("peekitem"),
    op("peekitem", places),
    op("setdefault", numbers, values),
    op("update", st.dictionaries(numbers, values, max_size=4)),
    op("update", number_pairs),
    op("ior", st.dictionaries(numbers, values, max_size=4)),
    op("key_at", places),
    op("key_at", slices),
    op("value_at", places),
    op("item_at", slices),
    op("items"),
    op("reversed_items"),
    op("keys_and", st.frozensets(numbers, max_size=4)),
    op("item_in", st.tuples(numbers, values)),
    op("equals", st.dictionaries(numbers, values, max_size=4)),
    op("delete_while_iterating", st.floats(0, 1)),
    op("copy"),
    op("clear"),
    op("len"),
    *range_operations,
)
number_sets = st.one_of(st.sets(st.integers(-5, 12), max_size=6), st.lists(st.integers(-300, 300), max_size=6))
sorted_set_operations = st.one_of(
    op("add", numbers),
    op("add", numbers),
    op("add", odd_numbers),
    op("update", number_sets),
    op("discard", odd_numbers),
    op("remove", odd_numbers),
    op("contains", odd_numbers),
    op("count", numbers),
    op("pop"),
    op("pop", places),
    op("get_item", indices),
    op("get_item", slices),
    op("delete_slice", indices),
    op("delete_slice", slices),
    *(op(name, number_sets) for name in ("union", "intersection", "difference", "symmetric_difference")),
    *(op(f"{name}_update", number_sets) for name in ("intersection", "difference", "symmetric_difference")),
    *(op(name, st.sets(st.integers(-5, 12), max_size=6)) for name in ("equals", "less", "greater_equal", "or", "and", "sub", "xor")),
    op("copy"),
    op("clear"),
    op("len"),
    *range_operations,
)
priority_queue_operations = st.one_of(
    op("push", numbers),
    op("push", numbers),
    op("push", odd_numbers),
    op("push", values, numbers),
    op("push", values, st.integers(0, 3)),
    op("update", st.lists(numbers, max_size=5)),
    op("pop"),
    op("popitem"),
    op("peek"),
    op("peekitem"),
    op("pushpop", numbers),
    op("pushpop", values, numbers),
    op("replace", numbers),
    op("replace", values, odd_numbers),
    op("iterate"),
    op("copy"),
    op("clear"),
    op("len"),
)
few_numbers = st.one_of(st.integers(0, 3), st.integers(0, 3), numbers)
multi_dict_operations = st.one_of(
    op("add", few_numbers, values),
    op("add", few_numbers, values),
    op("add", odd_numbers, values),
    op("extend", few_numbers, st.lists(st.integers(0, 3), max_size=4)),
    op("update", number_pairs),
    op("get_item", odd_numbers),
    op("set_item", few_numbers, st.lists(values, max_size=3)),
    op("set_item", few_numbers, st.just(5)),
    op("del_item", odd_numbers),
    op("contains", odd_numbers),
    op("getall", odd_numbers),
    op("count", odd_numbers),
    op("popall", few_numbers),
    op("discard", few_numbers, st.integers(0, 3)),
    op("discard", few_numbers, values),
    op("irange", number_bounds, number_bounds, flags, st.booleans()),
    op("iterate"),
    op("reversed"),
    op("items"),
    op("values"),
    op("copy"),
    op("clear"),
    op("len"),
)
array_numbers = st.integers(-(2**31), 2**31 - 1)
few_numbers_of_array = st.lists(array_numbers, max_size=6)
array_places = st.integers(-30, 30)
some_places = st.lists(array_places, max_size=8)
cuts = st.builds(slice, st.none() | st.integers(-2000, 2000), st.none() | array_places, st.sampled_from([None, 1, 2, 7, -1, -3]))
where = st.one_of(array_places, cuts, cuts, some_places, st.just(Ellipsis), st.tuples(array_places), st.tuples(cuts, st.just(Ellipsis)))
array_operations = st.one_of(
    op("append", array_numbers),
    op("append", st.sampled_from([2**31, 1.5, True, None, "a", [1]])),
    op("extend", few_numbers_of_array),
    op("extend", st.builds(range, st.sampled_from([0, 1, 1019, 1020, 1021, 5000]))),
    op("get_item", where),
    op("get_item", st.sampled_from(["x", 1.5, (0, 0), [0.5], 2**70])),
    op("set_item", where, array_numbers),
    op("set_item", where, st.one_of(few_numbers_of_array, st.sampled_from([2**31, 1.5, "a", None]))),
    st.builds(lambda pairs: ("set_item", [p for p, _ in pairs], [v for _, v in pairs]), st.lists(st.tuples(array_places, array_numbers), max_size=9)),
    op("every", st.integers(1, 400)),
    op("set_every", st.integers(1, 400), array_numbers),
    op("resize", st.one_of(st.integers(-1, 40), st.sampled_from([1019, 1020, 1021, 3000]))),
    op("truncate", st.integers(-1, 2000)),
    op("pop"),
    op("clear"),
    op("fill", array_numbers),
    op("iterate"),
    op("tolist"),
    op("len"),
    op("contains", st.integers(-5, 5)),
    op("equals", st.integers(-5, 5)),
    op("less", array_numbers),
    *(op(name, st.integers(-100, 100)) for name in ("iadd", "isub", "imul", "ior", "ixor", "iand")),
    op("itruediv", st.just(2)),
    op("ior", st.just(1.5)),
)

OPERATIONS = {
    "multi-dict": multi_dict_operations,
    "sorted dict": sorted_dict_operations,
    "sorted set": sorted_set_operations,
    "priority queue": priority_queue_operations,
    "dict": dict_operations,
    "list": list_operations,
    "set": set_operations,
    "deque": deque_operations,
    "short deque": deque_operations,
    "counter": counter_operations,
    "default dict": default_dict_operations,
    "array": array_operations,
}
# What two handles on one store do by turns.
CHANGES = {
    "list": ("append", "twice"),
    "set": ("add", "twice"),
    "deque": ("append", 1),
    "short deque": ("append", 1),
    "sorted dict": ("set_item", 7, 7),
    "sorted set": ("add", 7),
    "priority queue": ("push", 7),
    "multi-dict": ("add", 7, 7),
    "array": ("append", 1),
}
GROWING = ("append_while_iterating", "imul", "iadd", "extend", "mul", "add")


class CollectionMachine(RuleBasedStateMachine):
    """`call(method, ...)` is where the container is. Subclasses add the rule that chooses operations."""

    kind = "dict"

    def __init__(self):
        super().__init__()
        self.model = support.MODELS[self.kind]()
        self.levels = []  # the model as each open transaction and savepoint found it
        self.held, self.kept = {}, {}  # snapshots: what each must show
        self.labels = itertools.count()
        self.folder = tempfile.mkdtemp(prefix="pyrsistence-machine-")
        self.path = f"{self.folder}/store"
        self.start()

    def run(self, operation):
        if operation[0] in GROWING and len(self.model) > LONGEST * (100 if self.kind == "array" else 1):
            operation = ("clear",)
        if self.kind == "sorted dict" and not self.model and odd_key(operation):
            operation = ("len",)  # what comes then would raise in a SortedDict when it has been half done
        expected = support.operate(self.model, operation)
        found = self.perform(operation)
        assert support.identical(found, expected), f"{operation}: {found}, expected {expected}"

    def perform(self, operation):
        return self.call("operate", operation)

    def compare(self):
        self.expect(self.call("read"), self.model)

    @staticmethod
    def expect(found, expected):
        problem = support.difference(found, expected)
        assert problem is None, problem

    def compare_kept(self):
        assert self.call("names_kept") == list(self.kept)
        for name, expected in self.kept.items():
            self.expect(self.call("read_kept", name), expected)

    def outside(self):
        """The state that everybody else sees."""
        return self.levels[0] if self.levels else self.model

    @precondition(lambda self: len(self.levels) < 3)
    @rule(durable=st.booleans())
    def begin(self, durable):
        self.call("begin", durable)
        self.levels.append(self.model.copy())

    @precondition(lambda self: self.levels)
    @rule(kept=st.booleans())
    def end(self, kept):
        self.call("end", kept)
        before = self.levels.pop()
        if not kept:
            self.model = before
            self.compare()

    def end_all(self, kept):
        while self.levels:
            self.end(kept)

    @precondition(lambda self: len(self.held) < 3)
    @rule()
    def hold(self):
        label = next(self.labels)
        self.call("hold", label)
        self.held[label] = self.outside().copy()

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 2))
    def drop(self, which):
        label = list(self.held)[which % len(self.held)]
        self.call("drop", label)
        del self.held[label]

    @invariant()
    def snapshots_stay(self):
        for label, expected in self.held.items():
            self.expect(self.call("read_held", label), expected)

    @precondition(lambda self: len(self.kept) < 3)
    @rule()
    def keep(self):
        name = f"number {next(self.labels)}"
        refused = self.call("keep", name)
        assert refused == ("Error" if self.levels else None)
        if not refused:
            self.kept[name] = self.model.copy()

    @precondition(lambda self: self.kept and not self.levels)
    @rule(which=st.integers(0, 2))
    def delete_kept(self, which):
        name = list(self.kept)[which % len(self.kept)]
        self.call("delete_kept", name)
        del self.kept[name]
        self.compare_kept()

    @rule()
    def sync(self):
        assert self.perform(("sync",)) == ("returned", None)

    @rule()
    def checkpoint(self):
        assert self.perform(("checkpoint",)) == (("raised", "Error") if self.levels else ("returned", None))

    @rule()
    def check(self):
        assert self.perform(("check",)) == ("returned", None)
        self.compare()
        self.compare_kept()

    def teardown(self):
        try:
            self.check()
            self.end_all(kept=False)
            self.check()
            self.stop()
        finally:
            shutil.rmtree(self.folder)


class LocalMachine(CollectionMachine):
    """The container is in this process; it is closed and opened again, also read-only and twice."""

    def start(self):
        self.subject = support.Subject(self.kind, self.path, {"memory_limit": 64 << 20})

    def stop(self):
        self.subject.close()

    def call(self, method, *arguments):
        return getattr(self.subject, method)(*arguments)

    @invariant()
    def length(self):
        assert len(self.subject.container) == len(self.model)

    @rule(kept=st.booleans())
    def reopen(self, kept):
        """Snapshots that are held live on."""
        self.end_all(kept)
        self.subject.reopen("r+")
        self.compare()
        self.compare_kept()

    @rule()
    def open_twice(self):
        """Two handles in one process are one store."""
        with support.TYPES[self.kind](self.path) as other:
            self.expect(support.contents(other), self.model)
            change = CHANGES.get(self.kind, ("set_item", "twice", 1))
            support.operate(self.model, change)
            support.operate(other, change)
        self.compare()

    @rule()
    def read_only(self):
        self.end_all(kept=True)
        self.subject.container.close()
        with support.TYPES[self.kind](self.path, mode="r") as reader:
            self.expect(support.contents(reader), self.model)
            for change in (("clear",), CHANGES.get(self.kind, ("set_item", 0, 0)), ("checkpoint",)):
                try:
                    getattr(reader, {"set_item": "__setitem__"}.get(change[0], change[0]))(*change[1:])
                except ReadOnlyError:
                    pass
                else:
                    raise AssertionError("a read-only store was changed")
            reader.check()
        self.subject.reopen("a")


class KilledMachine(CollectionMachine):
    """The container is in another process, which dies without warning."""

    zygote = None

    def start(self):
        self.worker = self.zygote.worker()
        self.open()

    def open(self):
        self.worker.call(worker.open_container, self.kind, self.path, {"memory_limit": 64 << 20})

    def stop(self):
        self.worker.exit()

    def call(self, method, *arguments):
        return self.worker.call(worker.on_subject, method, *arguments)

    def start_again(self):
        """What a transaction had done is gone with its process, and so are the snapshots without a name."""
        self.model = self.outside()
        self.levels.clear()
        self.held.clear()
        self.start()
        self.compare()
        self.compare_kept()

    @rule()
    def kill(self):
        self.worker.kill()
        self.start_again()

    @rule(delay=st.integers(0, 3))
    def kill_in_recovery(self, delay):
        """The worker dies while it may be replaying the log, or just after."""
        self.worker.kill()
        self.worker = self.zygote.worker()
        self.worker.start(worker.open_container, self.kind, self.path, {"memory_limit": 64 << 20})
        for _ in range(delay * 2000):
            pass
        self.worker.kill()
        self.start_again()

    @rule()
    def leave(self):
        """The program ends without closing the store."""
        self.worker.exit()
        self.start_again()


def machine(base, kind, **attributes):
    """A machine class for one type of collection."""
    operations = OPERATIONS[kind]

    class Machine(base):
        @rule(operations=st.lists(operations, min_size=1, max_size=8))
        def operate(self, operations):
            for operation in operations:
                self.run(operation)

    Machine.kind = kind
    Machine.__name__ = f"{base.__name__}_{kind}"
    for name, value in attributes.items():
        setattr(Machine, name, value)
    return Machine


def profile(examples, steps=30):
    return settings(
        max_examples=support.scaled(examples),
        stateful_step_count=steps,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
