"""Handles and processes: what a forked child may not do, and how a handle travels to another process."""

import support

FORKED = """
    import contextlib, gc, hashlib, os, pathlib, sys, threading, warnings
    from pyrsistence import ClosedError, EMDict, EMList

    def in_child(function, sync=False):
        '''Runs a function in a forked child; its output tells of a failure.'''
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                function()
                code = 0
            except BaseException:
                import traceback
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert status == 0, status

    def refused(function):
        try:
            function()
        except ClosedError as error:
            assert isinstance(error, ValueError)
            return
        raise AssertionError("a child used the store of its parent")
"""


def run(code, *arguments, **options):
    import textwrap

    source = textwrap.dedent(FORKED) + textwrap.dedent(code)
    done = support.run_child(source, *arguments, **options)
    assert done.stdout.splitlines()[-1:] == ["ok"], done.stdout + done.stderr


def test_every_use_in_a_forked_child_raises(store):
    run(
        """
        d, l = EMDict(sys.argv[1] + "-d"), EMList(sys.argv[1] + "-l")
        d.update(a=1, b=2)
        l.extend([1, 2, 3])
        iterator, items, backwards = iter(d), iter(d.items()), reversed(l)
        next(iterator), next(items), next(backwards)

        def child():
            for use in (
                lambda: d["a"], lambda: d.__setitem__("a", 2), lambda: d.__delitem__("a"), lambda: "a" in d,
                lambda: len(d), lambda: list(d), lambda: d.get("a"), lambda: d.pop("a"), lambda: d.popitem(),
                lambda: d.clear(), lambda: d.update(c=3), lambda: d.setdefault("a"), lambda: list(d.items()),
                lambda: next(iterator), lambda: next(items), lambda: d.sync(), lambda: d.checkpoint(),
                lambda: d.check(), lambda: d.info, lambda: d == {}, lambda: dict(d.items()),
                lambda: l[0], lambda: l[:], lambda: l.append(1), lambda: l.insert(0, 1), lambda: l.pop(),
                lambda: len(l), lambda: list(l), lambda: l.sort(), lambda: l.reverse(), lambda: l.clear(),
                lambda: next(backwards), lambda: l.sync(), lambda: l.checkpoint(), lambda: l.check(),
                lambda: l.__setitem__(0, 1), lambda: l.__delitem__(slice(0, 1)), lambda: l.extend([1]),
            ):
                refused(use)
            repr(d), repr(l), d.closed, d.path
        in_child(child)
        assert dict(d.items()) == {"a": 1, "b": 2} and list(l) == [1, 2, 3]
        d.check(), l.check()
        d.close(), l.close()
        print("ok")
        """,
        store,
    )


def test_close_and_destructors_in_a_child_harm_nothing(store):
    run(
        """
        def digests():
            return [hashlib.sha1(e.read_bytes()).digest() for e in sorted(pathlib.Path(sys.argv[1]).iterdir())]

        def fill():
            for i in range(20_000):
                d[i] = bytes(i % 3000)
        d = EMDict(sys.argv[1], memory_limit=64 << 20)
        fill()
        d.checkpoint()  # so that none runs in the background from here on
        d.update({i: i for i in range(100)})
        before = digests()

        def child():
            global d
            d.close()
            d.close()
            with contextlib.suppress(ValueError):
                d["a"]
            d = None
            gc.collect()
        in_child(child)

        def child_that_collects():
            global d
            warnings.simplefilter("ignore")
            d = None
            gc.collect()
        in_child(child_that_collects)

        sys.stdout.flush()
        if os.fork() == 0:
            raise SystemExit(0)  # the whole end of the interpreter
        assert os.wait()[1] == 0
        assert digests() == before
        assert len(d) == 20_000 and all(len(d[i]) == i % 3000 for i in range(100, 20_000))
        fill()
        d.check()
        d.close()
        with EMDict(sys.argv[1]) as d:
            assert len(d) == 20_000
            d.check()
        print("ok")
        """,
        store,
        PYTHONWARNINGS="ignore::ResourceWarning",
    )


def test_a_child_may_open_other_stores_and_its_own_handle_on_this_one_later(store):
    run(
        """
        d = EMDict(sys.argv[1])
        d["parent"] = 1

        def child():
            with EMDict(sys.argv[1] + "-other") as other:
                other["child"] = 1
            try:
                EMDict(sys.argv[1])
            except Exception as error:
                assert type(error).__name__ == "LockedError" and str(os.getppid()) in str(error), error
            else:
                raise AssertionError("the parent's lock did not hold")
        in_child(child)
        d.close()

        def successor():
            with EMDict(sys.argv[1]) as d:
                d["child"] = 2
        in_child(successor)
        with EMDict(sys.argv[1]) as d:
            assert dict(d.items()) == {"parent": 1, "child": 2}
        print("ok")
        """,
        store,
    )


def test_forks_while_other_threads_write_and_checkpoints_run(store):
    """A child must not hang on a lock that a thread, which it does not have, held when it was forked."""
    run(
        """
        d = EMDict(sys.argv[1], memory_limit=64 << 20)
        stop = False
        errors = []

        def write(first):
            try:
                i = 0
                while not stop:
                    d[first + i % 5000] = bytes(i % 2000)
                    i += 1
                    if i % 500 == 0:
                        d.checkpoint() if first else d.sync()
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=write, args=(n * 10_000,)) for n in range(3)]
        for thread in threads:
            thread.start()

        def child():
            global d
            refused(lambda: d[1])
            refused(lambda: d.sync())
            refused(lambda: d.checkpoint())
            refused(lambda: len(d))
            d.close()
            d = None
            gc.collect()

        for _ in range(150):
            in_child(child)
        stop = True
        for thread in threads:
            thread.join()
        assert not errors, errors
        d.check()
        d.close()
        print("ok")
        """,
        store,
        PYTHONWARNINGS="ignore::DeprecationWarning",
    )


def test_a_handle_pickled_to_a_spawned_process_is_opened_there_read_only(store, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        """
import multiprocessing, pickle, sys
from pyrsistence import EMDict, EMList, ReadOnlyError

def read(pickled, closed):
    assert closed.closed
    d, l = pickle.loads(pickled)
    assert type(d) is EMDict and type(l) is EMList and d.mode == "r"
    try:
        d["new"] = 1
    except ReadOnlyError:
        pass
    else:
        raise AssertionError("a handle from another process can write")
    found = dict(d.items()), list(l)
    d.close(), l.close()
    assert closed.open(closed.path) is True and dict(closed.items()) == found[0]
    closed.close()
    return found

if __name__ == "__main__":
    d, l = EMDict(sys.argv[1] + "-d"), EMList(sys.argv[1] + "-l")
    d.update(a=1, b=[2])
    l.extend("xyz")
    pickled = pickle.dumps((d, l))
    d.close(), l.close()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for found in [pool.apply_async(read, (pickled, d)) for _ in range(4)]:
            assert found.get(60) == ({"a": 1, "b": [2]}, ["x", "y", "z"]), found
    print("ok")
"""
    )
    done = support.run_child(
        "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')",
        program,
        store,
    )
    assert done.stdout == "ok\n"
