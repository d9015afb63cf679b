"""EMDict is a dict: the same results, order, errors; and nothing that user code does in between harms it."""

import collections
import collections.abc
import copy
import gc
import inspect
import math
import pathlib
import pickle
import random
import subprocess
import sys
import textwrap
import threading
import warnings
import weakref

import pytest

import pyrsistence
from pyrsistence import EMDict


@pytest.fixture
def path(tmp_path):
    return tmp_path / "d"


@pytest.fixture
def d(path):
    with EMDict(path) as opened:
        yield opened
        if not opened.closed:
            opened.verify()


def filled(path, count):
    opened = EMDict(path)
    opened.update((i, str(i)) for i in range(count))
    return opened


# --- against dict


def random_key(rng):
    i = rng.randrange(300)
    return [i, str(i), (i, i % 7), float(i) / 2, frozenset([i, i + 1]), bytes([i % 256])][rng.randrange(6)]


def random_value(rng):
    size = rng.choice([0, 1, 3, 30, 500]) if rng.random() < 0.9 else rng.choice([5_000, 20_000])
    return [rng.randrange(1 << 70), "v" * size, list(range(size % 50)), {"a": size}, None][rng.randrange(5)]


def step(target, rng):
    """One random operation and what it returned or raised."""
    key, value, kind = random_key(rng), random_value(rng), rng.randrange(100)
    try:
        if kind < 40:
            target[key] = value
        elif kind < 55:
            return target[key]
        elif kind < 70:
            del target[key]
        elif kind < 75:
            return target.pop(key, "nothing")
        elif kind < 80:
            return target.setdefault(key, value)
        elif kind < 84:
            return target.popitem()
        elif kind < 90:
            return target.get(key), key in target, len(target)
        elif kind < 93:
            target.update({key: value, "extra": value})
        elif kind < 96:
            return [k for k, _ in zip(reversed(target), range(5))]
        elif kind < 99:
            return [pair for pair, _ in zip(target.items(), range(5))]
        elif rng.random() < 0.05:
            target.clear()
    except KeyError as error:
        return "KeyError", error.args


@pytest.mark.parametrize("seed", range(4))
def test_random_operations_give_what_dict_gives(path, seed):
    expected, first, second = {}, random.Random(seed), random.Random(seed)
    store = EMDict(path)
    for i in range(25_000):
        assert step(store, first) == step(expected, second)
        if i % 5_000 == 4_999:
            store.verify()
            store.close()
            assert store.open(path)
            assert list(store.items()) == list(expected.items())
    assert store == expected
    store.verify()
    store.close()


def test_key_errors_carry_the_key_as_it_is(d):
    for key in ("missing", (1, 2), (), ((1,),), None):
        for action in (d.__getitem__, d.__delitem__, d.pop):
            with pytest.raises(KeyError) as caught:
                action(key)
            assert caught.value.args == (key,)
    with pytest.raises(KeyError, match="popitem\\(\\): dictionary is empty"):
        d.popitem()


@pytest.mark.parametrize("count", [0, 1, 64, 255, 256, 257, 3000])
def test_many_values_at_once(path, count):
    rng = random.Random(count)
    expected = {rng.choice([i, str(i), (i, 1.5), "k" * (i % 3000)]): "v" * (i % 300) for i in range(2000)}
    expected |= {"large": b"x" * 100_000}
    with EMDict(path) as d:
        d.update(expected)
        keys = rng.choices([*expected, None, 2000, float("nan"), "missing"], k=count)
        assert d.get_many(keys) == [expected.get(key) for key in keys]
        assert d.get_many(iter(keys), 7) == [expected.get(key, 7) for key in keys]
        d.compact()
    with EMDict(path, mode="r") as d:
        assert d.get_many(keys) == [expected.get(key) for key in keys]
        assert d.get_many({"large": 1}.keys() | {True}, "-").count("-") == (1 not in expected)


def test_many_values_fail_as_one_does(d):
    d["a"] = 1
    for bad in (5, ["a", []], None):
        with pytest.raises(TypeError):
            d.get_many(bad)
    with pytest.raises(TypeError, match="1 to 2"):
        d.get_many()

    def keys():
        yield "a"
        d["b"] = 2
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        d.get_many(keys())
    assert d.get_many(["b"]) == [2]


