"""What the bytes of an EMArray mean: everything about it that NumPy says best."""

import ast
import functools
import importlib
import itertools
import operator

from . import _support
from ._core import EMArray
from ._errors import CorruptionError

_BLOCK = 256 << 10  # bytes of what is read or written at a time
_NUMBERS = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"}  # dtypes of numbers that are encoded natively


class _NumPy:
    """The module, imported when it is used: a program without arrays need not have it."""

    def __getattr__(self, name):
        try:
            module = importlib.import_module("numpy")
            self.format = importlib.import_module("numpy.lib.format")
        except ImportError as error:
            raise ImportError("EMArray needs NumPy: pip install numpy") from error
        value = self.__dict__[name] if name in self.__dict__ else getattr(module, name)
        setattr(self, name, value)
        return value


numpy = _NumPy()


# ---- dtypes ----


def _little(dtype):
    return dtype.newbyteorder("<")


def item_type(dtype, shape):
    """(bytes of an item, text of the dtype, shape), or None if no dtype is given."""
    if dtype is None:
        if shape != ():
            raise ValueError(f"shape is {shape!r}, but there is no dtype")
        return None
    dtype = numpy.dtype(dtype)
    if dtype.subdtype is not None:  # a block of elements
        dtype, inner = dtype.subdtype
    else:
        inner = ()
    if dtype.hasobject:
        raise TypeError(f"an array of {dtype} holds Python objects; EMList stores these")
    shape = (shape,) if isinstance(shape, (int, numpy.integer)) else shape
    shape = tuple(map(operator.index, shape)) + inner
    if dtype.itemsize == 0 or any(dimension <= 0 for dimension in shape):
        raise ValueError(f"items of dtype {dtype} and shape {shape} have no bytes")
    descr = numpy.format.dtype_to_descr(_little(dtype))
    text = descr if isinstance(descr, str) else repr(descr)
    size = dtype.itemsize
    for dimension in shape:
        size *= dimension
    return size, text, shape


@functools.lru_cache(maxsize=256)
def _dtype_of(text):
    try:
        descr = ast.literal_eval(text) if text.startswith(("[", "(")) else text
        dtype = numpy.format.descr_to_dtype(descr)
    except Exception as error:
        raise CorruptionError(f"an array of {text!r}, which NumPy does not understand: {error}") from None
    if dtype.hasobject or dtype.itemsize == 0:
        raise CorruptionError(f"an array of {text!r}, which cannot be stored")
    return dtype


@functools.lru_cache(maxsize=256)
def _checked(size, text, shape):
    dtype = _dtype_of(text)
    expected = dtype.itemsize
    for dimension in shape:
        expected *= dimension
    if expected != size:
        raise CorruptionError(f"an array of {text!r} and shape {shape} with items of {size} bytes")
    return dtype, shape


def _form(self):
    """(dtype, shape of an item)"""
    return _checked(*self._item_type)


def scratch(text, size):
    """(ndarray of one element or None, the address of the element, letter of its kind), see Scalars in bind_array.cpp."""
    dtype, _ = _checked(size, text, ())
    if dtype.kind not in "biufcmMSU" or not dtype.isnative:
        return None, 0, "\0"  # a void scalar would refer to the element instead of copying it
    one = numpy.zeros(1, dtype)
    kind = dtype.kind if dtype.str[1:] in _NUMBERS else "\0"
    return one, one.__array_interface__["data"][0], kind


# ---- bytes ----


def _raw(array):
    """The memory of an array, which must be contiguous."""
    return array.reshape(-1).view(numpy.uint8) if array.ndim else array.reshape(1).view(numpy.uint8)


