"""Each thing that can go wrong has its class, a message that says what to do, and leaves the store as it was."""

import errno
import os
import pickle
import subprocess
import sys

import pytest

import pyrsistence
from pyrsistence import EMDict, EMList

COLLECTIONS = [EMDict, pyrsistence.EMList]
CLASSES = ["LockedError", "FormatError", "CorruptionError", "ClosedError", "ReadOnlyError", "PickleRefusedError",
           "StorageError", "NotFoundError", "ExistsError"]  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "d"


@pytest.fixture(params=COLLECTIONS, ids=lambda cls: cls.__name__)
def collection(request):
    return request.param


def content(directory):
    return sorted(entry.name for entry in directory.iterdir())


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_is_an_error_and_a_runtime_error(name):
    cls = getattr(pyrsistence, name)
    assert issubclass(cls, pyrsistence.Error) and issubclass(cls, RuntimeError)
    assert cls.__module__ == "pyrsistence" and cls.__doc__
    again = pickle.loads(pickle.dumps(cls(5, "text")))
    assert type(again) is cls and again.args == (5, "text")


def test_errors_have_the_built_in_bases_that_handlers_expect():
    assert issubclass(pyrsistence.ClosedError, ValueError)
    assert issubclass(pyrsistence.PickleRefusedError, ValueError)
    assert issubclass(pyrsistence.StorageError, OSError)
    assert issubclass(pyrsistence.NotFoundError, (FileNotFoundError,))
    assert issubclass(pyrsistence.ExistsError, FileExistsError)
    error = pyrsistence.StorageError(errno.ENOSPC, "write /x/data: No space left on device")
    assert error.errno == errno.ENOSPC and error.strerror == str(error)


# --- opening


def test_a_missing_parent_directory(collection, tmp_path):
    with pytest.raises(RuntimeError, match=f"^Cannot open {collection.__name__}: .*missing.*No such file") as caught:
        collection(tmp_path / "missing" / "d")
    assert isinstance(caught.value, FileNotFoundError) and caught.value.errno == errno.ENOENT
    assert content(tmp_path) == []


def test_a_file_in_the_place_of_the_directory(collection, path):
    path.write_text("precious")
    for mode in ("a", "r", "r+", "w", "x"):
        with pytest.raises(pyrsistence.FormatError, match=f"^Cannot open {collection.__name__}: .*is a file"):
            collection(path, mode=mode)
    assert path.read_text() == "precious"


def test_a_directory_of_other_things_is_left_alone(collection, path):
    path.mkdir()
    (path / "thesis.tex").write_text("precious")
    for mode in ("a", "w", "x", "r", "r+"):
        with pytest.raises(pyrsistence.FormatError, match=f"^Cannot open {collection.__name__}: .*thesis.tex"):
            collection(path, mode=mode)
    assert content(path) == ["thesis.tex"]


def test_files_of_the_original_are_recognised(collection, path):
    path.mkdir()
    for name in ("index.bin", "keys.bin", "values.bin"):
        (path / name).write_bytes(bytes(4096))
    with pytest.raises(pyrsistence.FormatError, match="original pyrsistence 1.x"):
        collection(path)
    assert content(path) == ["index.bin", "keys.bin", "values.bin"]


def test_a_container_of_another_type(path):
    EMDict(path).close()
    with pytest.raises(pyrsistence.FormatError, match="^Cannot open EMList: "):
        pyrsistence.EMList(path)
    with EMDict(path) as d:
        assert len(d) == 0


def test_garbage_in_the_data_file(collection, path):
    collection(path).close()
    data = path / "data"
    data.write_bytes(os.urandom(len(data.read_bytes())))
    with pytest.raises((pyrsistence.FormatError, pyrsistence.CorruptionError), match="^Cannot open"):
        collection(path)


def test_modes(path):
    for mode in ("r", "r+"):
        with pytest.raises(FileNotFoundError, match="^Cannot open EMDict: "):
            EMDict(path, mode=mode)
        assert not path.exists()
    with EMDict(path, mode="x") as d:
        d[1] = 1
    with pytest.raises(FileExistsError, match="^Cannot open EMDict: "):
        EMDict(path, mode="x")
    with EMDict(path, mode="r+") as d:
        d[2] = 2
    with EMDict(path, mode="r") as d:
        assert d == {1: 1, 2: 2} and d.mode == "r"
    with EMDict(path, mode="w") as d:
        assert len(d) == 0 and d.mode == "w"
        d[3] = 3
        d.close()
        d.open(path)
        assert d == {3: 3}
    for mode in ("rw", "", "A", None, 5):
        with pytest.raises(ValueError, match="mode must be 'r', 'r\\+', 'a', 'w' or 'x', not " + repr(mode)):
            EMDict(path, mode=mode)


def test_arguments_of_the_wrong_kind(collection, path):
    for bad in (5, None.__class__, ["d"]):
        with pytest.raises(TypeError):
            collection(bad)
    with pytest.raises(TypeError):
        collection()
    with pytest.raises(TypeError):
        collection(path, None, None, "a")
    with pytest.raises(ValueError, match="null"):
        collection("a\0b")
    with pytest.raises(FileNotFoundError, match=f"^Cannot open {collection.__name__}: the path is empty"):
        collection("")
    with pytest.raises(ValueError, match="memory_limit is 5 bytes; at least 4194304"):
        collection(path, memory_limit=5)
    with pytest.raises(TypeError):
        collection(path, memory_limit="much")
    assert not path.exists()


