"""EMList is a list: the same results, errors and iteration, whatever its users' code does meanwhile."""

import errno
import gc
import itertools
import math
import operator
import pathlib
import random
import threading
import weakref

import pytest
from pyrsistence import ClosedError, CorruptionError, EMList, PickleRefusedError, ReadOnlyError, StorageError
from support import scaled, seeded


@pytest.fixture
def make(tmp_path):
    """Makes lists that are closed when the test ends."""
    made = []

    def make(items=(), kind=EMList, **options):
        made.append(kind(tmp_path / str(len(made)), **options))
        made[-1].extend(items)
        return made[-1]

    yield make
    for each in made:
        each.close()


def outcome(function, *args):
    """What a call returns or raises, comparable between list and EMList."""
    try:
        return function(*args)
    except Exception as error:
        return type(error), str(error)


class Plain:
    """A value that only pickle can store."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return isinstance(other, Plain) and self.value == other.value

    __hash__ = None


# ---- The same results ----


def random_slice(chooser, size):
    def bound():
        return chooser.choice([None, chooser.randint(-size - 2, size + 2)])

    return slice(bound(), bound(), chooser.choice([None, 1, 1, 1, 2, 3, -1, -2, 9]))


def random_operation(chooser, size):
    index = chooser.randint(-size - 1, size + 1)
    value = chooser.choice([chooser.randrange(50), "x" * chooser.randrange(60), None, 0.5, (1, "a"), [2]])
    few = [chooser.randrange(50) for _ in range(chooser.randrange(5))]
    part = random_slice(chooser, size)
    return chooser.choice(
        [
            lambda l: l.append(value),
            lambda l: l.append(value),
            lambda l: l.extend(few),
            lambda l: l.insert(index, value),
            lambda l: l.pop(),
            lambda l: l.pop(index),
            lambda l: l.remove(value),
            lambda l: l[index],
            lambda l: operator.setitem(l, index, value),
            lambda l: operator.delitem(l, index),
            lambda l: l[part],
            lambda l: operator.setitem(l, part, few),
            lambda l: operator.delitem(l, part) if part.step in (2, 3, 9) or size > 60 else None,
            lambda l: l.index(value, index),
            lambda l: l.count(value),
            lambda l: value in l,
            lambda l: l.reverse(),
            lambda l: len(l),
        ]
    )


def test_random_operations_do_what_a_list_does(store):
    with seeded("list") as (chooser, _):
        model, l = [], EMList(store)
        count = scaled(100_000)
        for step in range(count):
            operation = random_operation(chooser, len(model))
            assert outcome(operation, l) == outcome(operation, model), step
            if step % max(1, count // 10) == 0:
                assert l[:] == model
                l.close()
                l = EMList(store)
                assert list(l) == model
        l.check()
        l.close()


BOUNDS = [None, *range(-4, 5)]
STEPS = [None, *(step for step in range(-4, 5) if step)]
SLICES = [slice(*parts) for parts in itertools.product(BOUNDS, BOUNDS, STEPS)]


@pytest.mark.parametrize("size", [0, 1, 3, 5])
def test_every_slice_is_read_as_from_a_list(make, size):
    model = list(range(size))
    l = make(model)
    for part in SLICES:
        assert l[part] == model[part], part
    assert type(l[:]) is list


@pytest.mark.parametrize("size", [0, 1, 4])
def test_every_slice_is_deleted_as_from_a_list(make, size):
    l = make()
    for part in SLICES:
        model = list(range(size))
        l[:] = model
        del model[part]
        del l[part]
        assert l[:] == model, part


@pytest.mark.parametrize("count", [0, 1, 2])
def test_every_slice_is_assigned_as_in_a_list(make, count):
    l = make()
    new = ["a", "b"][:count]
    for part in SLICES:
        model = list(range(4))
        l[:] = model
        assert outcome(operator.setitem, l, part, new) == outcome(operator.setitem, model, part, new), part
        assert l[:] == model, part


def test_long_slices(make):
    model = list(range(10_000))
    l = make(model)
    for part in [
        slice(None),
        slice(17, 9000),
        slice(None, None, -1),
        slice(3, None, 7),
        slice(9990, 5, -100),
    ]:
        assert l[part] == model[part]
    for part in [slice(100, 5000, 3), slice(None, None, -50), slice(1000, 4000)]:
        l[part] = model[part] = [-x for x in model[part]]
        assert l[:] == model
        del l[part], model[part]
        assert l[:] == model
    l[50:60] = model[50:60] = range(1000)
    assert l[:] == model


@pytest.mark.parametrize(
    "call",
    [
        lambda l: l[3],
        lambda l: l[-4],
        lambda l: l[10**30],
        lambda l: l["a"],
        lambda l: l[1.0],
        lambda l: l[None],
        lambda l: operator.setitem(l, 3, 0),
        lambda l: operator.setitem(l, "a", 0),
        lambda l: operator.delitem(l, -4),
        lambda l: operator.delitem(l, "a"),
        lambda l: l.pop(3),
        lambda l: l.pop("a"),
        lambda l: l.pop(1.5),
        lambda l: l.insert("a", 0),
        lambda l: l.remove("missing"),
        lambda l: l.index("missing"),
        lambda l: l.index(1, None),
        lambda l: l.index(1, 2),
        lambda l: l.extend(5),
        lambda l: operator.setitem(l, slice(0, 3, 2), [1, 2, 3]),
        lambda l: operator.setitem(l, slice(None, None, -1), "ab"),
        lambda l: l[slice(None, None, 0)],
        lambda l: l[slice("a", None)],
        lambda l: l.sort(key=5),
        lambda l: hash(l) and None,
    ],
)
def test_errors_are_those_of_list(make, call):
    found, expected = outcome(call, make([1, 2, 3])), outcome(call, [1, 2, 3])
    if isinstance(expected[1], str):
        expected = (expected[0], expected[1].replace("type: 'list'", "type: 'pyrsistence.EMList'"))
    assert found == expected


@pytest.mark.parametrize("part", [slice(0, 1), slice(0, 3, 2)])
def test_only_iterables_are_assigned_to_slices(make, part):
    l = make([1, 2, 3])
    with pytest.raises(TypeError, match="assign (an )?iterable"):
        l[part] = 5
    assert l[:] == [1, 2, 3]


def test_pop_from_an_empty_list(make):
    with pytest.raises(IndexError, match="^pop from empty list$"):
        make().pop()


def test_wrong_numbers_of_arguments(make):
    l = make([1])
    for call in [lambda: l.pop(1, 2), lambda: l.insert(1), lambda: l.index(), lambda: l.append()]:
        with pytest.raises(TypeError):
            call()
    assert l[:] == [1]


def test_indices_may_be_any_integers(make):
    class Index:
        def __index__(self):
            return 1

    l = make("abc")
    assert l[Index()] == "b" and l[True] == "b" and l[Index() :] == ["b", "c"]
    assert l.index("c", Index()) == 2
    l.insert(Index(), "x")
    assert l.pop(Index()) == "x"


def test_insert_clamps(make):
    l = make([1])
    l.insert(-100, 0)
    l.insert(100, 3)
    l.insert(-1, 2)
    assert l[:] == [0, 1, 2, 3]


def test_index_with_bounds(make):
    model = [0, 1, 0, 1, 0]
    l = make(model)
    for start, stop in itertools.product(range(-7, 8), repeat=2):
        assert outcome(l.index, 1, start, stop) == outcome(model.index, 1, start, stop)
    assert l.index(1, -(10**30), 10**30) == 1


def test_equal_values_of_other_types_are_found(make):
    model = [1, 2.0, True, "a", b"a", None, 2**70, (1,), 1j, "", b"", 0, -5]
    l = make(model)
    for value in [1, 1.0, True, 2, 2.0, "a", b"a", None, 2**70, float(2**70), (1,), (1.0,), 1j, 0, 0.0, False,
                  "", b"", bytearray(b"a"), -5, -5.0, "b", 3, ()]:  # fmt: skip
        assert l.count(value) == model.count(value), value
        assert (value in l) == (value in model), value
        assert outcome(l.index, value) == outcome(model.index, value)


def test_a_stored_nan_is_not_found(make):
    l = make([math.nan])
    assert math.nan not in l and l.count(math.nan) == 0
    assert l == l


def test_remove(make):
    model = ["a", "b", "a", Plain(1)]
    l = make(model)
    l.remove("a")
    l.remove(Plain(1))
    assert l[:] == ["b", "a"]


LISTS = [[], [1], [1, 2], [1, 3], [2], [1, 2, 0], ["a"]]


@pytest.mark.parametrize("left, right", list(itertools.product(LISTS, LISTS)))
def test_comparison_is_that_of_lists(make, left, right):
    a, b = make(left), make(right)
    for compare in [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]:
        expected = outcome(compare, left, right)
        assert outcome(compare, a, b) == expected
        assert outcome(compare, a, right) == expected
        reflected = outcome(compare, left, b)  # by b, so a message would name the operands the other way
        assert reflected == expected or reflected[0] is expected[0] is TypeError


def test_comparison_with_other_types(make):
    l = make([1])
    assert l != (1,) and l != {1} and l != None  # noqa: E711
    with pytest.raises(TypeError):
        l < (1,)  # noqa: B015


def test_sums_and_products(make):
    l = make([1, 2])
    other = make("a")
    for result, expected in [
        (l + [3], [1, 2, 3]),
        ([0] + l, [0, 1, 2]),
        (l + other, [1, 2, "a"]),
        (l * 3, [1, 2] * 3),
        (2 * l, [1, 2] * 2),
        (l * 0, []),
        (l * -1, []),
        (l.copy(), [1, 2]),
    ]:
        with result:
            assert type(result) is EMList and result == expected and result.path != l.path
    for wrong in [lambda: l + (1,), lambda: (1,) + l, lambda: l + 1, lambda: l * 1.5, lambda: l * l]:
        with pytest.raises(TypeError):
            wrong()
    assert l[:] == [1, 2]


def test_operators_in_place(make):
    original = l = make([1])
    l += (2, 3)
    l += "a"
    l += l
    assert l[:] == [1, 2, 3, "a"] * 2
    l *= 2
    assert l[:] == [1, 2, 3, "a"] * 4
    l *= 1
    l *= 0
    assert l[:] == [] and l is original
    l.extend(range(3000))
    l *= 3
    assert l[:] == list(range(3000)) * 3
    l.check()


def test_extend_with_itself_is_finite(make):
    l = make(range(2000))
    l.extend(l)
    assert l[:] == list(range(2000)) * 2
    l[10:20] = l
    assert len(l) == 7990 and l[10:4010] == list(range(2000)) * 2


def test_extend_keeps_what_came_before_an_error(make):
    def source():
        yield from "ab"
        raise OSError("stop")

    l = make()
    with pytest.raises(OSError, match="stop"):
        l.extend(source())
    assert l[:] == ["a", "b"]


class LooksBack:
    """What is pickled looks at the list in which it will be stored."""

    seen: list

    def __init__(self, l):
        self.l = l

    def __reduce__(self):
        LooksBack.seen.append(len(self.l))
        return (int, (7,))


@pytest.mark.parametrize("source", [list, tuple, iter])
def test_extend_has_stored_what_comes_before_when_code_runs(make, source):
    LooksBack.seen = []
    l = make([0] * 10)
    values = [i if i % 300 else LooksBack(l) for i in range(1, 1000)]
    l.extend(source(values))
    assert LooksBack.seen == [10 + 299, 10 + 599, 10 + 899]
    assert l[:] == [0] * 10 + [i if i % 300 else 7 for i in range(1, 1000)]


def test_extend_with_values_of_any_size(make):
    choose = random.Random(5)
    values = [choose.randbytes(choose.choice((0, 1, 10, 100, 1300, 1400, 5000, 70_000))) for _ in range(700)]
    l = make(range(3))
    for part in (values, tuple(values), range(5000)):
        l.extend(part)
        l.check()
    l.insert(5, "between")
    expected = [*range(3), *values, *values, *range(5000)]
    expected.insert(5, "between")
    assert l[:] == expected
    l[700:] = values
    assert l[:] == expected[:700] + values
    l.check()


def test_extend_of_a_list_keeps_what_came_before_an_error(make):
    l = make()
    with pytest.raises((TypeError, AttributeError)):
        l.extend([*range(700), lambda: None, 5])  # cannot be pickled
    assert l[:] == list(range(700))


def test_slice_assignment_is_all_or_nothing(make):
    def source():
        yield from "ab"
        raise OSError("stop")

    l = make([1, 2, 3])
    for part in [slice(0, 2), slice(None, None, 2)]:
        with pytest.raises(OSError, match="stop"):
            l[part] = source()
    with pytest.raises((TypeError, AttributeError)):
        l[:] = [1, lambda: None]  # cannot be pickled
    assert l[:] == [1, 2, 3]


def test_what_is_read_is_a_copy(make):
    l = make([[1]])
    l[0].append(2)
    assert l[0] == [1]
    with l.edit(0) as item:
        item.append(2)
    assert l[0] == [1, 2]
    with pytest.raises(KeyError), l.edit(-1) as item:
        item.append(3)
        raise KeyError
    assert l[0] == [1, 2]
    with pytest.raises(IndexError), l.edit(1):
        pass


def test_large_items(make):
    model = ["x" * n for n in (0, 1, 1000, 5000, 20_000, 300_000)] + [b"y" * 2_000_000]
    l = make(model)
    assert l[:] == model and list(l) == model and list(reversed(l)) == model[::-1]
    l.sort(key=len, reverse=True)
    assert l[0] == model[-1] and model[3] in l
    l.check()


# ---- sort ----


def test_sort_is_that_of_list(make):
    with seeded("sort") as (chooser, _):
        model = [(chooser.randrange(100), i) for i in range(5000)]
        l = make(model)
        for options in [{}, {"reverse": True}, {"key": operator.itemgetter(0)}, {"key": str, "reverse": 1}]:
            chooser.shuffle(model)
            l[:] = model
            l.sort(**options)
            model.sort(**options)
            assert l[:] == model
    empty = make()
    empty.sort()
    assert empty[:] == []


def test_sort_that_fails_changes_nothing(make):
    l = make([3, "a", 1])
    with pytest.raises(TypeError):
        l.sort()
    with pytest.raises(ZeroDivisionError):
        l.sort(key=lambda x: 1 / 0)
    assert l[:] == [3, "a", 1]
    with pytest.raises(TypeError):
        l.sort(len)


def test_sort_refuses_changes_meanwhile(make):
    l = make([3, 2, 1])
    with pytest.raises(ValueError, match="modified during sort"):
        l.sort(key=lambda x: l.append(x) or x)
    assert l[:] == [3, 2, 1, 3, 2, 1]


# ---- Iteration ----


def test_iteration_does_not_see_what_is_appended(make):
    l = make(range(10))
    for item in l:
        l.append(item)
    assert len(l) == 20


def test_iteration_sees_overwritten_items(make):
    l = make(range(5000))
    seen = []
    for i, item in enumerate(l):
        seen.append(item)
        if i % 2 == 0 and i + 1 < 5000:
            l[i + 1] = -1
    assert seen == [i if i % 2 == 0 else -1 for i in range(5000)]


def test_iteration_ends_when_the_list_shrinks(make):
    l = make(range(100))
    iterator = iter(l)
    assert [next(iterator) for _ in range(60)] == list(range(60))
    del l[50:]
    assert list(iterator) == []
    l.extend(range(100))
    assert list(iterator) == []


def test_deleting_while_iterating_is_that_of_list(make):
    def halve(sequence):
        seen = []
        for item in sequence:
            seen.append(item)
            del sequence[0]
        return seen

    assert halve(make(range(101))) == halve(list(range(101)))


def test_reversed(make):
    l = make(range(3000))
    assert list(reversed(l)) == list(range(2999, -1, -1))
    iterator = reversed(l)
    assert operator.length_hint(iterator) == 3000
    assert next(iterator) == 2999
    l.append("new")
    assert next(iterator) == 2998
    del l[100:]
    assert list(iterator) == []
    assert list(reversed(make())) == []


def test_iterator_protocol(make):
    l = make("abc")
    iterator = iter(l)
    assert iter(iterator) is iterator
    assert operator.length_hint(iterator) == 3
    assert next(iterator) == "a"
    assert operator.length_hint(iterator) == 2
    assert list(iterator) == ["b", "c"]
    assert next(iterator, "end") == "end" and operator.length_hint(iterator) == 0


def test_iterator_of_a_closed_list(make):
    l = make(range(5000))
    iterator = iter(l)
    next(iterator), next(iterator)
    l.close()
    with pytest.raises(ClosedError):
        next(iterator)
    l.open(l.path)
    assert next(iterator) == 2


def test_unpacking_and_matching(make):
    a, *b = make("abc")
    assert (a, b) == ("a", ["b", "c"])
    match make([1, 2]):
        case [1, x]:
            assert x == 2
        case _:
            pytest.fail("EMList is no sequence")


# ---- User code that interferes ----


class Meddler:
    """A pickler that does something to the list each time it is called."""

    def __init__(self):
        self.action = lambda: None

    def pickle(self, value):
        self.action()
        return repr(value).encode()

    def unpickle(self, data):
        self.action()
        return eval(data)


ACTIONS = {
    "close": lambda l: l.close(),
    "clear": lambda l: l.clear(),
    "pop": lambda l: len(l) and EMList.__delitem__(l, 0),
    "insert": lambda l: l.reverse(),
    "sort": lambda l: l[:].sort(),
    "reopen": lambda l: (l.close(), l.open(l.path)),
}
CALLS = [
    lambda l: l[1],
    lambda l: l[-1],
    lambda l: operator.setitem(l, -1, 5),
    lambda l: l[:],
    lambda l: l[::-3],
    lambda l: l[::50],
    lambda l: operator.setitem(l, slice(1, 3), range(4)),
    lambda l: operator.setitem(l, slice(None, None, 2), range(len(l) // 2)),
    lambda l: l.append(1),
    lambda l: l.extend(range(3)),
    lambda l: l.extend(l),
    lambda l: l.insert(1, 5),
    lambda l: l.pop(),
    lambda l: l.pop(0),
    lambda l: l.remove(30),
    lambda l: l.index(30),
    lambda l: l.count(30),
    lambda l: 30 in l,
    lambda l: list(l),
    lambda l: list(reversed(l)),
    lambda l: l.sort(),
    lambda l: l.sort(key=lambda x: -x),
    lambda l: l == list(range(40)),
    lambda l: l < l.copy(),
    lambda l: (l + [1]).close(),
    lambda l: (l * 2).close(),
    lambda l: repr(l),
    lambda l: l.__iadd__(l),
]


@pytest.mark.parametrize("name", ACTIONS)
@pytest.mark.parametrize("number", range(len(CALLS)))
def test_picklers_may_change_and_close_the_list(store, name, number):
    meddler = Meddler()
    l = EMList(store, meddler, meddler)
    l.extend(range(40))
    calls = 0

    def action():
        nonlocal calls
        calls += 1
        if calls > 500:
            raise InterruptedError
        meddler.action = lambda: None
        if not l.closed:
            ACTIONS[name](l)
        meddler.action = action

    meddler.action = action
    outcome(CALLS[number], l)
    meddler.action = lambda: None
    l.close()
    l.open(store)
    l.check()
    assert all(type(item) is int for item in l)
    l.close()


@pytest.mark.parametrize("action", [EMList.clear, EMList.close, EMList.reverse, lambda l: l.append((1,))])
def test_comparing_may_change_the_list(make, action):
    l = make()

    class Hostile:
        def __eq__(self, other):
            if len(l) < 200:
                action(l)
            return False

    for call in [
        lambda: Hostile() in l,
        lambda: l.count(Hostile()),
        lambda: l.index(Hostile()),
        lambda: l.remove(Hostile()),
        lambda: l == [Hostile()] * 50,
        lambda: l < [Hostile()] * 50,
    ]:
        if l.closed:
            l.open(l.path)
        l[:] = [(i,) for i in range(50)]
        outcome(call)
    if l.closed:
        l.open(l.path)
    l.check()


def test_a_pickle_that_fails_stays(make):
    l = make([Plain(1), Plain(2)])
    path = l.path
    l.close()
    with EMList(path, allow_pickle=False) as guarded:
        for call in [lambda: guarded.pop(), lambda: guarded[0], lambda: guarded[:], lambda: guarded.sort()]:
            with pytest.raises(PickleRefusedError):
                call()
        assert len(guarded) == 2 and guarded.path in repr(guarded)
        with pytest.raises(PickleRefusedError):
            guarded.append(Plain(3))
        with guarded.copy() as copy, pytest.raises(PickleRefusedError):
            copy[0]
    with EMList(path) as reader:
        assert reader[:] == [Plain(1), Plain(2)]


# ---- Subclasses ----


class Doubling(EMList):
    def __getitem__(self, index):
        item = super().__getitem__(index)
        return item if isinstance(index, slice) else item * 2


class Recording(EMList):
    def __init__(self, *args, **kwargs):
        self.log = []
        super().__init__(*args, **kwargs)

    def __setitem__(self, index, value):
        self.log.append(("set", index))
        super().__setitem__(index, value)

    def __delitem__(self, index):
        self.log.append(("del", index))
        super().__delitem__(index)

    def append(self, value):
        self.log.append(("append", value))
        super().append(value)


def test_reading_goes_through_an_overridden_getitem(make):
    l = make([1, 2, 3], Doubling)
    assert list(l) == [2, 4, 6] and list(reversed(l)) == [6, 4, 2]
    assert 6 in l and 3 not in l and l.index(4) == 1 and l.count(2) == 1
    assert l == [2, 4, 6] and l < [3] and max(l) == 6
    with l.copy() as copy:
        assert type(copy) is EMList and copy[:] == [2, 4, 6]
    with l + [1] as total:
        assert total[:] == [2, 4, 6, 1]
    assert l.pop() == 6
    l.remove(4)
    assert l[:] == [1]


def test_changing_goes_through_overrides(make):
    l = make([3, 1, 2], Recording)
    assert l.log == [("append", 3), ("append", 1), ("append", 2)]
    l += [0]
    l.log.clear()
    l.sort()
    assert l.log == [("set", i) for i in range(4)] and l[:] == [0, 1, 2, 3]
    l.log.clear()
    l.reverse()
    assert len(l.log) == 4 and l[:] == [3, 2, 1, 0]
    l.log.clear()
    assert l.pop() == 0 and l.log == [("del", -1)]
    l.remove(2)
    assert l.log == [("del", -1), ("del", 1)]
    l.clear()
    assert l[:] == []


def test_iteration_of_a_subclass_has_a_fixed_end(make):
    l = make([1, 2], Doubling)
    for item in l:
        l.append(item)
    assert l[:] == [1, 2, 2, 4]


def test_a_subclass_without_overrides(make):
    class Named(EMList):
        name = "n"

    l = make([1, 2], Named)
    assert l.index(2) == 1 and l == [1, 2] and repr(l).startswith("Named(")


# ---- The handle ----


def test_repr_is_bounded(make):
    l = make()
    assert repr(l) == f"EMList({l.path!r}, [])"
    l.extend(["x" * 10_000] * 3)
    l.extend(range(10_000))
    assert len(repr(l)) < 1500 and "10003 items" in repr(l)
    l.close()
    assert repr(l) == f"EMList({l.path!r}, closed)"


def test_modes(store):
    with EMList(store, mode="x") as l:
        l.append(1)
    with EMList(store, mode="r") as l:
        assert l[:] == [1]
        changes = [
            lambda: l.append(2),
            lambda: l.pop(),
            lambda: l.clear(),
            lambda: l.reverse(),
            lambda: operator.setitem(l, 0, 2),
            lambda: operator.setitem(l, slice(None), []),
            lambda: operator.delitem(l, slice(None)),
        ]
        for change in changes:
            with pytest.raises(ReadOnlyError):
                change()
        assert l[:] == [1]
    with EMList(store, mode="w") as l:
        assert l[:] == []


def test_every_use_of_a_closed_list_raises(make):
    l = make([1, 2, 3])
    l.close()
    assert l.closed
    for call in [
        *CALLS[:26],
        len,
        bool,
        iter,
        lambda l: l.reverse(),
        lambda l: l.clear(),
        lambda l: l.sync(),
    ]:
        with pytest.raises(ClosedError):
            call(l)
    with pytest.raises(ClosedError):
        EMList.__new__(EMList)[0]


def test_no_hash(make):
    assert EMList.__hash__ is None
    with pytest.raises(TypeError):
        {make()}  # noqa: B018


def test_iterators_and_lists_are_collected(tmp_path):
    class Holder:
        def pickle(self, value):
            return b"1"

        def unpickle(self, data):
            return 1

    holder = Holder()
    l = EMList(None, holder, holder)
    l.append(0)
    holder.list = l
    holder.iterator = iter(l)
    gone = weakref.ref(holder)
    del l, holder
    gc.collect()
    assert gone() is None


def test_threads_append_and_pop(make):
    l = make()
    errors = []

    def work(number):
        try:
            for i in range(2000):
                l.append(number * 10_000 + i)
                if i % 3 == 0:
                    l.pop()
                if i % 500 == 0:
                    l[0:0] = range(100)
                    len(l[:]), sum(1 for _ in l)
        except Exception as error:  # pragma: no cover
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(l) == 4 * (2000 - 667 + 400)
    l.check()


def test_closing_while_another_thread_reads(make):
    l = make(range(20_000))
    results = []

    def read():
        try:
            while True:
                sum(l)
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(20):
        l.append(1)
    l.close()
    thread.join()
    assert isinstance(results[0], ClosedError)


def test_damage_is_reported(store):
    with EMList(store) as l:
        l.extend(random.Random(1).randbytes(100) for _ in range(1000))
    path = pathlib.Path(store, "data")
    data = bytearray(path.read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096 + 2000] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptionError), EMList(store, mode="r") as l:
        list(l)


def test_repeating_more_often_than_the_disk_has_room_for():
    with EMList(None) as l:
        l.append("some item")
        for act in (lambda: l * 10**13, lambda: l.__imul__(10**13)):
            with pytest.raises(StorageError, match=r"repeating 1 items 10000000000000 times takes about \d+ GB") as caught:
                act()
            assert caught.value.errno == errno.ENOSPC
        assert list(l) == ["some item"]


def test_repeating_an_empty_list_and_one_that_was_moved(tmp_path):
    with EMList(None) as l:
        l *= 10**18
        assert list(l * 10**18) == []
    with EMList(tmp_path / "l") as l:
        l.append(1)
        (tmp_path / "l").rename(tmp_path / "moved")
        l *= 3
        assert list(l) == [1, 1, 1]
