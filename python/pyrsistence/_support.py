"""What the containers share and Python says best."""

import contextlib
import itertools
import types
import typing

from ._errors import ClosedError

_SHOWN = 5  # entries in a repr
_SHOWN_LENGTH = 200  # characters of each object in a repr


class Info(typing.NamedTuple):
    """Figures of a store, as the property ``info`` returns them.

    entries: of this container; 0 if it is of a Store
    data_bytes: length of the data file
    log_bytes: logged since the last checkpoint began
    pages: of 4 KiB, in the data file
    live_pages: of those, in use
    checkpoint: number of the last durable one
    frame_bytes: private memory that holds pages not yet written
    memory_limit: in bytes
    snapshots: kept under a name
    readers: states that other processes are reading now
    oldest_reader: seconds since the longest of them began to; 0.0 if there is none
    pages_read: from the data file since the store was opened, each page counted at its first use
    """

    entries: int
    data_bytes: int
    log_bytes: int
    pages: int
    live_pages: int
    checkpoint: int
    frame_bytes: int
    memory_limit: int
    snapshots: int
    readers: int
    oldest_reader: float
    pages_read: int


class Usage(typing.NamedTuple):
    """What a container takes of its store, as ``usage()`` returns it.

    entries: values, in an EMMultiDict
    bytes: of its pages; and of its large values, as far as can be told from the leaves looked at
    depth: pages from the root of its tree of entries to a leaf, both included; 0 if it is empty
    fill: share of the leaves' room that is in use, from 0 to 1; of those looked at
    """

    entries: int
    bytes: int
    depth: int
    fill: float


def usage(self):
    """Return what this container takes of its store: a Usage. Looks at no more than a thousand leaves; O(pages / 200).

    >>> import pyrsistence
    >>> with pyrsistence.EMList(None) as l:
    ...     l.extend(range(100_000))
    ...     l.usage().depth, l.usage().fill > 0.9
    (2, True)
    """
    return Usage(*self._usage())


MISSING = object()


@contextlib.contextmanager
def edit(self, key, default=MISSING):
    """Change a stored value in place: ``with d.edit(key) as value: value.append(1)``.

    Reads the value, or takes ``default`` if there is none, and stores it under the key when the block ends;
    an exception leaves the store as it was. ``KeyError`` if there is neither. The value must be changed, not
    replaced: for numbers and strings write ``d[key] += 1``.

    >>> import pyrsistence
    >>> with pyrsistence.EMDict(None) as d:
    ...     with d.edit("calls", default=[]) as calls:
    ...         calls.append(4096)
    ...     d["calls"]
    [4096]
    """
    value = default if default is not MISSING and key not in self else self[key]
    yield value
    self[key] = value


@contextlib.contextmanager
def edit_item(self, index):
    """Change a stored item in place: ``with l.edit(0) as item: item.append(1)``.

    Reads the item and stores it at the index when the block ends; an exception leaves the store as it was.
    ``IndexError`` if there is none. The item must be changed, not replaced.

    >>> import pyrsistence
    >>> with pyrsistence.EMList(None) as l:
    ...     l.append({})
    ...     with l.edit(0) as item:
    ...         item["seen"] = True
    ...     l[0]
    {'seen': True}
    """
    value = self[index]
    yield value
    self[index] = value


def short(value):
    """A repr of bounded length."""
    text = repr(value)
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 3] + "..."


def describe(self, cls, entries, brackets, unit, end=""):
    """A repr that reads a few entries at most, and never raises on their account.

    As a call that opens it, with what it holds: EMDict('path', {'a': 1}, name='calls').

    entries: called with `self`; an iterator over the text of each entry.
    """
    head = f"{type(self).__name__}({self.path!r}, "
    name = f", name={self.name!r})" if self.name else ")"
    if self.closed:
        return head + "closed" + name
    count = "?"
    try:
        count = cls.__len__(self)
        shown = list(itertools.islice(entries(self), _SHOWN))
    except ClosedError:  # by another thread, or by a fork
        return head + "closed" + name
    except Exception:
        return head + f"{count} {unit}" + name
    if count > len(shown):
        shown.append(f"... {count} {unit}")
    return head + brackets[0] + ", ".join(shown) + brackets[1] + end + name


def temporary(like, make, store, sources, path=None):
    """A temporary container with the content of the sources, or a new one at a path; it is closed again if that fails.

    like: the container whose picklers it gets, or None. make: its class, or what is called as that is. store: called with
    the new container and each source.
    """
    pickler, unpickler, allow_pickle = (None, None, True) if like is None else like._picklers()
    result = make(path, pickler, unpickler, allow_pickle=allow_pickle, mode="a" if path is None else "x")
    try:
        for source in sources:
            store(result, source)
    except BaseException:
        result.close()
        raise
    return result


def renewed(method):
    """Another function, or class method, with the same code: add_methods() names each after its class."""
    function = getattr(method, "__func__", method)
    other = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    other.__kwdefaults__ = function.__kwdefaults__
    other.__doc__ = function.__doc__
    if hasattr(function, "__wrapped__"):
        other.__wrapped__ = function.__wrapped__
    return classmethod(other) if isinstance(method, classmethod) else other


def add_methods(cls, methods):
    """Give a native class methods that are written in Python."""
    for name, method in methods.items():
        function = getattr(method, "__func__", method)
        function.__name__ = name
        function.__qualname__ = f"{cls.__name__}.{name}"
        function.__module__ = "pyrsistence"
        setattr(cls, name, method)