def test_unhashable_keys_are_type_errors_as_in_dict(d):
    for action in (d.__getitem__, d.__contains__, d.get, d.pop, d.setdefault, lambda key: d.update([(key, 1)])):
        with pytest.raises(TypeError, match="unhashable type: 'list'"):
            action([1])
    with pytest.raises(TypeError, match="unhashable type: '.*EMDict'"):
        hash(d)
    assert EMDict.__hash__ is None
    assert len(d) == 0


def test_equal_keys_are_one_key_and_the_first_one_stays(d):
    d[1.0] = "a"
    d[1] = "b"
    d[True] = "c"
    assert list(d.items()) == [(1.0, "c")] and type(next(iter(d))) is float
    d[math.nan] = 1
    assert math.nan in d


def test_what_is_read_is_a_copy(d):
    d["k"] = [1]
    d["k"].append(2)
    assert d["k"] == [1]


def test_update_takes_what_dict_takes(d):
    class Keyed:
        def keys(self):
            return "xy"

        def __getitem__(self, key):
            return key * 2

    d.update({1: 2}, three=3)
    d.update([(4, 5), "ab"])
    d.update(Keyed())
    d.update(collections.OrderedDict(z=0))
    d.update(d)
    d.update()
    d.update(other=1, self=2)
    assert d == {1: 2, "three": 3, 4: 5, "a": "b", "x": "xx", "y": "yy", "z": 0, "other": 1, "self": 2}


@pytest.fixture
def large(tmp_path):
    """Of many pages."""
    with EMDict(tmp_path / "large") as d:
        d.update((i * 5000, b"x" * 120) for i in range(40_000))
        d.checkpoint()
        yield d


def scattered_pairs(count, seed=1):
    choose = random.Random(seed)
    kinds = (
        lambda: choose.randrange(0, 200_000_000, 5000),
        lambda: f"key {choose.random()}",
        choose.random,
        lambda: choose.randbytes(9),
    )
    return [(choose.choice(kinds)(), i) for i in range(count)]


@pytest.mark.parametrize("source", [list, tuple, dict, iter])
def test_update_of_a_large_dict(large, source):
    expected = dict(large.items())
    pairs = scattered_pairs(5000)
    large.update(source(pairs))
    expected.update(source(pairs))
    assert list(large.items()) == list(expected.items())
    large.check()


def test_update_sees_what_it_has_stored(large):
    """Pairs that come from code are stored before the next one is asked for."""
    large[0] = 0
    large.update((i * 5000, large[(i - 1) * 5000] + 1) for i in range(1, 3000))
    assert large[2999 * 5000] == 2999


@pytest.mark.parametrize("bad", [([], 0), (1, 2, 3), 5])
def test_what_comes_before_a_bad_pair_stays(large, bad):
    with pytest.raises(Exception) as expected:
        {}.update([bad])
    pairs = scattered_pairs(500)
    with pytest.raises(expected.type):
        large.update([*pairs[:333], bad, *pairs[333:]])
    assert all(key in large for key, _ in pairs[:333])
    new = next(key for key, _ in pairs[333:] if type(key) is float)
    assert new not in large


class Shrinking:
    """A key that takes pairs away from the list that is being stored."""

    pairs: list

    def __hash__(self):
        del Shrinking.pairs[400:]
        return 5

    def __em_key__(self):
        return "key"


def test_a_list_that_shrinks_while_it_is_stored(large):
    Shrinking.pairs = pairs = scattered_pairs(5000)
    pairs[100] = (Shrinking(), None)
    large.update(pairs)
    assert len(pairs) == 400
    assert pairs[399][0] in large


@pytest.mark.parametrize("bad", [5, [1], [(1, 2, 3)], [(1,)], None, ["abc"]])
def test_update_fails_as_dict_does(d, bad):
    with pytest.raises(Exception) as expected:
        {}.update(bad)
    with pytest.raises(expected.type):
        d.update(bad)
    if isinstance(bad, list):
        with pytest.raises(expected.type) as caught:
            d.update(bad)
        assert str(caught.value).split(" to ")[0] in str(expected.value) or str(caught.value) == str(expected.value)


