// The docstrings of EMList.
#pragma once

namespace pyrsistence::bindings::list::docs {

inline constexpr const char* kClass =
    R"(EMList(dirname, pickler=None, unpickler=None, *, mode='a', allow_pickle=True, memory_limit=None,
       at=None, name=None)
--

A list that lives in the files of one directory instead of main memory.

It behaves as list does: negative indices, slices, sort, comparison, errors; insert and pop take O(log n)
anywhere. There is nothing to commit: an operation that has returned survives the death of the process; after
sync() or close() it survives power loss too. What is read is a fresh copy: to change a stored object, store
it again, or use edit(). For the same reason a NaN that was stored is not found by `in`, index and remove.

dirname: str or os.PathLike; None is a temporary store, deleted when it is closed.
pickler, unpickler: objects with pickle(object) -> bytes and unpickle(bytes) -> object, for every item; by
    default built-in types have an encoding of their own, and others are pickled.
mode: "a" creates what is missing, "r" reads only, "r+" must exist, "w" empties a store, "x" must not exist.
allow_pickle: False refuses to pickle and to unpickle: for files from strangers.
memory_limit: bytes of private memory, at least 4 MiB; by default a quarter of what the process may use.
name: of the list, in a store of several containers (see Store); with "r" and "r+" it must exist, too.
at: the name of a snapshot of the store to be read (see snapshots); nothing can be changed then.

Raises FormatError, LockedError (the message names the process), CorruptionError, FileNotFoundError,
FileExistsError, StorageError; all are RuntimeErrors whose message begins "Cannot open EMList".

>>> import pyrsistence
>>> with pyrsistence.EMList(None) as l:
...     l.extend("abcd")
...     l[1] = "B"
...     l[-1], l[:2], len(l), "c" in l
('d', ['a', 'B'], 4, True))";

inline constexpr const char* kAppend = R"(append($self, value, /)
--

Append value to the end. O(log n), in practice as fast as overwriting.

Raises ReadOnlyError, StorageError, and what the pickler raises; nothing is appended then.

>>> import pyrsistence
>>> with pyrsistence.EMList(None) as l:
...     l.append(1)
...     l[:]
[1])";

inline constexpr const char* kExtend = R"(extend($self, iterable, /)
--

Append each element of iterable: a sequence of single operations, each durable as append() is.

If the iterable raises, what it gave before stays. O(m log n) for m elements.

>>> import pyrsistence
>>> with pyrsistence.EMList(None) as l:
...     l.extend(range(3))
...     l.extend(l)
...     l[:]
[0, 1, 2, 0, 1, 2])";

inline constexpr const char* kInsert = R"(insert($self, index, value, /)
--

Insert value before index; an index beyond either end means that end. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMList(None) as l:
...     l.extend("ac")
...     l.insert(1, "b")
...     l[:]
['a', 'b', 'c'])";

inline constexpr const char* kPop = R"(pop($self, index=-1, /)
--

Remove the item at index, the last by default, and return it. O(log n).

Raises IndexError if there is no such item. What cannot be decoded stays in the list.

>>> import pyrsistence
>>> with pyrsistence.EMList(None) as l:
...     l.extend("abc")
...     l.pop(), l.pop(0)
('c', 'a'))";

inline constexpr const char* kRemove = R"(remove($self, value, /)
--

Remove the first item that is equal to value; ValueError if there is none. O(n).

>>> import pyrsistence
>>> with pyrsistence.EMList(None) as l:
...     l.extend("abab")
...     l.remove("b")
...     l[:]
['a', 'a', 'b'])";

inline constexpr const char* kIndex = R"(index($self, value, start=0, stop=9223372036854775807, /)
--

Return the index of the first item from start to before stop that is equal to value. O(n).

Raises ValueError if there is none. Items of type int, str, bytes and None are compared without decoding.

>>> import pyrsistence
>>> with pyrsistence.EMList(None) as l:
...     l.extend("abab")
...     l.index("b"), l.index("b", 2)
(1, 3))";

inline constexpr const char* kCount = R"(count($self, value, /)
--

Return how many items are equal to value. O(n).

>>> import pyrsistence
>>> with pyrsistence.EMList(None) as l:
...     l.extend([1, 1.0, 2])
...     l.count(1)
2)";

inline constexpr const char* kReverse = R"(reverse($self, /)
--

Reverse the order of the items, as one atomic operation. O(n).

>>> import pyrsistence
>>> with pyrsistence.EMList(None) as l:
...     l.extend("abc")
...     l.reverse()
...     l[:]
['c', 'b', 'a'])";

inline constexpr const char* kClear = R"(clear($self, /)
--

Remove everything, as one atomic operation. Takes time in proportion to the pages in use.

>>> import pyrsistence
>>> with pyrsistence.EMList(None) as l:
...     l.append(1)
...     l.clear()
...     len(l)
0)";

inline constexpr const char* kSort = R"(sort($self, /, *, key=None, reverse=False, memory_limit=None, progress=None)
--

Sort in place, stably, using < only; atomic: it happens completely or not at all, whatever the size.

key: called once per item; as of external_sort(), also for what is fast. Raises ValueError, and changes nothing, if the
list is changed meanwhile.

memory_limit: bytes for what is sorted at once, beside the memory of the store; as much as that has if None. What does
not fit goes to a temporary file in the list's directory, of which nothing is left when the process ends. A subclass that
overrides [] or len() is sorted in main memory, through these.

progress: called as progress(done, total) now and then, where total is twice the number of items: each is read once and
stored once. What it raises ends the sort.

The sorted items are laid beside the old ones and replace them in one step, durably if they do not fit into the
log. O(n log n); each item is read from the list, written to the file and read from it once or twice, and written to the
list: Theta((N/B) log_{M/B} (N/B)) blocks (Aggarwal and Vitter, CACM 31(9), 1988).

>>> import pyrsistence
>>> with pyrsistence.EMList(None) as l:
...     l.extend(["bb", "a", "ccc"])
...     l.sort(key=len, reverse=True)
...     l[:]
['ccc', 'bb', 'a'])";

inline constexpr const char* kReversed = R"(__reversed__($self, /)
--

Iterate from the last item to the first.)";

}  // namespace pyrsistence::bindings::list::docs
