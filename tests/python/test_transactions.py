"""transaction(): all or nothing over the containers of a store, whatever ends the block, the thread or the process."""

import asyncio
import contextlib
import copy
import gc
import os
import pickle
import threading
import warnings
import weakref

import pytest
import support

import pyrsistence
from pyrsistence import EMDict, EMList, Error, Store


@pytest.fixture
def pair(store):
    """A store with a dict and a list, each with something in it."""
    with Store(store) as opened:
        d, items = opened.dict("d"), opened.list("l")
        d["old"] = 1
        items.append("old")
        yield opened, d, items


BEFORE = {"old": 1}, ["old"]


def state(pair):
    return dict(pair[1].items()), list(pair[2])


def change(pair):
    _, d, items = pair
    d["new"] = 2
    d["old"] = b"x" * 20_000
    items.insert(0, "new")
    items.extend(range(100))


class Odd(BaseException):
    """Not even an Exception."""


# --- how a block ends


@pytest.mark.parametrize("opener", ["store", "dict", "list"])
@pytest.mark.parametrize("durable", [True, False])
def test_what_a_block_did_is_there_afterwards(pair, opener, durable):
    handle = pair[["store", "dict", "list"].index(opener)]
    with handle.transaction(durable=durable):
        change(pair)
        assert pair[1]["new"] == 2 and pair[2][0] == "new"
    assert pair[1]["new"] == 2 and len(pair[2]) == 102
    pair[0].check()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration, Odd])
def test_an_exception_undoes_everything_and_is_passed_on(pair, error):
    with pytest.raises(error) as caught, pair[0].transaction():
        change(pair)
        raise error("reason")
    assert caught.value.args == ("reason",)
    assert state(pair) == BEFORE
    pair[0].check()


def test_leaving_by_return_break_and_continue_commits(pair):
    def by_return():
        with pair[0].transaction():
            pair[1]["return"] = 1
            return

    by_return()
    for name in ("continue", "break"):
        with pair[0].transaction():
            pair[1][name] = 1
            if name == "continue":
                continue
            break
    assert list(pair[1]) == ["old", "return", "continue", "break"]


def test_an_empty_transaction_changes_nothing(pair):
    before = pair[0].info.log_bytes
    with pair[0].transaction():
        pass
    assert pair[0].info.log_bytes == before and state(pair) == BEFORE


def test_an_exception_within_an_operation_undoes_the_rest_too(pair):
    with pytest.raises(KeyError, match="missing"), pair[0].transaction():
        change(pair)
        del pair[1]["missing"]
    assert state(pair) == BEFORE


def test_an_exception_that_is_caught_inside_undoes_nothing(pair):
    with pair[0].transaction():
        pair[1]["new"] = 1
        with pytest.raises(KeyError):
            pair[1].pop("missing")
        with pytest.raises(IndexError):
            pair[2].pop(10)
        pair[2].append("new")
    assert state(pair) == ({"old": 1, "new": 1}, ["old", "new"])


def test_containers_are_made_renamed_and_deleted_within_one(pair):
    with pytest.raises(ValueError), pair[0].transaction():
        made = pair[0].dict("made")
        made["a"] = 1
        pair[0].rename("l", "renamed")
        del pair[0]["d"]
        assert sorted(pair[0]) == ["made", "renamed"]
        raise ValueError
    assert sorted(pair[0]) == ["d", "l"] and state(pair) == BEFORE
    with pytest.raises(pyrsistence.ClosedError, match="creation was rolled back"):
        len(made)
    assert "closed" in repr(made)
    with pair[0].transaction():
        pair[0].dict("made")["a"] = 1
        pair[0].rename("l", "renamed")
        del pair[0]["d"]
    assert sorted(pair[0]) == ["made", "renamed"] and pair[0]["made"] == {"a": 1}
    pair[0].check()


# --- savepoints


def test_a_savepoint_undoes_its_own_block_only(pair):
    with pair[0].transaction():
        pair[1]["outer"] = 1
        with pytest.raises(ValueError), pair[1].transaction():
            change(pair)
            with pair[2].transaction():
                pair[2].clear()
            raise ValueError
        assert state(pair) == ({"old": 1, "outer": 1}, ["old"])
        with pair[0].transaction():
            pair[2].append("inner")
    assert state(pair) == ({"old": 1, "outer": 1}, ["old", "inner"])


def test_the_outer_block_undoes_finished_savepoints(pair):
    with pytest.raises(ValueError), pair[0].transaction():
        with pair[0].transaction(), pair[0].transaction():
            change(pair)
        raise ValueError
    assert state(pair) == BEFORE


