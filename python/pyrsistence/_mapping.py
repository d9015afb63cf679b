"""The methods of EMDict and EMSortedDict that gain nothing from being native, and its views.

``generic_*`` are what the native methods turn to if a subclass overrides ``[]``: they rely on the subclass.
"""

import collections.abc
import types

from . import _support
from ._core import EMDict, EMSortedDict
from ._support import MISSING, edit, short


class KeysView(collections.abc.KeysView):
    """A live, set-like view of the keys of an EMDict."""

    __slots__ = ()

    def __iter__(self):
        return iter(self._mapping)

    def __reversed__(self):
        return reversed(self._mapping)

    @property
    def mapping(self):
        """The dict itself, read-only."""
        return types.MappingProxyType(self._mapping)


class ValuesView(collections.abc.ValuesView):
    """A live view of the values of an EMDict."""

    __slots__ = ()

    def __iter__(self):
        return self._mapping._values() or (self._mapping[key] for key in self._mapping)

    def __reversed__(self):
        return self._mapping._reversed_values() or (self._mapping[key] for key in reversed(self._mapping))

    def __contains__(self, value):
        return any(other is value or other == value for other in self)

    mapping = KeysView.mapping


class ItemsView(collections.abc.ItemsView):
    """A live, set-like view of the pairs (key, value) of an EMDict."""

    __slots__ = ()

    def __iter__(self):
        return self._mapping._items() or ((key, self._mapping[key]) for key in self._mapping)

    def __reversed__(self):
        mapping = self._mapping
        return mapping._reversed_items() or ((key, mapping[key]) for key in reversed(mapping))

    def __contains__(self, item):
        if not isinstance(item, tuple) or len(item) != 2:
            return False
        value = self._mapping.get(item[0], MISSING)
        return value is not MISSING and (value is item[1] or value == item[1])

    mapping = KeysView.mapping


def keys(self):
    """Return a live, set-like view of the keys, in insertion order.

    Iterating over it reads the store from front to back. Deleting and overwriting entries meanwhile is
    allowed; a new key raises RuntimeError at the next step.

    >>> import pyrsistence
    >>> with pyrsistence.EMDict(None) as d:
    ...     d.update(a=1, b=2)
    ...     list(d.keys()), d.keys() & {"b", "c"}
    (['a', 'b'], {'b'})
    """
    return KeysView(self)


def values(self):
    """Return a live view of the values, in insertion order of their keys.

    >>> import pyrsistence
    >>> with pyrsistence.EMDict(None) as d:
    ...     d.update(a=1, b=2)
    ...     sum(d.values())
    3
    """
    return ValuesView(self)


def items(self):
    """Return a live, set-like view of the pairs (key, value), in insertion order.

    >>> import pyrsistence
    >>> with pyrsistence.EMDict(None) as d:
    ...     d.update(a=1, b=2)
    ...     list(d.items())
    [('a', 1), ('b', 2)]
    """
    return ItemsView(self)


def kind(mapping):
    """The native class that a mapping is of."""
    return EMSortedDict if isinstance(mapping, EMSortedDict) else EMDict


def pair(position, element):
    try:
        element = tuple(element)
    except TypeError:
        raise TypeError(f"cannot convert dictionary update sequence element #{position} to a sequence") from None
    if len(element) != 2:
        raise ValueError(
            f"dictionary update sequence element #{position} has length {len(element)}; 2 is required"
        )
    return element


def update(self, other=(), /, **kwargs):
    """Store the pairs of a mapping, of an iterable of pairs, and of keyword arguments.

    A sequence of operations: if one fails, those before it stay. O(number of pairs * log n). Pairs of built-in objects in a
    list, tuple or dict are stored up to 64 in one operation, in less time. The rows of an ndarray of
    integers or floats are taken as they are: numpy.column_stack((keys, values)).

    >>> import pyrsistence
    >>> with pyrsistence.EMDict(None) as d:
    ...     d.update({1: "one"}, two=2)
    ...     d.update([(3, "three")])
    ...     len(d)
    3
    """
    if type(other) is dict:
        pairs = other
    elif type(other) in (EMDict, EMSortedDict):
        pairs = other.items()
    elif hasattr(other, "keys"):
        pairs = ((key, other[key]) for key in other.keys())  # noqa: SIM118 - all that is known is keys()
    else:
        pairs = other
    for source in (pairs, kwargs):
        cls = kind(self)
        if type(self).__setitem__ is cls.__setitem__:
            cls._store_pairs(self, source)
        else:
            for position, element in enumerate(source.items() if type(source) is dict else source):
                key, value = pair(position, element)
                self[key] = value


