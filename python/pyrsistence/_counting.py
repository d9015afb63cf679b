"""EMCounter and EMDefaultDict: dicts on disk that know what a missing key stands for."""

import collections
import functools
import heapq
import itertools
from collections.abc import Mapping

from . import _support
from ._core import EMDict

_COUNTED_TOGETHER = 65_536  # elements that are counted in memory before the counts are stored
_MUTABLE = (list, dict, set, bytearray, collections.deque)


class EMDefaultDict(EMDict):
    """EMDefaultDict(default_factory, dirname, ...): a collections.defaultdict on disk.

    A key that is missing gets what ``default_factory()`` returns, which is stored. The other arguments, what it
    promises and its errors are those of EMDict; the factory belongs to the handle, not to the store.

    What is read is a copy: ``d[key].append(x)`` would change one that nobody stores. A factory that makes a list, dict,
    set or another mutable container is refused, therefore, at the latest when it has made one: EMMultiDict keeps many values under a key, and ``with d.edit(key,
    default=[]) as values:`` writes a changed one back.

    >>> import pyrsistence
    >>> with pyrsistence.EMDefaultDict(int, None) as d:
    ...     for letter in "abca":
    ...         d[letter] += 1
    ...     dict(d)
    {'a': 2, 'b': 1, 'c': 1}
    """

    def __init__(self, default_factory, dirname, *args, **kwargs):
        self.default_factory = default_factory
        super().__init__(dirname, *args, **kwargs)

    @property
    def default_factory(self):
        """What makes the value of a missing key; None: a missing key is a KeyError."""
        return self.__dict__.get("_default_factory")

    @default_factory.setter
    def default_factory(self, factory):
        self._default_factory = checked_factory(factory)

    def __missing__(self, key):
        """Store what the factory makes under the key, and return it; KeyError without a factory."""
        if self.default_factory is None:
            raise KeyError(key)
        value = self.default_factory()
        if isinstance(value, _MUTABLE):
            _refuse(type(value).__name__)
        return self.setdefault(key, value)

    def copy(self, path=None):
        """Return a copy with the same factory and picklers: a new store at the path, or a temporary one. O(n).

        ExistsError if there is something at the path. Opened again, what is stored there is an EMDict, or an
        EMDefaultDict with the factory that it is given then.

        >>> import pyrsistence
        >>> with pyrsistence.EMDefaultDict(int, None) as d:
        ...     d["a"] += 1
        ...     with d.copy() as other:
        ...         other["b"], dict(other)
        (0, {'a': 1, 'b': 0})
        """
        return self._like(self, self, path=path)

    def __or__(self, other):
        """Return a temporary EMDefaultDict with the pairs of both mappings; those of the right operand win."""
        if not isinstance(other, Mapping):
            return NotImplemented
        return self._like(self, self, other)

    def __ror__(self, other):
        """Return a temporary EMDefaultDict with the pairs of both mappings; those of the right operand win."""
        if not isinstance(other, Mapping):
            return NotImplemented
        return self._like(self, other, self)

    @staticmethod
    def _like(model, *sources, path=None):
        factory = None if model is None else model.default_factory
        return _support.temporary(model, functools.partial(EMDefaultDict, factory), EMDict.update, sources, path)

    @classmethod
    def fromkeys(cls, iterable, value=None, /):
        """Return a temporary EMDefaultDict without a factory: the keys of the iterable, all with the same value.

        >>> import pyrsistence
        >>> with pyrsistence.EMDefaultDict.fromkeys("ab", 0) as d:
        ...     dict(d)
        {'a': 0, 'b': 0}
        """
        return EMDefaultDict._like(None, ((key, value) for key in iterable))


def checked_factory(factory):
    """The factory itself; TypeError if it cannot be one."""
    if factory is not None and not callable(factory):
        raise TypeError(f"first argument must be callable or None, not {factory!r}")
    if isinstance(factory, type) and issubclass(factory, _MUTABLE):
        _refuse(factory.__name__)
    return factory


def _refuse(name):
    raise TypeError(
        f"a default_factory that makes a {name} would lose data: what d[key] returns is a copy, and changing it changes "
        f"nothing that is stored; an EMMultiDict keeps many values under one key (d.add(key, value)), and "
        f"'with d.edit(key, default={name}()) as value: ...' writes one back"
    )


