"""What a store makes is its owner's alone; links, FIFOs and the like in the place of its files are refused."""

import os
import socket
import stat

import pytest
from support import child, expect, run_child

import pyrsistence
from pyrsistence import EMDict, EMList, Store

NAMES = ["data", "log", "lock", "data.new"]


def modes_in(directory):
    return {stat.S_IMODE(os.lstat(directory / name).st_mode) for name in os.listdir(directory)}


def test_files_are_the_owners_whatever_the_umask(tmp_path):
    run_child(
        """
        import os, sys, stat
        from pathlib import Path
        from pyrsistence import EMDict, EMList, Store
        os.umask(0)
        place = Path(sys.argv[1])
        with EMDict(place / "dict") as d, EMList(place / "list") as l, Store(place / "store") as s:
            d[1] = 1
            d.backup(place / "backup")
            l.append(1)
            s.dict("x")
            temporary = EMDict(None)
            temporary[1] = 1
            copy = d.copy()
            kept = [place / name for name in ("dict", "list", "store", "backup")]
            for path in [*kept, Path(temporary.path), Path(copy.path)]:
                assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
                for file in path.iterdir():
                    assert stat.S_IMODE(file.lstat().st_mode) == 0o600, file
            gone = temporary.path
            temporary.close(), copy.close()
            assert not os.path.exists(gone)
        """,
        tmp_path,
    )


def test_a_program_that_handles_sigterm_leaves_no_temporary_store(tmp_path):
    """As the README advises."""
    code = """
        import signal, sys, time
        from pyrsistence import EMDict, EMList
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        d = EMDict(None)
        d["a"] = 1
        l = EMList(None)
        copy = d.copy()
        print("ready", flush=True)
        time.sleep(60)
    """
    with child(code, TMPDIR=str(tmp_path)) as process:
        expect(process, "ready")
        assert len(os.listdir(tmp_path)) == 3
        process.terminate()
        assert process.wait() == 143
        assert os.listdir(tmp_path) == []


def make_fifo(place, victim):
    os.mkfifo(place)


def make_socket(place, victim):
    here = os.getcwd()
    os.chdir(place.parent)  # the address of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(place.name)
    finally:
        os.chdir(here)


REFUSED = {
    "a link": lambda place, victim: place.symlink_to(victim),
    "a dangling link": lambda place, victim: place.symlink_to(victim.with_name("missing")),
    "a fifo": make_fifo,
    "a socket": make_socket,
    "a directory": lambda place, victim: place.mkdir(),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_file_is_refused_in_every_mode(tmp_path, what, name):
    path, victim = tmp_path / "store", tmp_path / "victim"
    victim.write_text("precious")
    EMDict(path).close()
    (path / name).unlink(missing_ok=True)
    REFUSED[what](path / name, victim)
    for cls in (EMDict, EMList, Store):
        for mode in ("r", "r+", "a", "w", "x"):
            expected = name if mode != "x" else "store"
            with pytest.raises((pyrsistence.FormatError, pyrsistence.ExistsError), match=expected):
                cls(path, mode=mode)
    assert victim.read_text() == "precious"
    assert not victim.with_name("missing").exists()
    assert os.path.lexists(path / name)


@pytest.mark.parametrize("name", ["data", "log", "lock"])
def test_a_file_with_two_names_is_read_but_not_written(tmp_path, name):
    path = tmp_path / "store"
    with EMDict(path) as d:
        d[1] = 2
    os.link(path / name, tmp_path / "other")
    before = (tmp_path / "other").read_bytes()
    for mode in ("r+", "a", "w"):
        with pytest.raises(pyrsistence.FormatError, match="2 names"):
            EMDict(path, mode=mode)
    assert (tmp_path / "other").read_bytes() == before
    with EMDict(path, mode="r") as d:
        assert d[1] == 2
    (tmp_path / "other").unlink()
    with EMDict(path) as d:
        assert d[1] == 2


def test_a_backup_writes_through_nothing(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    with EMDict(tmp_path / "store") as d:
        for name in NAMES:
            to = tmp_path / f"to {name}"
            to.mkdir()
            (to / name).symlink_to(victim)
            with pytest.raises(pyrsistence.ExistsError):
                d.backup(to)
        os.mkfifo(tmp_path / "fifo")
        for place in (victim, tmp_path / "fifo"):
            with pytest.raises(pyrsistence.ExistsError):
                d.backup(place)
    assert victim.read_text() == "precious"
