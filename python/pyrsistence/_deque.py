"""The parts of EMDeque that gain nothing from being native."""

import functools
import itertools

from . import _support
from ._core import EMDeque


def _temporary(like, sources, path=None):
    """A temporary EMDeque with the picklers and maxlen of `like`, and the elements of the sources."""
    make = functools.partial(EMDeque, maxlen=like.maxlen)
    return _support.temporary(like, make, EMDeque.extend, sources, path)


def copy(self, path=None):
    """Return a copy with the same picklers and maxlen: a new store at the path, or a temporary one. O(n).

    >>> import pyrsistence
    >>> with pyrsistence.EMDeque(None) as d:
    ...     d.append(1)
    ...     with d.copy() as other:
    ...         list(other)
    [1]
    """
    return _temporary(self, [self], path)


def concatenated(self, other):
    return _temporary(self, [self, other])


def repetitions(self, times):
    """As few as have the result of so many: of an empty deque none, of one with a limit until it is full."""
    length = EMDeque.__len__(self)
    if length and self.maxlen is not None:
        times = min(times, self.maxlen // length + 1)
    return max(times, 0) if length else 0


def repeated(self, times):
    return _temporary(self, itertools.repeat(self, repetitions(self, times)))


def describe(self):
    """A repr that reads a few items at most, and never raises on their account."""
    limit = "" if self.closed or self.maxlen is None else f", maxlen={self.maxlen}"
    return _support.describe(self, EMDeque, lambda items: map(_support.short, EMDeque.__iter__(items)), "[]", "items", limit)


METHODS = {"copy": copy, "edit": _support.edit_item}