def _per_block(self):
    return max(1, _BLOCK // self._item_type[0])


def _read(self, first, count):
    """At most `count` items, fewer at the end."""
    dtype, shape = _form(self)
    block = numpy.empty((count, *shape), dtype)
    found = self._read(first, _raw(block)) if count else 0
    return block if found == count else block[:found]


def _spans(first, end, size):
    for start in range(first, end, size):
        yield start, min(start + size, end)


def _stored(self, values, shape=None):
    """Values as an array that may be written: of the dtype, contiguous, broadcast to the shape if there is one."""
    dtype, _ = _form(self)
    made = numpy.empty(numpy.shape(values) if shape is None else shape, dtype)
    made[...] = values
    return made


def _one(self, value):
    """An array of one item, cast as by an assignment to it."""
    dtype, shape = _form(self)
    made = numpy.empty((1, *shape), dtype)
    made[0] = value
    return made


def _source(self, values):
    """What was given to be stored, as an array or another EMArray."""
    if isinstance(values, (numpy.ndarray, numpy.generic, EMArray)):
        return values
    if hasattr(values, "__array__"):
        return numpy.asarray(values)
    if isinstance(values, (bytearray, memoryview)):
        return numpy.asarray(memoryview(values))
    return numpy.asarray(values, _form(self)[0])


def _collect(self, found, make):
    """`found`, which is as long as the array, with make(block, first, end) of the items; cut where others have cut them off."""
    filled = 0
    for first, end in _spans(0, len(found), _per_block(self)):
        block = _read(self, first, end - first)
        filled = first + len(block)
        found[first:filled] = make(block, first, filled)
        if filled < end:
            break
    return found[:filled]


def _change(self, first, end, change):
    """Calls change(block) with the items from first to before end, and stores what it makes of them, in one moment."""
    with self.transaction(durable=False):
        block = _read(self, first, end - first)
        if len(block) < end - first:
            raise IndexError(f"index {end - 1} is out of bounds for axis 0 with size {len(self)}")
        change(block)
        self._write(first, _raw(block))


# ---- indices ----


def _split(self, key):
    """(index of the first axis, the others)"""
    if not isinstance(key, tuple):
        return (slice(None), ()) if key is Ellipsis else (key, ())
    if not key:
        return slice(None), ()
    if key[0] is None:
        raise IndexError("a new axis before the first one: index the result instead, as in a[:][None]")
    if key[0] is not Ellipsis:
        return key[0], key[1:]
    rest = key[1:]
    axes = sum(1 for part in rest if part is not None)
    if axes < self.ndim:
        return slice(None), key
    return (rest[0], rest[1:]) if rest else (slice(None), ())


def _indices(self, key):
    """Checked indices from a list, or an array, of integers or bools; their shape."""
    key = numpy.asarray(key)
    length = len(self)
    if key.dtype == bool:
        if key.ndim != 1:
            raise IndexError(f"a mask of {key.ndim} dimensions; the first axis takes one of 1")
        if len(key) != length:
            raise IndexError(f"boolean index did not match indexed array along axis 0; size of axis is {length} but size of "
                             f"corresponding boolean axis is {len(key)}")
        found = numpy.flatnonzero(key).astype(numpy.uint64, copy=False)
        return found, found.shape
    if key.size == 0 and key.dtype == float:
        key = key.astype(numpy.int64)
    if key.dtype.kind not in "iu":
        raise IndexError("only integers, slices (`:`), ellipsis (`...`) and integer or boolean arrays are valid indices")
    flat = key.reshape(-1)
    if flat.size:
        low, high = int(flat.min()), int(flat.max())
        if low < -length or high >= length:
            wrong = high if high >= length else low
            raise IndexError(f"index {wrong} is out of bounds for axis 0 with size {length}")
        if low < 0:
            flat = numpy.where(flat < 0, flat + length, flat)
    return flat.astype(numpy.uint64, copy=False), key.shape


def _sorted(indices):
    """(indices in order, where they were), the second None if they were in order."""
    if indices.size < 2 or bool((indices[1:] >= indices[:-1]).all()):
        return numpy.ascontiguousarray(indices), None
    order = numpy.argsort(indices)
    return indices[order], order


def _gather(self, indices):
    dtype, shape = _form(self)
    found = numpy.empty((len(indices), *shape), dtype)
    ordered, order = _sorted(indices)
    if not len(indices):
        return found
    if order is None:
        self._gather(ordered, _raw(found))
        return found
    for first, end in _spans(0, len(indices), _per_block(self)):
        some = numpy.empty((end - first, *shape), dtype)
        self._gather(ordered[first:end], _raw(some))
        found[order[first:end]] = some
    return found


def _scatter(self, indices, values):
    """`values` has as many items as there are indices; of equal ones the last counts."""
    ordered, order = _sorted(indices)
    last = numpy.ones(len(ordered), bool)
    numpy.not_equal(ordered[1:], ordered[:-1], out=last[:-1])
    if not last.all():
        if order is not None:  # a stable order takes several times as long
            order = numpy.argsort(indices, kind="stable")
        ordered = ordered[last]
        order = numpy.flatnonzero(last) if order is None else order[last]
    for first, end in _spans(0, len(ordered), _per_block(self)):
        some = values[first:end] if order is None else values[order[first:end]]
        self._scatter(ordered[first:end], _raw(_stored(self, some)))


def _rest(rest):
    return (slice(None), *rest) if rest and rest[0] is not Ellipsis else rest


def _item(self, index):
    """One item that is no plain scalar."""
    index = operator.index(index)
    length = len(self)
    place = index + length if index < 0 else index
    found = _read(self, place, 1) if 0 <= place else ()
    if not len(found):
        raise IndexError(f"index {index} is out of bounds for axis 0 with size {length}")
    return found[0]


def _is_number(key):
    if isinstance(key, numpy.ndarray):
        return key.ndim == 0 and key.dtype.kind in "iu"
    return isinstance(key, (int, numpy.integer)) and not isinstance(key, bool)


def _is_field(key):
    return isinstance(key, str) or (isinstance(key, list) and bool(key) and all(isinstance(name, str) for name in key))


def _field(self, name):
    """One field, or several, of all items."""
    dtype, shape = _form(self)
    field = numpy.empty((0, *shape), dtype)[name]
    found = numpy.empty((len(self), *field.shape[1:]), field.dtype)
    return _collect(self, found, lambda block, first, end: block[name])


def _set_field(self, name, value):
    dtype, shape = _form(self)
    field = numpy.empty((0, *shape), dtype)[name]
    whole = numpy.broadcast_to(numpy.asarray(value), (len(self), *field.shape[1:]))
    for first, end in _spans(0, len(whole), _per_block(self)):
        _change(self, first, end, lambda block: block.__setitem__(name, whole[first:end]))


def get(self, key):
    """a[key], whatever it is but the index of a plain scalar."""
    first, rest = _split(self, key)
    if _is_field(first) and not rest:
        return _field(self, first)
    if _is_number(first):
        item = _item(self, first) if self.ndim > 1 or not rest else self[first]
        return item[rest] if rest else item
    if isinstance(first, slice):
        start, stop, step = first.indices(len(self))
        count = len(range(start, stop, step))
        if step == 1:
            found = _read(self, start, count)
        else:
            found = _gather(self, numpy.arange(start, start + count * step, step, dtype=numpy.int64).astype(numpy.uint64))
    else:
        if not all(part is None or _is_number(part) or isinstance(part, (slice, type(Ellipsis))) for part in rest):
            raise IndexError("an array of indices goes with numbers and slices only; index the result")
        indices, shape = _indices(self, first)
        found = _gather(self, indices)
        found = found.reshape(*shape, *found.shape[1:]) if len(shape) != 1 else found
        return found[(*[slice(None)] * len(shape), *rest)] if rest else found
    return found[_rest(rest)] if rest else found


def set_items(self, key, value):
    """a[key] = value, whatever they are but a plain number at an index."""
    first, rest = _split(self, key)
    if _is_field(first) and not rest:
        return _set_field(self, first, value)
    if _is_number(first):
        index = operator.index(first)
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"index {index} is out of bounds for axis 0 with size {len(self)}")
        if rest:
            return _change(self, place, place + 1, lambda item: item.__setitem__((0, *rest), value))
        return self._write(place, _raw(_one(self, value)))
    if isinstance(first, slice):
        start, stop, step = first.indices(len(self))
        count = len(range(start, stop, step))
        if step == 1:
            return _set_range(self, start, start + count, rest, value)
        indices, shape = numpy.arange(start, start + count * step, step, dtype=numpy.int64).astype(numpy.uint64), (count,)
    else:
        places = numpy.asarray(first)
        if not rest and places.dtype.kind in "iu":
            value = _broadcast(self, _source(self, value), places.shape)  # as in NumPy, its error comes first
        indices, shape = _indices(self, first)
    if rest:
        return _set_parts(self, indices, shape, rest, value)
    values = _broadcast(self, _source(self, value), shape)
    _scatter(self, indices, values.reshape(len(indices), *values.shape[len(shape):]) if len(shape) != 1 else values)


