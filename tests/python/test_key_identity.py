"""Keys: equal keys have equal identities, in every process; unequal ones do not; none is missed silently."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import gc
import itertools
import math
import os
import pathlib
import pickle
import re
import subprocess
import sys
import textwrap
import uuid
import zoneinfo

import pyrsistence
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyrsistence import _core, _keys

identity = _core._key_identity
encode_key, decode_key = _core._encode_key, _core._decode_key
Decimal, Fraction = decimal.Decimal, fractions.Fraction

CET = dt.timezone(dt.timedelta(hours=1))


class Color(enum.Enum):
    RED = 1
    BLUE = 2
    CRIMSON = 1


class Level(enum.IntEnum):
    LOW = 1


class Name(str, enum.Enum):
    ANN = "ann"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


Point = collections.namedtuple("Point", "x y")


class Text(str):
    pass


class Blob(bytes):
    pass


class Number(float):
    pass


class Group(frozenset):
    pass


class CaseBlind(str):
    def __eq__(self, other):
        return isinstance(other, CaseBlind) and self.lower() == other.lower()

    def __hash__(self):
        return hash(self.lower())


class Edge:
    """Has its own equality, by all attributes."""

    def __init__(self, source, target, **more):
        self.source = source
        self.target = target
        self.__dict__.update(more)

    def __eq__(self, other):
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self):
        return hash((self.source, self.target))


class Node:
    """Equality by one attribute among several."""

    def __init__(self, number, label=None):
        self.number = number
        self.label = label

    def __eq__(self, other):
        return isinstance(other, Node) and other.number == self.number

    def __hash__(self):
        return hash(self.number)


class Marked(Node):
    def __em_key__(self):
        return self.number


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a = a
        self.b = b

    def __eq__(self, other):
        return (self.a, self.b) == (other.a, other.b)

    def __hash__(self):
        return hash(self.a)


class Measured(Edge):
    @functools.cached_property
    def weight(self):
        return len(self.source)

    def __eq__(self, other):
        return (self.source, self.target) == (other.source, other.target)

    __hash__ = Edge.__hash__


class Opaque:
    pass


@dataclasses.dataclass(frozen=True)
class Pair:
    left: object
    right: object
    note: str = dataclasses.field(default="", compare=False)


class SubPair(Pair):
    pass


@dataclasses.dataclass(frozen=True)
class Fuzzy:
    value: int

    def __eq__(self, other):
        return abs(self.value - other.value) <= 1

    def __hash__(self):
        return 0


@pytest.fixture(autouse=True)
def fresh_guard():
    _keys._guarded.clear()


# ---- Equal keys ----

ONE = [1, 1.0, True, Decimal(1), Decimal("1.000"), Decimal("1E0"), Fraction(1), 1 + 0j, Level.LOW, Number(1)]
EQUAL = {
    "one": ONE,
    "zero": [0, 0.0, -0.0, False, Decimal("-0"), Decimal("0E+999999"), Fraction(0), complex(-0.0, -0.0)],
    "half": [0.5, Decimal("0.5"), Fraction(1, 2), 0.5 + 0j, Number(0.5)],
    "rational": [Decimal("0.1"), Fraction(1, 10)],
    "large": [2**70, 2.0**70, Decimal(2**70), Fraction(2**70)],
    "very large": [int(1e300), 1e300, Decimal(1e300)],
    "negative": [-3, -3.0, Decimal(-3)],
    "infinity": [math.inf, Decimal("Infinity"), complex(math.inf, 0)],
    "str": ["ann", Text("ann"), Name.ANN, "".join(["a", "nn"])],
    "bytes": [b"abc", Blob(b"abc"), memoryview(b"abc")],
    "tuple": [(1, 2), Point(1, 2), (1.0, True + 1), Point(Decimal(1), 2)],
    "frozenset": [frozenset({1, "a"}), frozenset(["a", 1.0]), Group({"a", 1})],
    "datetime": [
        dt.datetime(2024, 1, 1, 12, tzinfo=dt.timezone.utc),
        dt.datetime(2024, 1, 1, 13, tzinfo=CET),
    ],
    "fold": [dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, fold=1)],
    "time": [dt.time(12, tzinfo=dt.timezone.utc), dt.time(13, tzinfo=CET)],
    "timezone": [dt.timezone(dt.timedelta(hours=1)), dt.timezone(dt.timedelta(hours=1), "CET")],
    "path": [
        pathlib.PurePosixPath("/a/b"),
        pathlib.PurePosixPath("/a//b/."),
        pathlib.PurePosixPath("/a", "b"),
    ],
    "windows path": [pathlib.PureWindowsPath("C:/Temp"), pathlib.PureWindowsPath("c:\\temp")],
    "uuid": [uuid.UUID(int=5), uuid.UUID("00000000-0000-0000-0000-000000000005")],
    "range": [range(0, 3, 2), range(0, 4, 2)],
    "empty range": [range(0), range(5, 1)],
    "single range": [range(2, 3), range(2, 4, 9)],
    "enum": [Color.RED, Color.CRIMSON, Color(1)],
    "string identity": [Edge("main", "main"), Edge("main", "".join(["ma", "in"]))],
    "attribute order": [Edge(1, 2, a=1, b=2), Edge(1, 2, b=2, a=1)],
    "attribute numbers": [Edge(1, 2.0), Edge(True, Decimal(2))],
    "frozenset attribute": [Edge(1, frozenset("abcdef")), Edge(1, frozenset("fedcba"))],
    "dict attribute": [Edge(1, 2, m={"a": [1], "b": {2}}), Edge(1, 2, m={"b": frozenset({2}), "a": [1.0]})],
    "bytearray attribute": [Edge(1, 2, m=bytearray(b"x")), Edge(1, 2, m=b"x")],
    "slots": [Slotted(1, "x"), Slotted(1.0, "x")],
    "dataclass": [Pair(1, "x"), Pair(1.0, "x", "a note")],
    "dataclass subclass": [SubPair(1, 2), SubPair(1, 2, "note")],
    "em_key": [Marked(1, "a"), Marked(1.0, "b")],
    "pattern": [re.compile("a+"), re.compile("a" + "+")],
}


@pytest.mark.parametrize("keys", EQUAL.values(), ids=EQUAL.keys())
def test_equal_keys_have_one_identity(keys):
    assert all(a == b and hash(a) == hash(b) for a, b in itertools.combinations(keys, 2))
    assert len({identity(key) for key in keys}) == 1
    assert len({identity((key, "x")) for key in keys}) == 1
    assert len({identity(frozenset([key])) for key in keys}) == 1


def test_path_equals_pure_path():
    path = pathlib.PurePath("a/b")
    assert identity(pathlib.Path("a/b")) == identity(path)


def test_all_nans_are_one_key():
    nans = [math.nan, -math.nan, float("nan"), Decimal("NaN"), Number("nan")]
    assert {identity(key) for key in nans} == {bytes.fromhex("04000000000000F87F")}


@pytest.mark.parametrize("keys", EQUAL.values(), ids=EQUAL.keys())
def test_iteration_gives_back_the_key_that_was_stored(keys):
    for key in keys:
        if type(key) is memoryview:
            assert decode_key(*encode_key(key)) == bytes(key)
            continue
        back = decode_key(*encode_key(key))
        assert type(back) is type(key)
        assert repr(back) == repr(key) or back == key
        back = decode_key(*encode_key((key,)))
        assert type(back[0]) is type(key)


def test_distinct_keys_have_distinct_identities():
    keys = [
        None, "", b"", (), frozenset(), "None", (None,), ((),), frozenset([()]), 1, "1", b"1", (1,),
        frozenset([1]), -1, 0.1, Decimal("0.1"), 1j, 1 + 1j, math.nan, math.inf, -math.inf, 2**64, -(2**64),
        2**64 + 1, (1, 2), (2, 1), dt.date(2024, 1, 1), dt.datetime(2024, 1, 1),
        dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc), dt.time(0), dt.time(0, tzinfo=dt.timezone.utc),
        dt.timedelta(0), dt.timedelta.max, dt.timedelta.min, uuid.UUID(int=0), CET,
        pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("a"), Color.RED, Color.BLUE, Access.READ,
        Access.READ | Access.WRITE, range(1), range(2), Pair(1, 2), Pair(2, 1), SubPair(1, 2), Marked(1),
        Marked(2), Slotted(1, 2), CaseBlind("A"), Edge(1, 2), Edge(2, 1), Measured(1, 2), Edge,
        Edge(1, 2, m=[1]), Edge(1, 2, m=(1,)), Edge(1, 2, m={"a": 1}), Edge(1, 2, m={"a", 1}),
        Edge(1, 2, m=Pair(1, 2)), len, max, int, Ellipsis, NotImplemented,
    ]  # fmt: skip
    identities = [identity(key) for key in keys]
    assert len(set(identities)) == len(keys)


# ---- Golden bytes: docs/format.md ----

GOLDEN = [
    (None, "01"),
    (True, "81"),
    (-0.0, "80"),
    (2.0**64, "19 09 000000000000000001"),
    (-(2.0**64), "28" + "FF" * 8),
    (1.5, "04 000000000000F83F"),
    (Decimal("0.1"), "70 81 8A"),
    (Fraction(-1, 3), "70 20 83"),
    (1 + 2.5j, "71 81 04 0000000000000440"),
    (("a", 1.0), "0A 02 4161 81"),
    (frozenset({"b", "a", 2}), "72 03 4161 4162 82"),
    (dt.date(1, 1, 2), "73 010000000000"),
    (dt.datetime(1, 1, 1, 0, 0, 0, 5), "74 0500000000000000"),
    (dt.datetime(1, 1, 2, 0, tzinfo=dt.timezone.utc), "75 0060D71D14000040"),
    (dt.time(0, 0, 0, 7), "76 0700000000000000"),
    (dt.time(0, 0, 0, 7, tzinfo=dt.timezone.utc), "77 0700000000000040"),
    (dt.timedelta(microseconds=-1), "78 FFFFFFFFFFFFFF7F"),
    (uuid.UUID(int=1), "79" + "00" * 15 + "01"),
    (pathlib.PurePosixPath("/a"), "7A 422F61"),
    (pathlib.PureWindowsPath("C:/A"), "7B 44633A5C61"),
    (len, "7E 48" + b"builtins".hex() + "43" + b"len".hex()),
]


@pytest.mark.parametrize(("key", "golden"), GOLDEN, ids=lambda v: repr(v)[:30])
def test_golden_identities(key, golden):
    assert identity(key) == bytes.fromhex(golden)


def test_golden_classes():
    name = f"{__name__}.Color".encode()
    item = _core._encode(name.decode())
    assert identity(Color.RED) == b"\x7c" + item + b"\x43RED"
    item = _core._encode(f"{__name__}.Marked")
    assert identity(Marked(5)) == b"\x7d" + item + b"\x85"
    item = _core._encode(f"{__name__}.Pair")
    assert identity(Pair(5, "x")) == b"\x7d" + item + b"\x0a\x02\x85\x41x"


# ---- What is stored beside the identity ----


@pytest.mark.parametrize(
    "key",
    [None, 5, -(2**80), "text", "\ud800", b"bytes", 1.5, 1 + 2.5j, (1, ("a", 2.5)), frozenset({1, "a",
     (2,)}),
     dt.date(2024, 2, 29), dt.datetime.max, dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc), dt.time(1,
     2, 3, 4),
     dt.timedelta(days=-5, microseconds=1), uuid.uuid4(), Fraction(1, 3), pathlib.PurePosixPath("a/b")],
    ids=repr,
)  # fmt: skip
def test_these_keys_are_stored_once(key):
    stored, original = encode_key(key, allow_pickle=False)
    assert original == b""
    back = decode_key(stored, original, allow_pickle=False)
    assert back == key
    assert type(back) is type(key)
    assert encode_key((key, frozenset([key])))[1] == b""


@pytest.mark.parametrize(
    "key", [True, 1.0, -0.0, 1 + 0j, (1, True), frozenset([1.0]), complex(-0.0, 1)], ids=repr
)
def test_these_keep_their_type_without_pickle(key):
    stored, original = encode_key(key, allow_pickle=False)
    assert original == _core._encode(key)
    assert repr(decode_key(stored, original, allow_pickle=False)) == repr(key)


def test_long_identities_are_digests():
    short, long = "x" * 60_000, "x" * 70_000
    assert encode_key(short) == (_core._encode(short), b"")
    stored, original = encode_key(long)
    assert len(stored) == 17
    assert stored[0] == 0x7F
    assert original == _core._encode(long)
    assert decode_key(stored, original) == long
    assert encode_key("y" + long[1:])[0] != stored
    with pytest.raises(pyrsistence.CorruptionError):
        decode_key(stored, b"")


def test_with_a_pickler_the_identity_is_a_digest_and_the_nonce_does_no_harm():
    class Encrypting:
        nonces = itertools.count()

        def pickle(self, value):
            return next(self.nonces).to_bytes(4, "big") + pickle.dumps(value)

        def unpickle(self, data):
            return pickle.loads(data[4:])

    codec = Encrypting()
    for key in (1, "text", (1, 2.0), Color.RED):
        first, second = encode_key(key, pickler=codec), encode_key(key, pickler=codec)
        assert first[0] == second[0]
        assert first[0][0] == 0x7F
        assert first[1] != second[1]
        assert decode_key(*first, unpickler=codec) == key
    assert encode_key(1, pickler=codec)[0] == encode_key(1.0, pickler=codec)[0]


def test_keys_that_need_pickle_are_refused():
    with pytest.raises(pyrsistence.PickleRefusedError, match="'Color'"):
        encode_key(Color.RED, allow_pickle=False)


# ---- NumPy ----


def test_numpy_keys():
    numpy = pytest.importorskip("numpy")
    integers = "int8 uint8 int16 uint16 int32 uint32 int64 uint64"
    floats = "float16 float32 float64 longdouble complex64 complex128"
    for kind in (integers + " " + floats).split():
        key = getattr(numpy, kind)(3)
        assert key == 3
        assert identity(key) == identity(3), kind
        assert type(decode_key(*encode_key(key, allow_pickle=False))) is type(key)
    assert identity(numpy.bool_(True)) == identity(1)
    assert identity(numpy.float32(0.1)) == identity(float(numpy.float32(0.1)))
    assert identity(numpy.float16(0.1)) == identity(Fraction(float(numpy.float16(0.1))))
    assert identity(numpy.float64("nan")) == identity(math.nan)
    assert identity(numpy.longdouble("inf")) == identity(math.inf)
    third = numpy.longdouble(1) / 3
    assert identity(third) == identity(Fraction(*third.as_integer_ratio()))
    assert identity(numpy.complex64(1 + 2j)) == identity(1 + 2j)
    assert identity(numpy.str_("né")) == identity("né")
    assert identity(numpy.bytes_(b"raw")) == identity(b"raw")
    when = numpy.datetime64("2024-01-01", "D")
    assert identity(when) == _core._encode(when)
    assert encode_key(when)[1] == b""
    assert identity(numpy.timedelta64(1, "s")) != identity(1)


def test_a_loop_over_an_array():
    numpy = pytest.importorskip("numpy")
    for element in numpy.arange(5):
        assert identity((element, "x")) == identity((int(element), "x"))


# ---- Property: Python's equality is ours ----

numbers = st.one_of(
    st.integers(-5, 5),
    st.integers(),
    st.booleans(),
    st.floats(allow_nan=False),
    st.floats(-4, 4).map(lambda x: round(x * 4) / 4),
    st.decimals(allow_nan=False, min_value=-(10**30), max_value=10**30),
    st.fractions(),
    st.complex_numbers(allow_nan=False),
)
simple_keys = st.recursive(
    st.one_of(
        numbers,
        st.none(),
        st.text(max_size=3),
        st.binary(max_size=3),
        st.dates(),
        st.datetimes(timezones=st.none() | st.just(dt.timezone.utc) | st.just(CET)),
        st.timedeltas(),
        st.uuids(),
    ),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=6,
)


@given(numbers, numbers)
@settings(max_examples=1000, deadline=None)
@example(2**53 + 1, float(2**53))
@example(Decimal("0.1"), 0.1)
@example(Fraction(1, 3), 1 / 3)
def test_numbers_agree_with_python(a, b):
    assert (identity(a) == identity(b)) == (a == b)


@given(numbers)
@settings(max_examples=500, deadline=None)
def test_numbers_of_other_types(number):
    for convert in (int, float, Decimal, Fraction, complex):
        try:
            other = convert(number)
        except (OverflowError, ValueError, TypeError, decimal.InvalidOperation):
            continue
        assert (identity(other) == identity(number)) == (other == number)


@given(simple_keys, simple_keys)
@settings(max_examples=500, deadline=None)
def test_keys_agree_with_python(a, b):
    assert (identity(a) == identity(b)) == (a == b)
    back = decode_key(*encode_key(a))
    assert type(back) is type(a)
    assert back == a
    assert identity(back) == identity(a)


@given(st.binary(min_size=1, max_size=40).map(lambda b: bytes([0x70 + b[0] % 16]) + b[1:]))
@settings(max_examples=2000, deadline=None)
def test_hostile_identities(item):
    try:
        key = decode_key(item, b"")
    except pyrsistence.CorruptionError:
        return
    hash(key)


@pytest.mark.parametrize(
    "item",
    ["7081 80", "70 82 84", "70 4161 82", "71 81 4161", "73 FFFFFFFFFFFF", "74 FFFFFFFFFFFFFFFF",
     "76 FFFFFFFFFFFFFFFF",
     "7A 81", "7C 4161 4162", "7D 4161 81", "7F" + "00" * 16, "72 02 81 81", "0B 00", "02",
     "05" + "00" * 16,
     "70" * 3000 + "81" * 3001],
)  # fmt: skip
def test_identities_that_no_key_has(item):
    with pytest.raises(pyrsistence.CorruptionError):
        decode_key(bytes.fromhex(item), b"")


# ---- Refusals ----


class Unhashable(list):
    pass


@pytest.mark.parametrize(
    "key", [[], {}, set(), bytearray(), Unhashable(), (1, [2]), Edge([1], 2), slice], ids=repr
)
def test_unhashable_keys(key):
    if key is slice:
        assert identity(slice)[0] == 0x7E
        return
    with pytest.raises(TypeError, match="unhashable"):
        identity(key)


def test_errors_of_hash_propagate():
    class Angry:
        def __hash__(self):
            raise ZeroDivisionError("mine")

    for key in (Angry(), (1, Angry())):
        with pytest.raises(ZeroDivisionError, match="mine"):
            identity(key)


@pytest.mark.parametrize("key", [Opaque(), object(), (1, Opaque()), Edge(1, Opaque()), Pair(1, Opaque())])
def test_objects_equal_to_themselves_only(key):
    with pytest.raises(TypeError, match="__em_key__"):
        identity(key)


def test_objects_without_a_global_name():
    for key in (lambda: None, [].append, Opaque().__init__):
        with pytest.raises(TypeError):
            identity(key)
    assert identity(Opaque)[0] == 0x7E
    assert identity(dt.datetime.now)[0] == 0x7E


def test_cycles():
    edge = Edge(1, 2)
    edge.parts = [edge]
    with pytest.raises(TypeError, match="contains itself.*__em_key__"):
        identity(edge)


def test_depth():
    key = 1
    for _ in range(199):
        key = (key,)
    assert decode_key(*encode_key(key)) == key
    with pytest.raises(TypeError, match="200 levels"):
        identity(((key,),))


@pytest.mark.parametrize("key", ["1E+999999", "1E-999999", "-3.5E+20001", "1.5E-20001"])
def test_huge_decimals_are_refused_at_once(key):
    with pytest.raises(ValueError, match="20000 digits"):
        identity(Decimal(key))
    assert len(identity(Decimal("1E+19999"))) > 8000


# ---- The guard ----


def test_equal_keys_with_different_attributes_raise():
    identity(Node(1, "a"))
    identity(Node(1, "a"))
    identity(Node(2, "b"))
    with pytest.raises(TypeError, match="Node.*__em_key__"):
        identity(Node(1, "b"))
    with pytest.raises(TypeError, match="__em_key__"):
        identity(("in a tuple", Node(1, "b")))


def test_the_guard_sees_changed_attributes():
    node = Node(1)
    identity(node)
    node.label = "visited"
    with pytest.raises(TypeError, match="__em_key__"):
        identity(node)


def test_the_guard_lets_equal_hashes_pass():
    class Colliding(Slotted):
        __slots__ = ()

        def __hash__(self):
            return 7

    assert identity(Slotted(1, 2)) != identity(Slotted(1, 3))
    assert identity(Colliding(1, 2)) != identity(Colliding(2, 2))


def test_errors_of_eq_in_the_guard_propagate():
    class Rude(Node):
        __hash__ = Node.__hash__

        def __eq__(self, other):
            raise ZeroDivisionError("mine")

    identity(Rude(1, "a"))
    with pytest.raises(ZeroDivisionError, match="mine"):
        identity(Rude(1, "b"))


def test_the_guard_is_bounded():
    for number in range(_keys.GUARD_SIZE + 100):
        identity(Edge(number, 0))
    assert len(_keys._guarded) == _keys.GUARD_SIZE


def test_a_dataclass_with_its_own_eq_is_guarded():
    identity(Fuzzy(1))
    with pytest.raises(TypeError, match="__em_key__"):
        identity(Fuzzy(2))


def test_cached_properties_do_not_matter():
    a, b = Measured("ab", 1), Measured("ab", 1)
    assert a.weight == 2
    assert identity(a) == identity(b)


# ---- register_key and __em_key__ ----


class Falsy:
    def __call__(self, pattern):
        return pattern.pattern

    def __bool__(self):
        return False


def test_register_key_of_an_immutable_class_by_a_falsy_function():
    pyrsistence.register_key(re.Pattern, Falsy())
    with pyrsistence.EMDict(None) as d:
        d[re.compile("a+")] = 1
        assert d[re.compile("a+", re.DOTALL)] == 1


def test_register_key():
    class Block:
        def __init__(self, address, name):
            self.address = address
            self.name = name

    class Derived(Block):
        pass

    with pytest.raises(TypeError, match="register_key"):
        identity(Block(1, "a"))
    pyrsistence.register_key(Block, lambda block: block.address)
    assert identity(Block(1, "a")) == identity(Block(1, "b"))
    assert identity(Block(1, "a")) != identity(Block(2, "a"))
    assert identity(Derived(1, "a")) == identity(Derived(1, "b"))
    assert identity(Derived(1, "a")) != identity(Block(1, "a"))


def test_register_key_overrides_inherited_identity():
    class Special(str):
        pass

    assert identity(Special("A")) == identity("A")
    pyrsistence.register_key(Special, lambda key: key.lower())
    assert identity(Special("A")) == identity(Special("a")) != identity("a")


def test_register_key_arguments():
    with pytest.raises(TypeError, match="class"):
        pyrsistence.register_key("Edge", len)
    with pytest.raises(TypeError, match="function"):
        pyrsistence.register_key(Edge, 5)


def test_registration_keeps_no_class_alive():
    class Temporary:
        pass

    pyrsistence.register_key(Temporary, lambda key: 1)
    identity(Temporary())
    ref = __import__("weakref").ref(Temporary)
    del Temporary
    gc.collect()
    assert ref() is None


def test_em_key_errors_propagate_and_results_are_keys():
    class Bad:
        def __em_key__(self):
            raise ZeroDivisionError("mine")

    class Selfish:
        def __em_key__(self):
            return self

    class Opaquely:
        def __em_key__(self):
            return Opaque()

    with pytest.raises(ZeroDivisionError):
        identity(Bad())
    with pytest.raises(TypeError, match="contains itself"):
        identity(Selfish())
    with pytest.raises(TypeError, match="__em_key__"):
        identity(Opaquely())


# ---- Every process agrees ----

SCRIPT = """
import dataclasses, datetime, decimal, enum, fractions, pathlib, re, sys, uuid, collections
sys.path[:0] = {path!r}
from pyrsistence import _core

