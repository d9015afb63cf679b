"""The type stubs, as a strict type checker sees them, and compared with what they describe."""

import os
import subprocess
import sys
from pathlib import Path

import pyrsistence
import pytest

USAGE = Path(__file__).with_name("typed_usage.py")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """What mypy learned, for all tests: most of its time goes into the stubs of others."""
    return tmp_path_factory.mktemp("mypy")


def check(path, tmp_path, cache):
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", cache, path]
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "MYPYPATH": ""})


def test_usual_programs_have_the_types_that_they_should(tmp_path, cache):
    pytest.importorskip("mypy")
    done = check(USAGE, tmp_path, cache)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "line", ["calls['main'] = 5", "calls[7]", "tasks.pushpop()", "symbols.peekitem('a')", "store.sorted_dict(5)", "calls.nothing"]
)
def test_mistakes_are_found(line, tmp_path, cache):
    pytest.importorskip("mypy")
    wrong = tmp_path / "wrong.py"
    wrong.write_text(f"{USAGE.read_text()}\n{line}\n")
    done = check(wrong, tmp_path, cache)
    assert done.returncode == 1 and done.stdout.count("error:") == 1, done.stdout + done.stderr


# What stubtest says and a stub cannot mend: a regular expression for names, and why.
NOT_EXPRESSIBLE = {
    r"pyrsistence\._core\._.*": "nanobind's functions are no functions for the module inspect",
    r"pyrsistence\._array\._(checked|dtype_of)": "private, without a stub: mypy sees through no lru_cache",
}


def test_stubs_agree_with_the_package(tmp_path):
    """Names, parameters and their kinds and defaults, as mypy.stubtest sees them in the installed package."""
    pytest.importorskip("mypy")
    allowed = tmp_path / "allowed"
    allowed.write_text("".join(f"{names}  # {reason}\n" for names, reason in NOT_EXPRESSIBLE.items()))
    package = Path(pyrsistence.__file__).parent
    unstubbed = ",".join(f"pyrsistence.{path.stem}" for path in package.glob("_[a-z]*.py"))
    config = tmp_path / "mypy.ini"
    config.write_text(f"[mypy]\n[mypy-{unstubbed}]\nignore_errors = True\n")
    command = [sys.executable, "-m", "mypy.stubtest", "--concise", "--mypy-config-file", config, "--allowlist", allowed]
    command.append("--ignore-unused-allowlist")  # versions of mypy differ in what they see
    environment = {name: value for name, value in os.environ.items() if name != "MYPYPATH"}
    done = subprocess.run([*command, "pyrsistence"], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
