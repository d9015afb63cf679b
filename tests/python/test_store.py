"""Store: many containers in one directory. Names, types, handles and what each misuse is answered with."""

import concurrent.futures
import contextlib
import copy
import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
import weakref

import pytest
import support

import pyrsistence
from pyrsistence import ClosedError, EMDict, EMList, FormatError, ReadOnlyError, Store


class Program(Store):
    """A subclass with attributes of its own; importable, so that it can be pickled."""


@pytest.fixture
def opened(store):
    with Store(store) as made:
        yield made


# --- the mapping


def test_containers_are_created_listed_renamed_and_deleted(opened):
    assert len(opened) == 0 and list(opened) == [] and not opened
    calls, trace = opened.dict("calls"), opened.list("trace")
    calls["main"] = 1
    trace.append("main")
    assert type(calls) is EMDict and type(trace) is EMList
    assert (calls.name, trace.name, calls.path, calls.mode) == ("calls", "trace", opened.path, "a")
    assert list(opened) == list(opened.keys()) == ["calls", "trace"] and len(opened) == 2
    assert "calls" in opened and "other" not in opened and 5 not in opened
    assert opened["calls"] == {"main": 1} and opened.get("trace") == ["main"]
    assert opened.get("other") is None and opened.get("other", 5) == 5
    assert [name for name, _ in opened.items()] == ["calls", "trace"]
    assert [len(container) for container in opened.values()] == [1, 1]
    opened.rename("calls", "edges")
    calls["b"] = 2  # an older handle stays on its container
    assert calls.name == "edges" and "name='edges'" in repr(calls)
    assert list(opened) == ["edges", "trace"] and opened["edges"] == {"main": 1, "b": 2}
    del opened["trace"]
    assert list(opened) == ["edges"]
    opened.check()


def test_a_handle_knows_the_name_that_its_container_has_now(store, tmp_path):
    """A handle kept the name it was opened with: opened again, or pickled, it made a container of the old name."""
    with Store(store) as opened:
        calls = opened.dict("calls")
        calls["a"] = 1
        with opened.snapshot() as before, before["calls"] as old:
            with pytest.raises(KeyError), opened.transaction():
                opened.rename("calls", "edges")
                assert calls.name == "edges"
                raise KeyError
            assert calls.name == "calls"
            opened.rename("calls", "edges")
            assert calls.name == "edges" and old.name == "calls"
        with pickle.loads(pickle.dumps(calls)) as same:
            assert same.name == "edges" and same == {"a": 1}
        calls.close()
        assert calls.name == "edges"
        calls.open(store)
        assert calls == {"a": 1} and list(opened) == ["edges"]
        calls.close()
        gone = opened.list("gone")
        del opened["gone"]
        assert gone.name == "gone" and "gone" in repr(gone)


def test_a_container_that_must_exist_is_not_made(store):
    """mode="r+" made a container that did not exist in a store that did."""
    with Store(store) as opened:
        for mode in ("r", "r+"):
            for name in (None, "", "new"):
                with pytest.raises(FileNotFoundError, match="holds no container"):
                    EMList(store, mode=mode, name=name)
        assert list(opened) == []
        EMList(store, name="new").close()
        with EMList(store, mode="r+", name="new") as new:
            new.append(1)
        with pytest.raises(FileNotFoundError, match="holds no container 'other' but 'new'"):
            EMDict(store, mode="r+", name="other")
    with Store(store, mode="r+") as opened:  # the store exists
        assert opened.dict("made") == {} and list(opened) == ["new", "made"]


def test_everything_is_there_after_reopening(store):
    with Store(store) as opened:
        for i in range(300):
            (opened.dict if i % 2 else opened.list)(f"number {i}")
        opened["number 1"]["a"] = 1
        opened["number 2"].append(2)
        names = list(opened)
    for mode in ("r", "r+", "a"):
        with Store(store, mode=mode) as opened:
            assert list(opened) == names == [f"number {i}" for i in range(300)]
            assert opened["number 1"] == {"a": 1} and opened["number 2"] == [2] and opened["number 3"] == {}
            opened.check()


