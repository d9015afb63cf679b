"""What identifies a key that is no built-in type, and the keys that are given back from their identity.

``describe(key)`` returns ``(tag, restorable, guarded, fields)``: the tag of docs/format.md ("Keys"), whether
``restore(tag, fields)`` gives back the key with its exact type, whether ``guard`` is to see the key, and the
fields, which the native code encodes as numbers or as identities of their own.

Modules such as ``decimal`` and ``numpy`` are looked up in ``sys.modules`` only: while they are not imported,
no key can be of their types.
"""

import atexit
import collections
import copyreg
import enum
import math
import sys
import types
import weakref

ALIAS = 0x00  # the identity of the one field
NUMPY = 0x30
RATIONAL = 0x70
COMPLEX = 0x71
DATE = 0x73
NAIVE_DATETIME = 0x74
AWARE_DATETIME = 0x75
NAIVE_TIME = 0x76
AWARE_TIME = 0x77
TIMEDELTA = 0x78
UUID = 0x79
POSIX_PATH = 0x7A
WINDOWS_PATH = 0x7B
ENUM = 0x7C
INSTANCE = 0x7D
GLOBAL = 0x7E

AWARE_OFFSET = 1 << 62
TIMEDELTA_OFFSET = 1 << 63
MAX_DECIMAL_DIGITS = 20_000
GUARD_SIZE = 4096
MAX_GUARDED_IDENTITY = 4096

_REGISTERED = "__pyrsistence_key__"  # a class's attribute: what its function refers to, itself included, dies with it
_registered = weakref.WeakSet()
_immutable = {}  # class -> function, of those that take no attributes; they live as long as the process
_describers = weakref.WeakKeyDictionary()
_guarded = collections.OrderedDict()


@atexit.register
def _forget():
    """A key, or the function that describes it, may lead to the globals of its module, and these to handles, which
    would never be closed."""
    _guarded.clear()
    _describers.clear()
    for cls in list(_registered):
        _register(cls, _too_late)


def _too_late(key):
    raise RuntimeError(f"the interpreter is ending: what identifies a {class_name(type(key))} is not known any more")


def register_key(cls, function):
    """Let ``function(key)`` tell what identifies a key of class ``cls`` or of one derived from it.

    It returns any supported key; two instances of the same class with equal results are the same key.
    Takes precedence over everything but the built-in types themselves; a class of your own can define
    ``__em_key__()`` to the same effect. Register before the first such key is stored, and in each program
    that opens the container.

    >>> import pyrsistence
    >>> class Block:
    ...     def __init__(self, address):
    ...         self.address = address
    >>> pyrsistence.register_key(Block, lambda block: block.address)
    """
    if not isinstance(cls, type):
        raise TypeError(f"register_key() takes a class, not {cls!r}")
    if not callable(function):
        raise TypeError(f"register_key() takes a function of one key, not {function!r}")
    _register(cls, function)
    _describers.clear()


def _register(cls, function):
    _registered.add(cls)
    try:
        type.__setattr__(cls, _REGISTERED, function)
    except TypeError:
        _immutable[cls] = function


def describe(key):
    cls = type(key)
    describer = _describers.get(cls)
    if describer is None:
        describer = _describers[cls] = _choose(cls)
    return describer(key)


def guard(key, identity):
    """Raise TypeError if an earlier key is equal to this one and differs in identity: a lookup would miss it.

    Keys whose reduction is their identity are remembered, the last GUARD_SIZE of them, by type and hash; the
    keys themselves, not weak references, since most are temporary objects that die with the statement.
    """
    place = type(key), hash(key)
    known = _guarded.get(place)
    if known is not None and known[1] != identity and known[0] == key:
        raise TypeError(
            f"two equal keys of class {class_name(type(key))} would be stored as different ones, because "
            f"their attributes differ: {_advice(type(key))}"
        )
    if known is None and len(identity) <= MAX_GUARDED_IDENTITY:
        _guarded[place] = key, identity
        if len(_guarded) > GUARD_SIZE:
            _guarded.popitem(last=False)


def class_name(cls):
    return f"{cls.__module__}.{cls.__qualname__}"


def _advice(cls):
    return (
        f"give {cls.__qualname__} a method __em_key__() that returns what identifies it, "
        f"or use pyrsistence.register_key({cls.__qualname__}, function)"
    )


def _type_of(module, name):
    return getattr(sys.modules.get(module), name, None)


def _known(tag, *fields, restorable=False):
    return tag, restorable, False, fields


def _alias(key):
    return ALIAS, False, False, (key,)


