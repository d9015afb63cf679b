"""The set algebra of EMSet and EMSortedSet.

Results are temporary sets of the same kind, and what is combined is read element by element: none of it is loaded into memory.
"""

import contextlib
from collections.abc import Set

from . import _support
from ._core import EMSet, EMSortedSet

_LESS, _LESS_EQUAL, _EQUAL, _UNEQUAL, _GREATER, _GREATER_EQUAL = range(6)  # as in C


def _kind(like):
    return EMSortedSet if isinstance(like, EMSortedSet) else EMSet


def _temporary(like, *sources, path=None):
    """A temporary set of the kind of `like`, with its picklers and the elements of the sources; or a new one at a path."""
    cls = _kind(like)
    return _support.temporary(like, cls, cls._add_all, sources, path)


@contextlib.contextmanager
def _as_set(self, other):
    """`other` if it can tell what it contains; else a set of its elements, for the time being."""
    if isinstance(other, Set):
        yield other
        return
    with _temporary(self, other) as elements:
        yield elements


def update(self, *others):
    """Add the elements of all others, which are iterables. Those before one that fails stay.

    Built-in objects in a list, tuple or dict, and numbers in an ndarray, are stored up to 64 in one operation.

    >>> import pyrsistence
    >>> with pyrsistence.EMSet(None) as s:
    ...     s.update("ab", [1, 2])
    ...     len(s)
    4
    """
    for other in others:
        self._add_all(other)


def copy(self, path=None):
    """Return a copy with the same picklers: a new store at the path, or a temporary one, deleted when it is closed. O(n).

    ExistsError if there is something at the path.

    >>> import pyrsistence
    >>> with pyrsistence.EMSet(None) as s:
    ...     s.add(1)
    ...     with s.copy() as other:
    ...         list(other)
    [1]
    """
    return _temporary(self, self, path=path)


def union(self, *others):
    """Return a temporary set of the members and the elements of all others, which are iterables.

    >>> import pyrsistence
    >>> with pyrsistence.EMSet(None) as s:
    ...     s.update("ab")
    ...     with s.union("bc", "d") as all:
    ...         list(all)
    ['a', 'b', 'c', 'd']
    """
    return _temporary(self, self, *others)


def _common(left, right):
    """What both hold, taken from the smaller one; `right` may be any iterable."""
    if isinstance(right, Set) and len(right) > len(left):
        left, right = right, left
    return (element for element in right if element in left)


def intersection(self, *others):
    """Return a temporary set of the members that are in all others, which are iterables.

    >>> import pyrsistence
    >>> with pyrsistence.EMSet(None) as s:
    ...     s.update("abc")
    ...     with s.intersection("bcd", "cde") as common:
    ...         list(common)
    ['c']
    """
    result = _temporary(self, _common(self, others[0]) if others else self)
    for other in others[1:]:
        with result as before:
            result = _temporary(self, _common(before, other))
    return result


def difference(self, *others):
    """Return a temporary set of the members that are in none of the others, which are iterables.

    >>> import pyrsistence
    >>> with pyrsistence.EMSet(None) as s:
    ...     s.update("abc")
    ...     with s.difference("a", "b") as rest:
    ...         list(rest)
    ['c']
    """
    with contextlib.ExitStack() as stack:
        sets = [stack.enter_context(_as_set(self, other)) for other in others]
        return _temporary(self, (member for member in self if not any(member in other for other in sets)))


def symmetric_difference(self, other):
    """Return a temporary set of what is either a member or an element of the other, an iterable, but not both.

    >>> import pyrsistence
    >>> with pyrsistence.EMSet(None) as s:
    ...     s.update("ab")
    ...     with s.symmetric_difference("bc") as either:
    ...         list(either)
    ['a', 'c']
    """
    with _as_set(self, other) as theirs:
        ours = (member for member in self if member not in theirs)
        return _temporary(self, ours, (element for element in theirs if element not in self))


def intersection_update(self, *others):
    """Keep only the members that are in all others, which are iterables. One operation for each that goes.

    >>> import pyrsistence
    >>> with pyrsistence.EMSet(None) as s:
    ...     s.update("abc")
    ...     s.intersection_update("bc", "cd")
    ...     list(s)
    ['c']
    """
    with contextlib.ExitStack() as stack:
        sets = [stack.enter_context(_as_set(self, other)) for other in others]
        for member in self if sets else ():
            if not all(member in other for other in sets):
                self.discard(member)


