"""How objects become bytes, for libraries that store nothing else: as quickly as the standard library can.

Everything is applied with `map`, which costs less than a loop would, and what is stored as it is costs
nothing. Numbers are eight bytes, the most significant first, so that they sort as they should; objects are
pickled.
"""

from __future__ import annotations

import functools
import pickle
import struct
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

NUMBER = struct.Struct(">Q")


def _same(items: Any) -> Any:
    return items


@dataclass(frozen=True)
class Packing:
    """`pack` and `unpack` take many; `unpack_one` takes one, and is None if nothing has to be done."""

    pack: Callable[[Iterable], Iterable] = _same
    unpack: Callable[[Iterable], Iterable] = _same
    pack_one: Callable[[Any], Any] = _same
    unpack_one: Callable[[Any], Any] | None = None

    @staticmethod
    def by(pack: Callable, unpack: Callable) -> Packing:
        return Packing(functools.partial(map, pack), functools.partial(map, unpack), pack, unpack)


# Most significant first is the default since Python 3.11, and not naming it is much quicker.
_named = functools.partial(int.from_bytes, byteorder="big")
_number = int.from_bytes if sys.version_info >= (3, 11) else _named

UNCHANGED = Packing()
AS_BYTES = {
    "int": Packing.by(NUMBER.pack, _number),
    "str": Packing.by(str.encode, bytes.decode),
    "bytes": UNCHANGED,
    "object": Packing.by(functools.partial(pickle.dumps, protocol=pickle.HIGHEST_PROTOCOL), pickle.loads),
}
# For libraries that keep numbers, text and bytes as they are.
OBJECTS_AS_BYTES = {kind: AS_BYTES[kind] if kind == "object" else UNCHANGED for kind in AS_BYTES}


def last_pair(pairs: Iterable[tuple], keys: Packing, values: Packing) -> tuple:
    """Unpacks every pair, one by one, and returns the last."""
    key = value = None
    unpack_key, unpack_value = keys.unpack_one, values.unpack_one
    if unpack_key and unpack_value:
        for packed_key, packed_value in pairs:
            key, value = unpack_key(packed_key), unpack_value(packed_value)
    elif unpack_key:
        for packed_key, value in pairs:
            key = unpack_key(packed_key)
    elif unpack_value:
        for key, packed_value in pairs:
            value = unpack_value(packed_value)
    else:
        for key, value in pairs:
            pass
    return key, value
