"""The methods of EMSortedDict, EMSortedSet, EMPriorityQueue and EMMultiDict that gain nothing from being native: those of
sortedcontainers and of queue.
"""

import itertools
import operator
import queue

from . import _mapping, _set, _support
from ._core import EMMultiDict, EMPriorityQueue, EMSortedSet

_KEYS, _VALUES, _ITEMS = range(3)  # as in the native part


# ---------------------------------------------------------------------------------------------------- ranges


def _ranks(self, start, stop):
    return slice(start, stop).indices(len(self))[:2]


def islice(self, start=None, stop=None, reverse=False):
    """Iterate over the keys whose places in the order are from start on and below stop, as in slices.

    reverse: the last one first. Finding the first key takes O(log n).

    >>> import pyrsistence
    >>> with pyrsistence.EMSortedSet(None) as s:
    ...     s.update("abcd")
    ...     list(s.islice(1, 3)), list(s.islice(-2, reverse=True))
    (['b', 'c'], ['d', 'c'])
    """
    return self._iterate(_KEYS, reverse, *_ranks(self, start, stop))


def _bounds(minimum, maximum, inclusive):
    with_first, with_last = inclusive
    return minimum, not with_first, maximum, with_last


def irange(self, minimum=None, maximum=None, inclusive=(True, True), reverse=False):
    """Iterate over the keys from minimum to maximum; None is no bound.

    inclusive: whether a key equal to each of the bounds is part of the range. reverse: the greatest one first.
    Finding the first key takes O(log n).

    >>> import pyrsistence
    >>> with pyrsistence.EMSortedSet(None) as s:
    ...     s.update(range(0, 50, 10))
    ...     list(s.irange(10, 30)), list(s.irange(10, 30, (False, False))), list(s.irange(25, reverse=True))
    ([10, 20, 30], [20], [40, 30])
    """
    return self._iterate_between(_KEYS, reverse, *_bounds(minimum, maximum, inclusive))


def delete_range(self, minimum=None, maximum=None, inclusive=(True, True)):
    """Remove the keys from minimum to maximum, as irange() finds them, as one atomic operation; return their number.

    Without either of them all are removed. O(log n + pages of the range).

    >>> import pyrsistence
    >>> with pyrsistence.EMSortedSet(None) as s:
    ...     s.update(range(5))
    ...     s.delete_range(1, 3), list(s)
    (3, [0, 4])
    """
    return self._erase_between(*_bounds(minimum, maximum, inclusive))


def peekitem(self, index=-1):
    """Return the pair (key, value) at a place in the order, by default the last one; IndexError if there is none. O(log n).

    >>> import pyrsistence
    >>> with pyrsistence.EMSortedDict(None) as d:
    ...     d.update(a=1, b=2)
    ...     d.peekitem(), d.peekitem(0)
    (('b', 2), ('a', 1))
    """
    return self._at(index, _ITEMS)


# ----------------------------------------------------------------------------------------------------- views


class _Places:
    """What the views of a sorted dict have beyond those of a dict: places in the order."""

    __slots__ = ()

    def __getitem__(self, index):
        if isinstance(index, slice):
            return _slice(self._mapping, index, self._part)
        return self._mapping._at(index, self._part)


class KeysView(_Places, _mapping.KeysView):
    """A live, set-like view of the keys of an EMSortedDict, which are found by their places too."""

    __slots__ = ()
    _part = _KEYS

    def index(self, key, start=None, stop=None):
        """The place of a key; ValueError if it is not there."""
        return self._mapping.index(key, start, stop)


class ValuesView(_Places, _mapping.ValuesView):
    """A live view of the values of an EMSortedDict, in the order of their keys."""

    __slots__ = ()
    _part = _VALUES


class ItemsView(_Places, _mapping.ItemsView):
    """A live, set-like view of the pairs of an EMSortedDict, which are found by their places too."""

    __slots__ = ()
    _part = _ITEMS


def keys(self):
    """Return a live, set-like view of the keys in their order.

    Deleting and overwriting entries while iterating is allowed; a new key raises RuntimeError at the next step.

    >>> import pyrsistence
    >>> with pyrsistence.EMSortedDict(None) as d:
    ...     d.update(b=2, a=1)
    ...     list(d.keys()), d.keys()[0]
    (['a', 'b'], 'a')
    """
    return KeysView(self)


def values(self):
    """Return a live view of the values, in the order of their keys.

    >>> import pyrsistence
    >>> with pyrsistence.EMSortedDict(None) as d:
    ...     d.update(b=2, a=1)
    ...     list(d.values())
    [1, 2]
    """
    return ValuesView(self)


def items(self):
    """Return a live, set-like view of the pairs (key, value), in the order of the keys.

    >>> import pyrsistence
    >>> with pyrsistence.EMSortedDict(None) as d:
    ...     d.update(b=2, a=1)
    ...     list(d.items())
    [('a', 1), ('b', 2)]
    """
    return ItemsView(self)