@pytest.mark.parametrize("name", ["", "a/b", "..", "a\0b", "\n", "é", "\U0001f600", "x" * 3840, " "])
def test_any_text_is_a_name(store, name):
    with Store(store) as opened:
        opened.dict(name)["a"] = 1
        opened.rename(name, "other")
        opened.rename("other", name)
        assert list(opened) == [name] and opened[name] == {"a": 1} and repr(name) in repr(opened)
    with Store(store) as opened, EMDict(store, name=name) as d:
        assert list(opened) == [name] and d == {"a": 1} and d.name == name
        with pickle.loads(pickle.dumps(d)) as again:
            assert again == {"a": 1} and again.name == name


@pytest.mark.parametrize("name", [5, None, b"calls", ("calls",), 1.5])
def test_a_name_is_a_str(opened, name):
    opened.dict("calls")
    for use in (lambda: opened.dict(name), lambda: opened.list(name), lambda: opened.rename(name, "a"),
                lambda: opened.rename("calls", name), lambda: opened.snapshots.create(name)):  # fmt: skip
        with pytest.raises(TypeError, match=f"str, not {'None' if name is None else type(name).__name__}"):
            use()
    for use in (lambda: opened[name], lambda: opened.__delitem__(name), lambda: opened.snapshots[name]):
        with pytest.raises(KeyError) as caught:
            use()
        assert caught.value.args == (name,)
    assert name not in opened and opened.get(name, 7) == 7
    if name is not None:
        for argument in ("name", "at"):
            with pytest.raises(TypeError, match=f"{argument} must be a str or None, not {type(name).__name__}"):
                EMDict(opened.path, **{argument: name})
    assert list(opened) == ["calls"]


def test_names_that_cannot_be_stored(opened):
    opened.dict("calls")
    long = "x" * 3841
    for use in (lambda: opened.dict(long), lambda: opened.rename("calls", long)):
        with pytest.raises(FormatError, match="a container name of 3841 bytes; at most 3840 are possible"):
            use()
    lone = "\ud800"
    for use in (lambda: opened.dict(lone), lambda: opened.rename("calls", lone), lambda: opened.list(lone),
                lambda: EMDict(opened.path, name=lone)):  # fmt: skip
        with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
            use()
    for absent in (long, lone):
        assert absent not in opened
        for use in (lambda: opened[absent], lambda: opened.__delitem__(absent)):
            with pytest.raises(KeyError):
                use()
    assert list(opened) == ["calls"]


def test_missing_and_taken_names(opened):
    opened.dict("calls"), opened.list("trace")
    for use in (lambda: opened["x"], lambda: opened.__delitem__("x"), lambda: opened.rename("x", "y")):
        with pytest.raises(KeyError, match="'x'"):
            use()
    with pytest.raises(pyrsistence.ExistsError, match="holds a container 'trace' already"):
        opened.rename("calls", "trace")
    opened.rename("calls", "calls")
    assert list(opened) == ["calls", "trace"]


def test_another_type_under_a_name(opened):
    opened.dict("calls"), opened.list("trace")
    with pytest.raises(FormatError, match="holds under 'calls' a dict, not a list"):
        opened.list("calls")
    with pytest.raises(FormatError, match="holds under 'trace' a list, not a dict"):
        opened.dict("trace")
    with pytest.raises(FormatError, match="^Cannot open EMList: .*holds under 'calls' a dict, not a list"):
        EMList(opened.path, name="calls")
    assert list(opened) == ["calls", "trace"]


def test_a_store_of_one_container_and_a_store_of_many_are_the_same_thing(store):
    with EMDict(store) as d:
        d["a"] = 1
    with Store(store) as opened:
        assert list(opened) == [""] and opened[""] == {"a": 1}
        opened.list("more").append(1)
    with EMDict(store) as d, EMList(store, name="more") as more:
        assert d == {"a": 1} and more == [1] and d.name == "" and more.name == "more"
        with d.transaction():
            d["b"] = 2
            more.append(2)
    with pytest.raises(FormatError, match="^Cannot open EMList: .*a dict, not a list"):
        EMList(store)


