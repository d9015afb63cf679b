"""Threads that share handles: all that the Python interface offers at once, with threads that switch all the time.

The GIL is no protection by itself: an operation gives it up when it waits for a checkpoint or for another thread's
transaction, and user code runs while values are encoded and decoded.
"""

import faulthandler
import pickle
import random
import shutil
import sys
import threading
import time

import pytest
from support import scaled, seeded

import pyrsistence
from pyrsistence import EMDict, EMList, EMMultiDict, Store

ACCOUNTS, EACH, BLOCK = 50, 100, 20


@pytest.fixture(autouse=True)
def watchdog():
    """Threads that wait for each other end the run with their tracebacks; they switch as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    faulthandler.dump_traceback_later(300, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    sys.setswitchinterval(interval)


def in_threads(count, work):
    """Calls work(number) in that many threads; raises what the first of them raised."""
    errors = []

    def run(number):
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class Restless:
    """A value that runs code when it is decoded and when it dies: it lets others in, and uses the store itself."""

    watched = None

    def __init__(self, number):
        self.number = number

    def __eq__(self, other):
        return isinstance(other, Restless) and self.number == other.number

    def __setstate__(self, state):
        self.number = state["number"]
        self.use()

    def __del__(self):
        self.use()

    @staticmethod
    def use():
        time.sleep(0)
        watched = Restless.watched
        if watched is not None and not watched.closed:
            len(watched)
            watched.get("nothing")


class Slow:
    """Pickles and unpickles, and lets other threads run meanwhile."""

    def pickle(self, value):
        time.sleep(0)
        return pickle.dumps(value)

    def unpickle(self, data):
        time.sleep(0)
        return pickle.loads(data)


class Actor:
    """One thread, which knows exactly what belongs to it."""

    def __init__(self, store, number, scratch, seed):
        self.store, self.number, self.scratch = store, number, scratch
        self.random = random.Random(seed + number)
        self.texts, self.money, self.balances, self.blocks = (
            store.dict("texts"), store.dict("money"), store.list("balances"), store.list("blocks")
        )  # fmt: skip
        self.tags = store.multi_dict("tags")  # keys that all threads share
        self.own, self.items, self.values, self.depth = {}, [], {}, 0
        self.list = store.list(f"list {number}")

    def run(self, deeds):
        names = [name for name, weight in self.DEEDS for _ in range(weight)]
        for _ in range(deeds):
            getattr(self, self.random.choice(names))()
        self.look_at(self.store)

    # --- what may happen in a transaction, too

    def change_texts(self):
        for _ in range(self.random.randrange(10)):
            key = (self.number, self.random.randrange(40))
            dice = self.random.random()
            if dice < 0.4:
                value = self.random.choice([Restless(self.random.random()), "x" * self.random.randrange(3000), [1, 2.5]])
                self.own[key] = self.texts[key] = value
            elif dice < 0.5:
                assert self.texts.setdefault(key, 7) == self.own.setdefault(key, 7)
            elif dice < 0.7:
                assert self.texts.pop(key, None) == self.own.pop(key, None)
            else:
                assert self.texts.get(key) == self.own.get(key)
                assert (key in self.texts) == (key in self.own)

    def change_list(self):
        items, stored = self.items, self.list
        for _ in range(self.random.randrange(10)):
            dice, number = self.random.random(), self.random.randrange(1000)
            first = self.random.randrange(len(items) + 1)
            if dice < 0.3:
                items.append(number), stored.append(number)
            elif dice < 0.5:
                items.insert(-first, number), stored.insert(-first, number)
            elif dice < 0.6:
                items[-first:] = stored[-first:] = [number] * self.random.randrange(100)
            elif dice < 0.7:
                del items[first::3], stored[first::3]
            elif dice < 0.8 and items:
                assert items.pop() == stored.pop()
            elif dice < 0.85:
                items.sort(), stored.sort()
            elif dice < 0.9:
                items.reverse(), stored.reverse()
            elif items:
                assert items[-1] == stored[-1]
                assert items[first:] == stored[first:]
        if len(items) > 500:
            items.clear(), stored.clear()

    def change_tags(self):
        for _ in range(self.random.randrange(10)):
            key, dice = self.random.randrange(8), self.random.random()
            mine = self.values.setdefault(key, [])
            if dice < 0.4 and len(mine) < 50:
                mine.append((self.number, self.random.random()))
                self.tags.add(key, mine[-1])
            elif dice < 0.6 and mine:
                assert self.tags.discard(key, mine.pop(self.random.randrange(len(mine))))
            elif dice < 0.7:
                assert not self.tags.discard(key, (self.number, 2))
            else:
                assert [value for value in self.tags.getall(key) if value[0] == self.number] == mine
                assert self.tags.count(key) >= len(mine)

    def change_blocks(self):
        """All items of a block are equal, and each change is atomic."""
        count, number = len(self.blocks) // BLOCK, self.random.randrange(10**6)
        at = self.random.randrange(count) * BLOCK
        dice = self.random.random()
        if count < 5 or (dice < 0.1 and count < 30):
            self.blocks[len(self.blocks) :] = [number] * BLOCK
        elif dice < 0.3:
            self.blocks[at : at + BLOCK] = [number] * BLOCK
        elif dice < 0.4:
            self.blocks[-BLOCK:] = [number] * BLOCK
        elif dice < 0.5:
            del self.blocks[-BLOCK:]
        elif dice < 0.6:
            self.blocks.reverse()

    def transact(self):
        before = dict(self.own), list(self.items), {key: list(values) for key, values in self.values.items()}

        class Undo(Exception):
            pass

        self.depth += 1
        try:
            with self.store.transaction(durable=self.random.random() < 0.05):
                for _ in range(self.random.randrange(5)):
                    deed = self.random.choice(["transfer", "transfer", "change_texts", "change_list", "change_tags", "change_blocks",
                                               "refused", "transact" if self.depth < 3 else "transfer"])  # fmt: skip
                    getattr(self, deed)()
                if self.random.random() < 0.3:
                    raise Undo
        except Undo:
            self.own, self.items, self.values = before
        finally:
            self.depth -= 1

    def transfer(self):
        amount, account = self.random.randrange(50), self.random.randrange(ACCOUNTS)
        self.money[account] -= amount
        self.balances[account] += amount

    def refused(self):
        with pytest.raises(pyrsistence.Error):
            self.store.checkpoint()

    # --- what may not

    def look_at(self, store, whole=False):
        texts = store["texts"]
        if whole:  # a state that does not change
            expect_whole(store)
            assert {key: value for key, value in texts.items() if key[0] == self.number} == self.own
        keys = [(self.number, key) for key in range(40)]
        assert {key: texts[key] for key in keys if key in texts} == self.own
        assert list(store[f"list {self.number}"]) == self.items
        for key, mine in self.values.items():
            assert [value for value in store["tags"].getall(key) if value[0] == self.number] == mine

    def iterate(self):
        """Others may add keys meanwhile, which ends an iteration."""
        try:
            seen = [key for key in self.texts if key[0] == self.number]
        except RuntimeError as error:
            assert "changed size" in str(error)
        else:
            assert sorted(seen) == sorted(self.own)

    def snapshot(self):
        with self.store.snapshot() as state:
            self.look_at(state, whole=True)
            self.change_texts()
            expect_whole(state)

    def keep_snapshot(self):
        name = f"of {self.number}"
        self.store.snapshots.create(name)
        with Store(self.store.path, at=name) as state:
            self.look_at(state, whole=True)
            del self.store.snapshots[name]
            self.look_at(state, whole=True)

    def back_up(self):
        to = self.scratch / f"backup {self.number}"
        self.store.backup(to, progress=lambda done, total: len(self.texts))
        with Store(to) as copy:
            self.look_at(copy, whole=True)
            copy.check()
        shutil.rmtree(to)

    def open_and_close(self):
        with Store(self.store.path) as mine:
            self.look_at(mine)
            self.look_at(mine.get("nothing", mine))
        with pytest.raises(pyrsistence.ClosedError):
            mine.sync()

    def maintain(self):
        store = self.store
        deed = self.random.choice([store.sync, store.checkpoint, store.compact, store.check, store.verify, store.refresh,
                                   lambda: self.texts.info, lambda: repr(self.texts), lambda: list(store.items())])  # fmt: skip
        deed()

    DEEDS = (
        ("change_texts", 30), ("change_list", 30), ("change_tags", 30), ("change_blocks", 15), ("transact", 30), ("iterate", 3),
        ("snapshot", 3), ("keep_snapshot", 1), ("back_up", 1), ("open_and_close", 2), ("maintain", 5),
    )  # fmt: skip


def expect_whole(state):
    assert sum(state["money"].values()) + sum(state["balances"]) == 2 * ACCOUNTS * EACH
    blocks = list(state["blocks"])
    assert len(blocks) % BLOCK == 0
    assert all(len(set(blocks[at : at + BLOCK])) == 1 for at in range(0, len(blocks), BLOCK))


def test_everything_at_once(store, tmp_path):
    with seeded("threads") as (_, seed), Store(store, memory_limit=4 << 20) as shared:
        shared.dict("money").update((account, EACH) for account in range(ACCOUNTS))
        shared.list("balances").extend([EACH] * ACCOUNTS)
        shared.list("blocks").extend(block for block in range(10) for _ in range(BLOCK))
        Restless.watched = shared.dict("texts")
        actors = [Actor(shared, number, tmp_path, seed) for number in range(5)]
        try:
            in_threads(len(actors), lambda number: actors[number].run(scaled(500)))
        finally:
            Restless.watched = None
        shared.check()
    with Store(store) as again:
        again.check()
        expect_whole(again)
        for actor in actors:
            actor.look_at(again)


@pytest.mark.parametrize("method", ["pop", "popitem"])
def test_no_two_threads_take_the_same_entry(store, method):
    """Two threads that decoded an entry before either had removed it both got it."""
    count, taken = scaled(600), []
    with EMDict(store, Slow(), Slow()) as d:
        d.update((key, key) for key in range(count))

        def take(number):
            for key in range(count):
                try:
                    taken.append(d.pop(key) if method == "pop" else d.popitem()[0])
                except KeyError:
                    pass

        in_threads(4, take)
        assert len(d) == 0
    assert sorted(taken) == list(range(count))


def test_an_entry_that_is_replaced_while_it_is_popped_is_not_lost(store):
    class Replacing(Slow):
        def unpickle(self, data):
            value = super().unpickle(data)
            if value == "old" and d["other"] == "other":
                d["key"] = "new"
            return value

    with EMDict(store, Slow(), Replacing()) as d:
        d.update(other="other", key="old")
        assert d.pop("key") == "new"
        assert "key" not in d


def beside(count, others, work):
    """Calls work() while that many other threads call others(number) again and again."""
    stop = threading.Event()

    def run(number):
        if number == count:
            try:
                return work()
            finally:
                stop.set()
        while not stop.is_set():
            others(number)

    in_threads(count + 1, run)


def test_places_from_the_end_are_those_of_the_moment(store):
    """A list that grew or shrank between its size and the operation had another item read, changed or missed."""
    with EMList(store) as l:
        l.extend([0] * 100 + ["last"])

        def grow_and_shrink(number):
            l[0:0] = [2] * 100  # without the GIL
            del l[0:100]

        def use_the_end():
            for _ in range(scaled(60_000)):
                assert l[-1] == "last"
            for _ in range(scaled(1000)):
                l[-1] = "last"
                l[-1:] = ["last"]
                l.insert(-1, 1)
                assert l.pop() == "last"
                l.append("last")

        beside(3, grow_and_shrink, use_the_end)
        assert l.count("last") == 1 and l[-1] == "last"


def test_sorting_is_disturbed_by_changes_of_the_list_only(store):
    """A change of any container of the store was taken for one of the list; one while it waited was overwritten."""
    with Store(store) as shared:
        l, other = shared.list("l"), shared.dict("other")

        def change_another(number):
            other["changes"] = other.get("changes", 0) + 1

        def sort():
            for _ in range(scaled(10)):
                l[:] = range(300, 0, -1)
                l.sort(key=lambda item: time.sleep(0) or item)
                assert l == list(range(1, 301))

        beside(1, change_another, sort)
        with pytest.raises(ValueError, match="modified during sort"):
            l.sort(key=lambda item: l.append(item) or item)


def test_sorting_notices_a_transaction_that_ends_meanwhile(store):
    """Its changes had been counted before others saw them: the sort did not notice, and put the old items back."""
    with Store(store) as shared:
        l = shared.list("l")
        l[:] = range(100)
        changed, read = threading.Event(), threading.Event()

        def key(item):
            if item == 99:
                read.set()
            return -item

        def work(number):
            if number == 0:
                with shared.transaction():
                    l[0] = "changed"
                    changed.set()
                    read.wait(60)
            else:
                changed.wait(60)
                with pytest.raises(ValueError, match="modified during sort"):
                    l.sort(key=key)

        in_threads(2, work)
        assert l[0] == "changed" and l[1:] == list(range(1, 100))


def test_iterating_beside_a_transaction_shows_what_was_before_it(store):
    """And, once it has ended, what is there then, although nothing else has changed since."""
    with Store(store) as shared:
        l, s = shared.list("l"), shared.sorted_dict("s")
        l.extend(range(100))
        s.update((number, number) for number in range(0, 100, 2))
        begun, end = threading.Event(), threading.Event()

        def change():
            with shared.transaction():
                l[:] = ["new"] * 100
                del s[0], s[2]
                begun.set()
                end.wait(60)

        other = threading.Thread(target=change)
        other.start()
        begun.wait(60)
        items, keys = iter(l), iter(s)
        assert [next(items) for _ in range(10)] == list(range(10))
        ends = s.irange(50, 60)
        end.set()
        other.join()
        assert list(items) == ["new"] * 90
        assert list(keys) == list(range(4, 100, 2))
        assert list(ends) == list(range(50, 61, 2))


def numbers(of):
    def make(store):
        members = store.sorted_set("s")
        members.update(range(of))
        return members

    return make


def pairs(store):
    numpy = pytest.importorskip("numpy")
    array = store.array("a", "i4", 2)
    array.extend(numpy.zeros((3, 2)))
    return array


def drop(s, *members):
    for member in members:
        s.remove(member)


# What another thread does in a transaction, what is done beside it, what is left.
BESIDE = {
    "delete_range": (numbers(40), lambda s: drop(s, 0, 1, 2), lambda s: s.delete_range(10, 20), [*range(3, 10), *range(21, 40)]),
    "del of the last": (numbers(9), lambda s: s.add(-1), lambda s: s.__delitem__(-1), [-1, *range(8)]),
    "del of the last ones": (numbers(9), lambda s: s.add(-1), lambda s: s.__delitem__(slice(-3, None)), [-1, *range(6)]),
    "del of every second": (numbers(9), lambda s: s.add(-1), lambda s: s.__delitem__(slice(None, None, 2)), [0, 2, 4, 6, 8]),
    "pop of the last": (numbers(9), lambda s: drop(s, 0), lambda s: s.pop(), [*range(1, 8)]),
    "columns": (pairs, lambda a: a.__setitem__((slice(None), 1), 5), lambda a: a.__setitem__((slice(None), 0), 7), [[7, 5]] * 3),
    "an item": (pairs, lambda a: a.__setitem__((0, 1), 5), lambda a: a.__setitem__((0, 0), 7), [[7, 5], [0, 0], [0, 0]]),
    "some items": (pairs, lambda a: a.__setitem__((0, 1), 5), lambda a: a.__setitem__(([2, 0], 0), 7), [[7, 5], [0, 0], [7, 0]]),
    "in place": (pairs, lambda a: a.__setitem__(0, 5), lambda a: a.__iadd__(1), [[6, 6], [1, 1], [1, 1]]),
}  # fmt: skip


@pytest.mark.parametrize("case", BESIDE)
def test_what_is_changed_is_what_is_there_then(store, case):
    """What was read while another's transaction was open, before the change had to wait for it, was taken for what is there."""
    make, change, work, expected = BESIDE[case]
    with Store(store) as shared:
        container = make(shared)
        changed, going = threading.Event(), threading.Event()

        def run(number):
            if number == 0:
                with shared.transaction():
                    change(container)
                    changed.set()
                    going.wait(60)
                    time.sleep(0.05)
            else:
                changed.wait(60)
                going.set()
                work(container)

        in_threads(2, run)
        assert (container.tolist() if hasattr(container, "tolist") else list(container)) == expected
        container.check()


