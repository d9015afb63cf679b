"""One store and many processes: pools of workers that read while their parent writes, children that are forked,
dropped and killed in the middle of anything, and children that outlive their parent."""

import concurrent.futures
import contextlib
import itertools
import multiprocessing
import os
import pickle
import signal
import textwrap
import time

import pytest
import support
from pyrsistence import ClosedError, Store

PATIENCE = 120  # seconds that a busy machine may take


class Bank:
    """Containers that change together; whoever sees half a transaction finds the sums wrong."""

    ACCOUNTS, SHARE = 50, 1000

    def __init__(self, store):
        self.store = store
        self.accounts, self.log = store.dict("accounts"), store.list("log")
        with store.transaction():
            self.accounts.update(dict.fromkeys(range(self.ACCOUNTS), self.SHARE))
            self.log.append(b"")
        self.count = 0

    def step(self):
        """One transaction; every third leaves no trace."""
        number = self.count + 1
        with contextlib.suppress(KeyError), self.store.transaction():
            self.accounts[number % self.ACCOUNTS] -= number % 7
            self.accounts[number * 3 % self.ACCOUNTS] += number % 7
            self.log.append(number.to_bytes(8, "big") * (number % 300))
            if number % 3 == 0 and len(self.log) % 2 == 0:
                raise KeyError
            self.count = number

    @classmethod
    def audit(cls, store):
        """Proves that a store is as a transaction left it. Returns how many there were."""
        count = len(store["log"]) - 1
        assert sum(store["accounts"].values()) == cls.ACCOUNTS * cls.SHARE, count
        for number, entry in enumerate(store["log"]):
            assert entry == number.to_bytes(8, "big") * (number % 300), number
        return count


def look(store, least):
    """In a worker: a handle from the parent, which goes on writing. Returns the first and the last state seen."""
    with store:
        assert store.mode == "r" and store.info.memory_limit == 64 << 20
        first = seen = Bank.audit(store)
        end = time.monotonic() + PATIENCE
        for tries in itertools.count():
            if tries >= 3 and seen >= least:
                return first, seen
            assert time.monotonic() < end, f"{seen} transactions are seen, {least} had been done"
            store.refresh()
            now = Bank.audit(store)
            assert now >= seen, f"from state {seen} back to {now}"
            seen = now


@contextlib.contextmanager
def pool_of(kind, method):
    """A function that starts a call in a worker and returns one that awaits its result."""
    context = multiprocessing.get_context(method)
    if kind == "pool":
        with context.Pool(2, maxtasksperchild=7) as pool:  # new workers come while the parent writes

            def submit(function, *arguments):
                result = pool.apply_async(function, arguments)
                return lambda: result.get(PATIENCE)

            yield submit
    else:
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:

            def submit(function, *arguments):
                result = pool.submit(function, *arguments)
                return lambda: result.result(PATIENCE)

            yield submit


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # of a process with threads
@pytest.mark.parametrize("kind", ["pool", "executor"])
@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_workers_read_while_their_parent_writes(store, method, kind):
    with Store(store, memory_limit=64 << 20) as opened:
        bank = Bank(opened)
        with pool_of(kind, method) as submit:
            calls = []
            for _ in range(support.scaled(20)):
                bank.step()
                calls.append((bank.count, submit(look, opened, bank.count)))
            bank.step()
            while calls:
                least, result = calls.pop(0)
                first, last = result()
                assert first <= last and least <= last <= bank.count
                for _ in range(10):
                    bank.step()
                if len(calls) % 5 == 0:
                    opened.checkpoint()
        assert Bank.audit(opened) == bank.count
        opened.check()


def test_a_sent_handle_shows_what_its_sender_had_done_although_that_has_stopped(store, tmp_path):
    sender = """
        import pathlib, pickle, sys
        from pyrsistence import EMDict
        with EMDict(sys.argv[1]) as d:
            d["a"] = 1
            pathlib.Path(sys.argv[2]).write_bytes(pickle.dumps(d))
            print("sent", flush=True)
            sys.stdin.read()
    """
    with support.child(sender, store, tmp_path / "sent") as process:
        support.expect(process, "sent")
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        with pickle.loads((tmp_path / "sent").read_bytes()) as d:
            assert dict(d.items()) == {"a": 1}
        process.send_signal(signal.SIGCONT)