# ------------------------------------------------------------------------------------------------ the set


def _slice(self, index, part):
    start, stop, step = index.indices(len(self))
    if step == 1:
        return list(self._iterate(part, False, start, stop))
    if step == -1:
        return list(self._iterate(part, True, stop + 1, start + 1))
    return [self._at(rank, part) for rank in range(start, stop, step)]


def get_slice(self, index):
    """s[i:j:k], as a list."""
    return _slice(self, index, _KEYS)


def delete_slice(self, index):
    """del s[i:j:k]; from the end, so that the ranks before it stay what they are."""
    with self.transaction(durable=False):
        ranks = range(*index.indices(len(self)))
        if not ranks:
            return
        if ranks.step in (1, -1):
            return self._erase_slice(min(ranks[0], ranks[-1]), len(ranks))
        for rank in sorted(ranks, reverse=True):
            self._erase_slice(rank, 1)


def count(self, member):
    """Return 1 if the member is there, else 0. O(log n).

    >>> import pyrsistence
    >>> with pyrsistence.EMSortedSet(None) as s:
    ...     s.add(1)
    ...     s.count(1), s.count(2)
    (1, 0)
    """
    return int(member in self)


# ----------------------------------------------------------------------------------------------- the queue


def queue_items(self):
    """Iterate over the pairs (priority, item), in the order in which they will go.

    A change of the queue's size meanwhile raises RuntimeError.

    >>> import pyrsistence
    >>> with pyrsistence.EMPriorityQueue(None) as q:
    ...     q.push("write", 2)
    ...     q.push("read", 1)
    ...     list(q.items())
    [(1, 'read'), (2, 'write')]
    """
    return self._items()


def get(self):
    """Remove and return the first item; queue.Empty if there is none. Does not wait. O(log n).

    >>> import pyrsistence
    >>> with pyrsistence.EMPriorityQueue(None) as q:
    ...     q.put(1)
    ...     q.get()
    1
    """
    try:
        return self.pop()
    except IndexError:
        raise queue.Empty from None


def put(self, item):
    """Add an item, as push() does. O(log n).

    >>> import pyrsistence
    >>> with pyrsistence.EMPriorityQueue(None) as q:
    ...     q.put(1)
    ...     q.qsize()
    1
    """
    self.push(item)


def qsize(self):
    """Return the number of items, as len() does.

    >>> import pyrsistence
    >>> with pyrsistence.EMPriorityQueue(None) as q:
    ...     q.qsize()
    0
    """
    return len(self)


def empty(self):
    """Return whether there are no items.

    >>> import pyrsistence
    >>> with pyrsistence.EMPriorityQueue(None) as q:
    ...     q.empty()
    True
    """
    return len(self) == 0


def copy_queue(self, path=None):
    """Return a copy with the same picklers: a new store at the path, or a temporary one. O(n log n).

    >>> import pyrsistence
    >>> with pyrsistence.EMPriorityQueue(None) as q:
    ...     q.push("read", 1)
    ...     with q.copy() as other:
    ...         list(other.items())
    [(1, 'read')]
    """

    def store(result, source):
        for priority, item in source.items():
            result.push(item, priority)

    return _support.temporary(self, EMPriorityQueue, store, [self], path)


# ------------------------------------------------------------------------------------------- the multi-dict


def multi_get(self, key, default=None):
    """Return the values of the key as a list, or default if there are none. O(log n + values).

    >>> import pyrsistence
    >>> with pyrsistence.EMMultiDict(None) as d:
    ...     d.get("a", 7)
    7
    """
    return self.getall(key) or default


def multi_update(self, other=(), /, **kwargs):
    """Add the pairs (key, value) of an iterable, of a mapping, of an EMMultiDict and of keyword arguments.

    One operation each; what the keys have already stays. O(number of pairs * log n).

    >>> import pyrsistence
    >>> with pyrsistence.EMMultiDict(None) as d:
    ...     d.update([("a", 1), ("a", 2)])
    ...     d.update({"a": 3}, b=4)
    ...     list(d.items())
    [('a', 1), ('a', 2), ('a', 3), ('b', 4)]
    """
    self._add_pairs(other.items() if hasattr(other, "items") else other)
    self._add_pairs(kwargs.items())


def multi_extend(self, key, values):
    """Add the elements of an iterable to a key, one operation each.

    >>> import pyrsistence
    >>> with pyrsistence.EMMultiDict(None) as d:
    ...     d.extend("a", range(3))
    ...     d["a"]
    [0, 1, 2]
    """
    self._add_pairs((key, value) for value in values)


def assign_all(self, key, values):
    """d[key] = values: these instead of those that the key has, as one transaction."""
    values = list(values)
    with self.transaction(durable=False):
        self.popall(key)
        multi_extend(self, key, values)


