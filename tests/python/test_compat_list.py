"""Programs written for the original EMList run unchanged: its surface, and the ways it was used."""

import os
import pickle
import shutil
import subprocess
import sys

import pyrsistence
import pytest
from pyrsistence import EMList


@pytest.fixture
def dirname(tmp_path):
    return str(tmp_path / "list")


class Pickler:
    """The shape of the picklers that the original's users pass: any object with these methods."""

    def pickle(self, value):
        assert value is not None
        return pickle.dumps(value, 2)

    def unpickle(self, data):
        assert type(data) is bytes
        return pickle.loads(data)


def test_create_fill_reopen(dirname):
    em_list = EMList(dirname)
    for i in range(0x1000):
        em_list.append(i)
    assert len(em_list) == 0x1000
    em_list[5] = "five"
    assert em_list.close() is None
    em_list = EMList(dirname=dirname)
    assert em_list[4] == 4 and em_list[5] == "five" and len(em_list) == 0x1000
    em_list.close()


def test_directory_is_private(dirname):
    EMList(dirname).close()
    assert os.stat(dirname).st_mode & 0o777 == 0o700


def test_paths_may_be_path_objects(tmp_path):
    with EMList(tmp_path / "l") as em_list:
        em_list.append(1)
    assert (tmp_path / "l").is_dir()


def test_open_and_close(dirname):
    em_list = EMList(dirname)
    with pytest.raises(RuntimeError, match="^EMList already open$"):
        em_list.open(dirname)
    assert em_list.close() is None
    assert em_list.close() is None
    assert em_list.open(dirname) is True
    em_list.append(1)
    em_list.close()
    del em_list


def test_close_from_a_destructor(dirname):
    class Shadow:
        def __init__(self):
            self.items = EMList(dirname)
            self.items.append(1)

        def __del__(self):
            self.items.close()

    Shadow()
    with EMList(dirname) as em_list:
        assert em_list[:] == [1]


def test_missing_parent_and_foreign_directories(tmp_path):
    with pytest.raises(RuntimeError, match="^Cannot open EMList"):
        EMList(str(tmp_path / "none" / "list"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("keep")
    for mode in ["a", "w", "r+"]:
        with pytest.raises(RuntimeError, match="^Cannot open EMList"):
            EMList(tmp_path / "home", mode=mode)
    assert (tmp_path / "home" / "letter.txt").read_text() == "keep"
    pyrsistence.EMDict(str(tmp_path / "dict")).close()
    with pytest.raises(RuntimeError, match="^Cannot open EMList"):
        EMList(str(tmp_path / "dict"))


def test_index_errors(dirname):
    with EMList(dirname) as em_list:
        for call in [lambda: em_list[0], lambda: em_list.__setitem__(0, 1)]:
            with pytest.raises(IndexError):
                call()


def test_appending_while_iterating_is_not_seen(dirname):
    with EMList(dirname) as em_list:
        for i in range(10):
            em_list.append(i)
        seen = []
        for item in em_list:
            seen.append(item)
            em_list.append(-item)
        assert seen == list(range(10)) and len(em_list) == 20


def test_picklers_see_every_item(dirname):
    em_list = EMList(dirname, pickler=Pickler(), unpickler=Pickler())
    values = [1, "two", (3.0, None), {"four": [5]}]
    for value in values:
        em_list.append(value)
    em_list.close()
    em_list = EMList(dirname, Pickler(), Pickler())
    assert [em_list[i] for i in range(len(em_list))] == values
    em_list.close()
    with EMList(dirname) as other, pytest.raises(RuntimeError, match="unpickler"):
        other[0]


def test_shadow_memory(tmp_path):
    """One list per address range, a byte of flags per address."""
    start, end, read, write = 0x400000, 0x410000, 1, 2
    path = str(tmp_path / f"{start:#x}-{end:#x}")
    shadow = EMList(path)
    while len(shadow) < end - start:
        shadow.append(0)
    for address in range(0x400100, 0x400200):
        shadow[address - start] |= read
    for address in range(0x400180, 0x400280):
        shadow[address - start] |= write
    shadow.close()
    shadow = EMList(path)
    assert [i for i, flags in enumerate(shadow) if flags == read | write] == list(range(0x180, 0x200))
    assert sum(1 for flags in shadow if flags) == 0x180
    shadow.close()
    assert os.path.getsize(os.path.join(path, "data")) < 8 * (end - start)


def test_one_process_writes_and_another_reads(dirname):
    program = f"""
import pyrsistence
heap = pyrsistence.EMList({dirname!r})
for i in range(1000):
    heap.append((i, 'chunk', i * 16))
heap.close()
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    heap = EMList(dirname)
    assert len(heap) == 1000 and heap[7] == (7, "chunk", 112)
    heap.close()


def test_a_store_is_one_directory(tmp_path, dirname):
    em_list = EMList(dirname)
    em_list.append(1)
    em_list.close()
    assert os.listdir(tmp_path) == ["list"]
    shutil.rmtree(dirname)
    em_list = EMList(dirname)
    assert len(em_list) == 0
    em_list.close()


def test_subclass_with_picklers(dirname):
    class Snapshot(EMList):
        def __init__(self, path):
            super().__init__(str(path), pickler=Pickler(), unpickler=Pickler())

        def __setitem__(self, index, value):
            super().__setitem__(index, ("seen", value))

        def __getitem__(self, index):
            return super().__getitem__(index)[1]

    snapshot = Snapshot(dirname)
    snapshot.append(("new", 1))
    assert snapshot[0] == 1
    snapshot[0] = 2
    assert snapshot[0] == 2 and list(snapshot) == [2]
    snapshot.close()


def test_sort_of_a_subclass_that_overrides_reading(tmp_path):
    """PySequence_SetItem refuses types whose assignment is a mapping slot, and so did sort()."""

    class Doubling(EMList):
        def __getitem__(self, index):
            return EMList.__getitem__(self, index)

    with Doubling(tmp_path / "l") as items:
        items.extend([3, 1, 2])
        items.sort()
        assert list(items) == [1, 2, 3]
