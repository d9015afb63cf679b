"""Bulk operations on dicts and sets store many pairs in one operation; nobody can tell but by the time that it takes."""

import itertools
import mmap
import os
import signal
import time

import pytest
import support
from pyrsistence import EMDeque, EMDict, EMList, EMMultiDict, EMSet, EMSortedDict, EMSortedSet, OrderError


class Watcher:
    """Pickled, as a value or within one: looks at the dict meanwhile."""

    def __init__(self, dictionary, seen):
        self.dictionary, self.seen = dictionary, seen

    def __reduce__(self):
        self.seen.append(len(self.dictionary))
        return int, (7,)


@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [value], lambda value: {"a": (value,)}])
def test_code_in_a_value_sees_the_pairs_before_it(wrap):
    with EMDict(None) as d:
        seen = []
        d.update([(i, wrap(Watcher(d, seen)) if i % 50 == 20 else i) for i in range(200)])
        assert set(seen) == {20, 70, 120, 170}
        assert len(d) == 200 and d[19] == 19
        d.check()


class Key:
    def __init__(self, dictionary, seen):
        self.dictionary, self.seen = dictionary, seen

    def __hash__(self):
        self.seen.append(len(self.dictionary))
        return 5

    def __em_key__(self):
        return "key"

    def __reduce__(self):
        return str, ("key",)


@pytest.mark.parametrize("kind", [EMDict, EMSet])
def test_code_in_a_key_sees_what_comes_before_it(kind):
    with kind(None) as c:
        seen = []
        keys = [*range(100), Key(c, seen), *range(100, 200)]
        c.update(dict.fromkeys(keys) if kind is EMDict else keys)
        assert set(seen) <= {0, 100} and 100 in seen
        assert len(c) == 201


def test_keys_that_come_more_than_once():
    pairs = [(1, "a"), (2, "b"), (1.0, "c"), (True, "d"), ("1", "e"), (2, "f"), (b"1", "g"), (3, "h" * 5000), (3, "i"), (4, "j")]
    with EMDict(None) as d, EMSet(None) as s:
        d.update(pairs * 3)
        expected = {}
        expected.update(pairs * 3)
        assert list(d.items()) == list(expected.items())
        assert [type(key) for key in d] == [type(key) for key in expected]
        s.update([key for key, _ in pairs])
        assert [(key, type(key)) for key in s] == [(key, type(key)) for key in expected]
        d.check()
        s.check()


def test_large_values_between_small_ones():
    pairs = [(i, b"x" * (i % 7 * 3000)) for i in range(300)]
    with EMDict(None) as d:
        d.update(pairs)
        d.update(reversed(pairs[::2]))
        d.update([(i, b"y" * (i % 5 * 100_000)) for i in range(200, 320)])
        expected = dict(pairs) | {i: b"y" * (i % 5 * 100_000) for i in range(200, 320)}
        assert list(d.items()) == list(expected.items())
        d.check()


def test_an_entry_that_cannot_be_stored_keeps_those_before_it():
    with EMDict(None, allow_pickle=False) as d:
        with pytest.raises(ValueError):
            d.update([*((i, i) for i in range(100)), (100, object), (101, 101)])
        assert list(d) == list(range(100))
        with pytest.raises(TypeError):
            d.update([(200, 0), ([], 0), (201, 0)])
        assert 200 in d and 201 not in d


def test_in_a_transaction_it_is_undone():
    with EMDict(None) as d:
        d.update([(i, i) for i in range(1000)])
        with pytest.raises(KeyError), d.transaction():
            d.update([(i, -i) for i in range(500, 1500)])
            assert len(d) == 1500
            raise KeyError
        assert list(d.items()) == [(i, i) for i in range(1000)]
        d.check()


class Growing(Key):
    """Adds to the dict that it is in."""

    def __hash__(self):
        if len(self.dictionary) > 100:
            self.dictionary["new"] = 1
        return 5


@pytest.mark.parametrize("kind", [EMDict, EMSet])
def test_a_dict_that_changes_meanwhile_is_an_error(kind):
    source = {i: i for i in range(100)}
    source[Growing(source, [])] = 0
    with kind(None) as c:
        with pytest.raises(RuntimeError, match="changed size during iteration"):
            c.update(source)
        assert 99 in c


NUMBERS = "? i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8 c8 c16 g".split()


@pytest.mark.parametrize("kind", [EMList, EMDeque])
@pytest.mark.parametrize("dtype", [*NUMBERS, ">i4", "M8[s]", "m8[ms]", "S3", "U2", "i4,f8"])
def test_an_array_gives_the_scalars_that_iterating_yields(kind, dtype):
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(700).astype("i8").astype(dtype)
    with kind(None) as plain, kind(None) as fast:
        for scalar in array:
            plain.append(scalar)
        fast.extend(array)
        fast.extend(array[5:1:-2])
        fast.extend(array[:0])
        stored = list(fast)
        assert stored == [*plain, *array[5:1:-2]]
        assert [type(x) for x in stored[:700]] == [type(x) for x in plain]
        assert [x.dtype for x in stored[:700]] == [x.dtype for x in plain]


