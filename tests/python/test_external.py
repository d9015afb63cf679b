"""External sort, merge, unique, group_by and shuffle beside Python's own, under limits that force several merges."""

import contextlib
import functools
import gc
import heapq
import itertools
import math
import operator
import os
import random
import signal
import warnings
import weakref

import pytest
import support
from hypothesis import given, settings
from hypothesis import strategies as st

import pyrsistence
from pyrsistence import EMList, StorageError, external_sort, group_by, merge, shuffle, unique

LIMITS = [1, 20_000, 300_000, 64 << 20]

numbers = st.integers(-(2**70), 2**70) | st.integers(-5, 5)
floats = st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, math.inf, -math.inf])
texts = st.text(alphabet=st.characters()) | st.text("ab\0\U0001f600é", max_size=12)
lists = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 5)),
    st.lists(numbers),
    st.lists(floats),
    st.lists(numbers | floats | st.booleans()),
    st.lists(texts),
    st.lists(st.binary(max_size=20)),
    st.lists(st.tuples(st.integers(0, 3), texts)),
    st.lists(st.lists(st.integers(0, 2), max_size=4)),
)


class Reversed:
    """Compares by `<` alone, and the other way round."""

    def __init__(self, value):
        self.value = value

    def __lt__(self, other):
        return other.value < self.value


class Trap:
    """Comparisons work until there were enough of them."""

    left = 0

    def __init__(self, value):
        self.value = value

    def __lt__(self, other):
        Trap.left -= 1
        if Trap.left < 0:
            raise LookupError("enough")
        return self.value < other.value


@pytest.fixture
def place(tmp_path):
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


@given(lists, st.booleans(), st.sampled_from(LIMITS))
def test_sorts_as_sorted_does(items, reverse, limit):
    result = list(external_sort(iter(items), reverse=reverse, memory_limit=limit))
    assert support.identical(result, sorted(items, reverse=reverse))


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers())),
    st.booleans(),
    st.sampled_from(LIMITS),
    st.sampled_from([operator.itemgetter(0), lambda i: str(i[0]), lambda i: -0.5 * i[0], lambda i: (i[0], None)[:1], Reversed, lambda i: Reversed(i[0])]),
)
def test_sorts_stably_by_a_key(items, reverse, limit, key):
    assert list(external_sort(items, key=key, reverse=reverse, memory_limit=limit)) == sorted(items, key=key, reverse=reverse)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda r: r.randrange(-(10**6), 10**6),
        lambda r: r.randrange(100),
        lambda r: r.random(),
        lambda r: str(r.randrange(10**9)),
        lambda r: "common prefix " + str(r.randrange(1000)),
        lambda r: r.randbytes(r.randrange(30)),
        lambda r: (r.randrange(30), "x"),
        lambda r: r.choice([1, 2.5, True, 2**80]),
    ],
)
def test_many_items_and_several_levels(make, reverse, place):
    with support.seeded("many items") as (rng, _):
        items = [make(rng) for _ in range(20_000)]
    for limit in (30_000, 200_000, 4 << 20):
        result = list(external_sort(items, reverse=reverse, memory_limit=limit, directory=place))
        assert support.identical(result, sorted(items, reverse=reverse))


def test_kinds_that_change_on_the_way(place):
    """Ints are sorted natively; what follows makes them objects, in memory and in files already written."""
    for count in (10, 30_000):
        items = [*range(count, 0, -1), 0.5, -1.5, True, *range(5)]
        for limit in (100_000, 64 << 20):
            assert support.identical(list(external_sort(items, memory_limit=limit, directory=place)), sorted(items))
    with pytest.raises(TypeError, match="not supported between"):
        external_sort([*range(30_000), "x"], memory_limit=100_000)


def test_nan_is_left_where_sorted_leaves_it():
    items = [3.0, math.nan, 1.0, 2.0, math.nan, 0.0]
    assert support.identical(list(external_sort(items)), sorted(items))


def test_keys_that_only_pickle_can_store_are_asked_for_again(place):
    items = [f"{i * 7919 % 3000}" for i in range(3000)]
    compare = functools.cmp_to_key(lambda a, b: len(a) - len(b) or (a > b) - (a < b))
    for limit in (200_000, 64 << 20):
        assert list(external_sort(items, key=compare, memory_limit=limit, directory=place)) == sorted(items, key=compare)