def _temporary(like, *sources, cls=None, path=None):
    cls = cls or kind(like)
    return _support.temporary(like, cls, cls.update, sources, path)


def copy(self, path=None):
    """Return a copy of the same kind with the same picklers: a new store at the path, or a temporary one, deleted when it is
    closed. O(n).

    ExistsError if there is something at the path.

    >>> import pyrsistence
    >>> with pyrsistence.EMDict(None) as d:
    ...     d[1] = "one"
    ...     other = d.copy()
    >>> other
    EMDict(..., {1: 'one'})
    >>> other.close()
    """
    return _temporary(self, self, path=path)


def fromkeys(cls, iterable, value=None, /):
    """Return a temporary dict with the keys of the iterable, all with the same value.

    >>> import pyrsistence
    >>> with pyrsistence.EMDict.fromkeys("ab", 0) as d:
    ...     dict(d)
    {'a': 0, 'b': 0}
    """
    return _temporary(None, ((key, value) for key in iterable), cls=EMSortedDict if issubclass(cls, EMSortedDict) else EMDict)


def union(self, other):
    """Return a temporary dict with the pairs of both; those of the right operand win."""
    if not isinstance(other, collections.abc.Mapping):
        return NotImplemented
    return _temporary(self, self, other)


def reflected_union(self, other):
    """Return a temporary dict with the pairs of both; those of the right operand win."""
    if not isinstance(other, collections.abc.Mapping):
        return NotImplemented
    return _temporary(self, other, self)


def update_in_place(self, other):
    """Store the pairs of a mapping or of an iterable of pairs."""
    self.update(other)
    return self


def equal(left, right):
    """Equality with any mapping, whatever the order."""
    if not isinstance(right, collections.abc.Mapping):
        return NotImplemented
    if left is right:
        return True
    if len(left) != len(right):
        return False
    for key, value in left.items():
        other = right.get(key, MISSING)
        if other is MISSING or not (value is other or value == other):
            return False
    return True


def _entries(self):
    return (f"{short(key)}: {short(value)}" for key, value in kind(self).items(self))


def describe(self):
    """A repr that reads a few entries at most, and never raises on their account."""
    return _support.describe(self, kind(self), _entries, "{}", "entries")


def _stored(self, key):
    """self[key], but KeyError where only __missing__() has an answer, as in dict."""
    if hasattr(type(self), "__missing__") and key not in self:
        raise KeyError(key)
    return self[key]


def generic_get(self, key, default=None):
    try:
        return _stored(self, key)
    except KeyError:
        return default


def generic_get_many(self, keys, default=None):
    return [self.get(key, default) for key in keys]


def generic_pop(self, key, *default):
    try:
        value = _stored(self, key)
    except KeyError:
        if not default:
            raise
        return default[0]
    del self[key]
    return value


def generic_popitem(self):
    for key in reversed(self):
        value = self[key]
        del self[key]
        return key, value
    raise KeyError("popitem(): dictionary is empty")


def generic_setdefault(self, key, default=None):
    try:
        return _stored(self, key)
    except KeyError:
        self[key] = default
    return default


def generic_clear(self):
    for key in self:
        del self[key]


METHODS = {
    "keys": keys,
    "values": values,
    "items": items,
    "update": update,
    "copy": copy,
    "fromkeys": classmethod(fromkeys),
    "edit": edit,
    "__or__": union,
    "__ror__": reflected_union,
    "__ior__": update_in_place,
}
