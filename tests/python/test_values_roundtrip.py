"""Values and keys of every kind and size through a real store that is closed and opened again."""

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import random
import re
import uuid

import pytest
from pyrsistence import EMDict, EMList
from support import assert_same, identical

# Around the limits of inline tags, pages (4,096 bytes), extents (16,384) and read-ahead.
SIZES = [0, 1, 15, 16, 31, 32, 127, 128, 255, 256, 1000, 1300, 2000, 4000, 4050, 4070, 4095, 4096, 4097, 8191]
SIZES += [
    8192,
    12_000,
    16_000,
    16_350,
    16_380,
    16_383,
    16_384,
    16_385,
    20_479,
    20_480,
    65_535,
    65_536,
    65_537,
]
SIZES += [1 << 20, (1 << 20) + 1, 5_000_001]


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


class Access(enum.IntFlag):
    READ = 1
    WRITE = 2


Point = collections.namedtuple("Point", "x y")


class Integer(int):
    pass


class Text(str):
    pass


class Binary(bytes):
    pass


class Real(float):
    pass


class Row(tuple):
    pass


class Bag(list):
    pass


class Table(dict):
    pass


class Group(set):
    pass


@dataclasses.dataclass
class Record:
    name: str
    tags: list = dataclasses.field(default_factory=list)


class OwnEquality:
    """Equal by a part of it only; a value is compared here by all of it."""

    def __init__(self, name, rest):
        self.name = name
        self.rest = rest

    def __eq__(self, other):
        return type(other) is OwnEquality and other.name == self.name

    def __hash__(self):
        return hash(self.name)


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a, self.b = a, b

    def __eq__(self, other):
        return type(other) is Slotted and (self.a, self.b) == (other.a, other.b)


VALUES = [
    None,
    True,
    False,
    *(
        sign * (1 << bits) + delta
        for bits in (0, 7, 8, 31, 32, 63, 64, 65, 127)
        for sign in (1, -1)
        for delta in (-1, 0, 1)
    ),
    (1 << 10_000) - 1,
    -(3**6000),
    *(0.0, -0.0, 1.5, float("inf"), float("-inf"), float("nan"), 5e-324, 1.7976931348623157e308),
    *(complex(0.0, -0.0), complex(float("nan"), 1), 1 - 2j),
    *(
        "",
        "ascii",
        "ümlaut",
        "\u2603",
        "\U0001f40d" * 9,
        "nul \0 nul",
        "\ud800",
        "pair \udcff\ud83d",
        "e\u0301 is not \u00e9",
    ),
    *(b"", b"\0", bytes(range(256)), bytearray(b"array"), bytearray()),
    *((), [], {}, set(), frozenset(), (((),),), [[[]]], {"": {}}, {(): ()}),
    {1: "int", "1": "str", b"1": "bytes", (1,): "tuple", None: None, frozenset({1}): 1},
    {"b": 1, "a": 2, "c": 3},
    {1, "two", (3.0, None), frozenset({4})},
    [1, [2, [3, [4, [5]]]], (6, {7: [8]})],
    *(Color.RED, Color.BLUE, Level.LOW, Access.READ | Access.WRITE, Point(1, "y"), Point(Point(0, 0), [])),
    *(
        Integer(7),
        Text("subclass"),
        Binary(b"subclass"),
        Real(0.5),
        Row((1, 2)),
        Bag([1]),
        Table(a=1),
        Group({1}),
    ),
    *(Record("r", ["a"]), Slotted(1, [2]), [Record("nested")], OwnEquality("name", 0)),
    *(collections.OrderedDict(b=1, a=2), collections.Counter("hello"), collections.deque([1, 2], maxlen=5)),
    collections.defaultdict(list, {1: [2]}),
    *(datetime.date(2024, 2, 29), datetime.datetime.max, datetime.datetime.min, datetime.timedelta(-1, 5)),
    datetime.datetime(2024, 10, 27, 2, 30, fold=1),
    datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(minutes=-90), "name")),
    *(decimal.Decimal("1.10"), decimal.Decimal("-0"), fractions.Fraction(1, 3), uuid.UUID(int=5)),
    *(
        pathlib.PurePosixPath("/a/b"),
        pathlib.PureWindowsPath("C:/x"),
        re.compile("a+"),
        array.array("d", [1, 2]),
    ),
    *(range(3, 9, 2), slice(1, None, 2), Ellipsis, NotImplemented, int, len, collections.OrderedDict),
]