def test_a_value_that_another_has_stored_is_not_replaced_by_the_default(store):
    with Store(store) as shared:
        d = shared.defaultdict("d", lambda: shared.dict("d").setdefault("key", 5) and 0)
        assert d["key"] == 5 and dict(d) == {"key": 5}


def test_discarding_ends_while_others_go_on(store):
    """It began again whenever anything of the store had changed."""
    with Store(store) as shared:
        d, other = shared.multi_dict("d"), shared.dict("other")
        d.update(("key", number) for number in range(scaled(5000)))

        def change(number):
            other["changes"] = number
            d.add("a key before it", number)

        def work():
            for number in range(20):
                assert not d.discard("key", -1)
                assert d.discard("key", number)

        beside(1, change, work)


def test_remove_takes_an_equal_item_or_none(store):
    """What had come into the place of the item found was removed in its stead."""

    class Disturbing:
        def __eq__(self, other):
            if other == "wanted":
                l.insert(0, "before")
                Disturbing.disturbed += 1
            return other == "wanted"

    with EMList(store) as l:
        l.extend(["a", "wanted", "b"])
        Disturbing.disturbed = 0
        with pytest.raises(ValueError):
            l.remove("nothing")

        class Once(Disturbing):
            def __eq__(self, other):
                return Disturbing.__eq__(self, other) if not Disturbing.disturbed else other == "wanted"

        l.remove(Once())
        assert list(l) == ["before", "a", "b"]


