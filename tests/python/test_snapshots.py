"""Snapshots: states that stay as they are, in memory and under a name."""

import contextlib
import datetime
import gc
import threading

import pytest
import support

import pyrsistence
from pyrsistence import EMDict, EMList, ReadOnlyError, Store


@pytest.fixture
def filled(store):
    with Store(store) as opened:
        opened.dict("d").update((i, i) for i in range(500))
        opened.list("l").extend(range(500))
        yield opened


def churn(opened):
    d, items = opened["d"], opened["l"]
    for i in range(0, 500, 2):
        d.pop(i, None)
    d.update((i, b"y" * 5000) for i in range(300, 800))
    del items[:200]
    items.extend(["new"] * 300)
    items.reverse()


def assert_first(snapshot):
    assert snapshot["d"] == {i: i for i in range(500)}
    assert list(snapshot["l"]) == list(range(500))


# --- in memory


def test_a_snapshot_stays_as_it_is(filled):
    with filled.snapshot() as first:
        assert type(first) is Store and first.mode == "r" and first.path == filled.path
        for _ in range(3):
            churn(filled)
            filled.checkpoint()
            assert_first(first)
        del filled["d"]
        filled.rename("l", "renamed")
        filled.dict("made")
        assert list(first) == ["d", "l"] and list(filled) == ["renamed", "made"]
        with first.snapshot() as second:
            first.close()
            assert_first(second)
    filled.check()


def test_a_snapshot_of_one_container(store):
    with EMDict(store) as d:
        d.update(a=1, b=2)
        with d.snapshot() as before, d.snapshot() as same:
            d["a"] = 3
            del d["b"]
            assert before == same == {"a": 1, "b": 2} and d == {"a": 3}
            assert list(before) == ["a", "b"] and before.get("b") == 2 and "b" in before and len(before) == 2
            assert list(reversed(before)) == ["b", "a"] and before.info.entries == 2
            assert before.mode == "r" and repr(before).endswith("{'a': 1, 'b': 2})")
            with before.copy() as kept:
                kept["c"] = 1
    with EMList(None) as items:
        items.extend(range(1000))
        with items.snapshot() as before:
            items.reverse()
            items.clear()
            assert list(before) == list(range(1000)) and before[10:20:3] == [10, 13, 16, 19]


def test_a_snapshot_cannot_be_changed(filled):
    with filled.snapshot() as frozen:
        d, items = frozen["d"], frozen["l"]
        for change in (lambda: d.update(a=1), lambda: d.pop(1), lambda: d.clear(), lambda: d.popitem(),
                       lambda: items.append(1), lambda: items.sort(), lambda: items.__delitem__(0),
                       lambda: frozen.__delitem__("d"), lambda: frozen.rename("d", "e"), lambda: frozen.compact(),
                       lambda: frozen.checkpoint(), lambda: frozen.snapshots.create("s"),
                       lambda: d.snapshots.create("s"), lambda: d.setdefault("new", 1),
                       lambda: d.transaction().__enter__()):  # fmt: skip
            with pytest.raises(ReadOnlyError):
                change()
        for missing in (frozen.dict, frozen.list):
            with pytest.raises(FileNotFoundError, match="holds no container 'x'"):
                missing("x")
        with pytest.raises(pyrsistence.FormatError, match="holds under 'd' a dict, not a list"):
            frozen.list("d")
        with pytest.raises(KeyError):
            frozen["x"]
        frozen.sync()
        frozen.refresh()
        assert_first(frozen)
    with pytest.raises(pyrsistence.ClosedError):
        list(frozen)
    assert d.closed


def test_a_snapshot_outlives_the_handle_it_was_made_from(filled, store):
    frozen, single = filled.snapshot(), filled["d"].snapshot()
    filled.close()
    assert_first(frozen)
    with Store(store) as again:
        churn(again)
        again.checkpoint()
        assert_first(frozen)
        frozen.close()
        assert len(single) == 500
        single.close()
        again.check()