def multi_remove(self, key, value):
    """Remove the first value of the key that is equal to this one; KeyError if there is none.

    >>> import pyrsistence
    >>> with pyrsistence.EMMultiDict(None) as d:
    ...     d.extend("a", [1, 2, 1])
    ...     d.remove("a", 1)
    ...     d["a"]
    [2, 1]
    """
    if not self.discard(key, value):
        raise KeyError((key, value))


def multi_keys(self):
    """Iterate over the keys, in order, each once. O(log n) for each key, whatever the number of its values.

    >>> import pyrsistence
    >>> with pyrsistence.EMMultiDict(None) as d:
    ...     d.update([("b", 1), ("a", 2), ("b", 3)])
    ...     list(d.keys())
    ['a', 'b']
    """
    return iter(self)


def multi_values(self):
    """Iterate over all values, in the order of their keys.

    >>> import pyrsistence
    >>> with pyrsistence.EMMultiDict(None) as d:
    ...     d.update([("b", 1), ("a", 2), ("b", 3)])
    ...     list(d.values())
    [2, 1, 3]
    """
    return self._values()


def multi_items(self):
    """Iterate over the pairs (key, value), in the order of the keys.

    A change of the number of values meanwhile raises RuntimeError.

    >>> import pyrsistence
    >>> with pyrsistence.EMMultiDict(None) as d:
    ...     d.update([("b", 1), ("a", 2), ("b", 3)])
    ...     list(d.items())
    [('a', 2), ('b', 1), ('b', 3)]
    """
    return self._items()


def multi_groups(self):
    """Iterate over pairs of a key and the list of its values, which is in memory one at a time.

    >>> import pyrsistence
    >>> with pyrsistence.EMMultiDict(None) as d:
    ...     d.update([("b", 1), ("a", 2), ("b", 3)])
    ...     dict(d.groups())
    {'a': [2], 'b': [1, 3]}
    """
    for key, pairs in itertools.groupby(self._items(), key=operator.itemgetter(0)):
        yield key, [value for _key, value in pairs]


def multi_irange(self, minimum=None, maximum=None, inclusive=(True, True), reverse=False):
    """Iterate over the keys from minimum to maximum, each once; None is no bound. Otherwise as EMSortedDict.irange().

    >>> import pyrsistence
    >>> with pyrsistence.EMMultiDict(None) as d:
    ...     d.update([(1, "a"), (2, "b"), (2, "c"), (3, "d")])
    ...     list(d.irange(2))
    [2, 3]
    """
    return self._iterate_between(_KEYS, reverse, *_bounds(minimum, maximum, inclusive), True)


def copy_multi_dict(self, path=None):
    """Return a copy with the same picklers: a new store at the path, or a temporary one. O(n log n).

    >>> import pyrsistence
    >>> with pyrsistence.EMMultiDict(None) as d:
    ...     d.add("a", 1)
    ...     with d.copy() as other:
    ...         list(other.items())
    [('a', 1)]
    """
    return _support.temporary(self, EMMultiDict, EMMultiDict.update, [self], path)


def equal_multi_dicts(self, other):
    """Equal keys with equal lists of values."""
    if not isinstance(other, EMMultiDict):
        return NotImplemented
    return self is other or (len(self) == len(other) and all(map(operator.eq, self.items(), other.items())))


def describe(self):
    """A repr that reads a few entries at most, and never raises on their account."""
    if isinstance(self, EMMultiDict):
        return _support.describe(
            self, EMMultiDict, lambda d: (f"{_support.short(k)}: {_support.short(v)}" for k, v in d._items()), "{}", "values"
        )
    if isinstance(self, EMPriorityQueue):
        return _support.describe(
            self, EMPriorityQueue, lambda items: map(_support.short, EMPriorityQueue.__iter__(items)), "[]", "items"
        )
    return _set.describe(self) if isinstance(self, EMSortedSet) else _mapping.describe(self)


def _own(methods):
    """Methods with functions of their own, as add_methods() renames them."""
    return {name: _support.renewed(method) for name, method in methods.items()}


_RANGES = {"islice": islice, "irange": irange, "delete_range": delete_range}
DICT_METHODS = {
    **_own(_mapping.METHODS),
    **_own(_RANGES),
    "keys": keys,
    "values": values,
    "items": items,
    "peekitem": peekitem,
}
SET_METHODS = {**_own(_set.METHODS), **_own(_RANGES), "count": count}
QUEUE_METHODS = {
    "items": queue_items,
    "get": get,
    "get_nowait": _support.renewed(get),
    "put": put,
    "put_nowait": _support.renewed(put),
    "qsize": qsize,
    "empty": empty,
    "copy": copy_queue,
}
MULTI_DICT_METHODS = {
    "get": multi_get,
    "update": multi_update,
    "extend": multi_extend,
    "remove": multi_remove,
    "keys": multi_keys,
    "values": multi_values,
    "items": multi_items,
    "groups": multi_groups,
    "irange": multi_irange,
    "copy": copy_multi_dict,
}