def test_a_key_is_called_once_per_item(place):
    for key_of in (lambda i: -i, lambda i: (i % 10, "x")):
        calls = []

        def key(item):
            calls.append(item)
            return key_of(item)

        items = list(range(20_000))
        assert list(external_sort(items, key=key, memory_limit=200_000, directory=place)) == sorted(items, key=key_of)
        assert calls[: len(items)] == items
        assert len(calls) == len(items)


def test_objects_are_pickled(place):
    items = [Value(i * 7 % 1000) for i in range(1000)]
    result = list(external_sort(items, memory_limit=100_000, directory=place))
    assert [v.number for v in result] == list(range(1000))


@functools.total_ordering
class Value:
    def __init__(self, number):
        self.number = number

    def __eq__(self, other):
        return self.number == other.number

    def __lt__(self, other):
        return self.number < other.number


def test_items_larger_than_the_memory(place):
    items = [bytes([i * 37 % 256]) * (100_000 if i % 3 else 5) for i in range(60)]
    assert list(external_sort(items, memory_limit=50_000, directory=place)) == sorted(items)
    assert sorted(shuffle(items, memory_limit=50_000, directory=place)) == sorted(items)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9, 0.99])
def test_comparisons_that_raise(place, share):
    def sort_all():
        return list(external_sort(range(4000), key=lambda i: Trap(i * 7919 % 4000), memory_limit=300_000, directory=place))

    Trap.left = 10**9
    assert len(sort_all()) == 4000
    Trap.left = int((10**9 - Trap.left) * share)
    with pytest.raises(LookupError, match="enough"):
        sort_all()
    assert files_in(place) == 0


def test_keys_and_iterables_that_raise(place):
    def bad_key(item):
        return 1 / (item - 2500)

    def bad_items():
        yield from range(5000)
        raise LookupError("no more")

    with pytest.raises(ZeroDivisionError):
        external_sort(range(5000), key=bad_key, memory_limit=20_000, directory=place)
    with pytest.raises(LookupError, match="no more"):
        external_sort(bad_items(), memory_limit=20_000, directory=place)
    with pytest.raises(LookupError, match="no more"):
        shuffle(bad_items(), memory_limit=20_000, directory=place)
    with pytest.raises(TypeError):
        external_sort(5)
    with pytest.raises(Exception, match="lambda|local|pickle"):
        external_sort([lambda: 0], key=id)
    assert files_in(place) == 0


