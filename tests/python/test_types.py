"""The type stubs, as a strict type checker sees them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

USAGE = Path(__file__).with_name("typed_usage.py")


def check(path, tmp_path):
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path, path]
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "MYPYPATH": ""})


def test_usual_programs_have_the_types_that_they_should(tmp_path):
    pytest.importorskip("mypy")
    done = check(USAGE, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "line", ["calls['main'] = 5", "calls[7]", "tasks.pushpop()", "symbols.peekitem('a')", "store.sorted_dict(5)", "calls.nothing"]
)
def test_mistakes_are_found(line, tmp_path):
    pytest.importorskip("mypy")
    wrong = tmp_path / "wrong.py"
    wrong.write_text(f"{USAGE.read_text()}\n{line}\n")
    done = check(wrong, tmp_path)
    assert done.returncode == 1 and done.stdout.count("error:") == 1, done.stdout + done.stderr