class EMCounter(EMDict):
    """EMCounter(dirname, ...): a collections.Counter on disk: a dict from elements to their counts.

    A missing element has the count 0. The arguments, what it promises and its errors are those of EMDict. Its operators
    return temporary EMCounters of the elements whose count is positive.

    >>> import pyrsistence
    >>> with pyrsistence.EMCounter(None) as c:
    ...     c.update("abracadabra")
    ...     c.most_common(2), c["z"], c.total()
    ([('a', 5), ('b', 2)], 0, 11)
    """

    _missing_is_deleted = True  # del c[element] is no error if it is not there

    def __missing__(self, element):
        """The count of an element that is not there: 0. Nothing is stored."""
        return 0

    def _add(self, counts, sign):
        for element, count in counts.items():
            self[element] = self[element] + sign * count

    def _count(self, iterable, kwargs, sign):
        if isinstance(iterable, Mapping):
            self._add(iterable, sign)
        elif iterable is not None:
            elements = iter(iterable)
            while True:
                counts = collections.Counter()
                try:
                    counts.update(itertools.islice(elements, _COUNTED_TOGETHER))
                finally:
                    self._add(counts, sign)  # what came before an exception counts
                if not counts:
                    break
        self._add(kwargs, sign)

    def update(self, iterable=None, /, **kwargs):
        """Add to the counts: one for each element of an iterable, or the counts of a mapping or of keyword arguments.

        The elements of an iterable are counted in memory, 65,536 at a time, before these counts are stored.

        >>> import pyrsistence
        >>> with pyrsistence.EMCounter(None) as c:
        ...     c.update("aab")
        ...     c.update({"a": 10}, b=1)
        ...     dict(c)
        {'a': 12, 'b': 2}
        """
        self._count(iterable, kwargs, 1)

    def subtract(self, iterable=None, /, **kwargs):
        """Subtract from the counts, which may become 0 or negative; otherwise as update().

        >>> import pyrsistence
        >>> with pyrsistence.EMCounter(None) as c:
        ...     c.update("ab")
        ...     c.subtract("aa")
        ...     dict(c)
        {'a': -1, 'b': 1}
        """
        self._count(iterable, kwargs, -1)

    def most_common(self, n=None):
        """Return a list of the n elements with the highest counts, or of all, as pairs (element, count).

        Equal counts keep the order in which the elements were first counted. O(len log n), O(n) memory.

        >>> import pyrsistence
        >>> with pyrsistence.EMCounter(None) as c:
        ...     c.update("abracadabra")
        ...     c.most_common(1)
        [('a', 5)]
        """
        if n is None:
            return sorted(self.items(), key=lambda item: item[1], reverse=True)
        return heapq.nlargest(n, self.items(), key=lambda item: item[1])

    def elements(self):
        """Return an iterator over the elements, each as often as its count says; not at all if that is not positive.

        >>> import pyrsistence
        >>> with pyrsistence.EMCounter(None) as c:
        ...     c.update(a=2, b=1)
        ...     list(c.elements())
        ['a', 'a', 'b']
        """
        return itertools.chain.from_iterable(itertools.starmap(itertools.repeat, self.items()))

    def total(self):
        """Return the sum of all counts. O(n).

        >>> import pyrsistence
        >>> with pyrsistence.EMCounter(None) as c:
        ...     c.update("abb")
        ...     c.total()
        3
        """
        return sum(self.values())

    @classmethod
    def fromkeys(cls, iterable, value=None):
        """Not there, as in Counter: NotImplementedError. Use update()."""
        raise NotImplementedError("EMCounter.fromkeys() is undefined; use EMCounter(dirname).update(iterable)")

    def copy(self, path=None):
        """Return a copy with the same picklers: a new store at the path, or a temporary one. O(n).

        ExistsError if there is something at the path.

        >>> import pyrsistence
        >>> with pyrsistence.EMCounter(None) as c:
        ...     c.update("ab")
        ...     with c.copy() as other:
        ...         dict(other)
        {'a': 1, 'b': 1}
        """
        return self._of(self.items(), path)

    def _of(self, pairs, path=None):
        """A temporary EMCounter with the picklers of this one, or a new one at a path."""
        return _support.temporary(self, EMCounter, EMDict.update, [pairs], path)

    def _combined(self, other, combine, reflected=False):
        if not isinstance(other, (EMCounter, collections.Counter)):
            return NotImplemented
        left, right = (other, self) if reflected else (self, other)
        ours = ((element, combine(count, right[element])) for element, count in left.items())
        theirs = ((element, combine(0, count)) for element, count in right.items() if element not in left)
        return self._of(pair for pair in itertools.chain(ours, theirs) if pair[1] > 0)

    def _become(self, other, combine):
        """In place; elements whose count is not positive go, as in Counter."""
        for element, count in other.items():
            combined = combine(self[element], count)
            if combined > 0 or element in self:
                self[element] = combined
        for element, count in self.items():
            count = count if element in other else combine(count, 0)
            if count <= 0:
                del self[element]
        return self

    def __add__(self, other):
        """Return a temporary EMCounter of the sums that are positive."""
        return self._combined(other, lambda a, b: a + b)

    def __sub__(self, other):
        """Return a temporary EMCounter of the differences that are positive."""
        return self._combined(other, lambda a, b: a - b)

    def __or__(self, other):
        """Return a temporary EMCounter of the larger counts that are positive."""
        return self._combined(other, max)

    def __and__(self, other):
        """Return a temporary EMCounter of the smaller counts that are positive."""
        return self._combined(other, min)

    def __radd__(self, other):
        """Return a temporary EMCounter of the sums that are positive."""
        return self._combined(other, lambda a, b: a + b, reflected=True)

    def __rsub__(self, other):
        """Return a temporary EMCounter of the differences that are positive."""
        return self._combined(other, lambda a, b: a - b, reflected=True)

    def __ror__(self, other):
        """Return a temporary EMCounter of the larger counts that are positive."""
        if not isinstance(other, collections.Counter):
            return EMDict.__ror__(self, other)
        return self._combined(other, max, reflected=True)

    def __rand__(self, other):
        """Return a temporary EMCounter of the smaller counts that are positive."""
        return self._combined(other, min, reflected=True)

    def __iadd__(self, other):
        """Add the counts of another; what is not positive then goes."""
        return self._become(other, lambda a, b: a + b)

    def __isub__(self, other):
        """Subtract the counts of another; what is not positive then goes."""
        return self._become(other, lambda a, b: a - b)

    def __ior__(self, other):
        """Keep the larger counts; what is not positive then goes."""
        return self._become(other, max)

    def __iand__(self, other):
        """Keep the smaller counts; what is not positive then goes."""
        return self._become(other, min)

    def __pos__(self):
        """Return a temporary EMCounter of the counts that are positive."""
        return self._of((element, count) for element, count in self.items() if count > 0)

    def __neg__(self):
        """Return a temporary EMCounter of the negative counts, negated."""
        return self._of((element, -count) for element, count in self.items() if count < 0)

    def __eq__(self, other):
        """Whether all counts are equal; a missing element counts 0."""
        if not isinstance(other, (EMCounter, collections.Counter)):
            return EMDict.__eq__(self, other)
        return all(self[element] == other[element] for each in (self, other) for element in each)

    def __ne__(self, other):
        same = self.__eq__(other)
        return same if same is NotImplemented else not same

    def _all(self, other, holds):
        if not isinstance(other, (EMCounter, collections.Counter)):
            return NotImplemented
        return all(holds(self[element], other[element]) for each in (self, other) for element in each)

    def __le__(self, other):
        """Whether every count is at most that of the other."""
        return self._all(other, lambda a, b: a <= b)

    def __ge__(self, other):
        """Whether every count is at least that of the other."""
        return self._all(other, lambda a, b: a >= b)

    def __lt__(self, other):
        """Whether every count is at most that of the other, and one is less."""
        below = self <= other
        return below and self != other if isinstance(below, bool) else below

    def __gt__(self, other):
        """Whether every count is at least that of the other, and one is more."""
        above = self >= other
        return above and self != other if isinstance(above, bool) else above

    __hash__ = None