def _broadcast(self, values, shape):
    """A read-only view of the values with the shape (*shape, *item), without copying them."""
    if isinstance(values, EMArray):
        values = values[:]
    target = (*shape, *_form(self)[1])
    try:
        while values.ndim > len(target) and values.shape[0] == 1:
            values = values[0]
        return numpy.broadcast_to(values, target)
    except ValueError:
        raise ValueError(f"could not broadcast input array from shape {values.shape} into shape {target}") from None


def _set_range(self, start, stop, rest, value):
    values = _source(self, value)
    per_block = _per_block(self)
    if rest:
        if start >= stop:  # nothing changes, but values that do not fit are an error
            numpy.empty((0, *_form(self)[1]), bool)[_rest(rest)] = numpy.zeros(values.shape, bool)
        for first, end in _spans(start, stop, per_block):
            everything = first == start and end == stop
            part = values if everything else _part(self, values, first - start, end - start, stop - start, rest)
            _change(self, first, end, lambda block: block.__setitem__(_rest(rest), part))
        return
    if isinstance(values, EMArray) and values.shape == (stop - start, *_form(self)[1]):
        for first, end in _spans(start, stop, per_block):
            self._write(first, _raw(_stored(self, values[first - start:end - start])))
        return
    whole = _broadcast(self, values, (stop - start,))
    block = None
    for first, end in _spans(start, stop, per_block):
        if block is None or end - first != len(block) or whole.strides[0] != 0:  # else all blocks are the same
            block = _stored(self, whole[first - start:end - start])
        self._write(first, _raw(block))


