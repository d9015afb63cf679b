"""EMArray against NumPy: types, indices, casting, growth, bounded memory. Random programs are in test_state_machine_others."""

import operator
import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import support
from pyrsistence import _array
from pyrsistence import (
    ClosedError,
    CorruptionError,
    EMArray,
    EMList,
    ExistsError,
    FormatError,
    ReadOnlyError,
    Store,
    verify,
)

DTYPES = [
    "b1", "i1", "u1", "<i2", "u2", "i4", ">u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16", "S3", "U2", "M8[ns]", "m8[s]", "V5",
    [("x", "f4"), ("n", "u2")],
    [("id", "<u8"), ("at", "<f8", (2, 3)), ("name", "S7")],
    np.dtype([("a", "u1"), ("b", "u8")], align=True),
]  # fmt: skip


def random_array(rng, dtype, shape):
    dtype = np.dtype(dtype)
    count = int(np.prod(shape)) * dtype.itemsize
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind == "U":
        return rng.integers(0, 99, shape).astype(dtype)
    if dtype.kind in "fc":
        return rng.standard_normal(shape).astype(dtype)
    return np.frombuffer(rng.bytes(count), dtype).reshape(shape).copy()


def same(found, expected):
    """Equal in type, dtype (but for its byte order), shape and bytes."""
    assert type(found) is type(expected)
    if isinstance(expected, (np.ndarray, np.generic)):
        assert found.dtype == expected.dtype.newbyteorder("<")
        assert found.shape == expected.shape
        if expected.dtype.names:  # NaN, and padding that says nothing
            assert repr(found.tolist()) == repr(expected.tolist())
        else:
            assert np.array_equal(found, expected, equal_nan=expected.dtype.kind in "fcMm")
    else:
        assert found == expected


@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_comes_back(tmp_path, dtype, shape):
    rng = np.random.default_rng(1)
    expected = random_array(rng, dtype, (700, *shape))
    with EMArray(tmp_path / "a", dtype, shape) as a:
        a.extend(expected[:500])
        for item in expected[500:]:
            a.append(item)
        assert a.dtype == expected.dtype.newbyteorder("<")
        assert (a.shape, a.ndim, a.itemsize, a.nbytes, a.size) == (
            expected.shape, expected.ndim, expected.itemsize, expected.nbytes, expected.size,
        )  # fmt: skip
        for index in (0, 3, -1, np.int16(7)):
            same(a[index], expected[index])
        for key in (slice(None), slice(5, 90, 3), slice(-5, 5, -7), [5, 3, 3, -1], rng.integers(0, 2, 700).astype(bool), Ellipsis):
            same(a[key], expected[key])
        a[9] = expected[11]
        a[10:14] = expected[20:24]
        a[[15, 16, 15]] = expected[[30, 31, 32]]
        expected[9], expected[10:14], expected[[15, 16, 15]] = expected[11], expected[20:24].copy(), expected[[30, 31, 32]]
        a.check()
    with EMArray(tmp_path / "a", mode="r") as a:
        same(a[...], expected)
        if np.dtype(dtype).names is None:
            assert a.tolist() == expected.tolist() or np.dtype(dtype).kind in "fc"


@pytest.mark.parametrize("length", [0, 5, 2 * 16_384])
def test_values_that_do_not_fit_a_part_of_the_items_are_refused(length):
    """An empty array took any values at [:, ...], a long one those of the length of what is written at a time."""
    expected = np.zeros((length, 2))
    with EMArray(None, "f8", 2) as a:
        a.resize(length)
        for key in ((slice(None), 0), (slice(None), Ellipsis), (Ellipsis, 1), (slice(None), slice(1))):
            for shape in ((), (1,), (2,), (3,), (16_384,), (16_384, 1), (length,), (length, 1), (length, 2), (1, length, 2)):
                outcomes = []
                for target in (a, expected):
                    try:
                        target[key] = np.ones(shape)
                        outcomes.append("stored")
                    except ValueError:
                        outcomes.append("refused")
                assert outcomes[0] == outcomes[1], (key, shape)
        same(a[...], expected)