def files_in(place):
    """How many files in the directory are open, with or without a name."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{name}").startswith(f"{place}/")
    return count


def test_the_file_goes_with_the_iterator(place):
    def fresh():
        return external_sort(range(50_000), memory_limit=100_000, directory=place)

    assert files_in(place) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        iterator = fresh()
        assert files_in(place) == 1
        assert operator.length_hint(iterator) == 50_000
        assert next(iterator) == 0
        assert operator.length_hint(iterator) == 49_999
        del iterator
        gc.collect()
        assert files_in(place) == 0
        with fresh() as iterator:
            next(iterator)
        assert files_in(place) == 0
        assert list(iterator) == []
        iterator.close()
        exhausted = fresh()
        assert sum(1 for _ in exhausted) == 50_000
        assert files_in(place) == 0
        with group_by(range(50_000), lambda i: i // 100, memory_limit=100_000, directory=place) as groups:
            next(groups)
            assert files_in(place) == 1
        assert files_in(place) == 0
        with shuffle(range(50_000), memory_limit=100_000, directory=place):
            assert files_in(place) == 1
        assert files_in(place) == 0


def test_cycles_are_collected():
    class Key:
        def __call__(self, item):
            return Reversed(item)

    key = Key()
    key.iterator = external_sort(range(100), key=key)
    gone = weakref.ref(key)
    next(key.iterator)
    del key
    gc.collect()
    assert gone() is None
    holder = Key()
    holder.iterator = merge((holder for _ in range(3)), key=id)
    next(holder.iterator)
    gone = weakref.ref(holder)
    del holder
    gc.collect()
    assert gone() is None


def test_nobody_asks_a_running_iterator():
    class Nosy:
        def __init__(self, number):
            self.number = number

        def __lt__(self, other):
            if iterators:
                with pytest.raises(ValueError, match="running already"):
                    next(iterators[0])
                with pytest.raises(ValueError, match="running already"):
                    iterators[0].close()
            return self.number < other.number

    iterators = []
    iterators.append(merge([Nosy(1), Nosy(3)], [Nosy(2)]))
    assert [one.number for one in iterators[0]] == [1, 2, 3]


def test_interruption(place):
    with pytest.raises(KeyboardInterrupt):
        handler = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            external_sort(itertools.count(), memory_limit=1 << 20, directory=place)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
    assert files_in(place) == 0


def test_progress():
    told = []
    assert len(list(external_sort(list(range(40_000)), progress=lambda *both: told.append(both)))) == 40_000
    assert told == [(16384, 40_000), (32768, 40_000), (40_000, 40_000)]
    told.clear()
    list(shuffle(iter(filter(None, range(10))), progress=lambda *both: told.append(both)))
    assert told == [(9, None)]
    with pytest.raises(ZeroDivisionError):
        external_sort([1], progress=lambda done, total: 1 / 0)


def test_arguments():
    for bad in (0, -1):
        with pytest.raises(ValueError, match="memory_limit"):
            external_sort([], memory_limit=bad)
    with pytest.raises(TypeError):
        external_sort([], memory_limit="much")
    for bad in (-1, 1 << 64):
        with pytest.raises(ValueError, match="seed"):
            shuffle([], seed=bad)
    with pytest.raises(StorageError):
        external_sort(range(10_000), memory_limit=1000, directory="/nonexistent")
    assert list(external_sort([])) == list(shuffle([])) == list(merge()) == list(unique([])) == list(group_by([], id)) == []


# ---- merge, unique, group_by, shuffle ----


@given(st.lists(lists), st.booleans())
def test_merges_as_heapq_does(rows, reverse):
    rows = [[n for n in row if type(n) is int] for row in rows]
    rows = [sorted(row, reverse=reverse) for row in rows]
    assert list(merge(*rows, reverse=reverse)) == list(heapq.merge(*rows, reverse=reverse))
    keyed = [sorted(((n % 5, i, k) for k, n in enumerate(row)), key=operator.itemgetter(0), reverse=reverse) for i, row in enumerate(rows)]
    first = operator.itemgetter(0)
    assert list(merge(*keyed, key=first, reverse=reverse)) == list(heapq.merge(*keyed, key=first, reverse=reverse))


def test_merging_is_lazy():
    endless = merge(itertools.count(0, 2), itertools.count(1, 2))
    assert list(itertools.islice(endless, 1000)) == list(range(1000))

    def fails():
        yield 1
        raise LookupError("later")

    iterator = merge(fails(), [0, 2])
    assert next(iterator) == 0
    assert next(iterator) == 1
    with pytest.raises(LookupError, match="later"):
        next(iterator)
    assert list(iterator) == []


@given(st.lists(st.integers(0, 5)))
def test_unique_and_groups(items):
    assert list(unique(sorted(items))) == sorted(set(items))
    assert list(unique(items, key=lambda n: n // 2)) == [next(g) for _, g in itertools.groupby(items, lambda n: n // 2)]
    pairs = [(n, i) for i, n in enumerate(items)]
    first = operator.itemgetter(0)
    expected = [(key, list(group)) for key, group in itertools.groupby(sorted(pairs, key=first), first)]
    assert [(key, list(group)) for key, group in group_by(pairs, first, memory_limit=1)] == expected
    assert [key for key, _ in group_by(pairs, first)] == sorted(set(items))


@pytest.mark.parametrize("limit", [60, 5000, 64 << 20])
def test_every_order_is_equally_likely(limit, place):
    """Chi-square over the 24 orders of four items, and over where each of 16 items comes; 99.9 %."""
    seen = dict.fromkeys(itertools.permutations(range(4)), 0)
    rounds = 4800
    for seed in range(rounds):
        seen[tuple(shuffle(range(4), seed=seed, memory_limit=limit, directory=place))] += 1
    expected = rounds / 24
    assert sum((n - expected) ** 2 / expected for n in seen.values()) < 49.7
    places = [[0] * 16 for _ in range(16)]
    for seed in range(1600):
        for at, item in enumerate(shuffle(range(16), seed=seed, memory_limit=limit, directory=place)):
            places[item][at] += 1
    for row in places:
        assert sum((n - 100) ** 2 / 100 for n in row) < 45  # 15 degrees of freedom: 37.7; the worst of 16 rows


def test_shuffles_many(place):
    for limit in (100_000, 1 << 20, 64 << 20):
        first, again, other = (list(shuffle(range(50_000), seed=seed, memory_limit=limit, directory=place)) for seed in (1, 1, 2))
        assert first == again != other
        assert sorted(first) == list(range(50_000)) != first
        # Neighbours are not neighbours any more, as often as chance has it.
        assert sum(abs(a - b) == 1 for a, b in itertools.pairwise(first)) < 20
    assert list(shuffle(range(100))) != list(shuffle(range(100)))


# ---- EMList.sort ----


@pytest.fixture(params=LIMITS)
def limit(request):
    return request.param


@settings(deadline=None)
@given(lists, st.booleans(), st.sampled_from(LIMITS))
def test_a_list_is_sorted_as_list_does(items, reverse, limit):
    with EMList(None) as stored:
        stored.extend(items)
        stored.sort(reverse=reverse, memory_limit=limit)
        assert support.identical(stored[:], sorted(items, reverse=reverse))


def test_a_long_list(store):
    rng = random.Random(5)
    items = [(rng.randrange(500), i, "x" * (3000 if i % 500 == 0 else i % 40)) for i in range(20_000)]
    first = operator.itemgetter(0)
    for key in (first, lambda item: (item[0],), lambda item: Reversed(item[0])):
        for reverse in (False, True):
            with EMList(store, mode="w") as stored:
                stored.extend(items)
                stored.sort(key=key, reverse=reverse, memory_limit=300_000)
                assert stored[:] == sorted(items, key=key, reverse=reverse)
                stored.verify()
            with EMList(store) as stored:
                assert stored[:] == sorted(items, key=key, reverse=reverse)
    assert sorted(os.listdir(store)) == ["data", "lock", "log"]


def test_a_list_that_is_changed_meanwhile(limit):
    with EMList(None) as stored:
        stored.extend(range(5000))

        def key(item):
            if item == 2500:
                stored.append(-1)
            return item

        with pytest.raises(ValueError, match="list modified during sort"):
            stored.sort(key=key, reverse=True, memory_limit=limit if limit > 1 else 5000)
        assert stored[:] == [*range(5000), -1]
        stored.pop()

        def other_store(item):
            if item == 2500:
                stored[7] = 7  # the same as before
            return -item

        stored.sort(key=other_store, memory_limit=100_000)
        assert stored[:] == [*range(4999, -1, -1)]


def test_a_sort_that_fails_changes_nothing(store):
    with EMList(store) as stored:
        stored.extend(range(20_000))
        with pytest.raises(ZeroDivisionError):
            stored.sort(key=lambda i: 1 / (i - 9999), memory_limit=100_000)
        Trap.left = 15_000
        with pytest.raises(LookupError, match="enough"):
            stored.sort(key=Trap, memory_limit=1 << 20)

        def stop(done, total):
            assert total == 40_000
            if done > 20_000:
                raise InterruptedError(done)

        with pytest.raises(InterruptedError):
            stored.sort(key=lambda i: (-i,), memory_limit=1 << 20, progress=stop)
        assert stored[:] == list(range(20_000))
        told = []
        stored.sort(reverse=True, memory_limit=1 << 20, progress=lambda *both: told.append(both))
        assert told[-1] == (40_000, 40_000)
        assert told == sorted(told)
        assert stored[:] == list(range(19_999, -1, -1))
        assert files_in(store) == 3


def test_in_a_transaction(store):
    items = list(range(30_000, 0, -1))
    with pyrsistence.Store(store) as whole:
        stored = whole.list("numbers")
        stored.extend(items)
        with pytest.raises(LookupError), whole.transaction():
            stored.sort(memory_limit=200_000)
            assert stored[0] == 1
            raise LookupError
        assert stored[:] == items
        with whole.transaction():
            stored.sort(memory_limit=200_000)
        assert stored[:] == sorted(items)
        whole.verify()


def test_read_only_lists_are_refused_at_once(store):
    with EMList(store) as stored:
        stored.extend([2, 1])
    with EMList(store, mode="r") as stored, pytest.raises(pyrsistence.ReadOnlyError):
        stored.sort(key=lambda item: 1 / 0)


KILLED = """
    import os, sys, threading, time
    from pyrsistence import EMList
    stored = EMList(sys.argv[1])
    threading.Timer(float(sys.argv[2]), os._exit, [9]).start()
    for turn in range(1000):
        stored.sort(key=lambda i: (i if turn % 2 else -i,), memory_limit=1 << 20)