ARRAYS = [*NUMBERS, ">i4", "M8[s]", "S3", "U2"]


def kinds_and_types(*kinds):
    """All pairs, but keys that sorted containers refuse."""
    return [(kind, dtype) for kind in kinds for dtype in ARRAYS if dtype != "M8[s]" or "Sorted" not in kind.__name__]


def with_dtypes(objects):
    return [(x, type(x), getattr(x, "dtype", None)) for x in objects]


PAIRS = [*kinds_and_types(EMDict, EMSortedDict), *((EMMultiDict, dtype) for dtype in NUMBERS)]


@pytest.mark.parametrize("kind, dtype", PAIRS)
def test_an_array_of_pairs_is_stored_as_its_rows_are(kind, dtype):
    numpy = pytest.importorskip("numpy")
    array = (numpy.arange(1400) * 7 % 600 - 50).astype("i8").astype(dtype).reshape(700, 2)
    store = kind.add if kind is EMMultiDict else kind.__setitem__
    with kind(None) as plain, kind(None) as fast:
        for part in (array, array[::-3], array[:0], numpy.asfortranarray(array[300:])):
            for key, value in part:
                store(plain, key, value)
            fast.update(part)
        stored, expected = list(fast.items()), list(plain.items())
        assert stored == expected and len(stored) >= 2
        for column in (0, 1):
            assert with_dtypes(pair[column] for pair in stored) == with_dtypes(pair[column] for pair in expected)
        fast.check()


@pytest.mark.parametrize("dtype", ARRAYS)
def test_an_array_of_keys_is_looked_up_as_its_scalars_are(dtype):
    numpy = pytest.importorskip("numpy")
    keys = (numpy.arange(300) * 7 % 200 - 50).astype("i8").astype(dtype)
    with EMDict(None) as d:
        d.update((key, i) for i, key in enumerate(keys[:150]))
        for part in (keys, keys[::-2], keys[:0], numpy.array(keys.tolist(), "O")):
            assert d.get_many(part, "missing") == [d.get(key, "missing") for key in part]
        assert None in d.get_many(keys) or dtype == "?"


@pytest.mark.parametrize("kind, dtype", kinds_and_types(EMSet, EMSortedSet))
def test_an_array_of_members_is_stored_as_its_scalars_are(kind, dtype):
    numpy = pytest.importorskip("numpy")
    array = (numpy.arange(700) * 7 % 300).astype("i8").astype(dtype)
    with kind(None) as plain, kind(None) as fast:
        for container in (plain, fast):
            container.add(array[3].item())
        for member in array:
            plain.add(member)
        fast.update(array)
        assert with_dtypes(fast) == with_dtypes(plain)
        fast.check()


def test_extreme_numbers_of_arrays_are_the_keys_that_they_equal():
    numpy = pytest.importorskip("numpy")
    floats = [0.0, -0.0, 1.0, -1.5, 2.0**53, 2.0**63, -(2.0**63), 2.0**64, 1e38, 1e-45]
    floats += [float("inf"), float("-inf"), float("nan")]
    columns = [numpy.array(floats, "f8"), numpy.array(floats, "f4")]
    for limits in (numpy.iinfo(kind) for kind in NUMBERS if kind[0] in "iu"):
        columns.append(numpy.array([limits.min, limits.max, 0, 1], limits.dtype))
    for keys in columns:
        with EMDict(None) as plain, EMDict(None) as fast:
            for key in keys:
                plain[key] = key
            fast.update(numpy.column_stack((keys, keys)))
            assert repr(list(fast.items())) == repr(list(plain.items()))
            for key in keys:
                assert repr(fast[key.item()]) == repr(plain[key])
            assert repr(fast.get_many(keys)) == repr([plain[key] for key in keys])


def test_a_number_of_an_array_that_has_no_order_keeps_those_before_it():
    numpy = pytest.importorskip("numpy")
    keys = numpy.array([1.5, 2.5, float("nan"), 0.5])
    with EMSortedDict(None) as d, EMSortedSet(None) as s, EMMultiDict(None) as m:
        for call in (lambda: d.update(numpy.column_stack((keys, keys))), lambda: s.update(keys),
                     lambda: m.update(numpy.column_stack((keys, keys)))):  # fmt: skip
            with pytest.raises(OrderError):
                call()
        assert list(d) == list(s) == list(m) == [1.5, 2.5]


