"""NumPy scalars as dtype string and little-endian bytes. Imported when the first one is met."""

import re
import sys

import numpy

from ._keys import is_registered

_DTYPE = re.compile(rb"[biufcmMSU][0-9]+(\[[0-9A-Za-z]+\])?")

_types = frozenset(numpy.dtype(code).type for code in numpy.typecodes["All"])
_fixed_names = {}  # by type, for those whose scalars all have one dtype
_fixed_dtypes = {}  # by name, the same


def describe(scalar):
    """(dtype without byte order, data), or None if only pickle gives back an equal scalar of this type."""
    name = _fixed_names.get(type(scalar))
    if name is not None:
        return name, _little_endian(scalar)
    if type(scalar) not in _types:
        return None
    dtype = scalar.dtype
    name = dtype.str[1:].encode()
    if not _DTYPE.fullmatch(name) or not 0 < dtype.itemsize < 256:
        return None
    data = _little_endian(scalar)
    if dtype.kind in "biufc":
        _fixed_names[type(scalar)] = name
    elif dtype.kind in "SU" and data.endswith(b"\0" * (dtype.itemsize // len(scalar))):
        return None  # NumPy cannot tell trailing NULs from padding
    return name, data


def scalars(array, row=()):
    """(dtype, bytes of one, contiguous memory) of the scalars that iterating over an array of numbers yields, as describe()
    has them; None for any other array.

    row: the shape of what iterating over the array yields.
    """
    if type(array) is not numpy.ndarray or array.ndim == 0 or array.shape[1:] != row:
        return None
    dtype = array.dtype
    if dtype.kind not in "biufc" or not dtype.isnative:
        return None
    return dtype.str[1:].encode(), dtype.itemsize, numpy.ascontiguousarray(array, dtype.newbyteorder("<"))


def keys(array, row=()):
    """scalars() of integers, and of floats no longer than Python's, unless register_key() was called for their type."""
    if type(array) is not numpy.ndarray or is_registered(array.dtype.type):
        return None
    kind, size = array.dtype.kind, array.dtype.itemsize
    return scalars(array, row) if kind in "iu" or (kind == "f" and 4 <= size <= 8) else None


def pairs(array):
    """keys() of an array of shape (n, 2): pairs of a key and a value."""
    return keys(array, (2,))


def _little_endian(scalar):
    if sys.byteorder == "little":
        return scalar.tobytes()
    return numpy.array(scalar, dtype=scalar.dtype.newbyteorder("<")).tobytes()


def restore(name, data):
    """The scalar that describe() took apart; ValueError for anything else."""
    dtype = _fixed_dtypes.get(name) or _dtype_of(name)
    if dtype.itemsize != len(data):
        raise ValueError(f"{len(data)} bytes for a scalar of type {dtype}")
    return numpy.frombuffer(data, dtype)[0]


def _dtype_of(name):
    if not _DTYPE.fullmatch(name):
        raise ValueError(f"not the dtype of a NumPy scalar: {name!r}")
    dtype = numpy.dtype("<" + name.decode())
    if dtype.kind in "biufc":
        _fixed_dtypes[name] = dtype
    return dtype