def test_many_levels(pair):
    with contextlib.ExitStack() as levels:
        for level in range(200):
            levels.enter_context(pair[0].transaction())
            pair[1][level] = level
    assert len(pair[1]) == 201
    with pytest.raises(ValueError), contextlib.ExitStack() as levels:
        for level in range(200):
            levels.enter_context(pair[0].transaction())
            pair[1][-level] = level
        raise ValueError
    assert len(pair[1]) == 201
    pair[0].check()


# --- misuse


def test_begin_and_end_once_each(pair):
    transaction = pair[0].transaction()
    with pytest.raises(RuntimeError, match="has not begun"):
        transaction.__exit__(None, None, None)
    with transaction as entered:
        assert entered is transaction
        with pytest.raises(RuntimeError, match="begun already; make another one"):
            transaction.__enter__()
        pair[1]["new"] = 1
    with pytest.raises(RuntimeError, match="ended already"):
        transaction.__exit__(None, None, None)
    assert pair[1]["new"] == 1
    with pytest.raises(ValueError), transaction:  # an object may serve again
        change(pair)
        raise ValueError
    assert pair[1] == {"old": 1, "new": 1}


def test_out_of_order(pair):
    outer, inner = pair[0].transaction(), pair[0].transaction()
    outer.__enter__()
    inner.__enter__()
    change(pair)
    with pytest.raises(Error, match="reverse order"):
        outer.__exit__(None, None, None)
    assert state(pair) == BEFORE  # both are undone
    with pytest.raises(Error, match="reverse order"):
        inner.__exit__(None, None, None)
    change(pair)
    assert len(pair[2]) == 102
    pair[0].check()


def test_arguments(pair):
    for call in (lambda: pair[0].transaction(True), lambda: pair[0].transaction(durably=True)):
        with pytest.raises(TypeError):
            call()
    made = type(pair[0].transaction())
    with pytest.raises(TypeError, match="cannot create"):
        made()
    for use in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            use(pair[0].transaction())


def test_on_what_cannot_be_changed(pair, store):
    with pair[0].snapshot() as frozen, frozen["d"].snapshot() as d:
        for handle in (frozen, frozen["d"], d):
            with pytest.raises(pyrsistence.ReadOnlyError, match="stays as it is"), handle.transaction():
                pytest.fail("entered")
    closed = EMDict(None)
    begun_too_late = closed.transaction()
    closed.close()
    with pytest.raises(pyrsistence.ClosedError, match="open it again"):
        closed.transaction()
    with pytest.raises(pyrsistence.ClosedError, match="open it again"), begun_too_late:
        pytest.fail("entered")


def test_what_is_not_possible_within_one(pair, tmp_path):
    store = pair[0]
    with store.transaction():
        change(pair)
        for refused in (store.checkpoint, store.compact, lambda: store.backup(tmp_path / "copy"),
                        lambda: store.snapshots.create("inside")):  # fmt: skip
            with pytest.raises(Error, match="not possible within a transaction; let it end first"):
                refused()
        store.check()
        store.sync()
        store.refresh()
        with store.snapshot() as before:
            assert before["d"] == BEFORE[0] and list(before["l"]) == BEFORE[1]
    assert not (tmp_path / "copy").exists() and not store.snapshots
    assert pair[1]["new"] == 2


# --- handles and objects that end before the block does


def test_the_store_is_closed_within_the_block(store):
    """What a transaction did is committed when its block ends, though the handles are gone."""
    opened = Store(store)
    d = opened.dict("d")
    with opened.transaction():
        d["a"] = 1
        opened.close()
        with pytest.raises(pyrsistence.ClosedError):
            d["b"] = 2
    with Store(store) as again:
        assert again["d"] == {"a": 1}
        with pytest.raises(ValueError), again.transaction():
            again["d"]["c"] = 3
            again.close()
            raise ValueError
    with Store(store, mode="r") as again:
        assert again["d"] == {"a": 1}
        again.check()


def test_a_transaction_that_is_dropped_is_rolled_back(pair):
    transaction = pair[0].transaction().__enter__()
    change(pair)
    del transaction
    gc.collect()
    assert state(pair) == BEFORE
    change(pair)
    assert len(pair[2]) == 102


def test_a_transaction_in_a_cycle_is_collected(pair):
    class Node:
        pass

    node = Node()
    node.self = node
    node.transaction = pair[0].transaction()
    node.transaction.__enter__()
    change(pair)
    gone = weakref.ref(node)
    del node
    gc.collect()
    assert gone() is None and state(pair) == BEFORE