def test_the_unnamed_container_of_a_store_of_many(store):
    with Store(store) as opened:
        opened.dict("calls")["a"] = 1
    missing = "^Cannot open EMDict: .*holds no container '' but 'calls'; open one of them by its name$"
    for mode in ("r", "r+", "a"):
        with pytest.raises(FileNotFoundError, match=missing):
            EMDict(store, mode=mode)
    with Store(store) as opened:
        opened.dict("")["unnamed"] = 1
    with EMDict(store) as d:
        assert d == {"unnamed": 1}
    with Store(store, mode="r") as opened:
        assert list(opened) == ["calls", ""] and opened["calls"] == {"a": 1}


def test_names_in_messages_do_nothing_to_a_terminal(store):
    with Store(store) as opened:
        opened.dict("x\x1b[2J\n', 'y")
        opened.dict("\N{GREEK SMALL LETTER ALPHA}" * 100)
        with pytest.raises(FileNotFoundError) as caught:
            EMDict(store, name="none", mode="r")
    text = str(caught.value)
    assert "\x1b" not in text and "\n" not in text
    assert r"'x\x1b[2J\x0a\x27, \x27y', '" + "\N{GREEK SMALL LETTER ALPHA}" * 30 + "...'" in text


def test_a_missing_container_is_told_with_those_there_are(store):
    with Store(store) as opened:
        for i in range(8):
            opened.list(f"trace {i}")
        with opened.snapshot() as before:
            opened.list("one more")
            with pytest.raises(FileNotFoundError, match="no container 'one more' but 'trace 0', .*'trace 7'; open one"):
                before.list("one more")
    with pytest.raises(FileNotFoundError, match=r"no container 'x' but 'trace 0', .*'trace 7', \.\.\.; open"):
        EMList(store, name="x", mode="r")
    with pytest.raises(FileNotFoundError, match="^Cannot open EMArray: .*holds no container '' but 'trace 0'"):
        pyrsistence.EMArray(store)


def test_the_repr_of_a_container_in_a_store_names_it(store):
    with Store(store) as opened:
        calls, last = opened.dict("calls"), opened.deque("the last", maxlen=3)
        samples, unnamed = opened.array("s", "f4"), opened.list("")
        calls["main"] = 1
        last.extend("ab")
        samples.extend([1, 2])
        assert repr(calls) == f"EMDict({store!r}, {{'main': 1}}, name='calls')"
        assert repr(last) == f"EMDeque({store!r}, ['a', 'b'], maxlen=3, name='the last')"
        assert repr(samples) == f"EMArray({store!r}, [1.0, 2.0], dtype=<f4, name='s')"
        assert repr(unnamed) == f"EMList({store!r}, [])"
        for i in range(9):
            calls[i] = i
        assert repr(calls).endswith("3: 3, ... 10 entries}, name='calls')")
    assert repr(calls) == f"EMDict({store!r}, closed, name='calls')"


def test_deleting_gives_space_back_and_ends_handles(opened):
    for _ in range(5):
        d = opened.dict("large")
        d.update((i, b"x" * 500) for i in range(2000))
        other, iterator = opened["large"], iter(d)
        next(iterator)
        del opened["large"]
        for use in (lambda: len(d), lambda: d[1], lambda: d.update(a=1), lambda: list(iterator), lambda: other.clear(),
                    lambda: d.info, lambda: iter(other)):  # fmt: skip
            with pytest.raises(ClosedError, match="the container was removed"):
                use()
        assert "closed" in repr(d)
        d.close()
    opened.checkpoint()
    opened.check()
    opened.checkpoint()
    assert opened.info.live_pages < 30
    again = opened.dict("large")
    assert len(again) == 0
    with pytest.raises(ClosedError):
        len(other)


# --- handles


