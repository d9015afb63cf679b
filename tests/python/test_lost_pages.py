"""A file that is cut short under an open store: an error, never zeros, and the process lives. Whoever runs into the
first lost page may be told of a page that makes no sense; from then on it is StorageError."""

import errno
import os
import shutil

import pytest

import pyrsistence
from pyrsistence import EMDict, EMList

LOST = (pyrsistence.StorageError, pyrsistence.CorruptionError)


def expected(i):
    return f"value {i}" + "x" * 300


@pytest.fixture
def path(tmp_path):
    with EMDict(tmp_path / "store") as d:
        d.update((i, expected(i)) for i in range(4000))
    shutil.copytree(tmp_path / "store", tmp_path / "aside")
    return tmp_path / "store"


def cut(path, file="data", size=None):
    os.truncate(path / file, size or os.path.getsize(path / file) // 2 // 4096 * 4096)


def restored(path):
    shutil.copyfile(path.parent / "aside" / "data", path / "data")
    return path


@pytest.mark.parametrize("mode", ["r", "a"])
@pytest.mark.parametrize("bulk", [list, dict, lambda items: [v for _, v in items]], ids=["list", "dict", "loop"])
def test_in_the_middle_of_reading_everything(path, mode, bulk):
    d = EMDict(path, mode=mode)
    items = iter(d.items())
    for _ in range(100):
        next(items)
    cut(path)
    with pytest.raises(LOST):
        for key, value in bulk(items) if bulk is list else items:
            assert value == expected(key)
        bulk(d.items())
    with pytest.raises(pyrsistence.StorageError, match="close the store and check the disk") as raised:
        d[0]
    assert raised.value.errno == errno.EIO
    with pytest.raises(pyrsistence.StorageError):
        d.close()
    with EMDict(restored(path)) as d:
        assert dict(d) == {i: expected(i) for i in range(4000)}
        d.check()


def test_within_a_transaction(path):
    d = EMDict(path)
    with pytest.raises(LOST), d.transaction():
        d["inside"] = 1
        cut(path)
        for i in range(4000):
            assert d[i] == expected(i)
    with pytest.raises(pyrsistence.StorageError) as raised:
        d["more"] = 1
    assert raised.value.errno == errno.EIO
    with pytest.raises(pyrsistence.StorageError):
        d.close()
    with EMDict(restored(path)) as d:
        assert "inside" not in d
        assert len(d) == 4000


@pytest.mark.parametrize("cls", [EMDict, EMList])
def test_a_log_that_is_cut(tmp_path, cls):
    container = cls(tmp_path / "log")
    put = container.append if cls is EMList else lambda value: container.__setitem__(value, value)
    put("logged")
    cut(tmp_path / "log", "log", 8192)
    with pytest.raises(pyrsistence.StorageError) as raised:
        put("lost")
    assert raised.value.errno == errno.EIO
    with pytest.raises(pyrsistence.StorageError):
        len(container)
    with pytest.raises(pyrsistence.StorageError):
        container.close()
    with cls(tmp_path / "log") as container:
        assert "lost" not in container
        container.check()
