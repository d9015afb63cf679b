"""The faults in tests/faults fit the sources, and tools/planted_faults.py says so if one does not."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAULT = {
    "name": "one is two",
    "file": "src/one.cpp",
    "text": "return 1;",
    "instead": "return 2;",
    "tests": ["OneTest.IsOne"],
}
TREE = {
    "src/one.cpp": "int one() { return 1; }\n",
    "src/none.py": "return 1; return 1;\n",
    "tests/cpp/one_test.cpp": "TEST(OneTest, IsOne) {\n",
    "tests/python/test_one.py": "def test_one():\n    pass\n",
}


def check(root):
    command = [sys.executable, ROOT / "tools" / "planted_faults.py", "--check", "--root", root]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def check_faults(root, *faults):
    for name, text in {**TREE, "tests/faults/area.py": f"FAULTS = {faults!r}\n"}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return check(root)


def test_every_fault_fits():
    done = check(ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("tests", [["OneTest.IsOne"], ["All/OneTest.Is*/1"], ["tests/python/test_one.py::test_one"]])
def test_a_fault_that_fits(tmp_path, tests):
    done = check_faults(tmp_path, {**FAULT, "tests": tests})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "planted_faults: 1 faults: ok\n"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"text": "return 3;"}, "its text occurs 0 times in src/one.cpp"),
        ({"file": "src/none.py"}, "its text occurs 2 times in src/none.py"),
        ({"file": "src/gone.cpp"}, "its text occurs 0 times in src/gone.cpp"),
        ({"instead": "return 1;"}, "changes nothing"),
        ({"tests": ["OneTest.IsTwo"]}, "there is no test OneTest.IsTwo"),
        ({"tests": ["TwoTest.IsOne"]}, "there is no test TwoTest.IsOne"),
        ({"tests": ["tests/python/test_two.py"]}, "there is no test tests/python/test_two.py"),
        ({"tests": ["tests/python/test_one.py::test_two"]}, "there is no test tests/python/test_one.py::test_two"),
    ],
)
def test_a_stale_fault_is_named(tmp_path, change, complaint):
    done = check_faults(tmp_path, {**FAULT, **change})
    assert done.returncode == 1
    assert f"tests/faults/area.py, 'one is two': {complaint}\n" in done.stderr


def test_a_name_belongs_to_one_fault(tmp_path):
    done = check_faults(tmp_path, FAULT, FAULT)
    assert done.returncode == 1 and "the name is there twice" in done.stderr
