"""A disk that is really full: a small file system in a mount namespace of a child's own, or, where that is not
permitted, a limit on the size of files. Nothing that returned is lost, and the store goes on when there is room."""

import warnings

import pytest
from support import run_child

# What stands in for the disk, and how room is made on it.
DISK = """
    import ctypes, errno, os, resource, signal, sys
    import pyrsistence
    from pyrsistence import EMDict, StorageError

    SIZE = 24 << 20
    FULL = (errno.ENOSPC, errno.EFBIG)
    place = sys.argv[1]
    CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000
    libc = ctypes.CDLL(None, use_errno=True)

    def mounted():
        if libc.unshare(CLONE_NEWNS) != 0:
            return False
        if libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None) != 0:
            return False
        return libc.mount(b"tmpfs", place.encode(), b"tmpfs", ctypes.c_ulong(0), b"size=%d" % SIZE) == 0

    if sys.argv[2] == "mount" and mounted():
        kind = "file system"
        ballast = place + "/ballast"
        with open(ballast, "wb") as file:
            file.write(bytes(6 << 20))

        def make_room():
            os.remove(ballast)
    else:
        kind = "limit"
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE, resource.RLIM_INFINITY))

        def make_room():
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    path = place + "/store"

    def value(i):
        return bytes([i % 251]) * (20_000 if i % 3 else 90)

    def fill(d, model):
        "Until it is refused."
        for i in range(len(model), 1_000_000):
            try:
                d[i] = value(i)
            except StorageError as error:
                assert error.errno in FULL, error
                assert path in str(error), error
                return
            model[i] = value(i)
        raise AssertionError("the disk is never full")

    def agree(d, model):
        d.check()
        assert len(d) == len(model)
        assert list(d.items()) == list(model.items())
"""


def run(program, tmp_path, kind):
    """Both kinds are tried everywhere; where mounting is not permitted, the limit runs twice, and this is said."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = run_child(DISK + program + "\n    print(kind)\n", disk, kind)
    ran = done.stdout.strip()
    print(f"a full disk by way of a {ran}")
    if kind == "mount" and ran != "file system":
        text = "no file system may be mounted here: a limit on the size of files stood for the full disk"
        warnings.warn(text, stacklevel=2)
    assert str(disk) not in open("/proc/self/mounts").read()
    return ran


@pytest.mark.parametrize("kind", ["mount", "limit"])
def test_what_returned_is_there_and_the_store_goes_on(tmp_path, kind):
    run(
        """
    model = {}
    d = EMDict(path, memory_limit=4 << 20)
    fill(d, model)
    assert len(model) > 100
    agree(d, model)
    for i in range(3):  # it stays usable for reading, and says the same again
        try:
            d["another"] = bytes(1 << 20)
        except StorageError as error:
            assert error.errno in FULL, error
        else:
            del d["another"]
    agree(d, model)
    make_room()
    for i in range(0, len(model), 2):
        del d[i], model[i]
    agree(d, model)
    d.compact()
    d.update({("new", i): value(i) for i in range(50)})
    model.update({("new", i): value(i) for i in range(50)})
    agree(d, model)
    d.close()
    with EMDict(path) as d:
        agree(d, model)
        assert not d.verify().faults
    """,
        tmp_path,
        kind,
    )


@pytest.mark.parametrize("kind", ["mount", "limit"])
def test_a_full_disk_within_a_transaction_undoes_it(tmp_path, kind):
    run(
        """
    model = {i: value(i) for i in range(50)}
    d = EMDict(path, memory_limit=4 << 20)
    d.update(model)
    for attempt in range(3):
        try:
            with d.transaction():
                fill(d, dict(model))
                raise KeyError("as if it had not been caught")
        except (KeyError, StorageError):
            pass
        agree(d, model)
    make_room()
    with d.transaction():
        d["after"] = model["after"] = value(1)
    agree(d, model)
    d.close()
    with EMDict(path) as d:
        agree(d, model)
    """,
        tmp_path,
        kind,
    )


@pytest.mark.parametrize("kind", ["mount", "limit"])
def test_a_process_that_dies_on_a_full_disk(tmp_path, kind):
    run(
        """
    model = {}
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        d = EMDict(path, memory_limit=4 << 20)
        fill(d, model)
        os.write(tell, str(len(model)).encode())
        os._exit(9)
    os.waitpid(child, 0)
    count = int(os.read(told, 100))
    model = {i: value(i) for i in range(count)}
    try:
        EMDict(path).close()  # recovery may find no room either, which loses nothing
    except StorageError as error:
        assert error.errno in FULL, error
    make_room()
    with EMDict(path) as d:
        agree(d, model)
        d["more"] = model["more"] = 1
    with EMDict(path) as d:
        agree(d, model)
    """,
        tmp_path,
        kind,
    )
