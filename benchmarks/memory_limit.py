"""Runs programs with less memory than the machine has: in a memory cgroup of their own, version 1 or 2.

Mapped files and the page cache count, as on a machine that has no more. The group is made below that of this
process, or above where version 2 wants it, and is gone in the end; nothing else is changed.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

# Version -> files with the limit; the second, if there is one, counts swap too.
LIMITS = {1: ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"), 2: ("memory.max", "memory.swap.max")}


class Unavailable(Exception):
    """There is no memory cgroup here that this user may make."""


class MemoryLimit:
    """A context in which `run` runs programs that share so many bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def __enter__(self) -> MemoryLimit:
        self.group = self._make()
        return self

    def __exit__(self, *_: object) -> None:
        for _attempt in range(50):  # the kernel may need a moment after the last process
            try:
                return self.group.rmdir()
            except OSError:
                time.sleep(0.1)

    def run(self, arguments: list[str], timeout: float) -> subprocess.CompletedProcess:
        """Its standard output is text. Ended after so many seconds, with `subprocess.TimeoutExpired`."""
        procs = str(self.group / "cgroup.procs")

        def join() -> None:
            with open(procs, "w") as file:
                file.write(str(os.getpid()))

        return subprocess.run(arguments, stdout=subprocess.PIPE, text=True, timeout=timeout, preexec_fn=join)

    def _make(self) -> Path:
        reasons = []
        for version, parent in _parents():
            group = parent / f"pyrsistence-benchmark-{os.getpid()}"
            try:
                group.mkdir()
            except OSError as error:
                reasons.append(str(error))
                continue
            try:
                self._set(group, *LIMITS[version])
                return group
            except OSError as error:
                reasons.append(str(error))
                group.rmdir()
        raise Unavailable("no memory cgroup can be made here: " + ("; ".join(reasons) or "none is mounted"))

    def _set(self, group: Path, memory: str, with_swap: str) -> None:
        (group / memory).write_text(str(self.limit))
        if (group / with_swap).exists():
            (group / with_swap).write_text("0" if "max" in with_swap else str(self.limit))


def _parents() -> list[tuple[int, Path]]:
    """(version, directory) in which a group may be made, best first."""
    own = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        own[controllers] = path.lstrip("/")
    found = []
    for line in Path("/proc/mounts").read_text().splitlines():
        _device, point, kind, options, *_ = line.split()
        if kind == "cgroup" and "memory" in options.split(","):
            found.append((1, Path(point) / own.get("memory", "")))
        elif kind == "cgroup2":
            below = Path(point) / own.get("", "")
            found += [(2, group) for group in (below, *below.parents) if group.is_relative_to(point)]
    return [(version, group) for version, group in found if version == 1 or _delegates(group)]


def _delegates(group: Path) -> bool:
    """Groups of version 2 have a limit only where the one above gives them the controller."""
    try:
        return "memory" in (group / "cgroup.subtree_control").read_text().split()
    except OSError:
        return False