def test_a_generator_that_holds_one_open(pair):
    def steps():
        with pair[0].transaction():
            pair[1]["first"] = 1
            yield
            pair[1]["second"] = 2

    generator = steps()
    next(generator)
    pair[1]["meanwhile"] = 3  # this thread's changes belong to it
    generator.close()
    assert state(pair) == BEFORE
    generator = steps()
    next(generator)
    del generator
    assert state(pair) == BEFORE
    assert list(steps()) == [None]
    assert pair[1] == {"old": 1, "first": 1, "second": 2}


def test_iterators_and_views_across_a_rollback(pair):
    _, d, items = pair
    d.update({i: i for i in range(1000)})
    items.extend(range(1000))
    keys, numbers, view = iter(d), iter(items), d.items()
    next(keys)
    next(numbers)
    with pytest.raises(ValueError), pair[0].transaction():
        for i in range(500):
            del d[i]
        del items[1:]
        inner, inner_items = iter(d), iter(items)
        next(inner)
        d["new"] = 1
        items.extend("new" for _ in range(2000))
        raise ValueError
    assert list(keys) == list(range(1000)) and len(view) == 1001
    assert list(numbers) == list(range(1000))
    for iterator in (inner, inner_items):  # they began in a state that never was: anything but a crash
        with contextlib.suppress(RuntimeError):
            list(iterator)
    pair[0].check()


def test_edit_within_a_transaction(pair):
    with pytest.raises(ZeroDivisionError), pair[0].transaction():
        with pair[1].edit("calls", default=[]) as calls:
            calls.append(1)
        1 / 0  # noqa: B018
    assert "calls" not in pair[1]


def test_subclasses(store):
    class Counting(EMDict):
        changes = 0

        def __setitem__(self, key, value):
            type(self).changes += 1
            super().__setitem__(key, value)

    class Program(Store):
        def transaction(self, **options):
            options.setdefault("durable", False)
            return super().transaction(**options)

    with Counting(store) as d:
        with pytest.raises(ValueError), d.transaction():
            d.update(a=1, b=2)
            raise ValueError
        assert len(d) == 0 and Counting.changes == 2
    with Program(store) as program, program.transaction():
        program.dict("x")[1] = 1
    with Program(store) as program:
        assert program["x"] == {1: 1}


def test_a_large_transaction_takes_bounded_memory_and_can_be_undone(store):
    with EMDict(store, memory_limit=8 << 20) as d:
        d["old"] = 1
        for _ in range(2):
            with pytest.raises(ValueError), d.transaction():
                d.update((i, b"v" * 400) for i in range(60_000))
                assert d.info.frame_bytes <= 8 << 20
                raise ValueError
            assert d == {"old": 1}
        with d.transaction():
            d.update((i, b"v" * 400) for i in range(60_000))
        assert len(d) == 60_001
        d.check()


def test_error_paths_leak_nothing(pair):
    def once():
        with contextlib.suppress(ValueError), pair[0].transaction():
            pair[1]["x"] = 1
            raise ValueError
        with contextlib.suppress(TypeError):
            pair[0].transaction(5)
        with contextlib.suppress(RuntimeError):
            pair[0].transaction().__exit__(None, None, None)
        pair[0].transaction().__enter__()
        with contextlib.suppress(Error), pair[0].transaction():
            pair[0].checkpoint()

    once()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(300):
        once()
    gc.collect()
    assert len(gc.get_objects()) - before < 50
    assert state(pair) == BEFORE


# --- threads and tasks


def in_thread(function):
    """A started thread whose outcome is appended to the list that is returned with it."""
    outcome = []

    def run():
        try:
            outcome.append(function())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, outcome


def test_other_threads_read_the_state_before_and_wait_to_write(pair):
    def read():
        return state(pair), len(pair[1]), "new" in pair[1], pair[1].get("old"), list(pair[0])

    def write():
        pair[1]["writer"] = 1
        return pair[1].get("new")

    expected = (BEFORE, 1, False, 1, ["d", "l"])
    for kept in (False, True):
        with contextlib.suppress(ValueError), pair[0].transaction():
            change(pair)
            pair[0].dict("another")
            reader, seen = in_thread(read)
            reader.join(60)
            assert seen == [expected]
            writer, done = in_thread(write)
            writer.join(0.1)
            assert writer.is_alive() and not done
            pair[1]["more"] = 3  # this thread goes on: the writer holds no lock
            if not kept:
                raise ValueError
        writer.join(60)
        assert done == [2 if kept else None]
        del pair[1]["writer"]
    pair[0].check()