def test_operators(d):
    d.update(a=1, b=2)
    both = d | {"b": 3, "c": 4}
    assert type(both) is EMDict and list(both.items()) == [("a", 1), ("b", 3), ("c", 4)]
    other = {"b": 3, "z": 0} | d
    assert type(other) is EMDict and list(other.items()) == [("b", 2), ("z", 0), ("a", 1)]
    same = d
    d |= [("e", 5)]
    assert d is same and d["e"] == 5
    with pytest.raises(TypeError):
        d | 5
    with pytest.raises(TypeError):
        d < d  # noqa: B015
    for temporary in (both, other):
        temporary.close()


def test_equality_ignores_order_and_type_of_mapping(d):
    d.update(a=1, b=2)
    assert d == {"b": 2, "a": 1} and {"b": 2, "a": 1} == d
    assert d == collections.OrderedDict(b=2, a=1) and d == collections.ChainMap({"a": 1}, {"b": 2})
    assert d != {"a": 1} and d != {"a": 1, "b": 3} and d != {"a": 1, "c": 2} and d != 5 and not d == [1, 2]
    assert d == collections.defaultdict(int, a=1, b=2)
    counting = collections.defaultdict(int, a=1, c=2)
    assert d != counting and len(counting) == 2


def test_copy_and_fromkeys_are_temporary(d):
    d.update(a=1)
    with d.copy() as other:
        other["a"] = 2
        place = other.path
        assert d["a"] == 1 and type(other) is EMDict
    with pytest.raises(FileNotFoundError):
        EMDict(place, mode="r")
    with EMDict.fromkeys([1, 2]) as keys:
        assert keys == {1: None, 2: None}
    for function in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="copy\\(\\)"):
            function(d)


def test_it_is_a_mapping_to_everybody(d):
    d.update(a=1, b=2)
    assert isinstance(d, collections.abc.MutableMapping)
    assert issubclass(EMDict, collections.abc.Mapping)
    match d:
        case {"a": 1, **rest}:
            assert rest == {"b": 2}
        case _:
            pytest.fail("no match")
    assert dict(d) == {"a": 1, "b": 2} and dict(**d) == {"a": 1, "b": 2}
    assert EMDict[str, int].__origin__ is EMDict
    assert collections.ChainMap(d)["a"] == 1
    assert "{a}".format_map(d) == "1"
    assert bool(d)
    d.clear()
    assert not d
    assert weakref.ref(d)() is d


def test_repr_is_bounded(d, path):
    assert repr(d) == f"EMDict({str(path)!r}, {{}})"
    d["k"] = "v" * 100_000
    d.update((i, i) for i in range(1000))
    assert len(repr(d)) < 1000 and repr(d).endswith("... 1001 entries})")
    d.close()
    assert repr(d) == f"EMDict({str(path)!r}, closed)"
    assert repr(EMDict.__new__(EMDict)) == "EMDict(None, closed)"


# --- views and iterators


def test_views_are_live_and_set_like(d):
    keys, values, items = d.keys(), d.values(), d.items()
    d.update(a=1, b=2)
    assert len(keys) == len(values) == len(items) == 2
    assert "a" in keys and 2 in values and ("a", 1) in items and ("a", 2) not in items and "a" not in items
    assert keys == {"a", "b"} and keys | {"c"} == {"a", "b", "c"} and keys - {"a"} == {"b"}
    assert {"a", "z"} & keys == {"a"} and keys ^ ["a"] == {"b"} and keys.isdisjoint("xy") and keys <= {"a", "b"}
    assert items & {("a", 1), ("a", 2)} == {("a", 1)} and items == {"b": 2, "a": 1}.items()
    assert list(reversed(keys)) == ["b", "a"] and list(reversed(values)) == [2, 1]
    assert list(reversed(items)) == [("b", 2), ("a", 1)]
    assert keys.mapping["a"] == 1
    for view, base in ((keys, "KeysView"), (values, "ValuesView"), (items, "ItemsView")):
        assert isinstance(view, getattr(collections.abc, base)) and repr(view).startswith(base)
    with pytest.raises(TypeError):
        hash(keys)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000, 5000])
def test_iteration_is_complete_both_ways(path, count):
    with filled(path, count) as d:
        assert list(d) == list(range(count))
        assert list(reversed(d)) == list(reversed(range(count)))
        assert list(d.values()) == [str(i) for i in range(count)]
        assert list(reversed(d.items())) == [(i, str(i)) for i in reversed(range(count))]
        iterator = iter(d)
        list(iterator)
        assert next(iterator, "end") == "end"


