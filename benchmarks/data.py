"""What is stored: kinds of data, which give the key and the value of every index without keeping any.

The same index gives the same key on every machine and in every process. A value has versions: 0 is stored
first, 1 when it is overwritten. `absent` keys are never stored, and lie between those that are, if they can.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

SEED = 20_240_607
ZIPF = 0.99  # the exponent of YCSB

# Values are cut from here, so that they do not compress much, and making them is quick.
_POOL = random.Random(SEED).randbytes(1 << 20)
_STRIDE = 7919  # between the cuts of neighbours; odd, so that all offsets come up


def noise(index: int, version: int, size: int) -> bytes:
    """Bytes that begin with index and version, and look random otherwise."""
    start = (index * _STRIDE + version) % (len(_POOL) - size)
    return struct.pack(">QI", index, version) + _POOL[start : start + size - 12]


class Data:
    """One kind. `ascending`: a larger index has a larger key. `payload`: bytes in key and value, about."""

    name: str
    title: str
    key_kind: str  # "int", "str" or "bytes"; chooses how rivals pack it
    value_kind: str  # one of those, or "object"
    ascending = True
    payload: int

    def key(self, index: int) -> Any:
        raise NotImplementedError

    def value(self, index: int, version: int = 0) -> Any:
        raise NotImplementedError

    def absent(self, index: int) -> Any:
        raise NotImplementedError

    def keys(self, indices: Sequence[int]) -> list:
        return list(map(self.key, indices))

    def values(self, indices: Sequence[int], version: int = 0) -> list:
        value = self.value
        return [value(index, version) for index in indices]


class Numbers(Data):
    """Every integer under itself: nothing is left between the keys, so the absent ones lie beyond."""

    name, title = "int", "Integers under integers"
    key_kind = value_kind = "int"
    payload = 16

    def key(self, index: int) -> int:
        return index

    def value(self, index: int, version: int = 0) -> int:
        return index + version

    def absent(self, index: int) -> int:
        return (1 << 40) + index


class Groups(Numbers):
    """Every integer as one of ten values under a smaller one."""

    name, title = "group", "Ten integers under each integer"
    size = 10

    def key(self, index: int) -> int:
        return index // self.size

    def members(self, key: int) -> range:
        """The indices with this key."""
        return range(key * self.size, (key + 1) * self.size)


class Records(Data):
    """Small dicts, such as come from JSON."""

    name, title = "str", "Small dicts of five fields under text"
    key_kind, value_kind = "str", "object"
    payload = 100

    def key(self, index: int) -> str:
        return f"item-{index:09d}"

    def value(self, index: int, version: int = 0) -> dict:
        return {
            "id": index,
            "name": f"item number {index}",
            "price": index / 4,
            "tags": ["new", "red"],
            "version": version,
        }

    def absent(self, index: int) -> str:
        return f"item-{index:09d}?"


class Addresses(Data):
    """40 bytes under addresses of instructions, which lie 1 to 15 apart, with gaps between modules."""

    name, title = "address", "40 bytes under addresses, 1 to 15 apart with gaps"
    key_kind, value_kind = "int", "bytes"
    payload = 48
    base = 0x400000
    gap = 1 << 20
    _lengths = random.Random(SEED).choices(range(1, 16), k=4096)
    _offsets = [0, *accumulate(_lengths)]
    _module = _offsets.pop() + gap
    # The second byte of the instruction, or of the next one that has a second byte.
    _inside = [offset + 1 if length > 1 else None for offset, length in zip(_offsets, _lengths)]

    def key(self, index: int) -> int:
        module, instruction = divmod(index, len(self._offsets))
        return self.base + module * self._module + self._offsets[instruction]

    def value(self, index: int, version: int = 0) -> bytes:
        return noise(index, version, 40)

    def absent(self, index: int) -> int:
        module, instruction = divmod(index, len(self._offsets))
        inside = self._inside[instruction]
        if inside is None:
            return self.absent(index + 1)
        return self.base + module * self._module + inside


class Blobs(Data):
    """150 bytes under 24 random ones, as in the table that redb publishes."""

    name, title = "blob", "150 bytes under 24 random bytes"
    key_kind = value_kind = "bytes"
    ascending = False
    payload = 174

    def key(self, index: int) -> bytes:
        return hashlib.blake2b(struct.pack(">Q", index), digest_size=24).digest()

    def value(self, index: int, version: int = 0) -> bytes:
        return noise(index, version, 150)

    def absent(self, index: int) -> bytes:
        return self.key((1 << 40) + index)


class Pages(Data):
    """150 bytes under every second integer: odd ones are new keys in between."""

    name, title = "page", "150 bytes under even integers"
    key_kind, value_kind = "int", "bytes"
    payload = 158

    def key(self, index: int) -> int:
        return 2 * index

    def value(self, index: int, version: int = 0) -> bytes:
        return noise(index, version, 150)

    def absent(self, index: int) -> int:
        return 2 * index + 1


GROUPS = Groups()
KINDS: dict[str, Data] = {
    kind.name: kind for kind in (Numbers(), GROUPS, Records(), Addresses(), Blobs(), Pages())
}


class Scatter:
    """A random order of range(size), in no memory: position -> element.

    Each round is a bijection of as many bits as size has; what falls outside is sent through again.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        bits = max(2, (size - 1).bit_length())
        self.mask = (1 << bits) - 1
        self.shift = (bits + 1) // 2
        chosen = random.Random(SEED + seed)
        self.factors = [chosen.getrandbits(bits) | 1 for _ in range(3)]
        self.offset = chosen.getrandbits(bits)

    def __call__(self, position: int) -> int:
        found = position
        while True:
            found = (found + self.offset) & self.mask
            for factor in self.factors:
                found = found * factor & self.mask
                found ^= found >> self.shift
            if found < self.size:
                return found


def zipfian(choose: random.Random, size: int, count: int) -> list[int]:
    """Ranks below size, of which rank r comes up about in proportion to 1 / (r + 1) ** ZIPF."""
    power = 1 - ZIPF
    span = (size + 1) ** power - 1
    draw = choose.random
    return [min(size, int((1 + draw() * span) ** (1 / power))) - 1 for _ in range(count)]
