"""Stores written by earlier builds of each format version open, and hold what was put into them."""

import hashlib
import importlib.util
import os
import shutil
import zipfile
from pathlib import Path

import pytest
import support
from sortedcontainers import SortedDict, SortedSet

from pyrsistence import EMArray, EMDict, EMList, EMMultiDict, EMPriorityQueue, EMSortedDict, EMSortedSet

GOLDEN = Path(__file__).parents[1] / "golden"
STORES = {
    "v1/dict": (EMDict, lambda maker: maker.dict_v1({})),
    "v1/list": (EMList, lambda maker: maker.list_v1([])),
    "v1/killed": (EMDict, lambda maker: maker.killed_v1({})),
    "v2/array": (EMArray, lambda maker: maker.array_v2([])),
    "v2/divided": (EMDict, lambda maker: maker.divided_v2({})),
    "v2/multi_dict": (EMMultiDict, lambda maker: maker.multi_dict_v2(support.MultiDict())),
    "v2/queue": (EMPriorityQueue, lambda maker: maker.queue_v2(support.PriorityQueue())),
    "v2/sorted": (EMSortedDict, lambda maker: SortedDict(maker.sorted_v2({}))),
    "v2/sorted_set": (EMSortedSet, lambda maker: maker.sorted_set_v2(SortedSet())),
}
KILLED = {"v2/multi_dict", "v2/queue", "v2/sorted_set"}  # with records in their logs


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_golden", GOLDEN / "make_golden.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(maker, tmp_path):
    def make(name):
        path = tmp_path / Path(name).name
        packed = GOLDEN / f"{name}.zip"
        if packed.exists():
            zipfile.ZipFile(packed).extractall(path)
        else:
            shutil.copytree(GOLDEN / name, path)
        if (path / "log.blocks").exists():
            maker.restore_log(path)
        return path

    return make


def digests(path):
    """The content of every file but `lock`, where readers announce themselves; times are not compared."""
    return {file.name: hashlib.sha1(file.read_bytes()).hexdigest() for file in path.iterdir() if file.name != "lock"}


@pytest.mark.parametrize("name", STORES)
def test_a_golden_store_opens_and_is_what_it_was(copy, maker, name):
    cls, expected = STORES[name]
    path = copy(name)
    with cls(path) as container:
        container.check()
        support.assert_same(container, expected(maker))
        if cls is EMDict:
            for key, value in expected(maker).items():
                assert support.identical(container[key], value), key
    with cls(path) as container:
        support.assert_same(container, expected(maker))


@pytest.mark.parametrize("name", STORES)
def test_a_golden_store_can_be_changed(copy, maker, name):
    cls, expected = STORES[name]
    path = copy(name)
    model = expected(maker)
    with cls(path) as container:
        for target in (container, model):
            if cls is EMDict:
                target.update({f"new {i}": bytes(i * 10) for i in range(2000)})
                for key in list(model)[:50] if target is model else []:
                    del container[key], model[key]
            elif cls is EMArray:
                target.extend(range(2000))
                target.pop()
            elif cls is EMSortedDict:
                target.update({i + 0.25: bytes(i) for i in range(2000)})
                for i in range(0, 2000, 2):
                    target.pop(i, None)
            elif cls is EMSortedSet:
                target.update((i / 100, "new") for i in range(2000))
                target.difference_update([(i / 100, "new") for i in range(0, 2000, 3)])
            elif cls is EMPriorityQueue:
                for i in range(2000):
                    target.push(bytes(i % 100), i % 50 / 2)
                for _ in range(500):
                    target.pop()
            elif cls is EMMultiDict:
                for i in range(2000):
                    target.add(f"key {i % 50}", i)
                target.popall("key 9")
            else:
                target.extend(bytes(i * 10) for i in range(2000))
                del target[::3]
        container.check()
    with cls(path) as container:
        support.assert_same(container, model)
        container.clear()
        container.check()


@pytest.mark.parametrize("name", STORES)
def test_reading_a_golden_store_changes_no_file(copy, maker, name):
    cls, expected = STORES[name]
    path = copy(name)
    if name in KILLED and os.geteuid() == 0:
        pytest.skip("a reader that may write recovers a store whose process died")
    before = digests(path)
    for file in path.iterdir():
        file.chmod(0o400)
    path.chmod(0o500)
    try:
        with cls(path, mode="r") as container:
            support.assert_same(container, expected(maker))
            container.check()
        assert digests(path) == before
    finally:
        path.chmod(0o700)


def versions(path):
    """Of both meta pages."""
    data = (path / "data").read_bytes()
    return [int.from_bytes(data[page * 4096 + 8 : page * 4096 + 12], "little") for page in (0, 1)]


def test_a_store_of_an_older_format_gets_the_present_one_when_it_is_changed(copy):
    path = copy("v1/dict")
    with EMDict(path) as d:
        assert len(d) > 0
    assert versions(path) == [1, 1]
    with EMDict(path) as d:
        d["new"] = 1
    assert 2 in versions(path)
    with EMDict(path) as d:
        d["newer"] = 1
        d.checkpoint()
        d["newest"] = 1
        d.checkpoint()
        d.check()
    assert versions(path) == [2, 2]


def test_golden_stores_are_small():
    size = sum(file.stat().st_size for file in GOLDEN.rglob("*") if file.is_file())
    assert size < 600 << 10, f"{size} bytes in {GOLDEN}: every clone downloads them"