def test_closing_the_store_closes_its_containers(store):
    opened = Store(store)
    handles = [opened.dict("d"), opened.list("l"), opened["d"]]
    kept, dropped = handles[0], weakref.ref(handles[2])
    del handles[2]
    gc.collect()
    assert dropped() is None
    assert opened.close() is None and opened.closed and kept.closed
    assert opened.close() is None
    for use in (lambda: opened["d"], lambda: opened.dict("d"), lambda: opened.list("l"), lambda: len(opened),
                lambda: list(opened), lambda: "d" in opened, lambda: opened.rename("d", "e"), lambda: opened.info,
                lambda: opened.__delitem__("d"), lambda: opened.snapshot(), lambda: opened.transaction(),
                lambda: opened.sync(), lambda: opened.verify(), lambda: opened.backup(store + "2"),
                lambda: opened.__enter__(), lambda: list(opened.snapshots), lambda: opened.snapshots.create("a"),
                lambda: opened.refresh(), lambda: kept["a"], lambda: opened.values()):  # fmt: skip
        with pytest.raises(ClosedError, match="is closed; open it again"):
            use()
    assert repr(opened) == f"<closed Store {store!r}>"
    assert opened.open(store) is True
    assert sorted(opened) == ["d", "l"] and kept.closed
    opened.close()
    assert repr(Store.__new__(Store)) == "<closed Store>"
    with pytest.raises(ClosedError, match="never opened"):
        len(Store.__new__(Store))


def test_a_container_outlives_the_object_of_its_store(store):
    with pytest.warns(ResourceWarning, match="unclosed Store .*call close"):
        d = Store(store).dict("d")
        gc.collect()
    d["a"] = 1
    d.close()
    with Store(store, mode="r") as opened:
        assert opened["d"] == {"a": 1}


def test_one_handle_is_closed_and_opened_alone(opened, tmp_path):
    d = opened.dict("d")
    d["a"] = 1
    d.close()
    assert opened["d"] == {"a": 1}
    d.open(opened.path)
    assert d == {"a": 1} and d.name == "d"
    with pytest.raises(RuntimeError, match="already open"):
        d.open(opened.path)
    d.close()


def test_a_snapshot_that_is_opened_again_is_a_handle_like_any_other(opened):
    d = opened.dict("d")
    d["a"] = 1
    frozen = d.snapshot()
    d["a"] = 2
    frozen.close()
    frozen.open(opened.path)
    assert frozen == {"a": 2}
    with pickle.loads(pickle.dumps(frozen)) as again:
        assert again == {"a": 2}
    frozen.close()


def test_opening_leaves_nothing_behind_when_it_fails(tmp_path):
    for arguments in ({"mode": "r"}, {"mode": "q"}, {"memory_limit": 1}, {"pickler": 5}, {"at": "x"}, {"name": "x"},
                      {"at": ""}):  # fmt: skip
        with pytest.raises((RuntimeError, ValueError, TypeError)):
            Store(tmp_path / "s", **arguments)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(pyrsistence.NotFoundError, match="^Cannot open Store: "):
        Store(tmp_path / "s", mode="r")


def test_modes(store):
    with Store(store, mode="x") as opened:
        opened.dict("d")["a"] = 1
    with pytest.raises(FileExistsError, match="^Cannot open Store: "):
        Store(store, mode="x")
    with Store(store, mode="r") as reader:
        assert reader["d"] == {"a": 1} and reader.mode == reader["d"].mode == "r"
        for change in (lambda: reader["d"].clear(), lambda: reader.__delitem__("d"), lambda: reader.rename("d", "e"),
                       lambda: reader.compact(), lambda: reader.checkpoint(), lambda: reader.snapshots.create("s"),
                       lambda: reader.transaction().__enter__()):  # fmt: skip
            with pytest.raises(ReadOnlyError, match="read-only; open it with mode 'a'"):
                change()
        for missing in (reader.dict, reader.list):
            with pytest.raises(FileNotFoundError, match="holds no container 'new'"):
                missing("new")
        assert reader.verify().fault_count == 0
    with Store(store, mode="w") as opened:
        assert len(opened) == 0 and opened.dict("new").mode == "a"


def test_picklers_hold_for_all_containers(store):
    class Upper:
        def pickle(self, value):
            return repr(value).upper().encode()

        def unpickle(self, data):
            return data.decode()

    with Store(store, Upper(), Upper()) as opened:
        opened.list("l").append("a")
        assert opened["l"][0] == "'A'"
    with Store(store, allow_pickle=False) as opened, pytest.raises(pyrsistence.PickleRefusedError):
        opened.list("m").append(object())