def difference_update(self, *others):
    """Remove the elements of all others, which are iterables, one operation each.

    >>> import pyrsistence
    >>> with pyrsistence.EMSet(None) as s:
    ...     s.update("abc")
    ...     s.difference_update("a", "b")
    ...     list(s)
    ['c']
    """
    for other in others:
        if other is self:
            self.clear()
        else:
            for element in other:
                self.discard(element)


def symmetric_difference_update(self, other):
    """Remove the elements of the other, an iterable, that are members, and add those that are not.

    >>> import pyrsistence
    >>> with pyrsistence.EMSet(None) as s:
    ...     s.update("ab")
    ...     s.symmetric_difference_update("bc")
    ...     list(s)
    ['a', 'c']
    """
    if other is self:
        return self.clear()
    # A set of its own: elements that are there twice must not come and go.
    with _as_set(self, other) as theirs:
        for element in theirs:
            if element in self:
                self.discard(element)
            else:
                self.add(element)


def isdisjoint(self, other):
    """Return whether no element of the other, an iterable, is a member.

    >>> import pyrsistence
    >>> with pyrsistence.EMSet(None) as s:
    ...     s.update("ab")
    ...     s.isdisjoint("cd")
    True
    """
    return next(_common(self, other), _common) is _common


def issubset(self, other):
    """Return whether every member is in the other, an iterable.

    >>> import pyrsistence
    >>> with pyrsistence.EMSet(None) as s:
    ...     s.update("ab")
    ...     s.issubset("abc")
    True
    """
    with _as_set(self, other) as theirs:
        return len(self) <= len(theirs) and all(member in theirs for member in self)


def issuperset(self, other):
    """Return whether every element of the other, an iterable, is a member.

    >>> import pyrsistence
    >>> with pyrsistence.EMSet(None) as s:
    ...     s.update("abc")
    ...     s.issuperset("ab")
    True
    """
    return all(element in self for element in other)


def compare(self, other, operation):
    """Rich comparison with any set: == and != by content, the others by inclusion."""
    if not isinstance(other, Set):
        return NotImplemented
    if operation in (_EQUAL, _UNEQUAL):
        same = self is other or (len(self) == len(other) and all(element in self for element in other))
        return same == (operation == _EQUAL)
    if operation in (_LESS, _LESS_EQUAL):
        proper = operation == _LESS
        return (len(self) < len(other) if proper else True) and issubset(self, other)
    proper = operation == _GREATER
    return (len(self) > len(other) if proper else len(self) >= len(other)) and issuperset(self, other)


def _operator(method):
    """The operator with sets only, as in set."""

    def operator(self, other):
        return method(self, other) if isinstance(other, Set) else NotImplemented

    operator.__doc__ = method.__doc__.partition("\n")[0].replace(", which are iterables", "")
    return operator


def _in_place(method):
    def operator(self, other):
        if not isinstance(other, Set):
            return NotImplemented
        method(self, other)
        return self

    operator.__doc__ = method.__doc__.partition("\n")[0].replace(", which are iterables", "")
    return operator


def _reflected_union(self, other):
    """Return a temporary set of the elements of the other set and the members."""
    return _temporary(self, other, self)


def _reflected_difference(self, other):
    """Return a temporary set of the elements of the other set that are no members."""
    return _temporary(self, (element for element in other if element not in self))


def describe(self):
    """A repr that reads a few members at most, and never raises on their account."""
    return _support.describe(self, _kind(self), lambda members: map(_support.short, _kind(members).__iter__(members)), "{}", "members")


METHODS = {
    "update": update,
    "copy": copy,
    "union": union,
    "intersection": intersection,
    "difference": difference,
    "symmetric_difference": symmetric_difference,
    "intersection_update": intersection_update,
    "difference_update": difference_update,
    "symmetric_difference_update": symmetric_difference_update,
    "isdisjoint": isdisjoint,
    "issubset": issubset,
    "issuperset": issuperset,
    "__or__": _operator(union),
    "__ror__": _operator(_reflected_union),
    "__and__": _operator(intersection),
    "__rand__": _operator(intersection),
    "__sub__": _operator(difference),
    "__rsub__": _operator(_reflected_difference),
    "__xor__": _operator(symmetric_difference),
    "__rxor__": _operator(symmetric_difference),
    "__ior__": _in_place(update),
    "__iand__": _in_place(intersection_update),
    "__isub__": _in_place(difference_update),
    "__ixor__": _in_place(symmetric_difference_update),
}
