"""Every example in a docstring runs, and so do those of the README; everything public is documented."""

import doctest
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pyrsistence

README = Path(__file__).resolve().parents[2] / "README.md"
CONTAINERS = [getattr(pyrsistence, name) for name in pyrsistence.__all__ if name.startswith("EM")]
CLASSES = [*CONTAINERS, pyrsistence.Store, pyrsistence.Snapshots]


def documented():
    """Name -> object for everything public that has a docstring of its own."""
    found = {"pyrsistence": pyrsistence}
    for name in pyrsistence.__all__:
        if name != "__version__":
            found[name] = getattr(pyrsistence, name)
    for cls in CLASSES:
        for base in cls.__mro__[:2]:
            for name, member in vars(base).items():
                if not name.startswith("_") and base is not object:
                    found.setdefault(f"{cls.__name__}.{name}", member)
    return found


def examples(name, thing):
    return doctest.DocTestParser().get_doctest(inspect.getdoc(thing) or "", {}, name, None, 0)


DOCUMENTED = documented()
WITH_EXAMPLES = [name for name, thing in DOCUMENTED.items() if examples(name, thing).examples]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_of(name):
    report = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(examples(name, DOCUMENTED[name]), out=report.append)
    assert runner.failures == 0, "".join(report)


def test_examples_are_found():
    assert len(WITH_EXAMPLES) > 50
    assert {"EMDict.transaction", "EMList.sort", "Store.snapshot", "Snapshots", "EMDict.edit"} <= set(WITH_EXAMPLES)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_everything_public_is_documented(cls):
    for name in dir(cls):
        inherited = cls is pyrsistence.Snapshots and name in dir(dict)
        if not name.startswith("_") and not inherited:
            assert inspect.getdoc(getattr(cls, name)), f"{cls.__name__}.{name}"


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_the_examples_of_the_readme(tmp_path, monkeypatch, capsys):
    """Those that are whole programs; that of several processes is in test_store.py."""
    monkeypatch.chdir(tmp_path)
    programs = [code for code in re.findall(r"```python\n(.*?)```", README.read_text(), re.S) if "Pool" not in code]
    for code in programs:
        names = {}
        exec(compile(code, "README.md", "exec"), names)
    assert capsys.readouterr().out.splitlines() == [
        "['exit'] [999997, 999998, 999999] ['main', 'parse', 'run']",
        "['parse', 'run'] 0",
        "0 1666699170",
        "1 1666640421",
        "2 1666657917",
        "() None ()",
    ]
    with pyrsistence.Store("program", at="monday") as monday:
        assert monday["calls"] == {"main": ["parse", "run"]} and monday["trace"] == ["main"]


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other versions have other methods")
def test_the_table_of_methods_is_what_calling_them_gives():
    table = README.parent / "tools" / "method_table.py"
    done = subprocess.run([sys.executable, table, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_stubs_name_everything_public():
    stub = (Path(pyrsistence.__file__).parent / "__init__.pyi").read_text()
    for name in pyrsistence.__all__:
        assert re.search(rf'^    "{name}",$', stub, re.M), name
    for cls in CLASSES:
        for name in dir(cls):
            if not name.startswith("_") and name not in dir(dict) + dir(list) + dir(set):
                assert re.search(rf"\b(def|class) {name}\b|^    {name}\b", stub, re.M), f"{cls.__name__}.{name}"
    for cls in (pyrsistence.Info, pyrsistence.Report, pyrsistence.SnapshotInfo):
        for field in cls._fields:
            assert re.search(rf"^    {field}: ", stub, re.M), f"{cls.__name__}.{field}"
