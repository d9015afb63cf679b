"""Collections for more data than memory holds: they live in the files of a directory.

>>> import pyrsistence
>>> with pyrsistence.EMDict(None) as d:  # None: a temporary store; a path: one that stays
...     d["answer"] = 42
...     d["answer"]
42
"""

import collections.abc as _abc

from . import _deque, _mapping, _notebook, _set, _store, _support
from ._core import EMDeque, EMDict, EMList, EMSet, __version__
from ._counting import EMCounter, EMDefaultDict
from ._errors import (
    ClosedError,
    CorruptionError,
    Error,
    ExistsError,
    FormatError,
    LockedError,
    NotFoundError,
    PickleRefusedError,
    ReadOnlyError,
    StorageError,
)
from ._external import external_sort, group_by, merge, shuffle, unique
from ._keys import register_key
from ._store import SnapshotInfo, Snapshots, Store
from ._support import Info
from ._verify import Report, verify

__all__ = [
    "ClosedError",
    "CorruptionError",
    "EMCounter",
    "EMDefaultDict",
    "EMDeque",
    "EMDict",
    "EMList",
    "EMSet",
    "Error",
    "ExistsError",
    "FormatError",
    "Info",
    "LockedError",
    "NotFoundError",
    "PickleRefusedError",
    "ReadOnlyError",
    "Report",
    "SnapshotInfo",
    "Snapshots",
    "StorageError",
    "Store",
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
_support.add_methods(EMList, {"edit": _support.edit_item})
_support.add_methods(EMSet, _set.METHODS)
_support.add_methods(EMDeque, _deque.METHODS)
for _class in (EMDict, EMList, EMSet, EMDeque, Store):
    _class.snapshots = _store.snapshots
    _class._repr_html_ = _notebook.store if _class is Store else _notebook.container
for _class in (EMCounter, EMDefaultDict, Info, Report, SnapshotInfo, Snapshots, Store, verify):
    _class.__module__ = "pyrsistence"
for _class in (external_sort, group_by, merge, shuffle, unique):
    _class.__module__ = "pyrsistence"
del _class
_abc.MutableMapping.register(EMDict)
_abc.MutableSequence.register(EMList)
_abc.MutableSet.register(EMSet)
_abc.MutableSequence.register(EMDeque)