@pytest.mark.parametrize("backwards", [False, True])
def test_deleting_while_iterating_skips_no_survivor(path, backwards):
    with filled(path, 3000) as d:
        rng, seen, gone = random.Random(1), [], set()
        for key in reversed(d) if backwards else d:
            assert key not in gone
            seen.append(key)
            for victim in (key, rng.randrange(3000)):
                if rng.random() < 0.4 and victim in d:
                    del d[victim]
                    gone.add(victim)
        assert set(seen) | gone == set(range(3000)) and len(seen) == len(set(seen))
        assert set(d) == set(range(3000)) - gone


def test_overwriting_while_iterating_is_seen(path):
    with filled(path, 3000) as d:
        for key in d:
            d[key] = key
            if key + 1 in d:
                d[key + 1] = "next"
        values = []
        for key, value in d.items():
            values.append(value)
            d[2999] = "late"
        assert values == [*range(2999), "late"]


def test_a_new_key_ends_the_iteration_as_in_dict(path):
    with filled(path, 100) as d:
        for make in (iter, lambda d: iter(d.values()), lambda d: iter(d.items()), reversed):
            iterator = make(d)
            next(iterator)
            d[len(d)] = "new"
            with pytest.raises(RuntimeError, match="dictionary changed size during iteration"):
                next(iterator)
        iterator = iter(d)
        d.clear()
        assert list(iterator) == []


def test_an_iterator_does_not_survive_closing(path):
    d = filled(path, 10)
    iterator = iter(d)
    next(iterator)
    d.close()
    with pytest.raises(pyrsistence.ClosedError):
        next(iterator)
    d.open(path)
    with pytest.raises(pyrsistence.ClosedError):
        next(iterator)
    d.close()


# --- edit, docs, pickling


def test_edit_writes_back_unless_an_exception_passes(d):
    with d.edit("k", default=[]) as value:
        value.append(1)
    with d.edit("k") as value:
        value.append(2)
    with pytest.raises(ZeroDivisionError), d.edit("k") as value:
        value.append(1 / 0)
    assert d["k"] == [1, 2]
    with pytest.raises(KeyError), d.edit("missing"):
        pass


def test_every_public_method_has_docs_and_a_signature():
    for name in dir(EMDict):
        if not name.startswith("_"):
            assert getattr(EMDict, name).__doc__, name
            if callable(getattr(EMDict, name)) and name != "pop":
                inspect.signature(getattr(EMDict, name))
    assert list(inspect.signature(EMDict).parameters) == [
        "dirname", "pickler", "unpickler", "mode", "allow_pickle", "memory_limit", "at", "name",
    ]  # fmt: skip


class Attributed(EMDict):
    pass


def test_a_pickled_handle_opens_the_same_store(path):
    with Attributed(path, allow_pickle=False) as d:
        d["a"] = 1
        d.note = "kept"
        with pickle.loads(pickle.dumps(d)) as other:
            assert type(other) is Attributed and other["a"] == 1 and other.note == "kept"
            other["b"] = 2
            with pytest.raises(pyrsistence.PickleRefusedError):
                other["c"] = object()
        assert d["b"] == 2


# --- user code in the middle of an operation


class Pickler:
    """Pickles by way of pickle, and does something else on the way."""

    def __init__(self):
        self.before = self.after = lambda: None

    def pickle(self, value):
        self.before()
        return pickle.dumps(value)

    def unpickle(self, data):
        assert type(data) is bytes
        self.after()
        return pickle.loads(data)


@pytest.fixture
def pickler():
    return Pickler()


@pytest.fixture
def custom(path, pickler):
    d = EMDict(path, pickler, pickler)
    d.update({1: "one", 2: "two", 3: "three"})
    yield d
    pickler.before = pickler.after = lambda: None
    if d.closed:
        d.open(path)
    d.verify()
    assert all(d[key] in ("one", "two", "three", "new") for key in d)
    d.close()


