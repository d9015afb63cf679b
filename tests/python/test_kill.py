"""kill -9 at any moment: every operation that has returned is there, at most one more, and never half of one.

A worker applies an endless stream of operations and reports each that has returned; the parent kills it, opens
the store and compares it with the same stream applied to a dict or list. The store lives on over all kills,
so that recoveries of recovered stores, and of recoveries that were killed, are covered.
"""

import collections
import time

import kill_stream
import pytest
import support
import worker

# When the worker is killed: while it opens the store, while it works, in sync(), in checkpoint(), or after so
# much work that checkpoints began by themselves.
MOMENTS = ["open", "work", "work", "work", "sync", "checkpoint", "busy"]
OPTIONS = {"memory_limit": 64 << 20}


class Victim:
    """A store, the model of what must be in it, and the processes that are killed over it."""

    def __init__(self, zygote, kind, path, seed):
        self.zygote, self.kind, self.path, self.seed = zygote, kind, path, seed
        self.report_path = f"{path}.report"
        with open(self.report_path, "wb") as file:
            file.write(bytes(kill_stream.REPORT_SIZE))
        self.report = kill_stream.map_report(self.report_path)
        self.type = support.TYPES["list" if kind == "list" else "dict"]
        self.model = [] if kind == "list" else {}
        self.done = 0
        self.found = collections.Counter()
        self.type(path).close()

    def live_and_die(self, rng, moment):
        self.report[kill_stream.DONE] = self.done
        self.report[kill_stream.PHASE] = kill_stream.STARTED
        process = self.zygote.worker()
        stream = (self.kind, self.path, self.seed, self.done, self.report_path)
        process.start(worker.run_stream, *stream, moment == "busy", OPTIONS)
        self.wait_for(rng, moment)
        process.kill()
        self.found[self.report[kill_stream.PHASE]] += 1

    def wait_for(self, rng, moment):
        if moment == "open":
            return time.sleep(rng.random() * 0.006)
        phases = {"sync": kill_stream.SYNCING, "checkpoint": kill_stream.CHECKPOINTING}
        wanted = phases.get(moment, kill_stream.OPENED)
        end = time.monotonic() + 10
        while self.report[kill_stream.PHASE] != wanted:
            assert time.monotonic() < end, f"the worker did not come to {moment}: {list(self.report)}"
            time.sleep(0.0001)
        first = self.report[kill_stream.CHECKPOINT]
        time.sleep(rng.random() * {"work": 0.05, "busy": 0.3}.get(moment, 0.004))
        if moment == "busy":
            self.found["checkpoints by themselves"] += max(0, self.report[kill_stream.CHECKPOINT] - first)

    def verify(self, mode):
        """Advances the model to what the report and then the store say."""
        reported = self.report[kill_stream.DONE]
        for number in range(self.done, reported):
            kill_stream.operation(self.kind, self.seed, number)[1](self.model)
        self.done = reported
        with self.type(self.path, mode=mode) as container:
            found = support.contents(container)
            container.check()
        if self.matches(found):
            return
        steps, _ = kill_stream.operation(self.kind, self.seed, reported)
        for step in steps:
            step(self.model)
            if self.matches(found):
                # The rest of an operation of several steps: whoever goes on repeats it from the start.
                self.partial(steps, step, found)
                return
        raise AssertionError(
            f"{self.kind} at {self.path} after operation {reported} of seed {self.seed}: "
            f"{support.difference(found, self.model)}"
        )

    def matches(self, found):
        return support.difference(found, self.model) is None

    def partial(self, steps, step, found):
        self.found["one more"] += 1
        if step is steps[-1]:
            self.done += 1
            return
        with self.type(self.path) as container:
            for rest in steps[steps.index(step) + 1 :]:
                rest(container)
                rest(self.model)
        self.done += 1


@pytest.mark.parametrize("kind, lives", [("dict", 200), ("list", 200), ("small", 60)])
def test_every_returned_operation_survives_the_death_of_the_process(zygote, tmp_path, kind, lives):
    with support.seeded("kill") as (rng, seed):
        victim = Victim(zygote, kind, str(tmp_path / kind), seed)
        for _ in range(support.scaled(lives)):
            victim.live_and_die(rng, rng.choice(MOMENTS))
            victim.verify(rng.choice(["r", "r", "a"]))  # "r" leaves the log for the next recovery
        print(f"{kind}: {victim.done} operations, {len(victim.model)} entries, {dict(victim.found)}")
        if support.SCALE >= 1:
            for moment in range(4) if lives >= 200 else ():
                assert victim.found[moment] > 0, f"no kill at {moment}: {victim.found}"