"""


def test_killed_in_the_middle(store):
    count = 30_000
    with EMList(store) as stored:
        stored.extend(range(count))
    for attempt in range(6):
        done = support.run_child(KILLED, store, 0.15 + attempt * 0.11, check=False, timeout=120)
        assert done.returncode == 9, done.stderr
        with EMList(store) as stored:
            found = stored[:]
            assert found in (list(range(count)), list(range(count - 1, -1, -1)))
            stored.verify()
        assert sorted(os.listdir(store)) == ["data", "lock", "log"]


FULL = """
    import resource, sys
    import pyrsistence
    with pyrsistence.EMList(sys.argv[1]) as stored:
        stored.extend(range(200_000))
        stored.checkpoint()
        room = stored.info.data_bytes
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
    for items in (pyrsistence.external_sort, pyrsistence.shuffle):
        try:
            items(range(300_000), memory_limit=1 << 20, directory=sys.argv[2])
            raise AssertionError("no error")
        except pyrsistence.StorageError as error:
            assert error.errno == 27, error
    with pyrsistence.EMList(sys.argv[1]) as stored:
        try:
            stored.sort(reverse=True, memory_limit=1 << 20)
            raise AssertionError("no error")
        except pyrsistence.StorageError as error:
            assert error.errno == 27, error
        assert stored[:] == list(range(200_000))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        stored.sort(reverse=True, memory_limit=1 << 20)
        assert stored[:] == list(range(199_999, -1, -1))
        stored.verify()
