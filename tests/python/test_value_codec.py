"""Values as items: what is written natively, what falls to pickle, and what hostile bytes do."""

import collections
import dataclasses
import enum
import math
import pickle
import random
import struct
import sys

import pyrsistence
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyrsistence import _core

encode, decode = _core._encode, _core._decode

PICKLE = 0x0F
CUSTOM = 0x31


class Color(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


Point = collections.namedtuple("Point", "x y")


class Text(str):
    pass


class Plain:
    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return type(other) is Plain and other.value == self.value

    __hash__ = None


@dataclasses.dataclass
class Record:
    name: str
    tags: list


def same(a, b):
    """Equal with equal types all the way down; NaN is equal to NaN, -0.0 is not 0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b)
    if isinstance(a, complex):
        return repr(a) == repr(b)
    if type(a) in (list, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if type(a) is dict:
        return same(list(a.items()), list(b.items()))
    if type(a) in (set, frozenset):
        return sorted(map(described, a)) == sorted(map(described, b))
    return a == b


def described(member):
    if type(member) is tuple:
        return f"({','.join(map(described, member))})"
    if type(member) is frozenset:
        return f"f{sorted(map(described, member))}"
    return f"{type(member).__name__}:{member!r}"


def native(value):
    item = encode(value, allow_pickle=False)
    assert same(decode(item, allow_pickle=False), value)
    return item


def pickled(value):
    item = encode(value)
    assert item[0] == PICKLE
    with pytest.raises(pyrsistence.PickleRefusedError):
        encode(value, allow_pickle=False)
    with pytest.raises(pyrsistence.PickleRefusedError):
        decode(item, allow_pickle=False)
    return decode(item)


# ---- Golden bytes: docs/format.md ----

GOLDEN = [
    (None, "01"),
    (False, "02"),
    (True, "03"),
    (1.5, "04 000000000000F83F"),
    (1 + 2j, "05 000000000000F03F 0000000000000040"),
    ("a" * 32, "06 20" + "61" * 32),
    ("\ud800", "07 03 EDA080"),
    (b"b" * 16, "08 10" + "62" * 16),
    (bytearray(b"ab"), "09 02 6162"),
    ((1, 2), "0A 02 81 82"),
    ([], "0B 00"),
    ({"a": None, 1: 2}, "0C 02 4161 01 81 82"),
    ({7}, "0D 01 87"),
    (frozenset({7}), "0E 01 87"),
    (0, "80"),
    (127, "FF"),
    (128, "11 80"),
    (256, "12 0001"),
    (2**64 - 1, "18" + "FF" * 8),
    (2**64, "19 09 000000000000000001"),
    (-1, "20"),
    (-2, "21 01"),
    (-(2**64), "28" + "FF" * 8),
    (-(2**64) - 1, "29 09 000000000000000001"),
    ("", "40"),
    ("é", "42 C3A9"),
    ("a" * 31, "5F" + "61" * 31),
    (b"", "60"),
    (b"x" * 15, "6F" + "78" * 15),
]


@pytest.mark.parametrize(("value", "golden"), GOLDEN, ids=lambda v: repr(v)[:20])
def test_golden_bytes(value, golden):
    assert native(value) == bytes.fromhex(golden)


# ---- Round trips ----

atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.binary(max_size=1250).map(lambda data: int.from_bytes(data, "little", signed=True)),
    st.floats(),
    st.complex_numbers(allow_nan=False),
    st.text(st.characters(exclude_categories=())),  # lone surrogates too
    st.binary(),
)
hashables = st.recursive(atoms, lambda inner: st.lists(inner).map(tuple) | st.frozensets(inner), max_leaves=8)
mutables = st.binary().map(bytearray)
values = st.recursive(
    atoms | mutables,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(hashables, inner)
        | st.sets(hashables)
        | st.frozensets(hashables)
    ),
    max_leaves=30,
)


@given(values)
@settings(max_examples=400, deadline=None)
def test_round_trip(value):
    assert same(decode(encode(value)), value)
    # Not shared, hence native without exception: a copy made by pickle shares nothing either.
    assert encode(value)[0] != PICKLE


@pytest.mark.parametrize("bits", [7, 8, 63, 64, 65, 72, 127, 128, 10_000])
def test_ints_around_powers_of_two(bits):
    for value in (2**bits - 1, 2**bits, 2**bits + 1):
        native(value)
        native(-value)


@pytest.mark.parametrize("bits", [0x7FF8000000000000, 0xFFF8000000000001, 0x8000000000000000, 1])
def test_floats_keep_their_bits(bits):
    (value,) = struct.unpack("<d", struct.pack("<Q", bits))
    assert encode(value) == b"\x04" + struct.pack("<Q", bits)
    assert struct.pack("<d", decode(encode(value))) == struct.pack("<Q", bits)


def test_every_read_is_a_fresh_copy():
    item = encode([[1]])
    first = decode(item)
    first[0].append(2)
    assert decode(item) == [[1]]


@pytest.mark.parametrize(
    "value",
    [Color.RED, Level.LOW, Point(1, 2), Text("s"), collections.OrderedDict(b=1, a=2), Plain(3),
     Record("r", [1]),
     collections.Counter("aab"), [1, [Level.LOW]], {"k": Point(1, 2)}, range(3), collections.deque([1])],
    ids=repr,
)  # fmt: skip
def test_other_types_are_pickled_as_a_whole(value):
    back = pickled(value)
    assert back == value
    assert type(back) is type(value)


def test_a_subclass_never_decays():
    back = pickled([Level.LOW, Text("x"), True])
    assert [type(part) for part in back] == [Level, Text, bool]
    back = pickled(collections.defaultdict(list, a=[1]))
    assert back.default_factory is list


# ---- Sharing, cycles, depth ----


def test_shared_mutable_parts_stay_shared():
    shared = [1]
    back = pickled([shared, shared])
    assert back[0] is back[1]
    back = pickled({"a": (shared,), "b": shared})
    assert back["a"][0] is back["b"]
    holder = (shared,)
    back = pickled([holder, holder])
    assert back[0][0] is back[1][0]
    array = bytearray(b"x")
    assert encode([array, array])[0] == PICKLE


def test_cycles_survive():
    cycle = [1]
    cycle.append(cycle)
    back = decode(encode(cycle))
    assert back[1] is back
    loop = {}
    loop["self"] = ([loop],)
    back = decode(encode(loop))
    assert back["self"][0][0] is back


def test_atoms_and_immutable_parts_never_count_as_shared():
    text = "some text" * 100
    pair = (1, (2, "x"))
    native([text, text, pair, pair, frozenset(pair), frozenset(pair), 10**30, 10**30])
    native([(text, pair)] * 50)


def test_a_value_that_doubles_at_each_level_is_pickled():
    part = ("x" * 300,)
    for _ in range(60):
        part = (part, part)
    item = encode(part)
    assert item[0] == PICKLE
    assert len(item) < 2000
    with pytest.raises(pyrsistence.PickleRefusedError, match="reached many times"):
        encode(part, allow_pickle=False)


def nested(levels, wrap=list):
    value = wrap()
    for _ in range(levels - 1):
        value = wrap([value])
    return value


@pytest.mark.parametrize("wrap", [list, tuple, frozenset])
def test_depth_limit(wrap):
    assert encode(nested(200, wrap))[0] != PICKLE
    assert decode(encode(nested(200, wrap))) == nested(200, wrap)
    assert encode(nested(201, wrap))[0] == PICKLE
    assert decode(encode(nested(201, wrap))) == nested(201, wrap)


# ---- NumPy ----

numpy_values = [
    "bool_(True)", "int8(-5)", "uint8(200)", "int16(-300)", "int32(7)", "int64(-9)", "uint64(2**64 - 1)",
    "float16(0.1)", "float32(0.1)", "float64(0.1)", "longdouble(1) / 3", "complex64(1 + 2j)",
    "complex128(1 + 2j)", "str_('naïve')", "bytes_(b'raw')", "datetime64('2024-02-29T12:00', 'ns')",
    "timedelta64(5, 'D')", "datetime64('NaT', 's')",
]  # fmt: skip


@pytest.mark.parametrize("expression", numpy_values)
def test_numpy_scalars(expression):
    numpy = pytest.importorskip("numpy")
    value = eval("numpy." + expression)
    item = encode([value], allow_pickle=False)
    assert item[2] == 0x30
    (back,) = decode(item, allow_pickle=False)
    assert type(back) is type(value)
    assert repr(back) == repr(value)
    assert back.dtype == value.dtype


def test_numpy_golden_bytes():
    numpy = pytest.importorskip("numpy")
    assert encode(numpy.int32(-2)) == b"\x30\x02i4\x04\xfe\xff\xff\xff"
    assert encode(numpy.datetime64(1, "ns")) == b"\x30\x06M8[ns]\x08" + struct.pack("<q", 1)


def test_numpy_values_that_have_no_item():
    numpy = pytest.importorskip("numpy")
    record = numpy.array([(1, 2.0)], dtype="i4,f8")[0]
    assert pickled(record) == record
    assert (pickled(numpy.arange(3)) == numpy.arange(3)).all()
    for text in (numpy.str_(""), numpy.str_("x" * 100)):
        assert decode(encode(text)) == text
        assert type(decode(encode(text))) is numpy.str_


# ---- Pickle, refused ----


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_is_unpickled_without_leave(tmp_path):
    touched = tmp_path / "touched"
    item = encode(Trap(touched))
    with pytest.raises(pyrsistence.PickleRefusedError, match="allow_pickle"):
        decode(item, allow_pickle=False)
    identity = b"\x7f" + bytes(16)
    with pytest.raises(pyrsistence.PickleRefusedError):
        _core._decode_key(identity, item, allow_pickle=False)
    # A pickle inside a container is no item that is ever written: refused even where pickles are allowed.
    for container in (b"\x0b\x01" + item, b"\x0a\x01" + item, b"\x0c\x01\x81" + item, b"\x0d\x01" + item):
        for allow in (False, True):
            with pytest.raises(pyrsistence.CorruptionError):
                decode(container, allow_pickle=allow)
    with pytest.raises(pyrsistence.CorruptionError):
        _core._decode_key(item, b"")
    assert not touched.exists()
    decode(item).close()
    assert touched.exists()


def test_the_refusal_names_the_object():
    with pytest.raises(pyrsistence.PickleRefusedError, match="'Plain'.*allow_pickle=True"):
        encode({"a": [Plain(1)]}, allow_pickle=False)
    with pytest.raises(ValueError):
        encode(Plain(1), allow_pickle=False)


def test_errors_of_pickling_propagate():
    with pytest.raises((AttributeError, pickle.PicklingError)):
        encode(lambda: None)

    class Stubborn:
        def __reduce__(self):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        encode([Stubborn()])


# ---- Custom picklers ----


class Shift:
    def __init__(self):
        self.types = []

    def pickle(self, value):
        self.types.append(type(value))
        return bytes(b ^ 0x55 for b in pickle.dumps(value))

    def unpickle(self, data):
        assert type(data) is bytes
        return pickle.loads(bytes(b ^ 0x55 for b in data))


def test_every_value_goes_through_the_pickler():
    codec = Shift()
    for value in (1, "text", None, [1, [2]], Point(1, 2)):
        item = encode(value, pickler=codec)
        assert item[0] == CUSTOM
        assert decode(item, unpickler=codec, allow_pickle=False) == value
    assert codec.types == [int, str, type(None), list, Point]


def test_a_missing_unpickler_is_named():
    item = encode(1, pickler=Shift())
    with pytest.raises(pyrsistence.Error, match="unpickler="):
        decode(item)


@pytest.mark.parametrize("result", [None, "text", bytearray(b"x"), 5], ids=repr)
def test_a_pickler_must_return_bytes(result):
    class Bad:
        def pickle(self, value):
            return result

    with pytest.raises(TypeError, match=f"Bad.pickle.*{type(result).__name__}"):
        encode(1, pickler=Bad())


def test_errors_of_picklers_propagate():
    class Failing:
        def pickle(self, value):
            raise ZeroDivisionError("mine")

        unpickle = pickle

    with pytest.raises(ZeroDivisionError, match="mine"):
        encode(1, pickler=Failing())
    with pytest.raises(ZeroDivisionError, match="mine"):
        decode(encode(1, pickler=Shift()), unpickler=Failing())
    with pytest.raises(AttributeError, match="pickle"):
        encode(1, pickler=object())


# ---- Hostile bytes ----

HOSTILE = {
    "empty": "",
    "separator": "00",
    "unknown tag": "32",
    "short float": "04 00",
    "short text": "45 61",
    "trailing byte": "81 81",
    "invalid UTF-8": "42 FFFF",
    "surrogate in plain text": "43 EDA080",
    "long int not shortest": "19 01 01",
    "int not shortest": "12 0500",
    "huge tuple": "0A FFFFFFFFFFFFFFFF7F",
    "huge list": "0B FFFFFFFF0F 81",
    "huge dict": "0C FFFFFFFF0F 81",
    "huge text": "06 FFFFFFFFFFFFFFFF7F",
    "varint too long": "0B 80808080808080808080 01",
    "varint beyond 64 bits": "0B 808080808080808080 02",
    "unhashable in set": "0D 01 0B00",
    "unhashable key": "0C 01 0B00 81",
    "unhashable in frozenset": "0E 01 0A01 0D00",
    "equal members": "0D 02 81 81",
    "equal keys": "0C 02 81 01 03 01",
    "object dtype": "30 02 4F38 08 0000000000000000",
    "structured dtype": "30 05 69342C6938 0C 000000000000000000000000",
    "size against dtype": "30 02 6934 02 0000",
    "enormous dtype": "30 0B 5339393939393939393939 01 00",
    "key tag in value": "73 000000000000",
    "digest": "7F" + "00" * 16,
    "too deep": "0B01" * 201 + "0B00",
    "very deep": "0A01" * 100_000 + "01",
}


@pytest.mark.parametrize("item", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_items(item):
    pytest.importorskip("numpy")
    with pytest.raises(pyrsistence.CorruptionError):
        decode(bytes.fromhex(item))


def survives(item):
    try:
        decode(item, allow_pickle=False)
    except (pyrsistence.CorruptionError, pyrsistence.PickleRefusedError):
        pass
    except pyrsistence.Error as error:
        assert "unpickler" in str(error)
    for original in (b"", item):
        try:
            _core._decode_key(item, original, allow_pickle=False)
        except (pyrsistence.CorruptionError, pyrsistence.PickleRefusedError):
            pass
        except pyrsistence.Error as error:
            assert "unpickler" in str(error)


@given(st.binary(max_size=60))
@settings(max_examples=2000, deadline=None)
def test_random_bytes(item):
    survives(item)


def test_mutated_items():
    generator = random.Random(4)
    seeds = [
        encode(
            {"name": ["é" * 20, 1.5, 2**70, -(2**70), (1, 2j)], 5: {1, b"x" * 20}, None: bytearray(b"ab")}
        ),
        encode([[[]], "\ud800", frozenset({(1, "a"), True}), "x" * 200, list(range(-5, 300, 61))]),
    ]
    if sys.modules.get("numpy"):
        import numpy

        seeds.append(encode([numpy.int64(1), numpy.str_("abc"), numpy.datetime64(1, "s")]))
    for _ in range(20_000):
        item = bytearray(generator.choice(seeds))
        for _ in range(generator.randint(1, 3)):
            action = generator.randrange(3)
            place = generator.randrange(len(item))
            if action == 0:
                item[place] = generator.randrange(256)
            elif action == 1:
                del item[place : place + generator.randint(1, 4)]
            else:
                item[place:place] = generator.choice(seeds)[: generator.randint(1, 20)]
            if not item:
                break
        survives(bytes(item))


def test_garbage_collection_between_allocations():
    """Before Python 3.12 any allocation may run __del__, here one that changes the value being stored."""
    import gc

    victim = [object.__new__(Cyclic) for _ in range(3)]
    values = [set(range(3)) for _ in range(200)]
    for cyclic in victim:
        cyclic.itself = cyclic
        cyclic.values = values
    del victim, cyclic
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        item = encode(values)
        assert all(part == {0, 1, 2} for part in decode(item))
    except RuntimeError as error:
        assert "changed size" in str(error)
    finally:
        gc.set_threshold(*threshold)


class Cyclic:
    def __del__(self):
        self.values.clear()


def test_infinities_and_nan():
    assert math.isnan(decode(encode(math.nan)))
    assert decode(encode([math.inf, -math.inf])) == [math.inf, -math.inf]
