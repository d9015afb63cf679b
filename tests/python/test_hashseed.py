"""What one process stored, another finds, whatever PYTHONHASHSEED and the addresses of its objects are."""

import pytest
import support

WRITE = """
    import sys, key_samples
    from pyrsistence import EMDict
    with EMDict(sys.argv[1]) as d:
        for i, key in enumerate(key_samples.keys()):
            d[key] = i
        print(len(d), i + 1)
"""

FIND = """
    import sys, key_samples
    from pyrsistence import EMDict
    with EMDict(sys.argv[1], mode=sys.argv[2]) as d:
        for i, key in enumerate(key_samples.keys()):
            assert key in d, (i, key)
            assert d[key] == d.get(key) == i, (i, key, d[key])
        for key, expected in zip(d, key_samples.keys(), strict=True):
            assert key == expected and hash(key) == hash(expected) and type(key) is type(expected), key
        assert "absent" not in d and ("absent",) not in d
        print("found", i + 1)
"""

REPLACE_AND_DELETE = """
    import sys, key_samples
    from pyrsistence import EMDict
    with EMDict(sys.argv[1]) as d:
        count = len(d)
        for i, key in enumerate(key_samples.keys()):
            d[key] = -i
        assert len(d) == count, "equal keys became new ones"
        for i, key in enumerate(key_samples.keys()):
            if i % 2:
                assert d.pop(key) == -i
            else:
                del d[key]
        print(len(d))
"""


def run(code, *arguments, seed):
    return support.run_child(code, *arguments, PYTHONHASHSEED=str(seed)).stdout.split()


@pytest.mark.parametrize("seeds", [(0, 1), (1, 2), (4_000_000_000, "random")])
def test_keys_of_every_type_are_found_with_another_hash_seed(store, seeds):
    count, expected = run(WRITE, store, seed=seeds[0])
    assert count == expected and int(count) > 500
    assert run(FIND, store, "r", seed=seeds[1]) == ["found", count]
    assert run(FIND, store, "a", seed=seeds[0]) == ["found", count]
    assert run(REPLACE_AND_DELETE, store, seed=seeds[1]) == ["0"]


def test_sets_as_values_are_equal_with_another_hash_seed(store):
    values = '[{"a", "b", "c"}, frozenset({("x", frozenset({"y", "z"}))}), {"k": {"s", "t"}}]'
    write = f"""
        import sys, pyrsistence
        with pyrsistence.EMList(sys.argv[1]) as l:
            l.extend({values})
    """
    read = f"""
        import sys, pyrsistence
        with pyrsistence.EMList(sys.argv[1]) as l:
            assert list(l) == {values} and l == {values}
            assert all(l.index(value) == i for i, value in enumerate({values}))
    """
    run(write, store, seed=1)
    run(read, store, seed=2)