def test_space_comes_back_when_the_last_snapshot_is_gone(store):
    with EMDict(store) as d:
        d.update((i, b"x" * 1000) for i in range(3000))
        d.checkpoint()
        with d.snapshot() as before:
            d.clear()
            d.checkpoint()
            d.checkpoint()
            assert sum(len(value) for value in before.values()) == 3_000_000
        for _ in range(3):
            d["a"] = 1
            d.checkpoint()
        d.compact()
        assert d.info.data_bytes < 2_000_000
        d.check()


def test_dropped_snapshots_let_go_in_silence(filled):
    for _ in range(200):
        filled.snapshot()["d"].get(1)
        filled["l"].snapshot()
    gc.collect()
    churn(filled)
    filled.checkpoint()
    filled.check()


def test_iterators_of_a_snapshot_do_not_see_changes(filled):
    with filled.snapshot() as frozen:
        keys, items = iter(frozen["d"].items()), iter(frozen["l"])
        first = next(keys), next(items)
        churn(filled)
        filled["d"]["one more"] = 1
        assert [first[0], *keys] == [(i, i) for i in range(500)]
        assert [first[1], *items] == list(range(500))


def test_many_snapshots_closed_in_any_order(store):
    with support.seeded("snapshots") as (rng, _), EMDict(store, memory_limit=16 << 20) as d:
        model, held = {}, []
        for _ in range(400):
            key, value = rng.randrange(200), rng.randbytes(rng.choice([5, 300, 5000, 20_000]))
            if rng.random() < 0.3:
                d.pop(key, None)
                model.pop(key, None)
            else:
                d[key] = model[key] = value
            if rng.random() < 0.15:
                held.append((d.snapshot(), dict(model)))
            if held and rng.random() < 0.1:
                frozen, expected = held.pop(rng.randrange(len(held)))
                support.assert_same(frozen, expected)
                frozen.close()
            if rng.random() < 0.05:
                d.checkpoint()
        for frozen, expected in held:
            support.assert_same(frozen, expected)
            frozen.close()
        support.assert_same(d, model)
        d.check()


def test_within_a_transaction_it_is_the_state_before(filled):
    with pytest.raises(ZeroDivisionError), filled.transaction():
        churn(filled)
        within = filled.snapshot()
        assert_first(within)
        with filled.transaction():
            filled["d"].clear()
        assert_first(within)
        1 / 0  # noqa: B018
    assert_first(within)
    assert_first(filled)
    with filled.transaction():
        churn(filled)
    assert_first(within)
    within.close()
    filled.check()


def test_snapshots_are_made_and_read_while_others_write(filled):
    """Every transaction leaves both containers of one length; so every snapshot shows."""
    stop, errors = threading.Event(), []

    def write():
        try:
            number = 500
            while not stop.is_set():
                with filled.transaction(durable=False):
                    filled["d"][number] = number
                    filled["l"].append(number)
                number += 1
        except BaseException as error:
            errors.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        last = 0
        for _ in range(100):
            with filled.snapshot() as frozen:
                size = len(frozen["d"])
                assert size == len(frozen["l"]) >= last
                assert list(frozen["l"]) == list(range(size)) == list(frozen["d"])
                last = size
    finally:
        stop.set()
        writer.join()
    assert not errors and last > 500
    filled.check()


# --- with a name


def test_named_snapshots_stay(filled, store):
    start = datetime.datetime.now(datetime.timezone.utc)
    made = filled.snapshots.create("first")
    assert made.name == "first" and start <= made.created <= datetime.datetime.now(datetime.timezone.utc)
    assert made.created.tzinfo is datetime.timezone.utc and made.checkpoint > 0
    churn(filled)
    filled["d"].snapshots.create("second")  # of the whole store, whatever the handle
    filled["d"].clear()
    assert list(filled.snapshots) == ["first", "second"] and len(filled.snapshots) == 2
    assert filled.snapshots["first"] == made and repr(filled.snapshots) == "Snapshots(['first', 'second'])"
    with Store(store, at="first") as first:  # beside the writer
        assert_first(first)
        assert first.mode == "r" and list(first.snapshots) == ["first", "second"]
    filled.close()
    for mode in ("r", "a"):
        with Store(store, mode=mode, at="first") as first, EMList(store, at="second", name="l") as second:
            assert_first(first)
            assert len(second) == 600
            with pytest.raises(ReadOnlyError):
                second.append(1)
    with Store(store) as again:
        del again.snapshots["first"]
        assert list(again.snapshots) == ["second"]
        with pytest.raises(FileNotFoundError, match="^Cannot open Store: .*holds no snapshot 'first'"):
            Store(store, at="first")
        with pytest.raises(KeyError, match="first"):
            del again.snapshots["first"]
        again.check()