def test_copies_weak_references_and_hashes(opened):
    for duplicate in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="is a directory"):
            duplicate(opened)
        with pytest.raises(TypeError, match="is a directory"):
            duplicate(opened.dict("d"))
    assert weakref.ref(opened)() is opened
    with pytest.raises(TypeError, match="unhashable"):
        hash(opened)


def test_error_paths_leak_nothing(opened):
    opened.dict("d")

    def once():
        for use in (lambda: opened.list("d"), lambda: opened.dict("x" * 5000), lambda: opened.dict("\ud800"),
                    lambda: opened["no"], lambda: opened.rename(1, 2), lambda: Store(opened.path, at="no"),
                    lambda: opened.snapshots["no"], lambda: opened.verify(progress=5),
                    lambda: opened.compact(progress=lambda done, total: 1 / 0),
                    lambda: pickle.dumps(opened.snapshot())):  # fmt: skip
            with contextlib.suppress(Exception):
                use()

    once()
    gc.collect()
    before, files = len(gc.get_objects()), len(os.listdir("/proc/self/fd"))
    for _ in range(200):
        once()
    gc.collect()
    assert len(gc.get_objects()) - before < 50 and len(os.listdir("/proc/self/fd")) <= files
    opened.check()


# --- other processes


def lookup(handle, key):
    if isinstance(handle, Store):
        return handle.mode, sorted(handle), handle["d"].get(key), getattr(handle, "label", None)
    return handle.mode, handle.name, handle[key]


def test_pickled_handles_open_in_other_processes(store):
    with Program(store) as opened:
        opened.label = "mine"
        d, items = opened.dict("d"), opened.list("l")
        items.append("item")
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            for i in range(5):
                d["i"] = i  # each call sees what was done before it
                assert pool.submit(lookup, d, "i").result(120) == ("r", "d", i)
                assert pool.submit(lookup, opened, "i").result(120) == ("r", ["d", "l"], i, "mine")
            assert pool.submit(lookup, items, 0).result(120) == ("r", "l", "item")
            opened.snapshots.create("four")
            d["i"] = 5
            with Store(store, at="four") as old:
                assert pool.submit(lookup, old["d"], "i").result(120) == ("r", "d", 4)
                assert pool.submit(lookup, old, "i").result(120)[2] == 4
            with d.transaction():
                d["i"] = 6
                assert pool.submit(lookup, d, "i").result(120) == ("r", "d", 5)
            assert pool.submit(lookup, d, "i").result(120) == ("r", "d", 6)


def test_workers_drop_what_they_were_sent_in_silence(store):
    """Every argument that was a handle ended in a ResourceWarning, as its user could not close it."""
    program = """
        import gc, pickle, sys
        from pyrsistence import Store
        handle = pickle.load(sys.stdin.buffer)
        print(handle.mode, len(handle))
        del handle
        gc.collect()
    """
    with Store(store) as opened:
        opened.dict("d")["a"] = 1
        for handle in (opened, opened["d"]):
            done = subprocess.run([sys.executable, "-X", "dev", "-c", textwrap.dedent(program)],
                                  input=pickle.dumps(handle), capture_output=True, check=True)  # fmt: skip
            assert (done.stdout, done.stderr) == (b"r 1\n", b"")


def test_pickled_in_this_process(opened):
    opened.dict("d")["a"] = 1
    with pickle.loads(pickle.dumps(opened)) as other, pickle.loads(pickle.dumps(opened["d"])) as d:
        assert other.mode == "r+" and other["d"] == d == {"a": 1} and type(other) is Store
        d["b"] = 2
    assert opened["d"] == {"a": 1, "b": 2}
    with opened.snapshot() as frozen:
        for handle in (frozen, frozen["d"], opened["d"].snapshot()):
            with pytest.raises(TypeError, match=r"is a snapshot.*snapshots.create\(name\).*at=name"):
                pickle.dumps(handle)
    closed = Store(None)
    closed.close()
    assert pickle.loads(pickle.dumps(closed)).closed


