"""What the Python tests share: helper modules beside this file become importable, and fixtures."""

import importlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def zygote(tmp_path_factory):
    """Starts worker processes within a millisecond; see worker.py."""
    import worker

    with worker.Zygote(tmp_path_factory.mktemp("zygote") / "socket") as running:
        yield running


@pytest.fixture
def store(tmp_path):
    return str(tmp_path / "store")


@pytest.fixture
def benchmarks(monkeypatch):
    """Imports modules from benchmarks/, and forgets them again: their names are short."""
    folder = str(Path(__file__).resolve().parents[2] / "benchmarks")
    before = set(sys.modules)
    monkeypatch.syspath_prepend(folder)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if folder in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]
