"""Collections for more data than memory holds: they live in the files of a directory.

>>> import pyrsistence
>>> with pyrsistence.EMDict(None) as d:  # None: a temporary store; a path: one that stays
...     d["answer"] = 42
...     d["answer"]
42
"""

import collections.abc as _abc

from . import _array, _deque, _mapping, _notebook, _sequence, _set, _sorted, _store, _support
from ._core import (
    EMArray,
    EMDeque,
    EMDict,
    EMList,
    EMMultiDict,
    EMPriorityQueue,
    EMSet,
    EMSortedDict,
    EMSortedSet,
    __version__,
)
from ._counting import EMCounter, EMDefaultDict
from ._errors import (
    ClosedError,
    CorruptionError,
    Error,
    ExistsError,
    FormatError,
    LockedError,
    NotFoundError,
    OrderError,
    PickleRefusedError,
    ReadOnlyError,
    StorageError,
)
from ._external import external_sort, group_by, merge, shuffle, unique
from ._keys import register_key
from ._store import SnapshotInfo, Snapshots, Store
from ._support import Info, Usage
from ._verify import Report, verify

__all__ = [
    "ClosedError",
    "CorruptionError",
    "EMArray",
    "EMCounter",
    "EMDefaultDict",
    "EMDeque",
    "EMDict",
    "EMList",
    "EMMultiDict",
    "EMPriorityQueue",
    "EMSet",
    "EMSortedDict",
    "EMSortedSet",
    "Error",
    "ExistsError",
    "FormatError",
    "Info",
    "LockedError",
    "NotFoundError",
    "OrderError",
    "PickleRefusedError",
    "ReadOnlyError",
    "Report",
    "SnapshotInfo",
    "Snapshots",
    "StorageError",
    "Store",
    "Usage",
    "__version__",
    "external_sort",
    "group_by",
    "merge",
    "register_key",
    "shuffle",
    "unique",
    "verify",
]

_support.add_methods(EMDict, _mapping.METHODS)
_support.add_methods(EMList, _sequence.METHODS)
_support.add_methods(EMSet, _set.METHODS)
_support.add_methods(EMDeque, _deque.METHODS)
_support.add_methods(EMSortedDict, _sorted.DICT_METHODS)
_support.add_methods(EMSortedSet, _sorted.SET_METHODS)
_support.add_methods(EMPriorityQueue, _sorted.QUEUE_METHODS)
_support.add_methods(EMMultiDict, _sorted.MULTI_DICT_METHODS)
EMSortedDict.bisect, EMSortedSet.bisect = EMSortedDict.bisect_right, EMSortedSet.bisect_right
_support.add_methods(EMArray, _array.METHODS)
for _name, _property in _array.PROPERTIES.items():
    setattr(EMArray, _name, _property)
for _class in (EMDict, EMList, EMSet, EMDeque, EMSortedDict, EMSortedSet, EMPriorityQueue, EMMultiDict, EMArray, Store):
    _class.snapshots = _store.snapshots
    if _class is not Store:
        _support.add_methods(_class, {"usage": _support.renewed(_support.usage)})
    _class._repr_html_ = _notebook.store if _class is Store else _notebook.container
for _class in (EMCounter, EMDefaultDict, Info, Report, SnapshotInfo, Snapshots, Store, Usage, verify):
    _class.__module__ = "pyrsistence"
for _class in (external_sort, group_by, merge, shuffle, unique):
    _class.__module__ = "pyrsistence"
del _class, _name, _property
_abc.MutableMapping.register(EMDict)
_abc.MutableSequence.register(EMList)
_abc.MutableSet.register(EMSet)
_abc.MutableSequence.register(EMDeque)
_abc.MutableMapping.register(EMSortedDict)
_abc.MutableSet.register(EMSortedSet)
_abc.Sequence.register(EMSortedSet)