def test_transactions_of_threads_take_turns(pair):
    pair[1]["sum"] = 0

    def add():
        for _ in range(100):
            with pair[0].transaction(durable=False):
                pair[1]["sum"] += 1
                with contextlib.suppress(ValueError), pair[0].transaction():
                    pair[1]["sum"] += 1000
                    raise ValueError

    threads = [in_thread(add) for _ in range(4)]
    for thread, outcome in threads:
        thread.join(120)
        assert outcome == [None]
    assert pair[1]["sum"] == 400


def test_ending_in_another_thread_is_refused_and_undoes(pair):
    transaction = pair[0].transaction()
    transaction.__enter__()
    change(pair)
    thread, outcome = in_thread(lambda: transaction.__exit__(None, None, None))
    thread.join(60)
    assert isinstance(outcome[0], Error) and "thread and task that began it" in str(outcome[0])
    assert state(pair) == BEFORE


def test_a_thread_that_dies_within_a_transaction(pair):
    def begin():
        pair[0].transaction().__enter__().keep = None

    def leave_open():
        held.append(pair[0].transaction())
        held[0].__enter__()
        change(pair)

    held = []
    thread, outcome = in_thread(begin)  # a Transaction has no attributes: it is dropped with the error
    thread.join(60)
    assert isinstance(outcome.pop(), AttributeError)
    thread, outcome = in_thread(leave_open)
    thread.join(60)
    assert outcome == [None] and state(pair) == BEFORE
    held.clear()
    change(pair)
    assert len(pair[2]) == 102


def test_another_task_is_refused_and_reads_the_state_before(pair):
    async def owner(inside, done):
        with pair[0].transaction():
            change(pair)
            inside.set()
            await done.wait()
            pair[1]["last"] = 1

    async def main():
        inside, done = asyncio.Event(), asyncio.Event()
        task = asyncio.ensure_future(owner(inside, done))
        await inside.wait()
        assert state(pair) == BEFORE
        for refused in (lambda: pair[1].update(a=1), lambda: pair[2].append(1), pair[0].checkpoint,
                        lambda: pair[0].transaction().__enter__()):  # fmt: skip
            with pytest.raises(Error, match="another task of this thread has a transaction open"):
                refused()
        done.set()
        await task
        pair[1]["after"] = 1

    asyncio.run(main())
    assert list(pair[1]) == ["old", "new", "last", "after"]


def test_a_cancelled_task_is_rolled_back(pair):
    async def owner():
        with pair[0].transaction():
            change(pair)
            await asyncio.sleep(60)

    async def main():
        task = asyncio.ensure_future(owner())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        pair[1]["after"] = 1

    asyncio.run(main())
    assert state(pair) == ({"old": 1, "after": 1}, ["old"])


def test_tasks_that_do_not_await_within_one_take_turns(pair):
    async def add(n):
        for i in range(20):
            with pair[0].transaction(durable=False):
                pair[1][n, i] = 1
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(*(add(n) for n in range(5)))

    asyncio.run(main())
    assert len(pair[1]) == 101


# --- processes


def test_the_interpreter_ends_within_a_transaction(store):
    for end in ("", "sys.exit(0)", "held.append(held)"):
        support.run_child(
            f"""
            import sys
            from pyrsistence import Store
            store = Store(sys.argv[1])
            d = store.dict("d")
            d["kept"] = 1
            held = [store.transaction()]
            held[0].__enter__()
            d["lost"] = 2
            {end}
            """,
            store,
            PYTHONWARNINGS="ignore::ResourceWarning",
        )
        with Store(store) as again:
            assert again["d"] == {"kept": 1}
            again.check()


def test_a_forked_child_within_a_transaction_harms_nothing(store):
    support.run_child(
        """
        import os, sys
        from pyrsistence import ClosedError, Store
        store = Store(sys.argv[1])
        d = store.dict("d")
        d["kept"] = 1
        with store.transaction():
            d["new"] = 2
            child = os.fork()
            if child == 0:
                try:
                    d["child"] = 3
                except ClosedError:
                    code = 7
                try:
                    with store.transaction():
                        code = 1
                except ClosedError:
                    pass
                repr(store), repr(d)
                os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        child = os.fork()
        if child == 0:  # leaves the block, and ends as any program
            try:
                with store.transaction():
                    pass
            except ClosedError:
                sys.exit(8)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 8
        with store.transaction():
            d["third"] = 3
            child = os.fork()
        if child == 0:
            os._exit(1)  # not reached: the end of the block raises
        store.close()
        """,
        store,
        check=False,
    )
    with Store(store) as again:
        assert again["d"] == {"kept": 1, "new": 2, "third": 3}
        again.check()


