"""Docstrings promise complexities: the pages that operations need are counted, see benchmarks/touches.py."""

import os

import pytest


@pytest.fixture
def touches(benchmarks, monkeypatch):
    pytest.importorskip("numpy")
    module = benchmarks("touches")
    monkeypatch.setattr(module, "SAMPLES", 4)
    if os.path.isdir("/dev/shm"):
        monkeypatch.setattr(module.tempfile, "tempdir", "/dev/shm")
    return module


def test_pages_grow_as_the_docstrings_promise(touches):
    found = touches.measure([10_000, 100_000])
    assert len(found) == sum(len(kind.operations) for kind in touches.KINDS.values())
    assert touches.broken(found) == []
    for operation, promise in touches.promises().items():
        for n, pages in found[operation].items():
            assert 0 < pages.read <= (n / 100 if promise == "O(n)" else 8), (operation, n)


def test_growth_is_noticed(touches):
    few, more, most = touches.Touches(3, 5), touches.Touches(7, 5), touches.Touches(30, 50)
    found = {("EMDict", "`d[k]`"): {100: few, 1000: more, 100_000: most}, ("EMList", "iterating over all"): {100: few, 1000: more}}
    complaints = touches.broken(found)
    assert [complaint.split(":")[0] for complaint in complaints] == ["EMDict `d[k]`", "EMDict `d[k]`", "EMList iterating over all"]
