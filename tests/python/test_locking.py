"""One writer process: who holds the lock, what others are told, and when the lock goes away."""

import os
import signal

import pytest
import support
from pyrsistence import EMDict, EMList, LockedError

HOLD = """
    import sys, time
    from pyrsistence import EMDict
    d = EMDict(sys.argv[1])
    d["writer"] = 1
    print("open", flush=True)
    sys.stdin.readline()
    d.close()
    print("closed", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("mode", ["a", "r+", "w"])
def test_a_second_writer_is_told_the_pid_of_the_first(store, mode):
    with support.child(HOLD, store) as holder:
        support.expect(holder, "open")
        with pytest.raises(LockedError, match=rf"\b{holder.pid}\b") as caught:
            EMDict(store, mode=mode)
        assert store in str(caught.value) and isinstance(caught.value, RuntimeError)
        holder.stdin.write("\n")
        holder.stdin.flush()
        support.expect(holder, "closed")
        with EMDict(store) as d:  # the process lives on, its lock does not
            assert d["writer"] == 1


def test_a_store_that_another_process_writes_exists(store):
    """mode="x" said that it was locked."""
    with support.child(HOLD, store) as holder:
        support.expect(holder, "open")
        for kind in (EMDict, EMList):
            with pytest.raises(FileExistsError, match="holds a store already"):
                kind(store, mode="x")
    with EMDict(store), pytest.raises(FileExistsError, match="exists already"):
        EMDict(store, mode="x")


def test_a_refused_writer_leaves_the_store_as_it_was(store):
    with support.child(HOLD, store) as holder:
        support.expect(holder, "open")
        before = {entry.name: entry.stat().st_size for entry in os.scandir(store)}
        for kind in (EMDict, EMList):
            with pytest.raises(LockedError):
                kind(store, mode="w" if kind is EMDict else "a")
        assert {entry.name: entry.stat().st_size for entry in os.scandir(store)} == before
        with pytest.raises(LockedError, match=rf"\b{holder.pid}\b"):
            EMDict(store)


def test_a_reader_beside_a_writer_in_another_process(store):
    with support.child(HOLD, store) as holder:
        support.expect(holder, "open")
        with EMDict(store, mode="r") as d:
            assert d["writer"] == 1


def test_readers_share_a_store_and_keep_no_writer_out(store):
    read = """
        import sys
        from pyrsistence import EMDict
        with EMDict(sys.argv[1], mode="r") as d:
            print(d["key"], flush=True)
            sys.stdin.readline()
    """
    with EMDict(store) as d:
        d["key"] = "value"
    with support.child(read, store) as first, support.child(read, store) as second:
        support.expect(first, "value")
        support.expect(second, "value")
        with EMDict(store, mode="r") as d:
            assert d["key"] == "value"
        with EMDict(store) as d:
            d["key"] = "changed"
        first.stdin.write("\n")
        first.stdin.flush()
    with EMDict(store) as d:
        assert d["key"] == "changed"


def test_the_lock_of_a_killed_process_is_gone(store):
    with support.child(HOLD, store) as holder:
        support.expect(holder, "open")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with EMDict(store) as d:
            assert d["writer"] == 1
            d.check()


def test_a_forked_child_does_not_keep_the_lock_of_its_dead_parent(store):
    fork = """
        import os, sys, time
        from pyrsistence import EMDict
        d = EMDict(sys.argv[1])
        d["writer"] = 1
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        print(child, flush=True)
        time.sleep(60)
    """
    with support.child(fork, store) as holder:
        orphan = int(holder.stdout.readline())
        try:
            holder.kill()
            holder.wait()
            os.kill(orphan, 0)  # it lives
            with EMDict(store) as d:
                assert d["writer"] == 1
        finally:
            os.kill(orphan, signal.SIGKILL)


def test_a_program_started_by_the_writer_does_not_inherit_the_lock(store):
    start = """
        import os, subprocess, sys
        from pyrsistence import EMDict
        d = EMDict(sys.argv[1])
        d["writer"] = 1
        print(subprocess.Popen(["sleep", "60"], close_fds=False, stdout=subprocess.DEVNULL).pid, flush=True)
        os._exit(1)
    """
    with support.child(start, store) as holder:
        orphan = int(holder.stdout.readline())
        try:
            holder.wait()
            with EMDict(store) as d:
                assert d["writer"] == 1
        finally:
            os.kill(orphan, signal.SIGKILL)


def test_two_handles_in_one_process_share_the_store(store):
    with EMDict(store) as first:
        with EMDict(store) as second:
            second["key"] = 1
            assert first["key"] == 1
        first["more"] = 2  # closing one handle leaves the other open
        with pytest.raises(LockedError, match=str(os.getpid())):
            raise_in_child(store)
    assert support.run_child(OPEN, store).stdout == "opened\n"


OPEN = """
    import sys
    from pyrsistence import EMDict, LockedError
    try:
        with EMDict(sys.argv[1]):
            print("opened")
    except LockedError as error:
        print(error)
"""


def raise_in_child(store):
    raise LockedError(support.run_child(OPEN, store).stdout)


def test_a_directory_removed_and_made_again_is_a_new_store(store):
    import shutil

    old = EMDict(store)
    old["key"] = "old"
    shutil.rmtree(store)
    with EMDict(store) as new:
        assert "key" not in new
        new["key"] = "new"
        assert old["key"] == "old"
        old.close()
        assert new["key"] == "new"
    with EMDict(store) as again:
        assert dict(again.items()) == {"key": "new"}
