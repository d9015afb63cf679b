"""verify() of stores that may not open, and what it reports."""

import typing

from . import _core
from ._errors import CorruptionError


class Report(typing.NamedTuple):
    """What verify() found, and what its repair saved.

    pages: read, of 4 KiB
    entries: of all containers
    fault_count: of all faults
    faults: the first ones; each names page, container and what is wrong
    repaired: path of the new store; None if there was nothing to repair
    saved: entries in it
    left_out: what is not in it
    """

    pages: int
    entries: int
    fault_count: int
    faults: typing.Tuple[str, ...]
    repaired: typing.Optional[str]
    saved: int
    left_out: typing.Tuple[str, ...]


def report(repair, *fields):
    """The report, or CorruptionError if there are faults and no repair was asked for."""
    made = Report(*fields)
    if repair or not made.fault_count:
        return made
    shown = "".join(f"\n  {fault}" for fault in made.faults[:10])
    more = f"\n  and {made.fault_count - 10} more" if made.fault_count > 10 else ""
    error = CorruptionError(f"{made.fault_count} faults; repair=True saves what can be read in a new store:{shown}{more}")
    error.report = made
    raise error


def verify(path, *, progress=None, repair=False):
    """Read the files of a store that is closed, and prove that they are sound, whether it can be opened or not.

    Does what the method ``verify()`` of a store does, and reads the log as well; nothing is recovered or changed.

    path: the directory of the store.
    progress: called as progress(pages_done, pages_in_all) now and then; what it raises ends the verification.
    repair: True, or the path of a new directory, for what can be read; see ``EMDict.verify()``. If both meta pages or
    the catalog are damaged, the newest readable version of each container is looked for in the whole file;
    containers that were deleted before may come back then.

    Returns a Report. Raises CorruptionError if there are faults and no repair was asked for, FileNotFoundError,
    FormatError if the directory holds something else, LockedError if the store is open for writing, ExistsError
    if there is something at the path of the repair. Takes time in proportion to the size of the store, and memory
    for one bit per page.

    >>> import os, tempfile, pyrsistence
    >>> path = os.path.join(tempfile.mkdtemp(), "store")
    >>> with pyrsistence.EMDict(path) as d:
    ...     d.update((i, "x" * 100) for i in range(1000))
    >>> with open(os.path.join(path, "data"), "r+b") as file:
    ...     _ = file.seek(0), file.write(bytes(8192))  # somebody overwrites the meta pages
    >>> report = pyrsistence.verify(path, repair=True)
    >>> with pyrsistence.EMDict(report.repaired) as d:
    ...     len(d), d[999] == "x" * 100
    (1000, True)
    """
    return _core._verify(path, progress, repair)
