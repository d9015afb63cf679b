#!/usr/bin/env python3
"""Plants faults into a copy of this project, each alone, and proves that the tests notice it.

The faults are in tests/faults/*.py, one file for each area. A file's FAULTS is a list of dicts:

    name        what is wrong; unique
    file        the source file, relative to the root
    text        what the fault replaces: occurs there exactly once
    instead     what stands there then
    also        (optional) more places, if one alone would be harmless: tuples of file, text, instead
    tests       those that must fail: patterns of --gtest_filter, or paths and ids for pytest, not both
    runner      (optional) of C++ tests that pyrsistence_tests has not
    environment (optional) variables for the tests, such as PYRSISTENCE_TEST_SCALE
    seconds     (optional) until tests that hang are killed, which counts as failed
    equivalent  (optional) why no test can tell the difference: then the tests must pass

The copy and what is built from it stay in build-faults/, with the output of the last run of each fault. Exits non-zero
if a fault was not noticed, or could not be planted or compiled.
"""

import argparse
import dataclasses
import os
import re
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FAULTS = "tests/faults"
RUNNER = "pyrsistence_tests"
PYTEST = "pytest"
MOST_MEMORY = 3 << 30  # bytes that the process of a test may have


@dataclasses.dataclass
class Fault:
    area: str
    name: str
    file: str
    text: str
    instead: str
    tests: list
    also: list = dataclasses.field(default_factory=list)
    runner: str = RUNNER
    environment: dict = dataclasses.field(default_factory=dict)
    seconds: int = 120
    equivalent: str = ""

    @property
    def changes(self):
        """Tuples of file, text, instead."""
        return [(self.file, self.text, self.instead), *self.also]

    def __post_init__(self):
        if self.tests[0].startswith("tests/"):
            self.runner = PYTEST


def all_faults(root):
    for path in sorted((root / FAULTS).glob("*.py")):
        for fields in runpy.run_path(str(path))["FAULTS"]:
            yield Fault(path.stem, **fields)


def selected(faults, patterns):
    wanted = [pattern.lower() for pattern in patterns]
    return [f for f in faults if not wanted or any(p in f"{f.area}: {f.name}".lower() for p in wanted)]


# --- do the faults still fit the sources?


def gtest_suites(root):
    """Suite to the names of its tests."""
    suites = {}
    for path in (root / "tests/cpp").rglob("*_test.cpp"):
        for suite, test in re.findall(r"^(?:TYPED_)?TEST(?:_F|_P)?\((\w+), (\w+)\)", path.read_text("utf-8"), re.MULTILINE):
            suites.setdefault(suite, set()).add(test)
    return suites


def is_gtest(pattern, suites):
    """For `Suite.Test`, `Prefix/Suite.Test/Parameter`, `Suite/Type.Test`, and with wildcards in the test's name."""
    suite, _, test = pattern.partition(".")
    test = re.escape(test.partition("/")[0]).replace(r"\*", ".*")
    return any(re.fullmatch(test, name) for part in suite.split("/") for name in suites.get(part, ()))


def is_pytest(test, root):
    path, *parts = test.split("::")
    if not (root / path).is_file():
        return False
    text = (root / path).read_text("utf-8")
    return all(re.search(rf"(def|class) {re.escape(part.partition('[')[0])}\b", text) for part in parts)


def misfits(faults, root):
    """What is wrong with the faults as they are written."""
    suites = gtest_suites(root)
    names = set()
    for fault in faults:
        what = f"{FAULTS}/{fault.area}.py, '{fault.name}'"
        if fault.name in names:
            yield f"{what}: the name is there twice"
        names.add(fault.name)
        for file, text, instead in fault.changes:
            if text == instead:
                yield f"{what}: changes nothing"
            path = root / file
            times = path.read_text("utf-8").count(text) if path.is_file() else 0
            if times != 1:
                yield f"{what}: its text occurs {times} times in {file}"
        for test in fault.tests:
            if not (is_pytest(test, root) if fault.runner == PYTEST else is_gtest(test, suites)):
                yield f"{what}: there is no test {test}"


# --- the copy


