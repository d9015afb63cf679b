"""What the Python tests share: helper modules beside this file become importable, and the zygote is ended."""

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