PARENT = """
    import gc, hashlib, os, pathlib, signal, sys
    from pyrsistence import ClosedError, EMDict, Store
    path = sys.argv[1]

    def forked(function):
        '''Runs a function in a child; returns how the child ended.'''
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            try:
                function()
            except SystemExit:
                raise  # the whole end of an interpreter
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(99)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def digests():
        return [(e.name, hashlib.sha1(e.read_bytes()).digest()) for e in sorted(pathlib.Path(path).iterdir())]

    def kill_me():
        os.kill(os.getpid(), signal.SIGKILL)
"""


def run(code, *arguments, **options):
    return support.run_child(textwrap.dedent(PARENT) + textwrap.dedent(code), *arguments, **options)


@pytest.mark.parametrize("ending", ["os._exit(0)", "sys.exit(0)", "kill_me()"])
def test_what_a_child_drops_within_a_transaction_leaves_the_files_alone(store, ending):
    run(
        """
        class Mine(EMDict):
            def __del__(self):  # as users write it
                for use in (self.clear, self.sync, self.checkpoint):
                    try:
                        use()
                    except ClosedError:
                        refusals.append(use)
                self.close()

        refusals = []
        store = Store(path, memory_limit=64 << 20)
        d, l = store.dict("d"), store.list("l")
        mine = Mine(path + "-mine")
        mine["kept"] = 1
        d.update((i, bytes(i)) for i in range(1000))
        store.snapshots.create("named")
        l.extend(range(1000))
        frozen, named = store.snapshot(), Store(path, at="named")
        outer = store.transaction()
        outer.__enter__()
        d.clear()
        inner = store.transaction()
        inner.__enter__()
        l.clear()
        d["inner"] = 1
        iterators = [iter(frozen["d"].items()), iter(d), reversed(l), iter(d.values())]
        before = digests()

        def child():
            global store, d, l, mine, frozen, named, outer, inner, iterators
            for end in (inner, outer):
                try:
                    end.__exit__(None, None, None)
                except ClosedError:
                    pass
            store = d = l = mine = frozen = named = outer = inner = iterators = None
            gc.collect()
            assert len(refusals) == 3, refusals
            ENDING

        assert forked(child) == (-signal.SIGKILL if "kill" in sys.argv[2] else 0)
        assert digests() == before, "a child has written to its parent's files"
        assert list(frozen["d"]) == list(range(1000)) and len(named["d"]) == 1000
        inner.__exit__(ValueError, ValueError(), None)
        assert len(l) == 1000 and len(d) == 0
        d["outer"] = 1
        outer.__exit__(None, None, None)
        assert dict(d.items()) == {"outer": 1}
        store.check()
        frozen.close(), named.close(), store.close()
        assert dict(mine.items()) == {"kept": 1}
        """.replace("ENDING", ending),
        store,
        ending,
        PYTHONWARNINGS="ignore::ResourceWarning",
    )
    with Store(store) as again:
        assert again["d"] == {"outer": 1} and again["l"] == list(range(1000))
        again.check()


def test_children_are_killed_at_any_moment_while_their_parent_writes(store):
    with support.seeded("killed children") as (rng, _):
        run(
            """
            import random, threading, time
            rng = random.Random(int(sys.argv[2]))
            store = Store(path, memory_limit=64 << 20)
            d = store.dict("d")
            done, stop = 0, False

            def write():
                global done
                while not stop:
                    with store.transaction():
                        d[done % 1000] = bytes(done % 2000)
                        d["count"] = done + 1
                    done += 1
                    if done % 200 == 0:
                        store.checkpoint()

            thread = threading.Thread(target=write)
            thread.start()
            for _ in range(int(sys.argv[3])):
                child = os.fork()
                if child == 0:  # drops things until it is killed
                    store = d = None
                    gc.collect()
                    with Store(path, mode="r") as reader:
                        while True:
                            reader["d"]["count"]
                            reader.refresh()
                time.sleep(rng.random() * 0.02)
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            stop = True
            thread.join()
            assert d["count"] == done > 0
            assert store.info.readers == 0
            store.check()
            store.close()
            with Store(path) as store:
                assert store["d"]["count"] == done
                store.check()
            """,
            store,
            rng.getrandbits(32),
            support.scaled(60),
            PYTHONWARNINGS="ignore::DeprecationWarning",
        )