class Copy:
    """The sources in build-faults/tree, and what is built from them."""

    def __init__(self, root):
        self.tree, self.build, self.logs = (root / "build-faults" / name for name in ("tree", "build", "logs"))
        self.bring_up_to_date(root)
        self.logs.mkdir(exist_ok=True)

    def bring_up_to_date(self, root):
        """Leaves files alone that are as they should be, so that they are not compiled again."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=root, capture_output=True, text=True, check=True,
        )  # fmt: skip
        wanted = {Path(name) for name in listed.stdout.split("\0") if name and (root / name).is_file()}
        for path in [path for path in self.tree.rglob("*") if path.is_file()]:
            if path.relative_to(self.tree) not in wanted:
                path.unlink()
        for name in wanted:
            source, target = root / name, self.tree / name
            if target.is_file() and target.read_bytes() == source.read_bytes():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            shutil.copymode(source, target)

    def configure(self):
        return self._build_tool(
            "-S", self.tree, "-B", self.build, "--log-level=WARNING", "-DCMAKE_BUILD_TYPE=Release",
            "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG", "-DPYRSISTENCE_BUILD_PYTHON=ON", "-DPYRSISTENCE_BUILD_EXAMPLES=OFF",
            f"-DPython_EXECUTABLE={sys.executable}",
        )  # fmt: skip

    def compile(self, runner, jobs):
        """What a runner needs. Returns what the compiler said if it failed, else nothing."""
        said = self._build_tool("--build", self.build, "--parallel", jobs, "--target", "_core" if runner == PYTEST else runner)
        if runner == PYTEST and not said:  # tests import the package from the tree
            for module in self.build.glob("_core.*.so"):
                link = self.tree / "python/pyrsistence" / module.name
                link.unlink(missing_ok=True)
                link.symlink_to(module)
        return said

    def _build_tool(self, *arguments):
        done = subprocess.run(["cmake", *map(str, arguments)], capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else done.stdout + done.stderr or "cmake failed"

    def read(self, file):
        return (self.tree / file).read_text("utf-8")

    def write(self, file, text):
        (self.tree / file).write_text(text, "utf-8")

    def command(self, tests, runner):
        """Runs tests until the first one fails."""
        if runner == PYTEST:
            return [sys.executable, "-m", "pytest", "-x", "-q", "--tb=short", "-p", "no:cacheprovider", *tests]
        return [str(self.build / "tests/cpp" / runner), "--gtest_fail_fast", "--gtest_filter=" + ":".join(tests)]


@dataclasses.dataclass
class Run:
    outcome: str  # passed, failed, crashed, hung, outgrew, broken
    test: str  # the one that failed
    seconds: float


def leave_no_core():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def memory_of(process):
    """What it has allocated and touched, in bytes. (A limit would count address space that stores reserve.)"""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text("ascii", "replace")
    except OSError:
        return 0
    found = re.search(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) << 10 if found else 0


def await_end(process, seconds, runner):
    """How it ended, or why it may not go on."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            return outcome_of(process.wait(0.1), runner)
        except subprocess.TimeoutExpired:
            if memory_of(process) > MOST_MEMORY:
                return "outgrew"
    return "hung"