def _part(self, values, first, end, count, rest):
    """Of values that are to be stored at a[:count, *rest], those for the items from first to end."""
    item = numpy.broadcast_to(numpy.zeros((), bool), (1, *_form(self)[1]))[_rest(rest)]
    while values.ndim > item.ndim and values.shape[0] == 1:
        values = values[0]
    if values.ndim < item.ndim or values.shape[0] == 1:
        return values
    if values.shape[0] != count:
        raise ValueError(f"could not broadcast input array from shape {values.shape} into shape {(count, *item.shape[1:])}")
    return values[first:end]


def _set_parts(self, indices, shape, rest, value):
    with self.transaction(durable=False):
        items = _gather(self, indices)
        items = items.reshape(*shape, *items.shape[1:])
        items[(*[slice(None)] * len(shape), *rest)] = value
        _scatter(self, indices, items.reshape(len(indices), *items.shape[len(shape):]))


# ---- growing and shrinking ----


def append(self, item):
    """For items that are no plain numbers."""
    self._append(_raw(_one(self, item)))


def extend(self, items, /):
    """Append the items of an array, another EMArray, or any iterable, 256 KiB at a time.

    Values are cast as in an assignment. If it fails half way, what came before stays.

    >>> import numpy, pyrsistence
    >>> with pyrsistence.EMArray(None, "f4", shape=2) as a:
    ...     a.extend(numpy.ones((2, 2)))
    ...     a.extend((i, i * i) for i in range(2, 4))
    ...     a.tolist()
    [[1.0, 1.0], [1.0, 1.0], [2.0, 4.0], [3.0, 9.0]]
    """
    dtype, shape = _form(self)
    per_block = _per_block(self)
    if isinstance(items, EMArray):
        for first, end in _spans(0, len(items), per_block):
            _append_all(self, items[first:end])
    elif isinstance(items, (bytes, bytearray, memoryview)):
        _append_all(self, numpy.asarray(memoryview(items)))
    elif isinstance(items, (list, tuple)) or hasattr(items, "__array__"):
        _append_all(self, _source(self, items))
    else:
        iterator = iter(items)
        while some := list(itertools.islice(iterator, min(per_block, 4096))):
            _append_all(self, numpy.asarray(some, dtype))