def test_a_child_goes_on_where_its_killed_parent_stopped(store):
    """Three generations: each is killed within a transaction, and its child, which was forked before that, is next."""
    grandparent = """
        import os, signal, sys, time
        from pyrsistence import ClosedError, Store
        for generation in range(4):
            store = Store(sys.argv[1])
            d = store.dict("d")
            assert dict(d.items()) == {i: "kept" for i in range(generation)}, dict(d.items())
            d[generation] = "kept"
            transaction = store.transaction()
            transaction.__enter__()
            d["lost"] = generation
            old = store, d, transaction
            if generation == 3:
                transaction.__exit__(ValueError, ValueError(), None)
                store.check()
                store.close()
                print("done", flush=True)
                break
            parent = os.getpid()
            if os.fork() != 0:
                os.kill(parent, signal.SIGKILL)
            while os.getppid() == parent:
                time.sleep(0.001)
            try:
                d["lost"]
                print("a child used its parent's store", flush=True)
            except ClosedError:
                pass
        sys.stdin.read()
    """
    with support.child(grandparent, store) as process:
        support.expect(process, "done")
    with Store(store) as opened:
        assert opened["d"] == dict.fromkeys(range(4), "kept")
        opened.check()


def test_a_killed_reader_is_gone_although_its_child_lives(store):
    reader = """
        import os, sys, time
        from pyrsistence import ClosedError, Store
        opened = Store(sys.argv[1], mode="r")
        parent, child = os.getpid(), os.fork()
        if child == 0:
            try:
                opened["d"]
                print("a child used its parent's store", flush=True)
            except ClosedError:
                print(os.getpid(), flush=True)
            while os.getppid() == parent:
                time.sleep(0.001)
            sys.stdin.readline()
            with Store(sys.argv[1], mode="r") as own:
                print(own["d"]["a"], flush=True)
                sys.stdin.readline()
            print("closed", flush=True)
        time.sleep(PATIENCE)
    """
    with Store(store) as opened:
        opened.dict("d")["a"] = 1
        with support.child(reader.replace("PATIENCE", str(PATIENCE)), store) as process:
            process.stdout.readline()
            assert opened.info.readers == 1
            opened["d"]["a"] = 2
            opened.checkpoint()
            process.kill()
            process.wait()
            assert opened.info.readers == 0, "the child holds what its dead parent read"
            for line, readers in (("2", 1), ("closed", 0)):
                process.stdin.write("\n")
                process.stdin.flush()
                support.expect(process, line)
                assert opened.info.readers == readers
        opened.check()


def test_a_reader_and_its_forked_children(store):
    """Children drop the handles of a reader; it keeps its state and its place."""
    with Store(store) as opened:
        opened.dict("d")["a"] = 1
        run(
            """
            reader = Store(path, mode="r")
            held = reader.snapshot()

            def child():
                global reader, held
                try:
                    reader.refresh()
                except ClosedError:
                    reader = held = None
                    gc.collect()
                    with Store(path, mode="r") as own:
                        assert own["d"]["a"] == 1
                    if ending:
                        ending()

            for ending, code in ((None, 0), (sys.exit, 0), (kill_me, -signal.SIGKILL)):
                assert forked(child) == code
                assert reader["d"]["a"] == held["d"]["a"] == 1
                reader.refresh()
            held.close(), reader.close()
            """,
            store,
        )
        assert opened.info.readers == 0


def test_a_handle_in_a_forked_child_says_so(store):
    with Store(store) as opened:
        opened.dict("d")["a"] = 1

        def child(queue):
            try:
                opened["d"]
            except ClosedError as error:
                queue.put(str(error))

        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        process = context.Process(target=child, args=(queue,))
        process.start()
        assert "open it again after the fork" in queue.get(timeout=PATIENCE)
        process.join(PATIENCE)
        assert process.exitcode == 0