def test_arrays_of_other_shapes_are_iterated_over():
    numpy = pytest.importorskip("numpy")

    class Doubled(numpy.ndarray):
        def __iter__(self):
            return iter([(2 * int(a), int(b)) for a, b in self.view(numpy.ndarray)])

    with EMDict(None) as d:
        d.update(numpy.arange(4).reshape(2, 2).view(Doubled))
        assert list(d.items()) == [(0, 1), (4, 3)] and type(next(iter(d))) is int
        with pytest.raises(ValueError, match="element #0 has length 3; 2 is required"):
            d.update(numpy.arange(6).reshape(2, 3))
        for array in (numpy.arange(4), numpy.array(5)):
            with pytest.raises(TypeError):
                d.update(array)
        with pytest.raises(TypeError):  # arrays have no hash
            d.update(numpy.arange(8).reshape(2, 2, 2))
        assert len(d) == 2


class Pickler:
    def pickle(self, value):
        return repr(value).encode()

    def unpickle(self, data):
        return data.decode()


def test_a_pickler_gets_the_scalars_of_an_array():
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(4).reshape(2, 2)
    with EMDict(None, Pickler(), Pickler()) as d, EMSet(None, Pickler(), Pickler()) as s:
        d.update(array)
        assert list(d.items()) == [(repr(a), repr(b)) for a, b in array]
        assert d.get_many(array[:, 0]) == [repr(b) for b in array[:, 1]]
        s.update(array[0])
        assert list(s) == [repr(a) for a in array[0]]


def test_a_subclass_stores_the_rows_of_an_array_itself():
    numpy = pytest.importorskip("numpy")

    class Seen(EMDict):
        def __setitem__(self, key, value):
            super().__setitem__(key, int(value) + 1)

    with Seen(None) as d:
        d.update(numpy.arange(4).reshape(2, 2))
        assert list(d.values()) == [2, 4]


def test_a_key_function_of_a_numpy_type_holds_for_arrays():
    code = """
    import numpy, pyrsistence
    pyrsistence.register_key(numpy.int64, lambda key: int(key) % 10)
    with pyrsistence.EMDict(None) as d, pyrsistence.EMSet(None) as s:
        d.update(numpy.array([[1, 2], [11, 3], [2, 4]]))
        s.update(numpy.array([1, 11]))
        assert list(d.items()) == [(1, 3), (2, 4)] and list(s) == [1], (dict(d), list(s))
        assert d.get_many(numpy.array([21, 3])) == [3, None]
    """
    pytest.importorskip("numpy")
    support.run_child(code)


@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [value]])
def test_a_class_that_looks_like_numpys_runs_no_code_within_a_batch(wrap):
    """The first scalar of a type was described by Python code while pairs waited; any class of such a name was, too."""
    pytest.importorskip("numpy")
    seen = []

    def look(self):
        seen.append((len(d), len(l)))
        return int

    with EMDict(None) as d, EMList(None) as l:
        number = 7
        for name in ("numpy.fake", "numpy.int64"):
            fake = type(name, (), {"__class__": property(look), "__reduce__": lambda self: (int, (look(self) and 7,))})
            d.clear()
            l.clear()
            d.update([(i, wrap(fake()) if i == 20 else i) for i in range(50)])
            assert set(seen) == {(20, 0)}
            seen.clear()
            l.extend([*range(20), wrap(fake())])
            assert set(seen) == {(50, 20)} and l[20] == wrap(number)
            seen.clear()


def test_rows_of_an_array_are_arrays_and_subclasses_iterate_as_they_like():
    numpy = pytest.importorskip("numpy")

    class Doubled(numpy.ndarray):
        def __iter__(self):
            return iter([2 * int(x) for x in self.view(numpy.ndarray)])

    with EMList(None) as l:
        l.extend(numpy.arange(6).reshape(2, 3))
        assert [row.tolist() for row in l] == [[0, 1, 2], [3, 4, 5]]
        l.clear()
        l.extend(numpy.arange(3).view(Doubled))
        assert list(l) == [0, 2, 4]
        with pytest.raises(TypeError):
            l.extend(numpy.array(5))
        assert len(l) == 3


@pytest.mark.parametrize("kind", [EMSet, EMDict, EMSortedDict, EMSortedSet])
def test_an_array_that_another_process_changes_gives_each_number_whole(kind):
    numpy = pytest.importorskip("numpy")
    shared = mmap.mmap(-1, 16 * 1024)
    array = numpy.frombuffer(shared, numpy.int64)
    child = os.fork()
    if child == 0:
        try:
            for i in itertools.count():
                array.fill(i % 50_000)
        finally:
            os._exit(1)
    try:
        with kind(None) as container:
            end = time.monotonic() + 0.4
            while time.monotonic() < end:
                container.update(array.reshape(-1, 2) if "Dict" in kind.__name__ else array)
            keys = [int(key) for key in container]
            assert len(keys) == len(set(keys)) == len(container)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