def reopened(cls, path, fill):
    with cls(path) as container:
        fill(container)
    container = cls(path)
    container.check()
    return container


def list_of(path, values):
    return reopened(EMList, path, lambda l: l.extend(values))


def test_every_type_comes_back_equal_and_of_the_same_type(store):
    with list_of(store, VALUES) as found:
        assert len(found) == len(VALUES)
        for i, (value, expected) in enumerate(zip(found, VALUES)):
            assert same(value, expected), (i, value, expected)


def test_every_type_as_a_value_of_a_dict(store):
    with reopened(EMDict, store, lambda d: d.update(enumerate(VALUES))) as found:
        for i, expected in enumerate(VALUES):
            assert same(found[i], expected), (i, expected)


def same(value, expected):
    if isinstance(expected, decimal.Decimal):
        return type(value) is type(expected) and str(value) == str(expected)
    if isinstance(expected, OwnEquality):
        return value == expected and value.rest == expected.rest
    return identical(value, expected)


def test_one_value_of_everything(store):
    with list_of(store, [VALUES, tuple(VALUES), dict(enumerate(VALUES))]) as found:
        for value, expected in (
            (found[0], VALUES),
            (found[1], tuple(VALUES)),
            (found[2], dict(enumerate(VALUES))),
        ):
            assert type(value) is type(expected) and len(value) == len(expected)
            for key in expected if isinstance(expected, dict) else range(len(expected)):
                assert same(value[key], expected[key]), key


@pytest.mark.parametrize("make", [bytes, bytearray, str], ids=lambda make: make.__name__)
def test_sizes_around_every_limit(store, make):
    noise = random.Random(1).randbytes(max(SIZES))
    values = [noise[:size].decode("latin-1") if make is str else make(noise[:size]) for size in SIZES]
    with list_of(store, values) as found:
        assert_same(found, values)
        for i in range(len(values)):  # in place, and each to the size of another
            found[i] = values[-1 - i]
        found.check()
        assert_same(found, values[::-1])
        del found[::2]
        found.check()
        assert_same(found, values[::-1][1::2])


def test_values_change_their_size_over_and_over(store):
    chooser = random.Random(2)
    with EMDict(store) as d:
        expected = {}
        for step in range(1500):
            key, size = chooser.randrange(20), chooser.choice(SIZES[:-3])
            d[key] = expected[key] = bytes([step % 256]) * size
        d.check()
        assert_same(d, expected)
        assert d.info.live_pages * 4096 < 16 * sum(map(len, expected.values())) + (1 << 22)
    with EMDict(store) as d:
        d.check()
        assert_same(d, expected)


def test_a_value_of_64_mib(store):
    large = random.Random(3).randbytes(1 << 20) * 64
    with reopened(EMDict, store, lambda d: d.update(large=large, small=1)) as d:
        assert d["large"] == large and d["small"] == 1
        d["large"] = large[:-1]
        assert d["large"] == large[:-1]
        assert d.pop("large") == large[:-1] and len(d) == 1
        d.check()


@pytest.mark.parametrize("size", [60_000, 65_530, 65_536, 65_537, 70_000, 1 << 20])
def test_large_keys(store, size):
    keys = ["k" * size, "k" * (size - 1) + "l", b"k" * size, ("k" * size, 1), (1 << size) - 1]
    keys += [frozenset({"k" * size, "l"}), "\u2603" * size]
    with reopened(EMDict, store, lambda d: d.update((key, i) for i, key in enumerate(keys))) as d:
        assert identical(list(d), keys)
        assert [d[key] for key in keys] == list(range(len(keys)))
        assert "k" * (size + 1) not in d and ("k" * size, 2) not in d
        for key in keys:
            del d[key]
        assert len(d) == 0
        d.check()