def test_names_of_snapshots(filled, store):
    for name in ("a", "é/\n", "x" * 1024, "a\0b"):
        filled.snapshots.create(name)
        with Store(store, at=name) as old:
            assert_first(old)
        assert name in filled.snapshots
    with pytest.raises(FileExistsError, match="'a'"):
        filled.snapshots.create("a")
    for size in (0, 1025):
        with pytest.raises(pyrsistence.FormatError, match=f"a snapshot name of {size} bytes; 1 to 1024 are possible"):
            filled.snapshots.create("x" * size)
    with pytest.raises(UnicodeEncodeError):
        filled.snapshots.create("\ud800")
    with pytest.raises(ValueError, match="at is empty; give the name of a snapshot, or None"):
        Store(store, at="")
    for absent in ("no", "\ud800", 5):
        assert absent not in filled.snapshots
        for use in (lambda: filled.snapshots[absent], lambda: filled.snapshots.__delitem__(absent)):
            with pytest.raises(KeyError):
                use()
    assert len(filled.snapshots) == 4 == filled.info.snapshots
    with pytest.raises(AttributeError):
        filled.snapshots = None


def test_a_handle_on_a_deleted_snapshot_goes_on(filled, store):
    filled.snapshots.create("s")
    with Store(store, at="s") as old:
        churn(filled)
        del filled.snapshots["s"]
        for _ in range(3):
            churn(filled)
            filled.checkpoint()
        assert_first(old)
    filled.check()


def test_one_name_again_and_again(filled, store):
    for i in range(20):
        filled["d"]["round"] = i
        filled.snapshots.create("latest")
        with EMDict(store, at="latest", name="d") as old:
            filled["d"]["round"] = -1
            assert old["round"] == i
        del filled.snapshots["latest"]
    filled.check()


def test_a_missing_container_at_a_snapshot(filled, store):
    filled.snapshots.create("s")
    filled.dict("later")
    with pytest.raises(FileNotFoundError, match="^Cannot open EMDict: .*holds no container 'later'"):
        EMDict(store, at="s", name="later")
    with Store(store, at="s") as old:
        assert "later" not in old and "later" in filled


def test_killed_while_keeping_and_deleting_snapshots(store):
    """A name is there with all of its state, or not at all."""
    kept = 0
    for _ in range(support.scaled(12)):
        with support.child(
            """
            import sys
            from pyrsistence import Store
            store = Store(sys.argv[1], memory_limit=16 << 20)
            d = store.dict("d")
            print("open", flush=True)
            for i in range(d.get("round", 0) + 1, 10**9):
                with store.transaction(durable=False):
                    d["round"] = i
                    d[i % 50] = bytes([i % 256]) * (i * 37 % 20_000)
                store.snapshots.create(str(i))
                if len(store.snapshots) > 5:
                    del store.snapshots[next(iter(store.snapshots))]
            """,
            store,
        ) as process:
            support.expect(process, "open")
            with contextlib.suppress(Exception):
                process.wait(0.2)
            process.kill()
            process.wait()
        with Store(store) as opened:
            opened.check()
            last = opened["d"].get("round", 0)
            assert len(opened.snapshots) <= 6
            for name in opened.snapshots:
                number = int(name)
                assert number <= last
                with Store(store, at=name) as old:
                    d = old["d"]
                    assert d["round"] == number
                    for i in range(max(1, number - 49), number + 1):
                        assert d[i % 50] == bytes([i % 256]) * (i * 37 % 20_000)
                    kept += 1
            for name in list(opened.snapshots)[:-1]:
                del opened.snapshots[name]
            opened.check()
    assert kept > 0