"""


def test_a_disk_without_room(store, tmp_path):
    """A limit for the size of files stands for it."""
    support.run_child(FULL, store, tmp_path, timeout=120)


MEMORY = """
    import re, sys
    import pyrsistence

    def anonymous():
        with open("/proc/self/status") as status:
            return int(re.search(r"RssAnon:\\s*(\\d+) kB", status.read())[1]) << 10

    kind, count, limit, place = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) << 20, sys.argv[4]
    most = 0

    def items():
        global most
        state = 1
        for i in range(count):
            state = state * 6364136223846793005 + 1442695040888963407 & 0xFFFF_FFFF_FFFF_FFFF
            number = state >> 24
            yield number if kind == "int" else str(number) if kind == "str" else (number, "text of some length")
            if i % 1000 == 0:
                most = max(most, anonymous())

    list(pyrsistence.external_sort(range(1000)))
    before = anonymous()
    function = pyrsistence.shuffle if kind == "shuffle" else pyrsistence.external_sort
    for i, item in enumerate(function(items(), memory_limit=limit, directory=place)):
        if i % 1000 == 0:
            most = max(most, anonymous())
    assert i == count - 1
    print(most - before)
"""


@pytest.mark.parametrize("kind, count", [("int", 3_000_000), ("str", 1_500_000), ("tuple", 500_000), ("shuffle", 1_000_000)])
def test_memory_stays_below_the_limit(kind, count, tmp_path):
    count = max(200_000, support.scaled(count))
    growth = int(support.run_child(MEMORY, kind, count, 24, tmp_path, timeout=600).stdout)
    print(f"{kind}: {count} items, {growth >> 20} MiB of private memory")
    assert growth < (24 << 20) + (2 << 20)