@pytest.mark.parametrize("depth", [10, 199, 200, 201, 400])
@pytest.mark.parametrize(
    "wrap", [lambda v: [v], lambda v: (v,), lambda v: {"k": v}], ids=["list", "tuple", "dict"]
)
def test_deep_nesting(store, depth, wrap):
    value = 0
    for _ in range(depth):
        value = wrap(value)
    with list_of(store, [value, "after"]) as found:
        inner = found[0]
        for level in range(depth):  # a recursive comparison would overflow the interpreter's stack
            assert type(inner) is type(wrap(0)) and len(inner) == 1, level
            inner = inner["k"] if isinstance(inner, dict) else inner[0]
        assert inner == 0 and found[1] == "after"


def test_nesting_beyond_all_limits_is_an_error_that_changes_nothing(store):
    value = []
    for _ in range(100_000):
        value = [value]
    with EMList(store) as found:
        found.append("before")
        with pytest.raises(RecursionError):
            found.append(value)
        found.append("after")
        assert list(found) == ["before", "after"]
        found.check()
    while value:  # the interpreter's own destructor is fine with any depth; comparison would not be
        value = value[0]


def test_shared_objects_stay_shared(store):
    part = ["shared"]
    text = "t" * 100
    with list_of(
        store, [[part, part], {"a": part, "b": part}, (part, [part]), [text, text], [[], []]]
    ) as found:
        first, second, third, fourth, fifth = found
        assert first == [part, part] and first[0] is first[1]
        assert second["a"] is second["b"] and third[0] is third[1][0]
        assert fourth == [text, text]
        assert fifth[0] is not fifth[1]


def test_cyclic_objects(store):
    cycle = [1]
    cycle.append(cycle)
    table = {"self": None}
    table["self"] = table
    record = Record("r")
    record.tags.append(record)
    with list_of(store, [cycle, table, record]) as found:
        a, b, c = found
        assert a[0] == 1 and a[1] is a
        assert b["self"] is b
        assert c.tags[0] is c and type(c) is Record


def test_every_read_is_a_fresh_copy(store):
    with list_of(store, [[1], {"a": []}]) as found:
        found[0].append(2)
        found[1]["a"].append(1)
        assert list(found) == [[1], {"a": []}]


def test_values_that_cannot_be_stored_change_nothing(store):
    with EMDict(store) as d:
        d["kept"] = [1]
        for bad in (lambda: 0, (i for i in ()), {1: lambda: 0}, type("Local", (), {})()):
            version = len(d)
            with pytest.raises(Exception, match="pickle|local|found"):
                d["new"] = bad
            with pytest.raises(Exception, match="pickle|local|found"):
                d["kept"] = bad
            assert len(d) == version and d["kept"] == [1] and "new" not in d
        d.check()


def test_keys_equal_in_python_are_one_key_and_the_first_one_stays(store):
    families = [
        [1, 1.0, True, 1 + 0j, decimal.Decimal(1), fractions.Fraction(1), Level.LOW, Integer(1), Real(1.0)],
        ["a", Text("a")],
        [b"b", Binary(b"b")],
        [(1, 2), Point(1, 2), (1.0, True + 1), Row((1, 2))],
        [0.5, decimal.Decimal("0.50"), fractions.Fraction(1, 2)],
        [frozenset({1, 2}), frozenset({2.0, True})],
    ]
    for family in families:
        for first in family:
            with EMDict(None) as d:
                d[first] = 0
                for i, key in enumerate(family):
                    assert key in d and d[key] == (i - 1 if i else 0)
                    d[key] = i
                (kept,) = d
                assert identical(kept, first), (kept, first)
                d.check()
