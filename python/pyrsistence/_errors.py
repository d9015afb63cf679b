"""The exceptions of pyrsistence. All are RuntimeErrors, as they were in pyrsistence 1.x."""


class Error(RuntimeError):
    """Base of everything that pyrsistence raises on its own account.

    What a dict or a list would raise (KeyError, IndexError, TypeError, ValueError) stays what it is.
    """


class LockedError(Error):
    """The store is open for writing in another process, whose pid the message names."""


class FormatError(Error):
    """The directory is no store, is of a newer format, or holds a container of another type."""


class CorruptionError(Error):
    """Stored bytes contradict themselves; the message names file and page."""


class ClosedError(Error, ValueError):
    """The container was closed, or belongs to the parent of a forked process."""


class OrderError(Error, TypeError):
    """Keys that cannot be put in order: they are not comparable, or have no order at all."""


class ReadOnlyError(Error):
    """A change was asked of a container that is open with mode ``"r"``."""


class PickleRefusedError(Error, ValueError):
    """Only pickle could store or read this, and the container was opened with ``allow_pickle=False``."""


# OSError comes first: its __new__ fills errno and strerror.
class StorageError(OSError, Error):
    """The operating system refused: a full disk, an I/O error, a permission. ``errno`` says why."""

    def __str__(self):
        return self.strerror or super().__str__()


class NotFoundError(FileNotFoundError, StorageError):
    """There is no such store, or no directory to create it in."""

    __str__ = StorageError.__str__


class ExistsError(FileExistsError, StorageError):
    """Mode ``"x"`` found a store already there."""

    __str__ = StorageError.__str__


for _class in list(globals().values()):
    if isinstance(_class, type):
        _class.__module__ = "pyrsistence"
del _class