def test_a_forked_child_is_told(store):
    support.run_child(
        """
        import os, sys
        from pyrsistence import ClosedError, Store
        store = Store(sys.argv[1])
        d = store.dict("d")
        child = os.fork()
        if child == 0:
            assert repr(store) == f"<closed Store {store.path!r}>", repr(store)
            for use in (lambda: store["d"], lambda: list(store), lambda: store.dict("x"), store.snapshot,
                        lambda: store.transaction().__enter__()):
                try:
                    use()
                except ClosedError:
                    continue
                os._exit(1)
            store.close()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        d["a"] = 1
        store.close()
        """,
        store,
    )
    with Store(store, mode="r") as opened:
        assert opened["d"] == {"a": 1}


# --- verify, repair, backup, compact, info


def test_verify_reports(opened):
    opened.dict("d").update((i, i) for i in range(5000))
    opened.list("l").extend(range(3000))
    seen = []
    report = opened.verify(progress=lambda done, total: seen.append((done, total)))
    assert (report.entries, report.fault_count, report.faults) == (8000, 0, ()) and report.pages > 10
    assert seen and all(done <= total for done, total in seen) and seen == sorted(seen)
    for bad in (5, "x"):
        with pytest.raises(TypeError, match="progress must be callable or None"):
            opened.verify(progress=bad)

    def refuse(done, total):
        raise LookupError("enough")

    for call in (lambda: opened.verify(progress=refuse), lambda: opened.compact(progress=refuse)):
        with pytest.raises(LookupError, match="enough"):
            call()
    with pytest.raises(pyrsistence.Error, match="the function that reports progress, has ended"):
        opened.compact(progress=lambda done, total: opened.close())
    opened.check()
    assert opened["d"][4999] == 4999


def test_faults_are_all_named(store):
    with Store(store) as opened:
        opened.dict("d").update((i, "x" * 100) for i in range(10_000))
    path = os.path.join(store, "data")
    with open(path, "r+b") as file:
        content = bytearray(file.read())
        for place in range(20 * 4096 + 2000, len(content), 40 * 4096):
            content[place] ^= 0xFF
        file.seek(0)
        file.write(content)
    with pytest.raises(pyrsistence.CorruptionError, match="page [0-9]+") as caught, Store(store, mode="r") as opened:
        opened.verify()
    report = caught.value.report
    assert report.fault_count >= len(report.faults) > 1
    assert all(isinstance(fault, str) and "page" in fault for fault in report.faults)


def damage(store, every=40):
    """A byte in every 40th page behind the first 20."""
    path = os.path.join(store, "data")
    with open(path, "r+b") as file:
        for place in range(20 * 4096 + 2000, os.path.getsize(path), every * 4096):
            file.seek(place)
            byte = file.read(1)[0] ^ 0xFF
            file.seek(place)
            file.write(bytes([byte]))


def test_repair_saves_what_can_be_read(store, tmp_path):
    with Store(store) as opened:
        opened.dict("d").update((i, "x" * 100) for i in range(10_000))
        opened.list("l").extend(range(1000))
        assert opened.verify(repair=True).repaired is None, "there is nothing to repair"
        opened.snapshots.create("monday")
    damage(store)
    with Store(store) as opened:
        report = opened.verify(repair=True)
        assert report.repaired == str(store) + ".repaired" and report.fault_count > 1
        with pytest.raises(pyrsistence.ExistsError, match="not empty"):
            opened.verify(repair=True)
        assert "snapshot 'monday'" in report.left_out
    with Store(report.repaired) as saved:
        saved.verify()
        assert 5000 < len(saved["d"]) < 10_000 and set(saved["d"].values()) == {"x" * 100}
        assert len(saved["d"]) + len(saved["l"]) == report.saved
        assert list(saved["d"]) == sorted(saved["d"])
    again = pyrsistence.verify(store, repair=tmp_path / "again")
    assert (again.repaired, again.saved) == (str(tmp_path / "again"), report.saved)
    for bad in (5, 1.5):
        with pytest.raises(TypeError):
            pyrsistence.verify(store, repair=bad)


