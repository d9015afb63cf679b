"""Python's own memory runs out within an operation: MemoryError, and nothing is half done."""

import pytest
from support import run_child

pytest.importorskip("_testcapi", reason="THE MEMORY OF PYTHON CANNOT BE MADE TO FAIL: no module _testcapi here")

PROGRAM = '''
    import sys
    import _testcapi
    from pyrsistence import EMDict, EMList

    def failing(container, operation, read, done=lambda before: before, most=400):
        """Has one allocation after the other fail, until the operation ends without meeting it.

        What fails when it has returned finds it done: done(before).
        """
        failures = 0
        for n in range(most):
            before = read(container)
            error = None
            _testcapi.set_nomemory(n, n + 1)
            try:
                operation(container)
            except MemoryError:
                error = "memory"
            finally:
                _testcapi.remove_mem_hooks()
            if error is None:
                if n > 20:
                    return failures
                continue  # best effort: a cache, say, was not filled
            failures += 1
            assert read(container) in (before, done(before)), f"half of an operation, at allocation {n}"
            container.check()
        return failures

    failures = 0
    with EMDict(sys.argv[1]) as d:
        d.update({i: [i, "x" * i, {"k": i}] for i in range(200)})
        read = lambda d: dict(d.items())
        def put(d): d[1, "key"] = {"a": [1, 2.5, 10 ** 30], "b": (b"x" * 3000, None)}
        def change(d):
            with d.edit(7) as v: v.append("y")
        def both(d):
            with d.transaction():
                d["t1"] = [1] * 50
                d["t2"] = [2] * 50
        value = {"a": [1, 2.5, 10 ** 30], "b": (b"x" * 3000, None)}
        failures += failing(d, put, read, lambda b: {**b, (1, "key"): value})
        failures += failing(d, lambda d: d[5], read)
        failures += failing(d, change, read, lambda b: {**b, 7: b[7] + ["y"]})
        failures += failing(d, lambda d: list(d.items()), read)
        failures += failing(d, both, read, lambda b: {**b, "t1": [1] * 50, "t2": [2] * 50})
        expected = read(d)
    with EMDict(sys.argv[1]) as d:
        assert read(d) == expected
    with EMList(sys.argv[2]) as l:
        l.extend([i, str(i)] for i in range(300))
        failures += failing(l, lambda l: l.append({"a": [1, (2, 3)]}), list, lambda b: b + [{"a": [1, (2, 3)]}])
        def replaced(b):
            b = list(b)
            b[3:9:2] = [["new"], "x", 2.5]
            return b
        failures += failing(l, lambda l: l.__setitem__(slice(3, 9, 2), [["new"], "x", 2.5]), list, replaced)
        failures += failing(l, lambda l: l.insert(5, "y" * 5000), list, lambda b: b[:5] + ["y" * 5000] + b[5:])
        expected = list(l)
    with EMList(sys.argv[2]) as l:
        assert list(l) == expected
    print(failures)
'''


def test_nothing_is_half_done(tmp_path):
    done = run_child(PROGRAM, tmp_path / "dict", tmp_path / "list")
    assert int(done.stdout) > 50
