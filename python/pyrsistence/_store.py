"""Store, and the named snapshots of stores."""

import collections.abc
import datetime
import typing
import weakref

from ._core import EMArray, EMDeque, EMDict, EMList, EMMultiDict, EMPriorityQueue, EMSet, EMSortedDict, EMSortedSet, StoreHandle
from ._counting import EMCounter, EMDefaultDict, checked_factory
from ._errors import ClosedError

TYPES = {
    "dict": EMDict,
    "list": EMList,
    "set": EMSet,
    "deque": EMDeque,
    "sorted dict": EMSortedDict,
    "sorted set": EMSortedSet,
    "priority queue": EMPriorityQueue,
    "multi-dict": EMMultiDict,
    "array": EMArray,
}


class Store(StoreHandle):
    """Store(dirname, pickler=None, unpickler=None, *, mode='a', allow_pickle=True, memory_limit=None, at=None)

    Many named containers in one directory, which change together in transactions.

    A mapping from names to containers: ``store["calls"]`` opens one that exists and never creates;
    ``store.dict("calls")`` and ``store.list("trace")`` create what is missing. Closing the store closes them.
    The arguments are those of EMDict; the picklers hold for all containers.

    >>> import pyrsistence
    >>> with pyrsistence.Store(None) as store:
    ...     calls, trace = store.dict("calls"), store.list("trace")
    ...     with store.transaction():
    ...         calls["main"] = 0x401000
    ...         trace.append("main")
    ...     sorted(store)
    ['calls', 'trace']
    """

    def _handle(self, cls, name, *arguments):
        if not isinstance(name, str):
            raise TypeError(f"the name of a container is a str, not {type(name).__name__}")
        handle = cls._open_in(self, name, *arguments)
        self._handles[id(handle)] = handle
        return handle

    @property
    def _handles(self):
        return self.__dict__.setdefault("_open_handles", weakref.WeakValueDictionary())

    def __getstate__(self):
        state = super().__getstate__()
        attributes = {key: value for key, value in vars(self).items() if key != "_open_handles"}
        return {**state, "attributes": attributes}

    def dict(self, name):
        """Open the EMDict of this name, created if there is none.

        FormatError if the name belongs to a container of another type. In a snapshot, or with mode "r", nothing
        is created: FileNotFoundError.

        >>> import pyrsistence
        >>> with pyrsistence.Store(None) as store:
        ...     store.dict("calls")["main"] = 1
        ...     store["calls"]["main"]
        1
        """
        return self._handle(EMDict, name)

    def list(self, name):
        """Open the EMList of this name, created if there is none; otherwise as dict().

        >>> import pyrsistence
        >>> with pyrsistence.Store(None) as store:
        ...     store.list("trace").append(1)
        ...     len(store["trace"])
        1
        """
        return self._handle(EMList, name)

    def set(self, name):
        """Open the EMSet of this name, created if there is none; otherwise as dict().

        >>> import pyrsistence
        >>> with pyrsistence.Store(None) as store:
        ...     store.set("seen").add(1)
        ...     1 in store["seen"]
        True
        """
        return self._handle(EMSet, name)

    def deque(self, name, *, maxlen=None):
        """Open the EMDeque of this name, created with this maxlen if there is none; otherwise as dict().

        FormatError if there is one that has another maxlen than the one given.

        >>> import pyrsistence
        >>> with pyrsistence.Store(None) as store:
        ...     store.deque("last", maxlen=2).extend("abc")
        ...     list(store["last"])
        ['b', 'c']
        """
        return self._handle(EMDeque, name, maxlen)

    def sorted_dict(self, name):
        """Open the EMSortedDict of this name, created if there is none; otherwise as dict().

        >>> import pyrsistence
        >>> with pyrsistence.Store(None) as store:
        ...     store.sorted_dict("symbols").update({0x401000: "main", 0x400000: "_start"})
        ...     store["symbols"].peekitem(0)
        (4194304, '_start')
        """
        return self._handle(EMSortedDict, name)

    def sorted_set(self, name):
        """Open the EMSortedSet of this name, created if there is none; otherwise as dict().

        >>> import pyrsistence
        >>> with pyrsistence.Store(None) as store:
        ...     store.sorted_set("seen").update([3, 1, 2])
        ...     list(store["seen"])
        [1, 2, 3]
        """
        return self._handle(EMSortedSet, name)

    def priority_queue(self, name):
        """Open the EMPriorityQueue of this name, created if there is none; otherwise as dict().

        >>> import pyrsistence
        >>> with pyrsistence.Store(None) as store:
        ...     store.priority_queue("tasks").push("sync", 3)
        ...     store["tasks"].pop()
        'sync'
        """
        return self._handle(EMPriorityQueue, name)

    def multi_dict(self, name):
        """Open the EMMultiDict of this name, created if there is none; otherwise as dict().

        >>> import pyrsistence
        >>> with pyrsistence.Store(None) as store:
        ...     store.multi_dict("callers").add("main", 0x401000)
        ...     store["callers"]["main"]
        [4198400]
        """
        return self._handle(EMMultiDict, name)

    def array(self, name, dtype=None, shape=()):
        """Open the EMArray of this name, created with this dtype and shape of an item if there is none; else as dict().

        FormatError if there is one of another dtype or shape. Without a dtype nothing is created: FileNotFoundError.

        >>> import pyrsistence
        >>> with pyrsistence.Store(None) as store:
        ...     store.array("samples", "f4").extend([1, 2])
        ...     store["samples"].dtype
        dtype('float32')
        """
        return self._handle(EMArray, name, None, (dtype, shape))

    def counter(self, name):
        """Open the EMDict of this name as an EMCounter, created if there is none; otherwise as dict().

        >>> import pyrsistence
        >>> with pyrsistence.Store(None) as store:
        ...     store.counter("letters").update("abca")
        ...     store["letters"]["a"]
        2
        """
        return self._handle(EMCounter, name)

    def defaultdict(self, name, default_factory=None):
        """Open the EMDict of this name as an EMDefaultDict, created if there is none; otherwise as dict().

        >>> import pyrsistence
        >>> with pyrsistence.Store(None) as store:
        ...     calls = store.defaultdict("calls", int)
        ...     calls["main"] += 1
        ...     store["calls"]["main"]
        1
        """
        factory = checked_factory(default_factory)  # before anything is created
        handle = self._handle(EMDefaultDict, name)
        handle.default_factory = factory
        return handle

    def _find(self, name):
        try:
            return self._type_of(name) if isinstance(name, str) else None
        except UnicodeEncodeError:  # no name that could be stored
            return None

    def __getitem__(self, name):
        found = self._find(name)
        if found is None:
            raise KeyError(name)
        return self._handle(TYPES[found], name)

    def __delitem__(self, name):
        """Delete a container and give its space back; handles on it raise ClosedError afterwards."""
        if self._find(name) is None or not self._remove(name):
            raise KeyError(name)

    def __contains__(self, name):
        return self._find(name) is not None

    def __iter__(self):
        return iter(self._containers())

    def __len__(self):
        return len(self._containers())

    def keys(self):
        """The names of the containers, in the order of their creation."""
        return self._containers().keys()

    def values(self):
        """The containers, opened."""
        return [self[name] for name in self]

    def items(self):
        """Pairs of name and container, opened."""
        return [(name, self[name]) for name in self]

    def get(self, name, default=None):
        """The container of this name, or default."""
        return self[name] if name in self else default

    def snapshot(self):
        """Return the present state of all containers as a read-only Store, which stays as it is. O(1).

        Beside a transaction of another thread, or within one, it is the state before the transaction. What is
        changed later takes space until the snapshot is closed.

        >>> import pyrsistence
        >>> with pyrsistence.Store(None) as store:
        ...     calls = store.dict("calls")
        ...     calls["main"] = 1
        ...     with store.snapshot() as before:
        ...         calls["main"] = 2
        ...         before["calls"]["main"]
        1
        """
        return Store._open_snapshot(self)

    def rename(self, old, new):
        """Give a container another name, which older handles on it have then, too.

        KeyError if there is no such container, ExistsError if the new name is taken.

        >>> import pyrsistence
        >>> with pyrsistence.Store(None) as store:
        ...     _ = store.list("trace")
        ...     store.rename("trace", "steps")
        ...     list(store)
        ['steps']
        """
        if not self._rename(old, new):
            raise KeyError(old)

    def close(self):
        """Make everything durable and close the store and its containers; closing it again does nothing.

        >>> import pyrsistence
        >>> store = pyrsistence.Store(None)
        >>> trace = store.list("trace")
        >>> store.close()
        >>> trace.closed
        True
        """
        for handle in list_of(self._handles.values()):
            handle.close()
        super().close()

    def __repr__(self):
        if self.closed:
            return "<closed Store>" if self.path is None else f"<closed Store {self.path!r}>"
        try:
            names = list_of(self._containers().items())
        except ClosedError:  # by another thread, or by a fork
            return f"<closed Store {self.path!r}>"
        shown = ", ".join(f"{name!r}: {kind}" for name, kind in names[:8])
        more = ", ..." if len(names) > 8 else ""
        return f"<Store {self.path!r} {{{shown}{more}}}>"