def test_another_type_is_refused_by_name(tmp_path):
    with EMArray(tmp_path / "a", "f8", (2, 3)):
        pass
    for dtype, shape, said in (("f4", (2, 3), "<f4 of shape (2, 3)"), ("f8", 6, "<f8 of shape (6,)"), ("f8", (), "<f8;")):
        with pytest.raises(FormatError) as caught:
            EMArray(tmp_path / "a", dtype, shape)
        assert "holds an array of <f8 of shape (2, 3), not of " + said in str(caught.value)
    with EMArray(tmp_path / "a", ">f8", (2, 3)) as a:  # stored little-endian in any case
        assert a.dtype == "<f8"
    with EMArray(tmp_path / "a", np.dtype(("f8", (2, 3)))) as a:
        assert a.shape == (0, 2, 3)
    with pytest.raises(FormatError, match="holds an array, not a list"):
        EMList(tmp_path / "a")


def test_what_cannot_be_stored_is_refused():
    for dtype in (object, [("a", "O")]):
        with pytest.raises(TypeError, match="EMList"):
            EMArray(None, dtype)
    for dtype, shape in (("S", ()), ("f8", 0), ("f8", (2, -1))):
        with pytest.raises(ValueError):
            EMArray(None, dtype, shape)
    with pytest.raises(FormatError, match="shorter names"):
        EMArray(None, [(f"a rather long name of field {i}", "u1") for i in range(9)])
    with pytest.raises(TypeError):
        EMArray(None, "no such dtype")
    with pytest.raises(ValueError, match="no dtype"):
        EMArray(None, shape=3)


