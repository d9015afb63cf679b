"""The parts of EMList that gain nothing from being native."""

from . import _support
from ._core import EMList


def describe(self):
    """A repr that reads a few items at most, and never raises on their account."""
    return _support.describe(self, EMList, lambda items: map(_support.short, EMList.__iter__(items)), "[]", "items")


def copy(self, path=None):
    """Return a copy with the same picklers: a new store at the path, or a temporary one, deleted when it is closed. O(n).

    ExistsError if there is something at the path.

    >>> import pyrsistence
    >>> with pyrsistence.EMList(None) as l:
    ...     l.append(1)
    ...     with l.copy() as other:
    ...         other.append(2)
    ...         l == [1], other == [1, 2]
    (True, True)
    """
    if path is None:
        return self._copy()
    return _support.temporary(self, EMList, EMList.extend, [self], path)


METHODS = {"copy": copy, "edit": _support.edit_item}