def test_killed_within_and_right_after(store):
    for durable in (True, False):
        with support.child(
            """
            import os, sys
            from pyrsistence import Store
            store, durable = Store(sys.argv[1]), sys.argv[2] == "True"
            d, l = store.dict("d"), store.list("l")
            l.clear()
            for i in range(50):
                with store.transaction(durable=durable):
                    d[i % 7] = i
                    l.append(i)
            with store.transaction(durable=durable):
                with store.transaction():
                    d[99] = l[:]
                    l.clear()
                print("within", flush=True)
                os.kill(os.getpid(), 9)
            """,
            store,
            durable,
        ) as process:
            support.expect(process, "within")
            process.wait()
        with Store(store) as again:
            assert list(again["l"]) == list(range(50))
            assert again["d"] == {i % 7: i for i in range(50)}
            again.check()


def test_killed_at_any_moment(store):
    """Two containers that change together are never seen apart."""
    count = 0
    for _ in range(support.scaled(25)):
        with support.child(
            """
            import sys
            from pyrsistence import Store
            store = Store(sys.argv[1], memory_limit=16 << 20)
            d, l = store.dict("d"), store.list("l")
            print(len(l), flush=True)
            for i in range(len(l), 10**9):
                with store.transaction(durable=i % 50 == 0):
                    l.append(i)
                    with store.transaction():
                        d[i % 1000] = (i, bytes(i % 30_000))
                    d["count"] = len(l)
                if i % 10 == 0:
                    try:
                        with store.transaction():
                            l.clear()
                            d.clear()
                            raise ValueError
                    except ValueError:
                        pass
            """,
            store,
        ) as process:
            support.expect(process, str(count))
            with contextlib.suppress(Exception):
                process.wait(0.05 + 0.2 * (count % 7) / 7)
            process.kill()
            process.wait()
        with Store(store) as again:
            d, items = again.dict("d"), again.list("l")
            found = len(items)
            assert found >= count and d.get("count", 0) == found
            assert list(items) == list(range(found))
            for i in range(max(0, found - 1000), found):
                assert d[i % 1000] == (i, bytes(i % 30_000))
            again.check()
            count = found
    assert count > 0


def test_clean_in_development_mode(store):
    done = support.run_child(
        """
        import subprocess, sys
        code = '''
        import gc, sys
        from pyrsistence import EMList, Store
        with Store(sys.argv[1]) as store:
            d, l = store.dict("d"), store.list("l")
            for i in range(30):
                try:
                    with store.transaction(durable=False):
                        d[i] = l.append(i)
                        with d.transaction():
                            if i % 3 == 0: raise ValueError
                except ValueError:
                    pass
            with store.snapshot() as before:
                d.clear()
                assert len(before["d"]) == 20
            store.snapshots.create("s")
            del store["d"]
        with Store(sys.argv[1], at="s") as old:
            assert list(old) == ["d", "l"]
        gc.collect()
        print("clean")
        '''
        import textwrap
        done = subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(code), sys.argv[1]],
                              capture_output=True, text=True)
        print(done.stdout, done.stderr)
        """,
        store,
    )
    assert done.stdout.split() == ["clean"]


def test_a_transaction_of_one_list(store):
    with EMList(store) as items:
        items.extend(range(10))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ValueError), items.transaction():
                items.sort(reverse=True)
                items[2:4] = "abc"
                items.reverse()
                raise ValueError
        assert list(items) == list(range(10))
        assert os.path.isdir(store)


def test_closing_what_another_thread_waits_for_is_refused(pair):
    """close() waited for a call that waited for the transaction of the thread that closed."""

    def write():
        pair[1]["writer"] = 1

    with pair[0].transaction():
        thread, outcome = in_thread(write)
        thread.join(0.2)
        for handle in (pair[1], pair[0]):
            with pytest.raises(Error, match="waiting for this thread; close it when its transaction"):
                handle.close()
        pair[1]["still"] = "open"
    thread.join(60)
    assert outcome == [None] and list(pair[1]) == ["old", "still", "writer"]


def test_two_stores_have_their_own(pair):
    with EMDict(None) as other:
        with pytest.raises(ValueError), pair[0].transaction():
            with other.transaction():
                other["a"] = 1
            pair[1]["a"] = 1
            raise ValueError
        assert other == {"a": 1} and state(pair) == BEFORE