OPERATIONS = {
    "get": lambda d: d[1],
    "get_many": lambda d: d.get_many([1, 2, 9]),
    "set": lambda d: d.__setitem__(9, "new"),
    "overwrite": lambda d: d.__setitem__(1, "new"),
    "setdefault": lambda d: d.setdefault(9, "new"),
    "pop": lambda d: d.pop(1, None),
    "popitem": lambda d: d.popitem(),
    "iterate": lambda d: list(d.items()),
    "reversed": lambda d: list(reversed(d)),
    "update": lambda d: d.update({7: "new", 8: "new"}),
    "compare": lambda d: d == {1: "one", 2: "two", 3: "three"},
    "repr": repr,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_pickler_may_close_the_store(custom, pickler, name):
    pickler.before = pickler.after = custom.close
    try:
        OPERATIONS[name](custom)
    except pyrsistence.ClosedError:
        pass


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_pickler_may_change_the_store(custom, pickler, name):
    def change():
        pickler.before = pickler.after = lambda: None
        custom.clear()
        custom[5] = "new"

    pickler.before = pickler.after = change
    try:
        OPERATIONS[name](custom)
    except RuntimeError as error:
        assert "changed size during iteration" in str(error)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_pickler_that_raises_harms_nothing(custom, pickler, name):
    def fail():
        raise ZeroDivisionError

    content = dict(custom)
    pickler.before = pickler.after = fail
    try:
        OPERATIONS[name](custom)
        assert name == "repr"
    except ZeroDivisionError:
        pass
    pickler.before = pickler.after = lambda: None
    assert dict(custom) == content


def test_a_pickler_may_initialise_the_dict_again(custom, pickler, path):
    def again():
        pickler.before = pickler.after = lambda: None
        custom.close()
        other = Pickler()
        custom.__init__(path, other, other)

    pickler.after = again
    assert custom[1] == "one"
    pickler.before = again
    custom[1] = "new"
    gc.collect()
    assert custom[1] == "new"


def test_a_pickler_must_return_bytes(path, pickler):
    pickler.pickle = lambda value: "text"
    with EMDict(path, pickler, pickler) as d:
        with pytest.raises(TypeError, match="must return bytes, not str"):
            d[1] = 1
        assert len(d) == 0
    with pytest.raises(TypeError, match="pickler must be None or have a method pickle"):
        EMDict(path, object())


def test_an_unpicklable_value_leaves_the_old_one(d):
    d["k"] = 1
    for bad in (lambda: None, threading.Lock(), [lambda: None]):
        with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
            d["k"] = bad
    assert dict(d) == {"k": 1}


class Closing:
    """A key that closes the dict when it is hashed."""

    def __init__(self, target):
        self.target = target

    def __hash__(self):
        self.target.close()
        return 1

    def __em_key__(self):
        return "closing"

    def __getstate__(self):
        return {}


def test_a_key_may_close_the_store_when_hashed(path):
    for action in ("__getitem__", "__contains__", "get", "pop", "setdefault", "__delitem__"):
        d = filled(path, 10)
        with pytest.raises(pyrsistence.ClosedError):
            getattr(d, action)(Closing(d))
    d = filled(path, 10)
    with pytest.raises(pyrsistence.ClosedError):
        d[Closing(d)] = 1


def test_a_destructor_may_clear_the_store_while_a_value_is_decoded(path):
    class Cycle:
        def __init__(self, target):
            self.target, self.me = target, self

        def __del__(self):
            self.target.clear()

    with EMDict(path) as d:
        threshold = gc.get_threshold()
        gc.set_threshold(50)
        try:
            for _ in range(50):
                d.update((i, [[], {}, ()] * 20) for i in range(20))
                Cycle(d)
                for value in d.values():
                    assert len(value) == 60
                Cycle(d)
                assert len(d.get(3, [0] * 60)) == 60
        finally:
            gc.set_threshold(*threshold)
        gc.collect()
        d.verify()


def test_an_iterator_is_not_entered_twice(custom, pickler):
    iterator = iter(custom.values())
    pickler.after = lambda: next(iterator)
    with pytest.raises(ValueError, match="already executing"):
        next(iterator)
    pickler.after = lambda: None
    assert list(iterator) == ["two", "three"]


# --- subclasses


class Shouting(EMDict):
    def __getitem__(self, key):
        return super().__getitem__(key).upper()

    def __setitem__(self, key, value):
        super().__setitem__(key, value + "!")


def test_overrides_count_in_every_method(path):
    with Shouting(path) as d:
        d.update(a="x")
        d.setdefault("b", "y")
        d |= {"c": "z"}
        assert d.get("a") == "X!" and d.get_many(["b", "z"]) == ["Y!", None] and list(d.values()) == ["X!", "Y!", "Z!"]
        assert dict(d.items()) == {"a": "X!", "b": "Y!", "c": "Z!"} and d == {"a": "X!", "b": "Y!", "c": "Z!"}
        assert ("a", "X!") in d.items() and "X!" in d.values() and list(reversed(d.values()))[0] == "Z!"
        assert d.pop("a") == "X!" and d.pop("a", 1) == 1 and d.popitem() == ("c", "Z!")
        with d.copy() as other:
            assert type(other) is EMDict and other == {"b": "Y!"}
        with pytest.raises(KeyError):
            d.pop("a")


def test_clear_calls_an_overridden_delete(path):
    deleted = []

    class Watched(EMDict):
        def __delitem__(self, key):
            deleted.append(key)
            super().__delitem__(key)

    with Watched(path) as d:
        d.update(a=1, b=2)
        d.clear()
        assert deleted == ["a", "b"] and len(d) == 0


def test_missing_works_as_in_dict_subclasses(path):
    class Default(EMDict):
        def __missing__(self, key):
            return key * 2

    with Default(path) as d:
        assert d[4] == 8 and d.get(4) is None and 4 not in d and len(d) == 0


def test_it_combines_with_other_classes(path):
    class Both(EMDict, collections.abc.MutableMapping):
        def __init__(self, place, extra):
            super().__init__(place)
            self.extra = extra

    with Both(path, 1) as d:
        d["a"] = d.extra
        assert d == {"a": 1}


# --- life and death of the object


def test_an_object_that_never_was_open_does_no_harm(path):
    d = EMDict.__new__(EMDict)
    for action in (len, iter, list, lambda d: d[1], lambda d: 1 in d, lambda d: d.get(1), lambda d: d.clear(),
                   lambda d: d.sync(), lambda d: d.info, lambda d: d.popitem(), reversed, lambda d: d.__enter__(),
                   lambda d: d.__setitem__(1, 1), lambda d: d.__delitem__(1)):  # fmt: skip
        with pytest.raises(pyrsistence.ClosedError, match="never opened"):
            action(d)
    d.close()
    assert d.closed and d.path is None
    d.open(path)
    d[1] = 2
    d.close()


def test_a_second_init_is_refused_while_open(d, path):
    with pytest.raises(RuntimeError, match="EMDict already open"):
        d.__init__(path)
    d[1] = 1
    d.close()
    d.__init__(path)
    assert d[1] == 1


def test_an_unclosed_dict_warns_and_loses_nothing(path):
    d = EMDict(path)
    d["a"] = 1
    with pytest.warns(ResourceWarning, match="unclosed EMDict.*call close"):
        del d
        gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with EMDict(path) as d:
            assert d["a"] == 1
        d.close()
        del d
        EMDict(None)
        gc.collect()


def test_cycles_through_picklers_are_collected(path):
    pickler = Pickler()
    d = EMDict(path, pickler, pickler)
    d[1] = 1
    pickler.dict, pickler.iterator = d, iter(d)
    alive = weakref.ref(pickler)
    with pytest.warns(ResourceWarning):
        del d, pickler
        gc.collect()
    assert alive() is None
    EMDict(path).close()


def test_references_are_balanced(d):
    key, value = ("a key", 1.5), ["a value"]

    def work():
        d[key] = value
        d[key], d.get(key), key in d, d.setdefault(key, value), d.pop(key), d.pop(key, value), d.get(key, value)
        d[key] = value
        list(d.items()), list(reversed(d)), d.popitem(), repr(d), d == {}
        with pytest.raises(KeyError):
            d[key]

    work()
    before = [sys.getrefcount(x) for x in (key, value, d, EMDict)]
    for _ in range(100):
        work()
    assert [sys.getrefcount(x) for x in (key, value, d, EMDict)] == before


def test_threads_share_a_dict(path):
    d = EMDict(path)
    errors = []

    def work(number):
        try:
            for i in range(2000):
                d[number, i] = i
                assert d[number, i] == i
                if i % 500 == 0:
                    d.sync()
                    d.checkpoint()
                if i % 3 == 0:
                    del d[number, i]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and len(d) == 4 * (2000 - 667)
    d.verify()
    d.close()


def test_closing_under_the_feet_of_other_threads_is_an_error_for_them_only(path):
    for _ in range(20):
        d = EMDict(path)
        started = threading.Barrier(3)

        def work(d=d, started=started):
            started.wait()
            try:
                while True:
                    d[threading.get_ident()] = 1
                    d.sync()
            except pyrsistence.ClosedError:
                pass

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        started.wait()
        d.close()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
    with EMDict(path) as d:
        d.verify()


def test_daemon_threads_do_not_disturb_the_end_of_the_process(path):
    program = (
        "import sys, threading, time, pyrsistence\n"
        "d = pyrsistence.EMDict(sys.argv[1])\n"
        "def work():\n"
        "    while True:\n"
        "        d[time.monotonic()] = 1\n"
        "        d.sync()\n"
        "for _ in range(3): threading.Thread(target=work, daemon=True).start()\n"
        "time.sleep(0.1)\n"
    )
    for _ in range(5):
        outcome = subprocess.run([sys.executable, "-c", program, path], env=environment(), capture_output=True,
                                 text=True, timeout=60)  # fmt: skip
        assert outcome.returncode == 0, outcome.stderr
    with EMDict(path) as d:
        assert len(d) > 0
        d.verify()


def test_a_dict_left_open_at_exit_loses_nothing(path):
    program = "import sys, pyrsistence; d = pyrsistence.EMDict(sys.argv[1]); d['a'] = 1"
    outcome = subprocess.run([sys.executable, "-c", program, path], env=environment(), capture_output=True, check=True)
    assert outcome.stderr == b""
    with EMDict(path) as d:
        assert d == {"a": 1}


def test_another_process_finds_the_same_keys(path):
    with EMDict(path) as d:
        d.update({"text": 1, ("a", 2): 2, frozenset({"x", "y"}): 3, None: 4})
    program = (
        "import sys, pyrsistence\n"
        "with pyrsistence.EMDict(sys.argv[1], mode='r') as d:\n"
        "    print(d['text'], d['a', 2], d[frozenset({'y', 'x'})], d[None], len(d))\n"
    )
    for seed in ("1", "2"):
        output = subprocess.run([sys.executable, "-c", program, path], env=environment(PYTHONHASHSEED=seed),
                                capture_output=True, text=True, check=True).stdout  # fmt: skip
        assert output == "1 2 3 4 4\n"


def environment(**variables):
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **variables}


