"""External-memory algorithms over any iterable: more items than memory holds, in temporary files that nobody sees."""

import itertools
import operator
import os

from . import _core


def external_sort(iterable, *, key=None, reverse=False, memory_limit=None, directory=None, progress=None):
    """Sort more items than memory holds; return an iterator over them.

    As ``sorted(iterable, key=key, reverse=reverse)`` orders them: stably, by ``<`` alone. The iterable is read to its end
    first. The items come back as copies, as from an EMList; anything that an EMList can store can be sorted.

    key: called once per item. Only keys that are not made of built-in types (those of ``functools.cmp_to_key``, for
    example) are asked for again when they are merged. Keys that are all int (of 64 bits), all float, all str or all
    bytes are compared natively, several times faster than other ones.

    memory_limit: bytes for what is sorted at once, objects included; a quarter of the available memory if None. An item
    that is larger is sorted all the same.

    directory: where the temporary file is made, of which nothing is left when the process ends, however it ends; that of
    the module tempfile if None. It needs as much room as the items take in an EMList, keys included.

    progress: called as progress(items_read, items_in_all) now and then; the second is None if the iterable does not
    tell its length.

    The iterator is a context manager whose ``close()`` gives up memory and file at once; so does its end. Without either
    they go when it is collected.

    Moves Theta((N/B) log_{M/B} (N/B)) blocks for N bytes of items, M of memory and blocks of B, at most 4 MiB:
    each item is written once and read once up to about M * M / B bytes, and nothing can do with fewer (Aggarwal and
    Vitter, CACM 31(9), 1988). Raises StorageError if the disk is full, and what key and ``<`` raise.

    >>> import pyrsistence
    >>> with pyrsistence.external_sort(["bb", "a", "ccc"], key=len, reverse=True) as items:
    ...     list(items)
    ['ccc', 'bb', 'a']
    """
    return _core._external_sort(iterable, key, reverse, memory_limit, _place(directory), progress, False)


def merge(*iterables, key=None, reverse=False):
    """Merge sorted iterables into one iterator, lazily, as ``heapq.merge`` does.

    Equal items come in the order of the iterables. key: called once per item. reverse: the iterables descend.

    Reads each iterable once and holds one item of each; ceil(log2 k) comparisons per item for k iterables, by a tree of
    losers (Knuth, The Art of Computer Programming 3, 5.4.1).

    >>> import pyrsistence
    >>> list(pyrsistence.merge([1, 4], [2, 3]))
    [1, 2, 3, 4]
    """
    return _core._external_merge(iterables, key, reverse)


def unique(iterable, *, key=None):
    """The first of each group of equal neighbours, lazily: of a sorted iterable, what is in it.

    key: items are compared by key(item). Reads the iterable once and holds one item.

    >>> import pyrsistence
    >>> list(pyrsistence.unique(pyrsistence.external_sort("mississippi")))
    ['i', 'm', 'p', 's']
    """
    return map(next, map(operator.itemgetter(1), itertools.groupby(iterable, key)))


class _Groups:
    """An iterator over (key, items) that owns a sorted iterator over (key, item)."""

    __slots__ = ("_groups", "_pairs")

    def __init__(self, pairs):
        self._pairs = pairs
        self._groups = itertools.groupby(pairs, operator.itemgetter(0))

    def __iter__(self):
        return self

    def __next__(self):
        key, pairs = next(self._groups)
        return key, map(operator.itemgetter(1), pairs)

    def close(self):
        """Give up what is left, and the temporary files. Harmless when repeated."""
        self._pairs.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def group_by(iterable, key, *, memory_limit=None, directory=None, progress=None):
    """Sort items by a key, then yield (key, iterator over the items that have it), lazily, each key once.

    Within a group items keep the order of the iterable. A group is gone when the next one is asked for, as with
    ``itertools.groupby``. Arguments, cost and errors as of external_sort(), whose ``close()`` the result has, too.

    >>> import pyrsistence
    >>> for length, words in pyrsistence.group_by(["to", "be", "or", "not"], key=len):
    ...     print(length, list(words))
    2 ['to', 'be', 'or']
    3 ['not']
    """
    return _Groups(_core._external_sort(iterable, key, False, memory_limit, _place(directory), progress, True))


def shuffle(iterable, *, seed=None, memory_limit=None, directory=None, progress=None):
    """Put more items than memory holds into random order; return an iterator over them.

    Each of the n! orders is equally likely. The iterable is read to its end first; the items come back as copies.

    seed: an int below 2**64; the same seed, items and memory_limit give the same order. Chosen at random if None. The
    other arguments and the result are as of external_sort().

    Each item goes into a bucket chosen at random; buckets that fit into memory are shuffled there, larger ones are
    divided likewise (Rao 1961, Sandelius 1962). Each item is written once and read once up to about M * M / B bytes, with
    M bytes of memory and blocks of B; beyond that the bound of external_sort() holds.

    >>> import pyrsistence
    >>> sorted(pyrsistence.shuffle(range(5), seed=1))
    [0, 1, 2, 3, 4]
    """
    if seed is None:
        seed = int.from_bytes(os.urandom(8), "little")
    seed = operator.index(seed)
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed is {seed}; it must be at least 0 and below 2**64")
    return _core._external_shuffle(iterable, seed, memory_limit, _place(directory), progress)


def _place(directory):
    if directory is not None:
        return directory
    import tempfile  # not needed otherwise

    return tempfile.gettempdir()