def _append_all(self, items):
    dtype, shape = _form(self)
    if items.shape == (0,):
        return
    if items.shape[1:] != shape or items.ndim != len(shape) + 1:
        raise ValueError(f"items of shape {items.shape[1:]} for an array of items of shape {shape}")
    if items.dtype == dtype and items.flags.c_contiguous:
        return self._append(_raw(items))
    for first, end in _spans(0, len(items), _per_block(self)):
        self._append(_raw(_stored(self, items[first:end])))


def pop(self):
    """Remove and return the last item; IndexError if there is none. O(log n).

    >>> import pyrsistence
    >>> with pyrsistence.EMArray(None, "i4") as a:
    ...     a.extend([1, 2])
    ...     int(a.pop()), len(a)
    (2, 1)
    """
    dtype, shape = _form(self)
    item = numpy.empty((1, *shape), dtype)
    if not self._pop(_raw(item)):
        raise IndexError("pop from an empty array")
    return item[0]


def truncate(self, length, /):
    """Remove all items behind the first `length`, as one atomic operation. ValueError if there are fewer.

    >>> import pyrsistence
    >>> with pyrsistence.EMArray(None, "i4") as a:
    ...     a.extend(range(10))
    ...     a.truncate(2)
    ...     a.tolist()
    [0, 1]
    """
    length = operator.index(length)
    with self.transaction(durable=False):
        if not 0 <= length <= len(self):
            raise ValueError(f"cannot truncate an array of {len(self)} items to {length}")
        self.resize(length)


def fill(self, value, /):
    """Set every item to one value, 256 KiB at a time.

    >>> import pyrsistence
    >>> with pyrsistence.EMArray(None, "i4") as a:
    ...     a.resize(2)
    ...     a.fill(7)
    ...     a.tolist()
    [7, 7]
    """
    self[...] = value


# ---- reading ----


def blocks(self, size=None):
    """Iterate over all items in read-only arrays of `size` items, the last one shorter: reading in bounded memory.

    size: the default is as many as take about 256 KiB. The end is fixed when it begins, and later changes are seen or
    not; iterate over a snapshot() for one state. Reads ahead.

    >>> import pyrsistence
    >>> with pyrsistence.EMArray(None, "i8") as a:
    ...     a.extend(range(10))
    ...     [int(block.sum()) for block in a.blocks(4)]
    [6, 22, 17]
    """
    size = _per_block(self) if size is None else operator.index(size)
    if size <= 0:
        raise ValueError(f"a block of {size} items")
    return _blocks(self, size)


def _blocks(self, size):
    for first, end in _spans(0, len(self), size):
        block = _read(self, first, end - first)
        block.flags.writeable = False
        if len(block):
            yield block
        if len(block) < end - first:
            return