def test_compact_gives_space_back(path):
    with EMDict(path) as d:
        d.update((i, b"x" * 500) for i in range(20_000))
        d.checkpoint()
        for i in range(0, 20_000, 10):
            del d[i]
        for i in range(5_000):
            d.pop(i, None)
        before = d.info.data_bytes
        d.compact()
        assert d.info.data_bytes < 0.9 * before
        d.check()
        assert len(d) == 13_500 and d[19_999] == b"x" * 500


def test_other_threads_run_during_a_long_update(path):
    """A native loop that never gave up the interpreter lock starved every other thread."""
    ticks = []
    stop = threading.Event()

    def tick():
        while not stop.wait(0.001):
            ticks.append(1)

    thread = threading.Thread(target=tick)
    with EMDict(path) as d:
        thread.start()
        d.update(zip(range(1_500_000), range(1_500_000)))
        seen = len(ticks)
        stop.set()
        thread.join()
    assert seen >= 3


def test_an_unclosed_store_at_exit_is_closed_in_spite_of_guarded_keys(tmp_path):
    """The guard of keys kept their class, its module's globals and so the handle alive until after the end."""
    script = textwrap.dedent(
        """
        from pyrsistence import EMDict
        class Own:
            def __init__(self, n): self.n = n
            def __eq__(self, other): return self.n == other.n
            def __hash__(self): return hash(self.n)
        d = EMDict(None)
        d[Own(1)] = 1
        print(d.path)
        """
    )
    (tmp_path / "script.py").write_text(script)
    out = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=True)
    assert not pathlib.Path(out.stdout.strip()).exists()