list_of = list  # within the class, list is a method


class SnapshotInfo(typing.NamedTuple):
    """What a store knows of a named snapshot."""

    name: str
    created: datetime.datetime  #: in UTC
    checkpoint: int  #: number of the checkpoint that it is


class Snapshots(collections.abc.Mapping):
    """The named snapshots of a store: a mapping from name to SnapshotInfo, oldest first.

    They hold for the whole store and stay until they are deleted; open one with ``at=name``.

    >>> import pyrsistence
    >>> with pyrsistence.EMDict(None) as d:
    ...     d["a"] = 1
    ...     _ = d.snapshots.create("before")
    ...     d["a"] = 2
    ...     with pyrsistence.EMDict(d.path, at="before") as old:
    ...         print(old["a"], list(d.snapshots))
    ...     del d.snapshots["before"]
    1 ['before']
    """

    def __init__(self, handle):
        self._handle = handle

    def create(self, name):
        """Keep the present state under a name; durable when it returns. ExistsError if the name is taken."""
        self._handle._keep_snapshot(name)
        return self[name]

    def _all(self):
        epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
        return {
            name: SnapshotInfo(name, epoch + datetime.timedelta(microseconds=created), checkpoint)
            for name, created, checkpoint in self._handle._list_snapshots()
        }

    def __getitem__(self, name):
        return self._all()[name]

    def __delitem__(self, name):
        if name not in self or not self._handle._delete_snapshot(name):
            raise KeyError(name)

    def __iter__(self):
        return iter(self._all())

    def __len__(self):
        return len(self._handle._list_snapshots())

    def __repr__(self):
        return f"Snapshots({list(self)!r})"


snapshots = property(Snapshots, doc="The named snapshots of the store: see Snapshots.")