def test_after_a_failed_init_the_object_can_be_closed_and_opened(collection, tmp_path):
    c = collection.__new__(collection)
    with pytest.raises(RuntimeError):
        c.__init__(tmp_path / "missing" / "d")
    c.close()
    assert c.closed
    c.open(tmp_path / "d")
    assert len(c) == 0
    c.close()


def test_another_process_that_writes_is_named(collection, path):
    program = (
        "import os, sys, pyrsistence\n"
        "c = getattr(pyrsistence, sys.argv[2])(sys.argv[1])\n"
        "print(os.getpid(), flush=True)\n"
        "sys.stdin.read()\n"
        "c.close()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", program, path, collection.__name__], env=environment, text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:  # fmt: skip
        pid = holder.stdout.readline().strip()
        with pytest.raises(pyrsistence.LockedError, match=rf"^Cannot open {collection.__name__}: .*process {pid}\b"):
            collection(path)
        holder.communicate()
    collection(path).close()


def test_an_unreadable_directory(collection, path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path.mkdir(mode=0)
    with pytest.raises(pyrsistence.StorageError) as caught:
        collection(path)
    assert caught.value.errno == errno.EACCES
    path.chmod(0o700)


# --- using


def test_a_read_only_dict_refuses_every_change(path):
    with EMDict(path) as d:
        d.update(a=1, b=2)
    before = {name: (path / name).read_bytes() for name in ("data", "log")}
    with EMDict(path, mode="r") as d:
        for change in (lambda: d.update(a=2), lambda: d.pop("a"), lambda: d.popitem(), lambda: d.clear(),
                       lambda: d.setdefault("c", 1), lambda: d.__delitem__("a"), lambda: d.__setitem__("c", 1),
                       lambda: d.checkpoint()):  # fmt: skip
            with pytest.raises(pyrsistence.ReadOnlyError, match="read-only; open it with mode"):
                change()
        assert d == {"a": 1, "b": 2} and d.setdefault("a", 5) == 1
    assert before == {name: (path / name).read_bytes() for name in ("data", "log")}


def test_after_close_every_use_says_so(path):
    d = EMDict(path)
    d["a"] = 1
    view = d.items()
    d.close()
    assert d.close() is None and d.closed and d.path == str(path)
    for use in (lambda: d["a"], lambda: d.get("a"), lambda: len(d), lambda: list(d), lambda: "a" in d, lambda: d.sync(),
                lambda: d.update(a=1), lambda: d.clear(), lambda: d.info, lambda: d.verify(), lambda: d.checkpoint(),
                lambda: list(view), lambda: len(view), lambda: d == {}, lambda: d.copy(), lambda: reversed(d),
                lambda: d.popitem(), lambda: d.pop("a", 1), lambda: d.__enter__()):  # fmt: skip
        with pytest.raises(pyrsistence.ClosedError, match="is closed; open it again"):
            use()
    with pytest.raises(ValueError):
        d["a"]


def test_pickles_are_refused_on_demand_and_the_store_stays_usable(path):
    with EMDict(path) as d:
        d["set"] = {1, 2}
        d["object"] = pyrsistence.Error("pickled")
    with EMDict(path, allow_pickle=False) as d:
        assert d["set"] == {1, 2} and len(d) == 2 and "object" in d and list(d) == ["set", "object"]
        with pytest.raises(pyrsistence.PickleRefusedError, match="allow_pickle"):
            d["object"]
        with pytest.raises(ValueError):
            d["new"] = object()
        with pytest.raises(pyrsistence.PickleRefusedError):
            d.pop("object")
        assert repr(d) == f"EMDict({str(path)!r}, 2 entries)"
        assert "object" in d and "new" not in d
        d.verify()


def test_a_damaged_page_is_named(path):
    with EMDict(path) as d:
        d.update((i, "x" * 100) for i in range(10_000))
    data = path / "data"
    content = bytearray(data.read_bytes())
    for place in range(2 * 4096 + 2000, len(content), 4096):
        content[place] ^= 0xFF
    data.write_bytes(content)
    with pytest.raises(pyrsistence.CorruptionError, match="page [0-9]+"), EMDict(path, mode="r") as d:
        d.verify()


def test_a_full_disk_is_an_os_error_with_errno(path):
    """A limit on the file size stands for the full disk; the store reads on."""
    program = (
        "import errno, resource, signal, sys, pyrsistence\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "d = pyrsistence.EMDict(sys.argv[1])\n"
        "d['before'] = 1\n"
        "d.checkpoint()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    for i in range(100): d[i] = bytes(1 << 20)\n"
        "except OSError as error:\n"
        "    assert isinstance(error, pyrsistence.StorageError), error\n"
        "    assert error.errno in (errno.EFBIG, errno.ENOSPC), error\n"
        "    assert d['before'] == 1\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)\n"
        "    print('refused')\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    outcome = subprocess.run([sys.executable, "-c", program, path], env=environment, capture_output=True, text=True)
    assert outcome.stdout == "refused\n", outcome.stderr
    with EMDict(path) as d:
        assert d["before"] == 1
        d.verify()


@pytest.mark.parametrize("cls", [EMDict, EMList])
def test_a_lost_data_file_is_not_taken_for_a_new_store(tmp_path, cls):
    """An empty store was opened in silence where only the log was left."""
    with cls(tmp_path / "s") as container:
        container.update({1: 1}) if cls is EMDict else container.append(1)
    (tmp_path / "s" / "data").rename(tmp_path / "data")
    for mode in ("a", "w", "x"):
        with pytest.raises(pyrsistence.FormatError, match="lost its file 'data'"):
            cls(tmp_path / "s", mode=mode)
    (tmp_path / "data").rename(tmp_path / "s" / "data")
    with cls(tmp_path / "s") as container:
        assert len(container) == 1