def _instance(cls, content, guarded=False):
    return INSTANCE, False, guarded, (class_name(cls), content)


# ---- What the user says ----


def _registered_function(cls):
    if not _registered:
        return None
    base = next((base for base in cls.__mro__ if base in _registered), None)
    if base is None:
        return None
    return _immutable[base] if base in _immutable else vars(base)[_REGISTERED]


def is_registered(cls):
    """Whether register_key() was called for a class or a base of it."""
    return _registered_function(cls) is not None


def _describe_registered(key):
    return _instance(type(key), _registered_function(type(key))(key))


def _describe_em_key(key):
    return _instance(type(key), key.__em_key__())


# ---- Numbers ----


def _rational(numerator, denominator, restorable=False):
    """Lowest terms required."""
    if denominator == 1:
        return _alias(numerator)
    if denominator & (denominator - 1) == 0:
        try:
            quotient = numerator / denominator
        except OverflowError:
            quotient = 0.0
        if quotient and quotient.as_integer_ratio() == (numerator, denominator):
            return _alias(quotient)
    return _known(RATIONAL, numerator, denominator, restorable=restorable)


def _describe_fraction(key):
    return _rational(
        key.numerator, key.denominator, restorable=type(key) is _type_of("fractions", "Fraction")
    )


def _describe_decimal(key):
    if not key.is_finite():
        return _alias(float(key))
    if key and (key.adjusted() > MAX_DECIMAL_DIGITS or key.as_tuple().exponent < -MAX_DECIMAL_DIGITS):
        raise ValueError(
            f"cannot use a Decimal with more than {MAX_DECIMAL_DIGITS} digits before or after the point as a "
            f"key (its exponent is {key.as_tuple().exponent}): use str(key)"
        )
    return _rational(*key.as_integer_ratio())


def _numpy_describer(cls, numpy):
    if issubclass(cls, (numpy.datetime64, numpy.timedelta64)):
        return _describe_numpy_time
    if issubclass(cls, (numpy.bool_, numpy.integer)):
        return lambda key: _alias(int(key))
    if issubclass(cls, numpy.floating):
        return _describe_numpy_float
    if issubclass(cls, numpy.complexfloating):
        return _describe_numpy_complex
    if issubclass(cls, numpy.str_):
        return lambda key: _alias(str.__str__(key))
    if issubclass(cls, numpy.bytes_):
        return lambda key: _alias(bytes.__add__(key, b""))
    return None


def _describe_numpy_float(key):
    exact = float(key)
    if exact == key or math.isnan(exact):
        return _alias(exact)
    return _rational(*key.as_integer_ratio())


def _describe_numpy_complex(key):
    if key.imag == 0:
        return _alias(key.real)
    return _known(COMPLEX, key.real, key.imag)


def _describe_numpy_time(key):
    from . import _numpy

    return _known(NUMPY, *_numpy.describe(key), restorable=True)


# ---- Dates and times ----


def _microseconds(delta):
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _clock(key):
    """Microseconds since midnight of a datetime or time, without regard to its zone."""
    return ((key.hour * 60 + key.minute) * 60 + key.second) * 1_000_000 + key.microsecond


def _describe_datetime(key):
    local = (key.toordinal() - 1) * 86_400_000_000 + _clock(key)
    exact = type(key) is _type_of("datetime", "datetime") and key.fold == 0
    offset = key.replace(fold=0).utcoffset()  # as hash() does
    if offset is None:
        return _known(NAIVE_DATETIME, local, restorable=exact and key.tzinfo is None)
    utc = sys.modules["datetime"].timezone.utc
    shifted = AWARE_OFFSET + local - _microseconds(offset)
    return _known(AWARE_DATETIME, shifted, restorable=exact and key.tzinfo is utc)


def _describe_date(key):
    return _known(DATE, key.toordinal() - 1, restorable=type(key) is _type_of("datetime", "date"))


def _describe_time(key):
    exact = type(key) is _type_of("datetime", "time") and key.fold == 0
    offset = key.replace(fold=0).utcoffset()
    if offset is None:
        return _known(NAIVE_TIME, _clock(key), restorable=exact and key.tzinfo is None)
    return _known(AWARE_TIME, AWARE_OFFSET + _clock(key) - _microseconds(offset))


def _describe_timedelta(key):
    cls = _type_of("datetime", "timedelta")
    shifted = _microseconds(key) + TIMEDELTA_OFFSET
    if 0 <= shifted < 1 << 64:
        return _known(TIMEDELTA, shifted, restorable=type(key) is cls)
    return _instance(cls, _microseconds(key))