def view(self, start=0, stop=None):
    """Iterate over the items from start to stop in read-only ndarrays that show the mapped file itself, without copying.

    Each has the shape (pages, items in a page, *shape of an item): items of a page lie side by side, and pages that do
    so in the file are one array, up to 16 MiB. They show one state, a snapshot, which is kept as long as one of them
    lives, whatever happens to the array meanwhile, and give DLPack, the buffer protocol and everything else that
    ndarrays have. Pages that were written since the last checkpoint() are copied instead, 256 KiB at a time, as are
    items of more than 4080 bytes. start and stop are as in a slice.

    >>> import pyrsistence
    >>> with pyrsistence.EMArray(None, "i8") as a:
    ...     a.extend(range(1020))
    ...     a.checkpoint()
    ...     [(pages.shape, int(pages.sum())) for pages in a.view()]
    [((2, 510), 519690)]
    """
    snapshot = self.snapshot()
    try:
        start, stop, _ = slice(start, stop).indices(len(snapshot))
    except BaseException:
        snapshot.close()
        raise
    return _view(snapshot, start, stop)


def _view(snapshot, start, stop):
    with snapshot:
        dtype, shape = _form(snapshot)
        row = snapshot._row_items
        while start < stop:
            offset = start % row if row else 0
            found = snapshot._pages(start)
            if found is None:
                end = min(stop, start + (row - offset if offset else _per_block(snapshot)))
                pages = _read(snapshot, start, end - start)[None]
                pages.flags.writeable = False
            else:
                memory, items = found
                items = min(items - offset, stop - start)
                pages = _rows(memory, dtype, shape, row, offset, items)
                end = start + pages.shape[0] * pages.shape[1]
            yield pages
            start = end


def _rows(memory, dtype, shape, row, offset, items):
    """Of the items behind an offset in the first page: the rest of this page, or all full pages that follow, or the last."""
    size = dtype.itemsize
    strides = [size]
    for dimension in reversed(shape):
        strides.insert(0, strides[0] * dimension)
    if offset or items < row:
        rows, width = 1, min(row - offset, items)
    else:
        rows, width = items // row, row
    return numpy.ndarray((rows, width, *shape), dtype, memory, offset * strides[0], (4096, *strides))


def iterate(self):
    return itertools.chain.from_iterable(blocks(self))


def contains(self, value):
    return any(bool((block == value).any()) for block in blocks(self))


def tolist(self):
    """Return everything as a (nested) list of Python objects.

    >>> import pyrsistence
    >>> with pyrsistence.EMArray(None, "f8") as a:
    ...     a.extend([0.5, 1])
    ...     a.tolist()
    [0.5, 1.0]
    """
    return self[...].tolist()


def copy(self, path=None):
    """Return a copy in a new store at the path, or a temporary one, deleted when it is closed. O(n).

    ExistsError if there is something at the path.

    >>> import pyrsistence
    >>> with pyrsistence.EMArray(None, "f8") as a:
    ...     a.extend([0.5, 1])
    ...     with a.copy() as other:
    ...         other.tolist()
    [0.5, 1.0]
    """
    dtype, shape = _form(self)
    result = EMArray(path, dtype, shape, mode="a" if path is None else "x")
    try:
        extend(result, self)
    except BaseException:
        result.close()
        raise
    return result


def as_array(self, dtype=None, copy=None):
    """All items as an ndarray, for NumPy's functions. It is always a copy: use blocks() for what does not fit."""
    if copy is False:
        raise ValueError("an ndarray of an EMArray is always a copy")
    found = self[...]
    return found if dtype is None else found.astype(dtype, copy=False)


# ---- arithmetic and comparison ----


def _operand(self, other, symbol):
    """A function that gives the part of the other operand for some items."""
    if isinstance(other, EMArray):
        if other.shape != self.shape:
            raise ValueError(f"operands of {symbol} have shapes {self.shape} and {other.shape}")
        return lambda first, end: other[first:end]
    other = other if isinstance(other, (bool, int, float, complex)) else numpy.asarray(other)
    if numpy.ndim(other) <= len(_form(self)[1]):
        numpy.broadcast_to(numpy.zeros((), bool) if numpy.ndim(other) == 0 else other, _form(self)[1])
        return lambda first, end: other
    whole = numpy.broadcast_to(other, self.shape)
    return lambda first, end: whole[first:end]


