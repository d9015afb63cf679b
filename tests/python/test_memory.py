"""Memory stays below memory_limit, in a cgroup too, and a sync writes little whatever the page cache did."""

import os
import shutil
from pathlib import Path

import pytest
import support

LOAD = """
    import os, re, sys
    from pyrsistence import EMDict, EMList

    def anonymous():
        with open("/proc/self/status") as status:
            return int(re.search(r"RssAnon:\\s*(\\d+) kB", status.read())[1]) << 10

    path, limit, count = sys.argv[1], int(sys.argv[2]) << 20, int(sys.argv[3])
    with EMDict(path + "-warm-up", memory_limit=limit) as d:
        d[0] = 0
    before = most = anonymous()
    container = (EMDict if sys.argv[4] == "dict" else EMList)(path, memory_limit=limit)
    for start in range(0, count, 20_000):
        if sys.argv[4] == "dict":
            for i in range(start, start + 20_000):
                container[i * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFF] = i
        else:
            for i in range(start, start + 20_000):
                container.append(i)
        most = max(most, anonymous())
    assert len(container) == count
    assert container.info.memory_limit == limit
    container.close()
    most = max(most, anonymous())
    print(most - before)
"""


@pytest.mark.parametrize("kind, count", [("dict", 1_500_000), ("list", 3_000_000)])
def test_private_memory_stays_below_the_limit(store, kind, count):
    count = max(100_000, support.scaled(count) // 20_000 * 20_000)
    growth = int(support.run_child(LOAD, store, 64, count, kind, timeout=600).stdout)
    print(f"{kind}: {count} entries, {growth >> 20} MiB of private memory")
    assert growth < 64 << 20


def test_large_values_take_no_private_memory(store):
    code = """
        import re, sys
        from pyrsistence import EMList

        def anonymous():
            with open("/proc/self/status") as status:
                return int(re.search(r"RssAnon:\\s*(\\d+) kB", status.read())[1]) << 10

        before = most = anonymous()
        value = bytes(3 << 20)
        with EMList(sys.argv[1], memory_limit=64 << 20) as l:
            for i in range(120):
                l.append(value)
                most = max(most, anonymous())
            assert sum(map(len, l)) == 120 * len(value)
        print(max(most, anonymous()) - before)
    """
    assert int(support.run_child(code, store, timeout=600).stdout) < 64 << 20


@pytest.fixture
def group(request, benchmarks):
    """The folder of a memory cgroup that holds so many MiB, or skips with the reason."""
    limits = benchmarks("memory_limit")
    try:
        limit = limits.MemoryLimit(request.param << 20).__enter__()
    except limits.Unavailable as error:
        pytest.skip(f"LIMITED MEMORY IS NOT TESTED: {error}")
    yield limit.group
    limit.__exit__()


@pytest.mark.parametrize("group", [128], indirect=True)
def test_a_store_several_times_the_memory_of_its_cgroup(store, group):
    """Default memory_limit: it must follow from the cgroup, and page cache must not kill the process."""
    code = """
        import os, sys
        from pyrsistence import EMDict
        with open(sys.argv[2] + "/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))
        count = int(sys.argv[3])
        with EMDict(sys.argv[1]) as d:
            assert d.info.memory_limit <= 32 << 20, d.info.memory_limit
            for i in range(count):
                d[i * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFF] = bytes(1500)
            size = d.info.data_bytes
        with EMDict(sys.argv[1]) as d:
            assert len(d) == count
            for i in range(0, count, 97):
                assert d[i * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFF] == bytes(1500)
        print(size)
    """
    count = max(50_000, support.scaled(250_000))
    done = support.run_child(code, store, group, count, check=False, timeout=600)
    assert done.returncode == 0, f"killed for want of memory? {done.returncode} {done.stderr}"
    print(f"{int(done.stdout) >> 20} MiB of data in a cgroup of 128 MiB")
    if support.SCALE >= 1:
        assert int(done.stdout) > 3 * (128 << 20)


@pytest.mark.parametrize("group", [64], indirect=True)
@pytest.mark.parametrize("how", ["external_sort", "EMList.sort"])
def test_sorting_four_times_the_memory_of_a_cgroup(store, group, how):
    code = """
        import os, random, sys
        with open(sys.argv[2] + "/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))
        import pyrsistence

        def items():
            rng = random.Random(1)
            return (rng.randbytes(16) + bytes(1008) for _ in range(count))

        count = int(sys.argv[4])
        if sys.argv[3] == "external_sort":
            ordered = pyrsistence.external_sort(items(), directory=os.path.dirname(sys.argv[1]))
        else:
            ordered = pyrsistence.EMList(sys.argv[1])
            assert ordered.info.memory_limit <= 16 << 20
            ordered.extend(items())
            ordered.sort()
        last, total = b"", 0
        for item in ordered:
            assert last <= item and len(item) == 1024
            last, total = item, total + int.from_bytes(item[:16], "big")
        assert total == sum(int.from_bytes(item[:16], "big") for item in items())
        ordered.close()
    """
    count = support.scaled(4 * (64 << 20) // 1024)
    done = support.run_child(code, store, group, how, count, check=False, timeout=600)
    assert done.returncode == 0, f"killed for want of memory? {done.returncode} {done.stderr}"


FILL = """
    import sys
    from pyrsistence import EMDict
    with EMDict(sys.argv[1]) as d:
        for i in range(30_000):
            d["old", i] = bytes(100)
"""

SYNC = """
    import os, re, sys
    from pyrsistence import EMDict

    def written():
        with open("/proc/self/io") as io:
            return int(re.search(r"^write_bytes: (\\d+)", io.read(), re.M)[1])

    d = EMDict(sys.argv[1])
    rounds = int(sys.argv[2])
    for i in range(50):
        d["warm", i] = bytes(100)
        d.sync()
    print("ready", flush=True)
    sys.stdin.readline()
    before = written()
    for i in range(rounds):
        d[i] = bytes(100)
        d.sync()
    print((written() - before) // rounds, flush=True)
    sys.stdin.readline()
    os._exit(0)
"""


@pytest.mark.parametrize("disturb", ["nothing", "read", "cold"])
def test_a_sync_writes_a_few_kib(tmp_path, disturb):
    """write_bytes counts what was made dirty: a write through a mapping may dirty a whole large folio."""
    store = str(Path(os.environ.get("PYRSISTENCE_TEST_DISK") or tmp_path) / f"sync-{disturb}-{os.getpid()}")
    rounds = 400
    try:
        support.run_child(FILL, store)
        if disturb == "cold":
            drop_caches(store)
        if disturb != "nothing":
            read_all(store)
        with support.child(SYNC, store, rounds) as process:
            support.expect(process, "ready")
            if disturb == "cold":
                drop_caches(store)
            if disturb != "nothing":
                read_all(store)
            process.stdin.write("\n")
            process.stdin.flush()
            per_sync = int(process.stdout.readline())
    finally:
        shutil.rmtree(store, ignore_errors=True)
    print(f"{per_sync} bytes written per sync")
    if per_sync == 0:
        pytest.skip(f"BYTES PER SYNC ARE NOT TESTED: the file system of {tmp_path} does not count them")
    assert per_sync <= 16 << 10


def read_all(store):
    """Reads the files whole, as a backup does: the page cache then holds them in large folios."""
    for name in os.listdir(store):
        with open(f"{store}/{name}", "rb") as file:
            while file.read(1 << 20) and file.tell() < 300 << 20:
                pass


def drop_caches(store):
    for name in os.listdir(store):
        with open(f"{store}/{name}", "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
