"""Stores written by earlier builds of each format version open, and hold what was put into them."""

import hashlib
import importlib.util
import shutil
from pathlib import Path

import pytest
import support
from pyrsistence import EMArray, EMDict, EMList, EMSortedDict

GOLDEN = Path(__file__).parents[1] / "golden"
STORES = {
    "v1/dict": (EMDict, lambda maker: maker.dict_v1({})),
    "v1/list": (EMList, lambda maker: maker.list_v1([])),
    "v1/killed": (EMDict, lambda maker: maker.killed_v1({})),
    "v2/array": (EMArray, lambda maker: maker.array_v2([])),
    "v2/divided": (EMDict, lambda maker: maker.divided_v2({})),
    "v2/sorted": (EMSortedDict, lambda maker: dict(sorted(maker.sorted_v2({}).items()))),
}


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
            else:
                target.extend(bytes(i * 10) for i in range(2000))
                del target[::3]
        container.check()
    if cls is EMSortedDict:
        model = dict(sorted(model.items()))
    with cls(path) as container:
        support.assert_same(container, model)
        container.clear()
        container.check()


@pytest.mark.parametrize("name", STORES)
def test_reading_a_golden_store_changes_no_file(copy, maker, name):
    cls, expected = STORES[name]
    path = copy(name)
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