def test_a_value_that_is_added_while_others_are_popped_is_not_lost(store):
    class Adding(Slow):
        def unpickle(self, data):
            value = super().unpickle(data)
            if value == "old" and d.count("key") == 1:
                d.add("key", "new")
            return value

    with EMMultiDict(store, Slow(), Adding()) as d:
        d.update(key="old", other="other")
        assert d.popall("key") == ["old", "new"]
        assert list(d.items()) == [("other", "other")]


def test_no_two_threads_take_the_same_value(store):
    """Of keys to which others add meanwhile: all values of a key, or one of them."""
    count, taken = scaled(300), []
    with EMMultiDict(store, Slow(), Slow()) as d:

        def add_and_take(number):
            for i in range(count):
                d.add(i % 3, (number, i))
                if i % 2 and d.discard(i % 3, (number, i)):
                    taken.append((number, i))
                elif i % 10 == 0:
                    taken.extend(d.popall(i % 7 % 3))

        in_threads(4, add_and_take)
        taken.extend(d.values())
        d.check()
    assert sorted(taken) == [(number, i) for number in range(4) for i in range(count)]


def test_threads_share_an_iterator(store):
    """Each item comes once, whoever asks."""
    with EMList(store) as l:
        l.extend(range(scaled(3000)))
        iterator, seen = iter(l), []

        def work(number):
            if number == 0:
                for _ in range(20):
                    l.append(-1)
                    l.checkpoint()
            for item in iterator:
                seen.append(item)

        in_threads(4, work)
        assert sorted(seen) == list(range(scaled(3000)))
