#!/usr/bin/env python3
"""One writer and many readers on one store for a long time: `python benchmarks/soak.py --seconds 600`.

The writer moves money between accounts in two dicts and notes each transfer in a list, in transactions, some
of which it rolls back. Readers, each a process, refresh and add up: a total that is wrong, a journal whose
length disagrees with the counters, or a view that changes by itself ends the run. Readers are killed and
replaced at random; one is stopped for nearly half of the time while it looks at a view. The data file must
stay small, though views hold pages. At the end the writer stops, every reader must find its last transaction,
and the store is checked. Prints one line; numbers, with sizes over time, go to a JSON file.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import mmap
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NUMBERS = Path(__file__).resolve().parent.parent / "build" / "soak-results.json"
BALANCE = 1000  # of every account at first
JOURNAL = 20_000  # transfers; when there are so many, the older half is deleted
MADE, DROPPED = "transfers made", "transfers no longer in the journal"  # keys in the second dict
ROLLED_BACK, NESTED = 0.02, 0.02  # shares of the transactions
KILLS_APART = 2.0  # seconds, on average
STOPPED = 0.15, 0.6  # when a reader is stopped and when it goes on, as shares of the time
LOOK = 0.25  # seconds between two looks of the parent
STANDSTILL = 60.0  # seconds without progress of a process that may run
FINISH = 120.0  # seconds that closing, checking and last refreshes may take


# ----------------------------------------------------------------------------------- what all processes share

# One number each: what a process stores is there, even if it is killed. Each has one process that stores it.
PHASE, DONE, UNDONE, PAGES, LIVE_PAGES, WRITER_FIELDS = range(6)
REFRESHES, VIEWS, TURNS, LAG, READER_FIELDS = range(5)  # TURNS: refreshes that met something new
RUNNING, WRITER_ENDS, READERS_END = range(3)


class Board:
    """Numbers in a file that all processes have mapped."""

    def __init__(self, path: Path, readers: int) -> None:
        size = 8 * (WRITER_FIELDS + readers * READER_FIELDS)
        if not path.exists():
            path.write_bytes(bytes(size))
        with open(path, "r+b") as file:
            self.numbers = memoryview(mmap.mmap(file.fileno(), size)).cast("Q")

    def __getitem__(self, field: int) -> int:
        return self.numbers[field]

    def __setitem__(self, field: int, value: int) -> None:
        self.numbers[field] = value

    def reader(self, place: int) -> memoryview:
        start = WRITER_FIELDS + place * READER_FIELDS
        return self.numbers[start : start + READER_FIELDS]


class Wrong(AssertionError):
    """The store broke a promise."""


def expect(condition: bool, message: str) -> None:
    if not condition:
        raise Wrong(message)


# ------------------------------------------------------------------------------------------------- the writer


class Undo(Exception):
    """Leaves a transaction without its effects."""


class Bank:
    """The three containers, and a model of them in memory."""

    def __init__(self, store: Any, accounts: int) -> None:
        self.store, self.accounts = store, accounts
        self.dicts = store.dict("first"), store.dict("second")
        self.journal = store.list("journal")
        self.balances = [BALANCE] * accounts
        self.made = self.dropped = 0

    def found(self) -> None:
        with self.store.transaction(durable=False):
            for account, balance in enumerate(self.balances):
                self.dicts[account & 1][account] = balance
            self.dicts[1].update({MADE: 0, DROPPED: 0})

    def move(self, account: int, amount: int) -> None:
        self.dicts[account & 1][account] += amount

    def transfer(self, source: int, target: int, amount: int) -> None:
        """The money is on its way between the two moves, and the journal is behind."""
        self.move(source, -amount)
        self.move(target, amount)
        self.journal.append((self.made, source, target, amount))
        self.dicts[1][MADE] = self.made + 1
        if len(self.journal) > JOURNAL:
            del self.journal[: JOURNAL // 2]
            self.dicts[1][DROPPED] = self.dropped + JOURNAL // 2

    def commit(self, source: int, target: int, amount: int, nested: bool) -> None:
        with self.store.transaction(durable=False):
            if nested:
                self.undo(target, source, amount + 1)
            self.transfer(source, target, amount)
        self.balances[source] -= amount
        self.balances[target] += amount
        self.made += 1
        self.dropped += JOURNAL // 2 if self.made - self.dropped > JOURNAL else 0

    def undo(self, source: int, target: int, amount: int) -> None:
        with contextlib.suppress(Undo), self.store.transaction(durable=False):
            self.transfer(source, target, amount)
            raise Undo

    def check(self) -> None:
        for account, balance in enumerate(self.balances):
            found = self.dicts[account & 1][account]
            expect(found == balance, f"account {account} holds {found} instead of {balance}")
        numbers = self.dicts[1][MADE], self.dicts[1][DROPPED], len(self.journal)
        expected = self.made, self.dropped, self.made - self.dropped
        expect(numbers == expected, f"made, dropped, length: {numbers} instead of {expected}")
        self.store.check()


def write(task: dict, board: Board) -> None:
    import pyrsistence

    rng = random.Random(task["seed"])
    store = pyrsistence.Store(task["store"])
    bank = Bank(store, task["accounts"])
    bank.found()
    looked = 0.0
    while board[PHASE] == RUNNING:
        source, target = rng.sample(range(task["accounts"]), 2)
        chance, amount = rng.random(), rng.randrange(1, 100)
        if chance < ROLLED_BACK:
            bank.undo(source, target, amount)
            board[UNDONE] += 1
        else:
            bank.commit(source, target, amount, nested=chance < ROLLED_BACK + NESTED)
            board[DONE] = bank.made
        if time.monotonic() - looked > LOOK:
            info = store.info
            board[PAGES], board[LIVE_PAGES] = info.pages, info.live_pages
            looked = time.monotonic()
    bank.check()
    store.close()


# ------------------------------------------------------------------------------------------------ the readers


@dataclass(frozen=True)
class View:
    """What a reader adds up."""

    total: int
    accounts: int
    made: int
    dropped: int
    length: int
    last: tuple | None

    def check(self, accounts: int) -> None:
        total = accounts * BALANCE
        expect(self.accounts == accounts, f"{self.accounts} accounts instead of {accounts}; {self}")
        expect(self.total == total, f"the total is {self.total} instead of {total}; {self}")
        expect(self.length == self.made - self.dropped, f"the journal and its counters disagree: {self}")
        if self.last is not None:
            expect(self.last[0] == self.made - 1, f"the last transfer is not the last made: {self}")


class Audit:
    """The containers as a reader sees them."""

    def __init__(self, store: Any) -> None:
        self.dicts = store.dict("first"), store.dict("second")
        self.journal = store.list("journal")

    def view(self) -> View:
        total = accounts = 0
        for part in self.dicts:
            balances = [balance for key, balance in part.items() if isinstance(key, int)]
            total += sum(balances)
            accounts += len(balances)
        numbers = self.dicts[1][MADE], self.dicts[1][DROPPED], len(self.journal)
        return View(total, accounts, *numbers, self.journal[-1] if self.journal else None)


def read(task: dict, board: Board) -> None:
    import pyrsistence

    rng = random.Random(task["seed"])
    mine = board.reader(task["place"])
    store = pyrsistence.Store(task["store"], mode="r")
    audit = Audit(store)
    seen, last_one = 0, False
    while not last_one:
        last_one = board[PHASE] == READERS_END
        before = board[DONE]
        store.refresh()
        mine[REFRESHES] += 1
        view = audit.view()
        view.check(task["accounts"])
        expect(view.made >= seen, f"a view of {view.made} transfers after one of {seen}")
        # One may be committed and not yet reported.
        expect(view.made <= board[DONE] + 1, f"{view.made} transfers seen, {board[DONE]} made")
        mine[LAG] = max(mine[LAG], max(0, before - view.made))
        mine[TURNS] += view.made > seen
        seen = view.made
        time.sleep(rng.choice((0.0, 0.0, 0.01)))
        again = audit.view()
        expect(again == view, f"without refresh() the view changed from {view} to {again}")
        mine[VIEWS] += 1
    expect(seen == board[DONE], f"{board[DONE]} transfers were made, the last refresh() shows {seen}")
    store.close()


# ------------------------------------------------------------------------------------------------- the parent

STEPS: dict[str, Callable[[dict, Board], None]] = {"write": write, "read": read}


class Process:
    """A writer or reader, and when it was last seen to get on."""

    def __init__(self, step: str, task: dict, progress: Callable[[], int]) -> None:
        self.name = step if step == "write" else f"{step} {task['place']}"
        self.progress, self.stopped = progress, False
        self.child = subprocess.Popen([sys.executable, __file__, "--step", step, json.dumps(task)])
        self.seen, self.moved = progress(), time.monotonic()

    def look(self) -> None:
        """Throws Wrong if it ended, or if it may run and does not get on."""
        code = self.child.poll()
        expect(code is None, f"{self.name} ended with {code}; its message is above")
        now = time.monotonic()
        if self.stopped or self.progress() != self.seen:
            self.seen, self.moved = self.progress(), now
        expect(now - self.moved < STANDSTILL, f"{self.name} has stood still for {STANDSTILL:.0f} s")

    def stop(self) -> None:
        self.child.send_signal(signal.SIGSTOP)
        self.stopped = True

    def go_on(self) -> None:
        self.child.send_signal(signal.SIGCONT)
        self.stopped, self.moved = False, time.monotonic()

    def kill(self) -> None:
        """Throws Wrong if it had ended by itself."""
        self.child.kill()
        code = self.child.wait()
        expect(code == -signal.SIGKILL, f"{self.name} ended with {code}; its message is above")

    def join(self) -> None:
        try:
            code = self.child.wait(FINISH)
        except subprocess.TimeoutExpired:
            raise Wrong(f"{self.name} did not end within {FINISH:.0f} s") from None
        expect(code == 0, f"{self.name} ended with {code}; its message is above")


class Soak:
    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        self.options = options
        self.store, self.board_path = directory / "store", directory / "board"
        self.board = Board(self.board_path, options.readers)
        self.rng = random.Random(options.seed)
        self.readers: list[Process] = []
        self.kills = 0
        self.curve: list[dict] = []

    def task(self, **more: int) -> dict:
        facts = {"store": str(self.store), "board": str(self.board_path), "seed": self.rng.getrandbits(32)}
        return facts | {key: getattr(self.options, key) for key in ("accounts", "readers")} | more

    def start_reader(self, place: int) -> Process:
        mine = self.board.reader(place)
        return Process("read", self.task(place=place), lambda: mine[VIEWS])

    # The file may hold what the newest view needs, what the stopped reader's view, the last checkpoint and
    # the other readers' views need beside that, and what is being written.
    def allowed(self) -> int:
        live = max((look["live_bytes"] for look in self.curve), default=0)
        return int(self.options.factor * live) + (self.options.slack << 20)

    def measure(self, started: float) -> None:
        def size(name: str) -> int:
            return (self.store / name).stat().st_size

        look = {"seconds": round(time.monotonic() - started, 2), "transactions": self.board[DONE]}
        look |= {"data_bytes": size("data"), "log_bytes": size("log")}
        look |= {"pages": self.board[PAGES], "live_bytes": self.board[LIVE_PAGES] * 4096}
        self.curve.append(look)
        if look["live_bytes"]:
            expect(
                look["data_bytes"] <= self.allowed(),
                f"data has {look['data_bytes']:,} bytes, {self.allowed():,} are allowed: {look}",
            )

    def seconds(self) -> Iterator[float]:
        """The time at every look, after which sizes and progress are checked."""
        started = time.monotonic()
        while (now := time.monotonic() - started) < self.options.seconds:
            yield now
            time.sleep(LOOK)
            self.measure(started)
            for process in (self.writer, *self.readers):
                process.look()

    def run(self) -> None:
        self.writer = Process("write", self.task(), lambda: self.board[DONE])
        while self.board[DONE] == 0:
            self.writer.look()
            time.sleep(0.01)
        self.readers = [self.start_reader(place) for place in range(self.options.readers)]
        sleeper = self.readers[0]
        begin, end = (share * self.options.seconds for share in STOPPED)
        next_kill = report = 0.0
        for now in self.seconds():
            if not sleeper.stopped and begin <= now < end:
                sleeper.stop()
            elif sleeper.stopped and now >= end:
                sleeper.go_on()
            if now >= next_kill and len(self.readers) > 1:
                self.replace(self.rng.randrange(1, len(self.readers)))
                next_kill = now + self.rng.expovariate(1 / KILLS_APART)
            if now >= report and self.curve:
                say(curve_line(self.curve[-1], self.allowed()))
                report += self.options.seconds / 20
        if sleeper.stopped:
            sleeper.go_on()
        self.finish()

    def replace(self, place: int) -> None:
        self.readers[place].kill()
        self.kills += 1
        self.readers[place] = self.start_reader(place)

    def finish(self) -> None:
        """The writer ends first; every reader must then see all it did; the store is checked once more."""
        self.board[PHASE] = WRITER_ENDS
        self.writer.join()
        self.board[PHASE] = READERS_END
        for reader in self.readers:
            reader.join()
        import pyrsistence

        with contextlib.closing(pyrsistence.Store(self.store)) as store:
            view = Audit(store).view()
            view.check(self.options.accounts)
            expect(view.made == self.board[DONE], f"{view} after {self.board[DONE]} transfers")
            store.check()

    def end_all(self) -> None:
        for process in (getattr(self, "writer", None), *self.readers):
            if process is not None:
                process.child.kill()
                process.child.wait()

    def results(self, failure: str | None) -> dict:
        mine = [self.board.reader(place) for place in range(self.options.readers)]
        asked = ("seconds", "readers", "accounts", "seed", "factor", "slack")
        return {
            "failure": failure,
            "options": {key: getattr(self.options, key) for key in asked},
            "transactions": self.board[DONE],
            "rolled_back": self.board[UNDONE],
            "refreshes": sum(numbers[REFRESHES] for numbers in mine),
            "views_checked": sum(numbers[VIEWS] for numbers in mine),
            "refreshes_with_news": sum(numbers[TURNS] for numbers in mine),
            "most_transactions_behind": max(numbers[LAG] for numbers in mine),
            "kills": self.kills,
            "largest_data_bytes": max((look["data_bytes"] for look in self.curve), default=0),
            "largest_log_bytes": max((look["log_bytes"] for look in self.curve), default=0),
            "largest_live_bytes": max((look["live_bytes"] for look in self.curve), default=0),
            "allowed_bytes": self.allowed(),
            "curve": self.curve,
        }


# -------------------------------------------------------------------------------------------------- reporting


def say(text: str) -> None:
    print(f"soak: {text}", file=sys.stderr, flush=True)


def mebibytes(value: int) -> str:
    return f"{value / 2**20:.1f} MiB"


def curve_line(look: dict, allowed: int) -> str:
    data, live, log = (mebibytes(look[f"{name}_bytes"]) for name in ("data", "live", "log"))
    return (
        f"{look['seconds']:6.0f} s, {look['transactions']:9,} transactions, "
        f"data {data} (live {live}, allowed {mebibytes(allowed)}), log {log}"
    )


def summary(results: dict) -> str:
    verdict = "ok" if results["failure"] is None else f"FAILED: {results['failure']}"
    return (
        f"soak: {verdict}; {results['options']['seconds']:g} s, seed {results['options']['seed']}: "
        f"{results['transactions']:,} transactions and {results['rolled_back']:,} rolled back, "
        f"{results['refreshes']:,} refreshes ({results['refreshes_with_news']:,} with news, at most "
        f"{results['most_transactions_behind']:,} transactions behind), "
        f"{results['views_checked']:,} views checked, {results['kills']} readers killed; data at most "
        f"{mebibytes(results['largest_data_bytes'])} of {mebibytes(results['allowed_bytes'])} allowed, "
        f"log {mebibytes(results['largest_log_bytes'])}"
    )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--seconds", type=float, default=600.0, help="how long (default: 600)")
    add("--readers", type=int, default=8, help="reader processes (default: 8)")
    add("--accounts", type=int, default=10_000, help="in both dicts together (default: 10000)")
    add("--factor", type=float, default=4.0, help="data may have so many times the live bytes (default: 4)")
    add("--slack", type=int, default=16, help="MiB beside that (default: 16)")
    add("--seed", type=int, help="repeats the choices of a run (default: another one each time)")
    add("--directory", help="where the store is made (default: the temporary directory)")
    add("--json", type=Path, default=NUMBERS, help="where the numbers go (default: %(default)s)")
    parsed = parser.parse_args(arguments)
    if parsed.seed is None:
        parsed.seed = random.SystemRandom().getrandbits(32)
    return parsed


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    directory = Path(tempfile.mkdtemp(prefix="soak-", dir=options.directory))
    soak = Soak(options, directory)
    failure = None
    try:
        soak.run()
    except Exception as error:
        failure = f"{type(error).__name__}: {error}; the store is kept in {directory}"
    finally:
        soak.end_all()
    results = soak.results(failure)
    if failure is None:
        shutil.rmtree(directory)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=1) + "\n")
    print(summary(results))
    return 0 if failure is None else 1


def step(name: str, task: dict) -> int:
    try:
        STEPS[name](task, Board(Path(task["board"]), task["readers"]))
    except Wrong as error:
        say(f"{name} {task.get('place', '')}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        sys.exit(step(sys.argv[2], json.loads(sys.argv[3])))
    sys.exit(main())