def _in_place(ufunc, symbol):
    def operation(self, other):
        part = _operand(self, other, symbol)
        spans = _spans(0, len(self), _per_block(self)) if len(self) else [(0, 0)]  # nothing has a type, too
        apply = getattr(numpy, ufunc)
        for first, end in spans:
            _change(self, first, end, lambda block: apply(block, part(first, end), out=block, casting="same_kind"))
        return self

    operation.__doc__ = f"Apply {symbol} to every item, 256 KiB at a time; each of these is one moment for other threads."
    return operation


def _comparison(ufunc, symbol):
    def operation(self, other):
        if other is None:
            return NotImplemented
        part = _operand(self, other, symbol)
        limit = self.info.memory_limit
        if self.size > limit:
            raise MemoryError(f"comparing {self.size} elements would make an array of more than memory_limit ({limit} bytes); "
                              "compare the arrays that blocks() yields")
        compare = getattr(numpy, ufunc)
        return _collect(self, numpy.empty(self.shape, bool), lambda block, first, end: compare(block, part(first, end)))

    operation.__doc__ = "Compare item by item; an ndarray of bools, as NumPy gives."
    return operation


_ARITHMETIC = {
    "add": "+=", "subtract": "-=", "multiply": "*=", "true_divide": "/=", "floor_divide": "//=", "remainder": "%=",
    "power": "**=", "bitwise_and": "&=", "bitwise_or": "|=", "bitwise_xor": "^=", "left_shift": "<<=",
    "right_shift": ">>=",
}  # fmt: skip
_DUNDER = {
    "add": "iadd", "subtract": "isub", "multiply": "imul", "true_divide": "itruediv", "floor_divide": "ifloordiv",
    "remainder": "imod", "power": "ipow", "bitwise_and": "iand", "bitwise_or": "ior", "bitwise_xor": "ixor",
    "left_shift": "ilshift", "right_shift": "irshift",
}  # fmt: skip
_COMPARISONS = {
    "eq": ("equal", "=="), "ne": ("not_equal", "!="), "lt": ("less", "<"), "le": ("less_equal", "<="),
    "gt": ("greater", ">"), "ge": ("greater_equal", ">="),
}  # fmt: skip


# ---- description ----


def describe(self):
    """A repr that reads a few items at most, and never raises on their account."""
    form = ""
    if not self.closed:
        try:
            dtype, shape = _form(self)
            form = f", dtype={dtype.str if dtype.names is None else dtype.descr}" + (f", shape={self.shape}" if shape else "")
        except Exception:
            form = ""
    return _support.describe(self, EMArray, lambda items: map(_support.short, map(_text, _first(items))), "[]", "items", form)


def _first(items):
    return _read(items, 0, min(len(items), _support._SHOWN))


def _text(item):
    return item.item() if isinstance(item, numpy.generic) else item.tolist()


dtype = property(lambda self: _form(self)[0], doc="The dtype of the elements.")
shape = property(lambda self: (len(self), *_form(self)[1]), doc="The number of items, and the shape of one.")
ndim = property(lambda self: 1 + len(self._item_type[2]), doc="The number of dimensions.")
itemsize = property(lambda self: _form(self)[0].itemsize, doc="Bytes of one element.")
nbytes = property(lambda self: len(self) * self._item_type[0], doc="Bytes of all elements.")
size = property(lambda self: self.nbytes // self.itemsize, doc="The number of elements.")

METHODS = {
    "extend": extend,
    "pop": pop,
    "truncate": truncate,
    "fill": fill,
    "blocks": blocks,
    "view": view,
    "tolist": tolist,
    "copy": copy,
    "__array__": as_array,
    "__iter__": iterate,
    "__contains__": contains,
    **{f"__{_DUNDER[name]}__": _in_place(name, symbol) for name, symbol in _ARITHMETIC.items()},
    **{f"__{name}__": _comparison(ufunc, symbol) for name, (ufunc, symbol) in _COMPARISONS.items()},
}
PROPERTIES = {"dtype": dtype, "shape": shape, "ndim": ndim, "itemsize": itemsize, "nbytes": nbytes, "size": size}