def _describe_timezone(key):
    return _instance(_type_of("datetime", "timezone"), key.utcoffset(None))  # names do not count


# ---- Identifiers, paths, views ----


def _describe_uuid(key):
    uuid = sys.modules["uuid"]
    return _known(UUID, key.bytes, restorable=type(key) is uuid.UUID and key.is_safe is uuid.SafeUUID.unknown)


def _describe_posix_path(key):
    return _known(POSIX_PATH, str(key), restorable=type(key) is _type_of("pathlib", "PurePosixPath"))


def _describe_windows_path(key):
    return _known(WINDOWS_PATH, str(key).lower())


def _describe_memoryview(key):
    """A view equals the bytes it shows; it cannot be stored itself, so the bytes stand for it."""
    if key.format != "B" or key.ndim != 1:
        raise TypeError(f"cannot use a memoryview of format {key.format!r} as a key: use its tobytes()")
    return ALIAS, True, False, (key.tobytes(),)


def _describe_range(key):
    """Ranges are equal when they are as sequences."""
    length = len(key)
    return _instance(range, (length, key.start if length else None, key.step if length > 1 else None))


# ---- Enums, classes, functions ----


def _describe_enum(key):
    is_flag = isinstance(key, enum.Flag)  # the names of combined flags differ between Python versions
    return _known(ENUM, class_name(type(key)), key._value_ if is_flag else key._name_)


_SINGLETONS = {type(Ellipsis): "Ellipsis", type(NotImplemented): "NotImplemented"}