def test_nothing_is_created_or_emptied_without_a_dtype(tmp_path):
    with pytest.raises(FileNotFoundError):
        EMArray(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with EMArray(tmp_path / "a", "i4") as a:
        a.append(1)
    with pytest.raises(FormatError, match="needs a dtype"):
        EMArray(tmp_path / "a", mode="w")
    with EMArray(tmp_path / "a") as a:
        assert a.tolist() == [1]
    with Store(tmp_path / "store") as store:
        with pytest.raises(FileNotFoundError):
            store.array("a")
        assert "a" not in store
        store.array("a", "f4", 2).append([1, 2])
        assert store["a"].tolist() == [[1, 2]] and store.array("a").shape == (1, 2)
        with pytest.raises(FormatError):
            store.array("a", "f8")


INDICES = [
    0, -1, 5000, -5000, True, None, "x", 1.5, np.int8(-3), np.array(4), (), (3,), (3, 1), (3, Ellipsis), (slice(1, 9), 1),
    (slice(None, None, -2), slice(0, 1)), (Ellipsis, 0), (Ellipsis, slice(None), 0), (slice(4), Ellipsis), (3, [0, 1]),
    (slice(2, 5), [1, 0]), [], [[1, 2], [3, 3]], np.zeros(5000, bool), np.ones(3, bool), [4, 10**9], [0.5],
    ([1, 2], 0), ([1, 2], slice(None)), (slice(3), None), (0, 0, 0),
]  # fmt: skip


@pytest.mark.parametrize("key", INDICES, ids=repr)
def test_indices_are_those_of_numpy(key):
    expected = np.arange(10_000, dtype="i4").reshape(5000, 2)
    with EMArray(None, "i4", 2) as a:
        a.extend(expected)
        try:
            wanted = expected[key]
        except IndexError:
            with pytest.raises((IndexError, TypeError)):
                a[key]
            with pytest.raises((IndexError, TypeError, ValueError)):
                a[key] = 1
            return
        if key is None or key is True or isinstance(key, np.ndarray) and key.shape == ():
            if key is None or key is True:
                with pytest.raises(IndexError):
                    a[key]
                return
        same(a[key], wanted)
        expected[key] = value = np.arange(wanted.size, dtype="f8").reshape(wanted.shape) + 0.5
        a[key] = value
        same(a[...], expected)
        expected[key] = 7
        a[key] = 7
        same(a[...], expected)


def test_random_indices_agree_with_numpy():
    with support.seeded("array indices") as (_, seed), EMArray(None, "i8") as a:
        rng = np.random.default_rng(seed)
        expected = np.arange(100_000)
        a.extend(expected)
        for _ in range(support.scaled(150)):
            start, stop = rng.integers(-110_000, 110_000, 2)
            step = int(rng.choice([1, 1, 2, 3, 500, 511, -1, -4, -1000]))
            chosen = rng.integers(-100_000, 100_000, rng.integers(0, 2000))
            key = [slice(start, stop, step), chosen, np.sort(chosen), rng.random(100_000) < rng.random() ** 4][rng.integers(4)]
            same(a[key], expected[key])
            value = rng.integers(0, 10**9, expected[key].shape) if rng.random() < 0.7 else int(rng.integers(10))
            a[key] = value
            expected[key] = value
        same(a[...], expected)
        a.check()


def test_structured_fields():
    dtype = np.dtype([("x", "f4"), ("n", "u2", 2)])
    with EMArray(None, dtype) as a:
        a.resize(20_000)
        a["x"] = np.arange(20_000)
        a[3] = (0.5, (1, 2))
        a[["x"]] = a[["x"]]
        assert a["x"][3] == 0.5 and a["x"][19_999] == 19_999 and a["n"].shape == (20_000, 2)
        assert a[3]["n"].tolist() == [1, 2] and a[3:5]["x"].tolist() == [0.5, 4]
        first = a[3]
        a[3] = (1, (5, 6))
        assert first["x"] == 0.5  # a copy
        with pytest.raises(ValueError):
            a["y"]


@pytest.mark.parametrize("value", [0, -1, 255, 256, -(2**63), 2**64 - 1, 2**64, 1.5, float("nan"), 1e300, True, None, "1",
                                   np.float64(2.5), np.uint8(200), np.bool_(True), 1j, [1], b"x", np.int64(-1)], ids=repr)  # fmt: skip
@pytest.mark.parametrize("dtype", ["b1", "i1", "u1", "i8", "u8", "f4", "f8", "c16", "S2"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::numpy.exceptions.ComplexWarning", "ignore::DeprecationWarning")
def test_values_are_cast_as_by_numpy(dtype, value):
    expected = np.zeros(3, dtype)
    with EMArray(None, dtype) as a:
        a.resize(3)
        try:
            expected[1] = value
        except (TypeError, ValueError, OverflowError) as error:
            with pytest.raises(type(error)):
                a[1] = value
            with pytest.raises(type(error)):
                a.append(value)
            assert len(a) == 3
        else:
            a[1] = value
            a.append(value)
            same(a[1], expected[1])
            same(a[3], expected[1])
        same(a[:3], expected)


OPERATORS = ["iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "iand", "ior", "ixor", "ilshift", "irshift"]


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("dtype", ["u1", "i4", "f8"])
def test_arithmetic_in_place(dtype, name):
    apply = getattr(operator, name)
    expected = (np.arange(300_000) % 100).astype(dtype)
    whole = np.full(300_000, 3, dtype)
    with EMArray(None, dtype) as a, EMArray(None, dtype) as b:
        a.extend(expected)
        b.extend(whole)
        for other in (2, 2.5, np.int8(3), whole, [1], b):
            try:
                expected = apply(expected, whole if other is b else other)
            except TypeError:
                with pytest.raises(TypeError):
                    apply(a, other)
            else:
                assert apply(a, other) is a
        same(a[...], expected)
        with pytest.raises(ValueError):
            a += [1, 2]


def test_comparisons_are_arrays_of_bools():
    with EMArray(None, "i4") as a, EMArray(None, "i4") as b:
        a.extend(range(100_000))
        b.extend(range(100_000))
        for compare in (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge):
            same(compare(a, 500), compare(np.arange(100_000, dtype="i4"), 500))
        assert (a == b).all() and not (a != b).any() and (a == a[...]).all() and (a[...] == a).all()
        with pytest.raises(ValueError):
            a == [1, 2]  # noqa: B015
        assert 77 in a and 100_000 not in a
    with EMArray(None, "u1", memory_limit=4 << 20) as a:
        a.resize((4 << 20) + 1)
        with pytest.raises(MemoryError, match="blocks"):
            a == 0  # noqa: B015


def test_numpy_functions_take_it():
    with EMArray(None, "f8") as a:
        a.extend(range(1000))
        assert np.sum(a) == 499_500 and np.median(a) == 499.5 and np.mean(a) == 499.5
        same(np.asarray(a, "f4"), np.arange(1000, dtype="f4"))
        same(np.add(a, 1), np.arange(1000.0) + 1)
        with pytest.raises(ValueError):
            np.array(a, copy=False)
        assert list(a)[-1] == 999 and type(next(iter(a))) is np.float64
        assert np.concatenate([a, a]).shape == (2000,)


def test_growing_and_shrinking():
    with EMArray(None, "i2", (2,)) as a:
        a.extend([[1, 2], [3, 4]])
        a.extend(np.array([[5, 6]], "f8"))
        a.extend(iter([(7, 8)]))
        a.extend([])
        a.extend(a)
        assert a.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]] * 2
        for bad in ([1, 2], [[1]], 5, np.zeros((2, 3))):
            with pytest.raises((ValueError, TypeError)):
                a.extend(bad)
        with pytest.raises(ValueError):
            a.append([1, 2, 3])
        assert a.pop().tolist() == [7, 8] and len(a) == 7
        a.truncate(1)
        for bad in (-1, 2):
            with pytest.raises(ValueError):
                a.truncate(bad)
        a.resize(3)
        assert a.tolist() == [[1, 2], [0, 0], [0, 0]]
        a.fill(9)
        assert a.tolist() == [[9, 9]] * 3
        a.clear()
        with pytest.raises(IndexError):
            a.pop()
        with pytest.raises(ValueError):
            a.resize(-1)
        with pytest.raises(ValueError, match="truncate"):
            del a[0]
    with EMArray(None, "u1") as a:
        a.extend(b"abc")
        a.extend(bytearray(b"d"))
        assert bytes(a[...]) == b"abcd"


def test_blocks_are_read_only_and_end_where_the_array_did():
    with EMArray(None, "i4") as a:
        a.extend(range(10))
        seen = []
        for block in a.blocks(4):
            assert not block.flags.writeable
            with pytest.raises(ValueError):
                block[0] = 1
            seen.append(block.tolist())
            a.append(0)
        assert seen == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
        iterator = a.blocks(4)
        next(iterator)
        a.clear()
        assert list(iterator) == []
        for bad in (0, -1):
            with pytest.raises(ValueError):
                a.blocks(bad)


def test_memory_stays_bounded():
    with EMArray(None, "f8", memory_limit=16 << 20) as a:
        a.resize(4 << 20)  # 32 MiB
        tracemalloc.start()
        try:
            total = sum(block.sum() for block in a.blocks())
            a += 1
            a[::2] = 5
            a.fill(2)
            a[...] = 3
            assert 3 in a
            assert tracemalloc.get_traced_memory()[1] < (40 << 20)  # the indices of a[::2]
            tracemalloc.reset_peak()
            for block in a.blocks():
                total += block.sum()
            a *= 2
            assert tracemalloc.get_traced_memory()[1] < (2 << 20)
        finally:
            tracemalloc.stop()
        assert total == 3 * (4 << 20) and a[-1] == 6


def test_transactions_snapshots_and_kept_states(tmp_path):
    with EMArray(tmp_path / "a", "i4") as a:
        a.extend(range(5000))
        before = a.snapshot()
        with pytest.raises(KeyError), a.transaction():
            a += 1
            a.resize(10)
            a.extend(range(100_000))
            raise KeyError
        same(a[...], np.arange(5000, dtype="i4"))
        a.snapshots.create("first")
        with a.transaction():
            a.fill(1)
            a.truncate(3)
        assert a.tolist() == [1, 1, 1]
        same(before[...], np.arange(5000, dtype="i4"))
        with pytest.raises(ReadOnlyError):
            before.append(1)
        before.close()
        a.verify()
    with EMArray(tmp_path / "a", at="first") as old:
        assert len(old) == 5000 and old[4999] == 4999


def test_handles(tmp_path):
    a = EMArray(tmp_path / "a", "f4")
    a.extend([1, 2])
    assert repr(a) == f"EMArray({str(tmp_path / 'a')!r}, [1.0, 2.0], dtype=<f4)"
    assert "EMArray" in a._repr_html_() and "entries" in a._repr_html_()
    a.extend(range(100))
    assert "... 102 items" in repr(a)
    with pickle.loads(pickle.dumps(a)) as other:
        assert other.dtype == "f4" and len(other) == 102
    with a.copy() as other, a.copy(tmp_path / "copy"):
        same(other[...], a[...])
    with pytest.raises(ExistsError):
        a.copy(tmp_path / "copy")
    assert a.info.entries == 102
    a.close()
    assert "closed" in repr(a)
    for use in (lambda: a[0], lambda: len(a), lambda: a.dtype, lambda: a.append(1), lambda: a.blocks(), lambda: a[:]):
        with pytest.raises(ClosedError):
            list(use()) if use is not None else None
    with pytest.raises(TypeError, match="unhashable"):
        hash(a)
    a.open(tmp_path / "a")
    assert a[1] == 2
    a.close()


class Subclass(EMArray):
    def __getitem__(self, key):
        return super().__getitem__(key)


def test_subclasses_and_stores(tmp_path):
    with Subclass(tmp_path / "a", "i4") as a:
        a.extend([1, 2])
        assert a[1] == 2 and a[:].tolist() == [1, 2]
    with Store(tmp_path / "s") as store:
        with store.transaction():
            store.array("a", "i4").extend(range(10))
            store.list("l").append(1)
        assert store["a"].sum if False else int(np.sum(store["a"])) == 45
        assert "array" in store._repr_html_()
        with store.snapshot() as old:
            store["a"].clear()
            assert len(old["a"]) == 10
        del store["a"]
        assert list(store) == ["l"]


def test_a_repair_keeps_places(tmp_path):
    with EMArray(tmp_path / "a", "i8") as a:
        a.extend(range(1, 200_001))
        a.checkpoint()
    data = bytearray((tmp_path / "a" / "data").read_bytes())
    place = data.find(np.arange(100_001, 100_011).tobytes())
    data[place] ^= 1
    (tmp_path / "a" / "data").write_bytes(data)
    with EMArray(tmp_path / "a") as a, pytest.raises(CorruptionError):
        a[...]
    report = verify(tmp_path / "a", repair=tmp_path / "repaired") if False else None
    try:
        report = verify(tmp_path / "a", repair=tmp_path / "repaired")
    except CorruptionError as error:
        report = error.report
    assert "510 items" in report.left_out[0]
    with EMArray(tmp_path / "repaired") as a:
        expected = np.arange(1, 200_001)
        lost = np.flatnonzero(a != expected)
        assert len(lost) == 510 and (a[lost] == 0).all() and 100_000 in lost


def test_a_hostile_dtype_is_no_pointer(tmp_path):
    """A stored dtype is only a text: one of Python objects would make pointers of stored bytes."""
    from pyrsistence import _array

    for text, size in (("|O", 8), ("[('a', '|O')]", 8), ("<f8", 4), ("<f9", 8), ("[" * 99, 8), ("__import__('os')", 8)):
        with pytest.raises(CorruptionError):
            _array._checked(size, text, ())


def test_numpy_is_imported_when_an_array_is_used():
    code = """
    import sys
    sys.modules["numpy"] = None
    import pyrsistence
    with pyrsistence.EMDict(None) as d:
        d[1] = 2
    try:
        pyrsistence.EMArray(None, "f8")
    except ImportError as error:
        print(error)
    """
    done = support.run_child(code)
    assert done.stdout == "EMArray needs NumPy: pip install numpy\n"


def test_a_killed_process_leaves_what_returned(tmp_path):
    code = """
    import os, sys, numpy
    from pyrsistence import EMArray
    a = EMArray(sys.argv[1], "i8")
    a.extend(range(1000))
    a[500:600] = 7
    a += 1
    a.append(5)
    os.kill(os.getpid(), 9)
    """
    done = support.run_child(code, tmp_path / "a", check=False)
    assert done.returncode == -9
    with EMArray(tmp_path / "a") as a:
        expected = np.arange(1000)
        expected[500:600] = 7
        same(a[...], np.append(expected + 1, 5))
        a.check()


@pytest.mark.parametrize("item", ["u1", "f8", [("x", "f4"), ("n", "u2")], "V3000", "V5000"], ids=str)
def test_views_show_the_file_itself(item):
    rng = np.random.default_rng(3)
    with EMArray(None, item) as a:
        expected = random_array(rng, "u1", 3_000_000 // a.itemsize * a.itemsize).view(a.dtype)
        a.extend(expected[:-7])
        assert np.concatenate([pages.reshape(-1) for pages in a.view()]).tobytes() == expected[:-7].tobytes()
        a.checkpoint()
        a.extend(expected[-7:])  # the last pages are in memory only
        n = len(a)
        for start, stop in ((0, None), (5, 6), (1, n - 1), (n // 2, None), (-9, None), (3, 3), (9, 2), (4080, 8160), (10**9, None)):
            parts = [pages.reshape(-1) for pages in a.view(start, stop)]
            assert b"".join(map(bytes, parts)) == expected[start:stop].tobytes()
        first = next(a.view())
        assert not first.flags.writeable
        if a.itemsize < 4080:
            assert first.base is not None and first.strides[0] == 4096 and first.shape[1] == 4080 // a.itemsize
            assert max(pages.shape[0] for pages in a.view()) > 50


def test_a_view_keeps_its_state(tmp_path):
    with EMArray(tmp_path / "a", "i8") as a:
        a.extend(range(100_000))
        a.checkpoint()
        view = a.view()
        pages = next(view)
        copy = pages.copy()
        a.fill(7)
        a.checkpoint()
        a.clear()
        a.extend(range(5, 500_000))
        a.checkpoint()
        a.compact()
        assert np.array_equal(pages, copy)
        rest = [part.copy() for part in view]
        assert sum(part.size for part in rest) + pages.size == 100_000
        if hasattr(pages, "__dlpack__"):
            assert np.array_equal(np.from_dlpack(copy), pages)
        assert memoryview(pages).readonly
    del view
    assert int(pages.sum()) == int(copy.sum())  # the store stays open for it
    del pages, rest
    with EMArray(tmp_path / "a", mode="r") as a:
        assert sum(int(part.sum()) for part in a.view()) == sum(range(5, 500_000))


def test_what_is_collected_ends_where_the_array_does_by_then():
    """What had been cut off meanwhile was memory that nobody had written."""
    with EMArray(None, "i8") as a:
        a.extend(range(100_000))

        def cut(block, first, end):
            if len(a) > 40_000:
                a.truncate(40_000)
            return block

        assert _array._collect(a, np.full(len(a), -7), cut).tolist() == list(range(40_000))


def test_a_view_within_a_transaction_ends():
    """It shows the state before it, and went on for ever where the array had become longer."""
    with EMArray(None, "i8") as a:
        a.extend(range(1000))
        with a.transaction():
            a.extend(range(500))
            assert sum(pages.size for pages in a.view()) == 1000
            assert sum(pages.size for pages in a.view(900, 2000)) == 100
        with pytest.raises(TypeError):
            a.view("0")
        assert sum(pages.size for pages in a.view()) == 1500


def test_a_view_costs_no_memory():
    with EMArray(None, "f8", memory_limit=16 << 20) as a:
        a.resize(4 << 20)
        a.checkpoint()
        tracemalloc.start()
        try:
            assert sum(pages.sum() for pages in a.view()) == 0
            assert tracemalloc.get_traced_memory()[1] < (1 << 20)
        finally:
            tracemalloc.stop()