def test_verify_of_a_store_that_does_not_open(store, tmp_path):
    with Store(store) as opened:
        opened.dict("d").update(a=1, b=[2, 3])
        with pytest.raises(pyrsistence.LockedError, match="open for writing"):
            pyrsistence.verify(store)
    assert pyrsistence.verify(store).entries == 2
    with open(os.path.join(store, "data"), "r+b") as file:
        file.write(b"x" * 8192)
    with pytest.raises(pyrsistence.Error):
        Store(store)
    with pytest.raises(pyrsistence.CorruptionError, match="repair=True") as caught:
        pyrsistence.verify(store, progress=lambda done, total: None)
    assert caught.value.report.fault_count >= 1
    report = pyrsistence.verify(str(store) + "/", repair=True)
    with Store(report.repaired, mode="r") as saved:
        assert saved["d"] == {"a": 1, "b": [2, 3]}
    for missing in (tmp_path / "none", tmp_path):
        with pytest.raises(FileNotFoundError):
            pyrsistence.verify(missing)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "data").write_bytes(b"a letter" * 2000)
    with pytest.raises(pyrsistence.FormatError):
        pyrsistence.verify(tmp_path / "other", repair=True)


def test_repair_never_unpickles(store, monkeypatch):
    with Store(store) as opened:
        opened.list("l").extend([Unpicklable() for _ in range(500)] + list(range(5000)))
    damage(store, every=3)
    monkeypatch.setattr(Unpicklable, "loaded", 0)
    report = pyrsistence.verify(store, repair=True)
    with Store(report.repaired, allow_pickle=False) as saved:
        assert len(saved["l"]) == report.saved > 100 and Unpicklable.loaded == 0


class Unpicklable:
    loaded = 0

    def __reduce__(self):
        return Unpicklable._load, ()

    @staticmethod
    def _load():
        Unpicklable.loaded += 1



def test_backup(opened, tmp_path):
    opened.dict("d").update((i, b"x" * 100) for i in range(5000))
    opened.snapshots.create("s")
    opened["d"]["later"] = 1
    seen = []
    opened.backup(tmp_path / "copy", progress=lambda done, total: seen.append((done, total)))
    assert seen and seen[-1][0] == seen[-1][1]
    with Store(tmp_path / "copy") as made:
        assert made["d"] == opened["d"] and list(made.snapshots) == ["s"]
        made["d"]["more"] = 1
        made.check()
    with Store(tmp_path / "copy", at="s") as old:
        assert len(old["d"]) == 5000
    for taken in (tmp_path / "copy", opened.path):
        with pytest.raises(FileExistsError, match="exists and is not empty; a backup needs a new directory"):
            opened.backup(taken)
    with pytest.raises(TypeError):
        opened.backup(5)
    with pytest.raises(FileNotFoundError):
        opened.backup(tmp_path / "no" / "such" / "parent")
    (tmp_path / "empty").mkdir()
    opened.backup(tmp_path / "empty")
    EMDict(tmp_path / "empty", name="d", mode="r").close()

    def refuse(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened.backup(tmp_path / "broken", progress=refuse)
    with pytest.raises(RuntimeError):
        Store(tmp_path / "broken", mode="r")
    opened.check()


def test_info(opened):
    d = opened.dict("d")
    d.update(a=1, b=2)
    assert d.info.entries == 2 and opened.info.entries == 0
    assert opened.info.snapshots == 0 and opened.info.readers == 0 and opened.info.oldest_reader == 0.0
    opened.snapshots.create("s")
    assert d.info.snapshots == 1


def test_a_handle_that_is_closed_in_a_transaction_keeps_the_name_that_a_rollback_brings_back(tmp_path):
    with Store(tmp_path / "s") as store, EMDict(tmp_path / "s", name="calls") as calls:
        calls[1] = 2
        with pytest.raises(ZeroDivisionError), store.transaction():
            store.rename("calls", "edges")
            calls.close()
            raise ZeroDivisionError
        calls.open(tmp_path / "s")
        assert dict(calls) == {1: 2} and list(store) == ["calls"]