def _describe_global(key):
    """A class, a function or another object that its module names; any other is equal to itself only."""
    name = _SINGLETONS.get(type(key))
    if name is not None:
        return _known(GLOBAL, "builtins", name)
    module = getattr(key, "__module__", None) or _module_of_owner(getattr(key, "__self__", None))
    name = getattr(key, "__qualname__", None)
    if isinstance(module, str) and isinstance(name, str) and _is_global(key, module, name):
        return _known(GLOBAL, module, name)
    if isinstance(key, (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
        raise TypeError(
            f"cannot use {key!r} as a key: no module has it under its name, so no other process can find it"
        )
    raise TypeError(
        f"cannot use an object of class {class_name(type(key))} as a key: it is equal to itself only, and a "
        f"copy read from the store would be another object; {_advice(type(key))}"
    )


def _is_global(key, module, name):
    found = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is key or (isinstance(key, (types.MethodType, types.BuiltinFunctionType)) and found == key)


def _module_of_owner(owner):
    return getattr(owner, "__module__" if isinstance(owner, type) else "__name__", None)


# ---- Dataclasses and other instances ----


def _generated_equality(cls):
    """The dataclass whose generated __eq__ the class has, or None."""
    owner = next(base for base in cls.__mro__ if "__eq__" in vars(base))
    code = getattr(vars(owner)["__eq__"], "__code__", None)
    if "__dataclass_fields__" not in vars(owner) or code is None or code.co_filename != "<string>":
        return None
    return owner if getattr(code, "co_qualname", "__create_fn__").startswith("__create_fn__") else None


def _describe_dataclass(key):
    import dataclasses

    compared = (field.name for field in dataclasses.fields(_generated_equality(type(key))) if field.compare)
    return _instance(type(key), tuple(getattr(key, name) for name in compared))


def _describe_reduction(key):
    cls = type(key)
    reduce = copyreg.dispatch_table.get(cls)
    reduced = reduce(key) if reduce is not None else key.__reduce_ex__(4)
    if isinstance(reduced, str):
        return _known(GLOBAL, cls.__module__, reduced)
    function, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    if arguments[:1] == (cls,) and function in (copyreg.__newobj__, copyreg.__newobj_ex__):
        function, arguments = None, arguments[1:]
    content = (
        function,
        arguments,
        _without_caches(cls, state),
        None if items is None else list(items),
        None if pairs is None else dict(pairs),
    )
    return _instance(cls, content, guarded=True)


def _without_caches(cls, state):
    """The state without what functools.cached_property left in it, which depends on what was asked before."""
    cached_property = _type_of("functools", "cached_property")
    if type(state) is not dict or cached_property is None:
        return state
    return {
        name: value
        for name, value in state.items()
        if type(getattr(cls, str(name), None)) is not cached_property
    }


# ---- Which describer serves a class ----


def _choose(cls):
    if _registered_function(cls) is not None:
        return _describe_registered
    if hasattr(cls, "__em_key__"):
        return _describe_em_key
    for base, describer in _known_types():
        if issubclass(cls, base) and _inherits_equality(cls, base):
            return describer
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(cls, numpy.generic):
        describer = _numpy_describer(cls, numpy)
        if describer is not None:
            return describer
    if issubclass(cls, enum.Enum) and cls.__eq__ is object.__eq__:
        return _describe_enum
    if issubclass(cls, (type, types.BuiltinFunctionType)) or cls.__eq__ is object.__eq__:
        return _describe_global
    if _generated_equality(cls) is not None:
        return _describe_dataclass
    return _describe_reduction


def _inherits_equality(cls, base):
    return cls is base or (cls.__eq__ is base.__eq__ and cls.__hash__ is base.__hash__)


_BUILTINS = [
    (int, lambda key: _alias(int.__int__(key))),
    (str, lambda key: _alias(str.__str__(key))),
    (tuple, lambda key: _alias(tuple(tuple.__iter__(key)))),
    (bytes, lambda key: _alias(bytes.__add__(key, b""))),
    (float, lambda key: _alias(float.__float__(key))),
    (complex, lambda key: _alias(complex.__add__(key, 0j))),
    (frozenset, lambda key: _alias(frozenset(frozenset.__iter__(key)))),
    (list, lambda key: _alias(list(list.__iter__(key)))),
    (dict, lambda key: _alias(dict(dict.items(key)))),
    (set, lambda key: _alias(set(set.__iter__(key)))),
    (bytearray, lambda key: _alias(bytes(memoryview(key)))),
    (memoryview, _describe_memoryview),
    (range, _describe_range),
    (types.MethodType, _describe_global),
]

# In the order in which they are tried: datetime is a date.
_OTHERS = [
    ("decimal", "Decimal", _describe_decimal),
    ("fractions", "Fraction", _describe_fraction),
    ("datetime", "datetime", _describe_datetime),
    ("datetime", "date", _describe_date),
    ("datetime", "time", _describe_time),
    ("datetime", "timedelta", _describe_timedelta),
    ("datetime", "timezone", _describe_timezone),
    ("uuid", "UUID", _describe_uuid),
    ("pathlib", "PurePosixPath", _describe_posix_path),
    ("pathlib", "PureWindowsPath", _describe_windows_path),
]


def _known_types():
    yield from _BUILTINS
    for module, name, describer in _OTHERS:
        cls = _type_of(module, name)
        if cls is not None:
            yield cls, describer


# ---- Back from the identity ----


def restore(tag, fields):
    return _RESTORERS[tag](*fields)


def _restore_rational(numerator, denominator):
    from fractions import Fraction

    if type(numerator) is not int or type(denominator) is not int:
        raise TypeError("a rational number is made of two ints")
    fraction = Fraction(numerator, denominator) if denominator else None
    if fraction is None or fraction.denominator != denominator:
        raise ValueError("a rational number that is not in lowest terms")
    return fraction


def _restore_complex(real, imaginary):
    if type(real) not in (int, float) or type(imaginary) not in (int, float):
        raise TypeError("a complex number is made of two numbers")
    return complex(real, imaginary)


def _restore_date(days):
    from datetime import date

    return date.fromordinal(days + 1)


def _restore_datetime(microseconds, zone=None):
    from datetime import datetime, timedelta

    return datetime(1, 1, 1, tzinfo=zone) + timedelta(microseconds=microseconds)


def _restore_aware_datetime(shifted):
    from datetime import timezone

    return _restore_datetime(shifted - AWARE_OFFSET, timezone.utc)


def _restore_time(microseconds):
    if microseconds >= 86_400_000_000:
        raise ValueError("a time beyond 24 hours")
    return _restore_datetime(microseconds).time()


def _restore_timedelta(shifted):
    from datetime import timedelta

    return timedelta(microseconds=shifted - TIMEDELTA_OFFSET)


def _restore_uuid(data):
    from uuid import UUID

    return UUID(bytes=data)


def _restore_path(path):
    from pathlib import PurePosixPath

    if type(path) is not str:
        raise TypeError("a path is made of a str")
    return PurePosixPath(path)


_RESTORERS = {
    RATIONAL: _restore_rational,
    COMPLEX: _restore_complex,
    DATE: _restore_date,
    NAIVE_DATETIME: _restore_datetime,
    AWARE_DATETIME: _restore_aware_datetime,
    NAIVE_TIME: _restore_time,
    TIMEDELTA: _restore_timedelta,
    UUID: _restore_uuid,
    POSIX_PATH: _restore_path,
}