class Edge:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)
    def __eq__(self, other):
        return vars(self) == vars(other)
    def __hash__(self):
        return 1

@dataclasses.dataclass(frozen=True)
class Pair:
    left: object
    right: object

class Mode(enum.Flag):
    A = 1
    B = 2

words = "alpha beta gamma delta epsilon zeta eta theta".split()
if {reverse}:
    words.reverse()
keys = [
    Edge(**{{word: 1 for word in words}}),
    Edge(names=frozenset(words)),
    Edge(names=set(words), table={{word: frozenset(words) for word in words}}),
    frozenset(words),
    (frozenset(map(frozenset, words)), "x"),
    Pair(frozenset(words), Edge(inner=Pair(1, frozenset(words)))),
    Mode.A | Mode.B,
    fractions.Fraction(1, 3),
    decimal.Decimal("0.1"),
    pathlib.PurePosixPath("/a/b"),
    datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
    datetime.timezone(datetime.timedelta(hours=2)),
    re.compile("a+", re.I),
    collections.Counter,
    uuid.UUID(int=3),
    range(3),
]
for key in keys:
    print(_core._key_identity(key).hex())
"""


def run(reverse, seed):
    root = str(pathlib.Path(pyrsistence.__file__).parents[1])
    script = textwrap.dedent(SCRIPT).format(path=[root], reverse=reverse)
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_hash_seed_and_order_do_not_matter():
    reference = run(False, "0")
    assert len(set(reference)) == 16
    for reverse, seed in ((False, "1"), (True, "2"), (True, "12345")):
        assert run(reverse, seed) == reference


def test_zone_with_daylight_saving():
    try:
        zone = zoneinfo.ZoneInfo("Europe/Berlin")
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip("no time zone database")
    local = dt.datetime(2024, 7, 1, 12, tzinfo=zone)
    assert identity(local) == identity(local.astimezone(dt.timezone.utc))
    back = decode_key(*encode_key(local))
    assert back.tzinfo is zone
