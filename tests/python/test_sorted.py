"""What EMSortedDict, EMSortedSet and EMPriorityQueue promise beyond what the state machines compare."""

import datetime
import decimal
import enum
import fractions
import functools
import itertools
import math
import pickle
import queue
import random
import uuid

import numpy
import pytest
import sortedcontainers
from hypothesis import given, settings
from hypothesis import strategies as st
from pyrsistence import (
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
    ExistsError,
    FormatError,
    OrderError,
    PickleRefusedError,
    ReadOnlyError,
    Store,
)

UTC = datetime.timezone.utc
NUMBERS = st.one_of(
    st.integers(),
    st.integers(-10, 10),
    st.floats(allow_nan=False),
    st.fractions(),
    st.decimals(allow_nan=False, allow_infinity=True, places=5),
    st.booleans(),
    st.builds(lambda n, e: n * 2**e, st.integers(-5, 5), st.integers(0, 200)),
    st.builds(lambda n, d: fractions.Fraction(n, d), st.integers(-(2**80), 2**80), st.integers(1, 2**60)),
)
TEXT = st.text(st.characters(), max_size=6)
KINDS = {
    "numbers": NUMBERS,
    "numbers of NumPy": st.one_of(
        st.integers(-128, 127).map(numpy.int64),
        st.floats(width=32, allow_nan=False).map(numpy.float32),
        st.floats(allow_nan=False).map(numpy.float64),
    ),
    "text": TEXT,
    "bytes": st.binary(max_size=6),
    "dates": st.dates(),
    "moments": st.datetimes(),
    "moments in time zones": st.datetimes(timezones=st.sampled_from([UTC, datetime.timezone(datetime.timedelta(hours=3))])),
    "times": st.times(),
    "spans": st.timedeltas(datetime.timedelta(-100_000_000), datetime.timedelta(100_000_000)),
    "uuids": st.uuids(),
    "tuples": st.tuples(TEXT, NUMBERS, st.binary(max_size=3)),
    "tuples of any length": st.lists(st.integers(-3, 3), max_size=4).map(tuple),
    "tuples in tuples": st.tuples(st.tuples(TEXT, TEXT), TEXT),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_is_that_of_python(kind):
    with EMSortedSet(None) as found:

        @settings(max_examples=200, deadline=None, database=None)
        @given(st.lists(KINDS[kind], max_size=30))
        def compare(keys):
            found.clear()
            found.update(keys)
            expected = sorted(dict.fromkeys(keys))
            assert list(found) == expected
            assert [type(key) for key in found] == [type(key) for key in expected]
            found.check()

        compare()


def test_big_numbers_keep_their_order():
    keys = [10**n * sign + d for n in range(0, 900, 50) for sign in (1, -1) for d in (-1, 0, 1)]
    keys += [fractions.Fraction(10**n, 3) for n in range(0, 200, 20)] + [math.inf, -math.inf, 5e-324, -5e-324]
    with EMSortedSet(None) as found:
        random.Random(1).shuffle(keys)
        found.update(keys)
        assert list(found) == sorted(set(keys))
        found.check()


@pytest.mark.parametrize("cls", [EMSortedDict, EMSortedSet, EMPriorityQueue])
def test_what_cannot_be_compared_is_refused(cls, tmp_path):
    def add(container, key):
        if cls is EMSortedDict:
            container[key] = 1
        else:
            getattr(container, "add" if cls is EMSortedSet else "push")(key)

    with cls(tmp_path / "one") as container:
        add(container, 1)
        for key in ("a", b"a", None, (1,), datetime.date(2020, 1, 1), uuid.UUID(int=1)):
            kind = type(key).__name__ if key is not None else None
            with pytest.raises(TypeError, match=rf"cannot be compared \('{kind}' with 'number'\).*; convert it, or"):
                add(container, key)
        for key in (1j, frozenset(), len, datetime.timedelta.max, float("nan"), (1, float("nan")), 10**3000):
            with pytest.raises(OrderError):
                add(container, key)
        for key in ([], {}, ([],), object()):
            with pytest.raises(TypeError):
                add(container, key)
        assert len(container) == 1
        container.check()
    with cls(tmp_path / "two") as container:
        add(container, (1, "a"))
        with pytest.raises(OrderError, match=r"cannot be compared \('number' with 'str'\)"):
            add(container, (1, 2))
        add(container, (2, 2))
        with pytest.raises(OrderError, match="at most 1000 bytes"):
            add(container, ("x" * 1000,))


class Backwards(int):
    def __lt__(self, other):
        return int(self) > int(other)


class Level(enum.IntEnum):
    low = 1
    high = 2


class BackwardFloat(numpy.float64):
    def __lt__(self, other):
        return float(self) > float(other)


def test_a_float64_is_a_key():
    """It was refused as a class with an order of its own, as no other number of NumPy is."""
    with EMSortedDict(None) as d:
        d.update({numpy.float64(2.5): "b", 2: "a"})
        assert list(d) == [2, 2.5] and type(d.peekitem(-1)[0]) is numpy.float64
        assert d[2.5] == "b" and numpy.float64(2) in d
        with pytest.raises(TypeError, match="the order of 'BackwardFloat' is its own"):
            d[BackwardFloat(1)] = 0


def test_a_class_with_an_order_of_its_own_is_refused():
    with EMSortedSet(None) as found:
        with pytest.raises(TypeError, match="Backwards"):
            found.add(Backwards(1))
        found.update([Level.high, Level.low, 1.5])
        assert list(found) == [1, 1.5, 2] and found[-1] is Level.high


def test_a_lookup_of_what_cannot_be_there_is_no_error():
    with EMSortedDict(None) as d, EMSortedSet(None) as s:
        d[1] = "one"
        s.add(1)
        for key in ("a", 1j, float("nan"), (1, "a"), "x" * 5000):
            assert key not in d and key not in s and d.get(key) is None and d.pop(key, 7) == 7
            s.discard(key)
            with pytest.raises(KeyError):
                d[key]
            with pytest.raises(KeyError):
                del d[key]
        with pytest.raises(TypeError):
            [] in d
        with pytest.raises(OrderError):
            d.bisect_left("a")
        with pytest.raises(OrderError):
            list(s.irange("a"))


def test_the_key_first_inserted_stays():
    with EMSortedDict(None) as d:
        d[1.0] = "a"
        d[1] = "b"
        d[decimal.Decimal("0.1")] = "c"
        d[fractions.Fraction(1, 10)] = "d"
        d[True] = "e"
        assert [(key, type(key), value) for key, value in d.items()] == [
            (decimal.Decimal("0.1"), decimal.Decimal, "d"),
            (1.0, float, "e"),
        ]
        d.check()


def test_ranges_are_those_of_sortedcontainers():
    chooser = random.Random(5)
    with EMSortedDict(None) as ours:
        theirs = sortedcontainers.SortedDict()
        for n in range(3000):
            key = chooser.randrange(10_000) / 4
            ours[key] = theirs[key] = n
        for _ in range(300):
            low, high = (chooser.choice([None, chooser.randrange(10_000) / 4]) for _ in range(2))
            flags = chooser.random() < 0.5, chooser.random() < 0.5
            reverse = chooser.random() < 0.5
            assert list(ours.irange(low, high, flags, reverse)) == list(theirs.irange(low, high, flags, reverse))
            i, j = (chooser.choice([None, chooser.randrange(-4000, 4000)]) for _ in range(2))
            assert list(ours.islice(i, j, reverse)) == list(theirs.islice(i, j, reverse))
            key = chooser.choice(theirs.keys())
            assert ours.index(key) == theirs.index(key)
            assert ours.keys()[i:j:3] == list(theirs.keys()[i:j:3])
        ours.check()


def test_deleting_ranges_is_atomic():
    with EMSortedDict(None) as d:
        d.update((n, n) for n in range(1000))
        assert d.delete_range(100, 200) == 101
        assert d.delete_range(50, 10) == 0 and d.delete_range(minimum=990, inclusive=(False, True)) == 9
        with pytest.raises(ValueError), d.transaction():
            d.delete_range()
            raise ValueError
        assert list(d) == [*range(100), *range(201, 991)]
        d.check()


@pytest.mark.parametrize("reverse", [False, True])
def test_iterating_while_others_go(reverse):
    """What is deleted ahead is not visited; what is there stays in order, each once."""
    chooser = random.Random(7)
    with EMSortedSet(None) as s:
        s.update(range(2000))
        alive, visited = set(s), []
        for member in s.irange(200, 1800, reverse=reverse):
            visited.append(member)
            assert member in alive
            for gone in chooser.sample(range(2000), 3):
                s.discard(gone)
                alive.discard(gone)
        assert visited == sorted(visited, reverse=reverse) and len(set(visited)) == len(visited)
        assert alive & set(range(200, 1801)) <= set(visited) and min(visited) >= 200 and max(visited) <= 1800


@pytest.mark.parametrize("reverse", [False, True])
def test_a_range_keeps_its_ends_before_its_first_key_is_asked_for(reverse):
    with EMSortedSet(None) as s:
        s.update(range(100))
        ranges = [s.irange(10, 20, reverse=reverse), s.irange(90, None, reverse=reverse), s.irange(None, 5, reverse=reverse)]
        nothing = s.irange(200, 300, reverse=reverse)
        for gone in (0, 1, 10, 15, 20, 21, 95, 99):
            s.remove(gone)
        expected = [[11, 12, 13, 14, 16, 17, 18, 19], [90, 91, 92, 93, 94, 96, 97, 98], [2, 3, 4, 5]]
        assert [sorted(members) for members in ranges] == expected
        assert list(nothing) == []


def test_a_new_key_ends_an_iteration():
    with EMSortedDict(None) as d, EMPriorityQueue(None) as q:
        d.update({1: 1, 2: 2})
        with pytest.raises(RuntimeError, match="changed size"):
            for key in d:
                d[key + 10] = 0
        q.update([1, 2])
        with pytest.raises(RuntimeError, match="changed size"):
            for _ in q:
                q.pop()


def test_views_know_places():
    with EMSortedDict(None) as d:
        d.update(zip("cab", (3, 1, 2)))
        assert d.keys()[0] == "a" and d.values()[-1] == 3 and d.items()[1] == ("b", 2)
        assert d.keys()[::-1] == ["c", "b", "a"] and d.values()[1:] == [2, 3] and d.keys().index("c") == 2
        assert d.keys() & {"a", "z"} == {"a"} and list(reversed(d.values())) == [3, 2, 1]
        with pytest.raises(IndexError):
            d.keys()[3]
        with pytest.raises(IndexError):
            d.popitem(5)
        with pytest.raises(ValueError):
            d.index("z")


def test_set_algebra_stays_sorted():
    with EMSortedSet(None) as s:
        s.update([3, 1, 2])
        with s | {0, 5} as union, s - {1} as rest:
            assert type(union) is EMSortedSet and list(union) == [0, 1, 2, 3, 5] and list(rest) == [2, 3]
        assert s == {1, 2, 3} and s < {1, 2, 3, 4} and s >= {1}


def test_large_values_and_reopening(tmp_path):
    with EMSortedDict(tmp_path / "store") as d:
        for n in range(300):
            d[f"key {n % 100:03}"] = "v" * (n * 400)
    with EMSortedDict(tmp_path / "store", mode="r") as d:
        assert list(d) == [f"key {n:03}" for n in range(100)]
        assert all(len(d[f"key {n:03}"]) == (n + 200) * 400 for n in range(100))
        d.check()
        assert d.verify().fault_count == 0
        with pytest.raises(ReadOnlyError):
            d["x"] = 1
    with pytest.raises(FormatError, match="sorted dict"):
        EMSortedSet(tmp_path / "store")
    with pytest.raises(FormatError, match="sorted dict"):
        EMDict(tmp_path / "store")


class Shift:
    def pickle(self, value):
        return bytes(b ^ 7 for b in pickle.dumps(value))

    def unpickle(self, data):
        return pickle.loads(bytes(b ^ 7 for b in data))


def test_picklers_keep_the_order(tmp_path):
    with EMSortedDict(tmp_path / "store", Shift(), Shift()) as d:
        d.update({n: [n] for n in (3, 1, 2)})
        assert list(d.items()) == [(1, [1]), (2, [2]), (3, [3])] and list(d.irange(2)) == [2, 3]
        d.check()
    with EMSortedDict(tmp_path / "store", unpickler=Shift(), mode="r") as d:
        assert d[2] == [2] and d.peekitem(0) == (1, [1])


def test_without_pickle_only_plain_keys(tmp_path):
    with EMSortedDict(tmp_path / "store", allow_pickle=False) as d:
        d[1] = 1
        with pytest.raises(PickleRefusedError):
            d[2] = object()
        with pytest.raises(PickleRefusedError):
            d[decimal.Decimal(3)] = 1
        d[fractions.Fraction(1, 3)] = 1
        assert list(d) == [fractions.Fraction(1, 3), 1]


def test_a_store_holds_them_together(tmp_path):
    with Store(tmp_path / "store") as store:
        symbols, seen, tasks = store.sorted_dict("symbols"), store.sorted_set("seen"), store.priority_queue("tasks")
        with store.transaction():
            symbols[0x401000] = "main"
            seen.add(3)
            tasks.push("sync", 2)
        with pytest.raises(ZeroDivisionError), store.transaction():
            symbols.clear()
            tasks.pop()
            1 / 0
        with store.snapshot() as before:
            symbols[0x400000] = "_start"
            assert list(before["symbols"]) == [0x401000] and list(before["tasks"].items()) == [(2, "sync")]
        assert dict(store._containers()) == {"symbols": "sorted dict", "seen": "sorted set", "tasks": "priority queue"}
        handle = pickle.loads(pickle.dumps(symbols))
        assert list(handle) == [0x400000, 0x401000]
        handle.close()
        assert "sorted dict" in store._repr_html_()


def test_a_queue_is_that_of_queue_and_heapq():
    with EMPriorityQueue(None) as q:
        with pytest.raises(IndexError):
            q.pop()
        with pytest.raises(IndexError):
            q.peek()
        with pytest.raises(IndexError):
            q.replace(1)
        with pytest.raises(queue.Empty):
            q.get_nowait()
        assert q.empty() and q.pushpop(7) == 7 and q.empty()
        for task in [(2, "b"), (1, "z"), (1, "a")]:
            q.put(task)
        assert q.get() == (1, "a") and q.qsize() == 2 and q.pushpop((0, "")) == (0, "") and q.replace((3, "")) == (1, "z")
        assert list(q) == [(2, "b"), (3, "")]
        q.clear()
        q.push({"any": ["value"]}, 1.5)
        q.push(None, 1.5)
        q.push(1.5)
        assert list(q.items()) == [(1.5, {"any": ["value"]}), (1.5, None), (1.5, 1.5)]
        assert q.popitem() == (1.5, {"any": ["value"]}) and q.pop() is None and q.peekitem() == (1.5, 1.5)
        with q.copy() as other:
            assert list(other.items()) == [(1.5, 1.5)]
        q.check()


def test_equal_priorities_are_first_in_first_out():
    chooser = random.Random(11)
    with EMPriorityQueue(None) as q:
        counter, expected = itertools.count(), []
        for _ in range(5000):
            if chooser.random() < 0.6 or not expected:
                entry = chooser.choice([0, 1.0, True, 2, fractions.Fraction(1, 2)]), next(counter)
                q.push(entry[1], entry[0])
                expected.append(entry)
                expected.sort(key=lambda pair: pair[0])
            else:
                assert q.popitem() == expected.pop(0)
        assert list(q.items()) == expected
        q.check()


def test_subclasses_and_copies():
    class Symbols(EMSortedDict):
        pass

    with Symbols(None) as d:
        d.update(b=2, a=1)
        with d.copy() as other, EMSortedDict.fromkeys("ba", 0) as zeros, d | {"c": 3} as more:
            assert type(other) is EMSortedDict and dict(other) == {"a": 1, "b": 2}
            assert list(zeros.items()) == [("a", 0), ("b", 0)] and list(more) == ["a", "b", "c"]
        assert d == {"b": 2, "a": 1} and d != {} and repr(d).endswith("{'a': 1, 'b': 2})")
        with d.edit("c", default=[]) as value:
            value.append(1)
        assert d["c"] == [1]


# ------------------------------------------------------------------------------------------- the multi-dict


def test_many_values_under_one_key_cost_no_more(tmp_path):
    """What an append writes does not depend on the values that are there."""
    with EMMultiDict(tmp_path / "store") as d:
        d.extend("hub", range(20_000))
        before = d.info.log_bytes
        d.extend("hub", range(100))
        assert d.info.log_bytes - before < 100 * 80
        assert d.count("hub") == 20_100 and d.getall("hub") == [*range(20_000), *range(100)]
        d.add("a", 1)
        d.add("z", 2)
        assert list(d) == ["a", "hub", "z"] and list(reversed(d)) == ["z", "hub", "a"]
        assert [key for key, _ in d.groups()] == ["a", "hub", "z"] and list(d.irange("b")) == ["hub", "z"]
        d.check()
    with EMMultiDict(tmp_path / "store", mode="r") as d:
        assert len(d) == 20_102 and d["z"] == [2]


def test_keys_while_they_change():
    with EMMultiDict(None) as d:
        d.update((key, n) for key in range(50) for n in range(40))
        seen = []
        for key in d:
            seen.append(key)
            d.popall(key)
            d.popall(key + 2)
        assert seen == [key for key in range(50) if key % 4 in (0, 1)]
        d.update([(1, 1), (1, 2)])
        with pytest.raises(RuntimeError, match="changed size"):
            for key, value in d.items():
                d.discard(key, value)


def test_a_multi_dict_says_what_is_not_there():
    with EMMultiDict(None) as d:
        d.add(1, "one")
        for key in (2, "a", 1j, float("nan")):
            assert key not in d and d.getall(key) == [] and d.count(key) == 0 and d.get(key) is None
            assert d.popall(key) == [] and not d.discard(key, 1)
            with pytest.raises(KeyError):
                d[key]
            with pytest.raises(KeyError):
                del d[key]
        with pytest.raises(KeyError):
            d.remove(1, "two")
        with pytest.raises(OrderError):
            d.add("a", 1)
        with pytest.raises(TypeError):
            d[1] = 5
        assert d[1] == ["one"] and d != {} and repr(d).endswith("{1: 'one'})")
        with d.copy() as other:
            assert other == d
            other.add(1, "two")
            assert other != d
        d[1] = ["a", "b"]
        assert dict(d.groups()) == {1: ["a", "b"]}
        with Store(None) as store:
            callers = store.multi_dict("callers")
            callers.extend("main", [1, 2])
            assert store["callers"]["main"] == [1, 2]


class Holder:
    pass


def test_a_container_is_no_value():
    with EMDict(None) as d, EMList(None) as items:
        holder = Holder()
        holder.items = items
        for value in (items, [items], {"a": (items,)}, holder, d):
            with pytest.raises(TypeError, match="a value cannot hold an EM"):
                d["x"] = value
            with pytest.raises(TypeError, match="a value cannot hold an EM"):
                items.append(value)
        assert len(d) == len(items) == 0
        assert pickle.loads(pickle.dumps(items)).closed is False


@pytest.mark.parametrize(
    "cls",
    [EMDict, EMSet, EMList, EMDeque, EMCounter, EMDefaultDict, EMSortedDict, EMSortedSet, EMPriorityQueue, EMMultiDict],
)
def test_copies_at_a_path_stay(cls, tmp_path):
    make = functools.partial(EMDefaultDict, int) if cls is EMDefaultDict else cls
    with make(None) as source:
        if cls in (EMDict, EMDefaultDict, EMSortedDict, EMMultiDict):
            source.update([(1, "a"), (2, "b")])
        elif cls in (EMDeque, EMList):
            source.extend([2, 1])
        else:
            source.update([2, 1])
        with source.copy(tmp_path / "copy") as copied:
            assert type(copied) is cls and getattr(copied, "default_factory", int) is int
        with pytest.raises(ExistsError):
            source.copy(tmp_path / "copy")
        with make(tmp_path / "copy", mode="r") as copied:
            assert list(copied) == list(source) and len(copied) == 2
            if cls is EMCounter:
                assert copied == source and copied[2] == 1


def test_what_a_container_takes(tmp_path):
    with Store(tmp_path / "store") as store:
        numbers, symbols, large = store.dict("numbers"), store.sorted_dict("symbols"), store.list("large")
        assert numbers.usage() == (0, 4096, 0, 0.0)
        numbers.update((n, n) for n in range(50_000))
        symbols.update((n, n) for n in range(50_000))
        large.extend([b"x" * 20_000] * 100)
        store.checkpoint()
        for container, entries in ((numbers, 50_000), (symbols, 50_000), (large, 100)):
            usage = container.usage()
            assert usage.entries == entries and 0 < usage.fill <= 1
        assert numbers.usage().depth == symbols.usage().depth == 2 and symbols.usage().fill > 0.95
        taken = sum(container.usage().bytes for container in store.values())
        assert 0.97 < taken / (store.info.live_pages * 4096) <= 1
        assert large.usage().bytes > 100 * 20_000