def run(copy, tests, runner, environment, seconds, log):
    """With a folder for temporary files of its own, since a test that crashes leaves its files."""
    scratch = tempfile.mkdtemp(prefix="pyrsistence-faults-")
    environment = {**os.environ, **environment, "TMPDIR": scratch, "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = str(copy.tree / "python")
    begin = time.monotonic()
    with open(log, "wb") as output:
        process = subprocess.Popen(
            copy.command(tests, runner), cwd=copy.tree, env=environment, start_new_session=True,
            preexec_fn=leave_no_core, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
        try:
            outcome = await_end(process, seconds, runner)
        finally:
            end_session(process)
            process.wait()
            shutil.rmtree(scratch, ignore_errors=True)
    return Run(outcome, failed_test(log) or tests[0], time.monotonic() - begin)


def end_session(process):
    """Children that a test has left behind, too."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def outcome_of(code, runner):
    if code == 0:
        return "passed"
    if code < 0:
        return "crashed"
    # pytest has other codes for tests that it does not find or cannot import.
    return "broken" if runner == PYTEST and code != 1 else "failed"


def failed_test(log):
    """The first that failed, or the one that was running at the end."""
    output = log.read_text("utf-8", "replace")
    found = re.search(r"^\[  FAILED  \] ([\w/.]+)|^(?:FAILED|ERROR) (.+?)(?: - |$)", output, re.MULTILINE)
    if found:
        return found[1] or found[2]
    running = re.findall(r"^\[ RUN      \] (\S+)", output, re.MULTILINE)
    return running[-1] if running else ""


# --- planting


def prove_soundness(copy, faults, jobs):
    """What is wrong without any fault; nothing as it should be."""
    said = copy.configure()
    for runner in sorted({fault.runner for fault in faults}):
        said = said or copy.compile(runner, jobs)
    if said:
        return said
    runs = {(fault.runner, tuple(fault.tests), tuple(sorted(fault.environment.items()))) for fault in faults}
    for runner, tests, _ in runs:
        for test in tests if runner != PYTEST else ():
            if not listed(copy, test, runner):
                return f"{runner} has no test {test}"
    for runner, tests, environment in sorted(runs):
        log = copy.logs / "without-fault.txt"
        done = run(copy, tests, runner, dict(environment), 600, log)
        if done.outcome != "passed":
            return f"{log.read_text('utf-8', 'replace')}\n{done.test} {done.outcome} without a fault"
    return ""


def listed(copy, pattern, runner):
    command = [*copy.command([pattern], runner), "--gtest_list_tests"]
    return "\n  " in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def plant(copy, fault, jobs):
    log = copy.logs / (re.sub(r"\W+", "-", f"{fault.area} {fault.name}").strip("-") + ".txt")
    sound = {}
    try:
        for file, text, instead in fault.changes:
            faulty = copy.read(file)
            sound.setdefault(file, faulty)
            copy.write(file, faulty.replace(text, instead))
        said = copy.compile(fault.runner, jobs)  # also if only Python changes: the fault before may be compiled in
        if said:
            log.write_text(said, "utf-8")
            return Run("broken", "", 0)
        return run(copy, fault.tests, fault.runner, fault.environment, fault.seconds, log)
    finally:
        for file, text in sound.items():
            copy.write(file, text)


def verdict(fault, done):
    """As expected or not, and the words for the table."""
    if done.outcome == "broken":
        return False, "BROKEN: it does not compile, or its tests do not start"
    if done.outcome == "passed":
        return bool(fault.equivalent), f"equivalent: {fault.equivalent}" if fault.equivalent else "NOT CAUGHT"
    if fault.equivalent:
        return False, f"CAUGHT by `{done.test}`, and said to be equivalent"
    how = {"failed": "", "crashed": ", which crashed", "hung": ", which hung", "outgrew": ", which outgrew the memory"}
    return True, f"`{done.test}`{how[done.outcome]}"


def plant_all(copy, faults, jobs):
    """Prints a table; returns the faults of which the verdict is bad."""
    bad = []
    area = None
    for fault in faults:
        if fault.area != area:
            area = fault.area
            print(f"\n{area}\n\n| planted fault | file | caught by | seconds |\n|---|---|---|---|")
        done = plant(copy, fault, jobs)
        good, words = verdict(fault, done)
        if not good:
            bad.append(fault)
        print(f"| {fault.name} | `{fault.file}` | {words} | {done.seconds:.1f} |", flush=True)
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="*", help="only faults of which area or name contains one of these")
    parser.add_argument("--check", action="store_true", help="only see that the faults fit the sources")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="of the compiler")
    parser.add_argument("--root", type=Path, default=ROOT, help="another copy of the project, for --check")
    options = parser.parse_args()

    faults = list(all_faults(options.root))
    problems = list(misfits(faults, options.root))
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems or options.check:
        print(f"planted_faults: {len(problems)} problems" if problems else f"planted_faults: {len(faults)} faults: ok")
        return 1 if problems else 0

    faults = selected(faults, options.pattern)
    if not faults:
        parser.error("no fault has such a name")
    copy = Copy(options.root)
    said = prove_soundness(copy, faults, options.jobs)
    if said:
        print(said, file=sys.stderr)
        return 1
    bad = plant_all(copy, faults, options.jobs)
    print(f"\nplanted_faults: {len(faults) - len(bad)} of {len(faults)} as expected; output in {copy.logs}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
