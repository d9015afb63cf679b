"""Keys of many types, made anew in each process; some depend on PYTHONHASHSEED if one is careless."""

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import uuid


class Color(enum.Enum):
    RED = 1
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = -77
    HIGH = -78


class Access(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


Point = collections.namedtuple("Point", "x y")


@dataclasses.dataclass(frozen=True)
class Edge:
    source: str
    target: str
    tags: frozenset = frozenset()
    note: str = dataclasses.field(default="", compare=False)


class Block:
    """Identified by its reduction: attributes in a dict, one of them a set of str."""

    def __init__(self, address, names):
        self.address = address
        self.names = frozenset(names)

    def __eq__(self, other):
        return type(other) is Block and (other.address, other.names) == (self.address, self.names)

    def __hash__(self):
        return hash((self.address, self.names))


class Slotted:
    __slots__ = ("left", "right")

    def __init__(self, left, right):
        self.right = right
        self.left = left

    def __eq__(self, other):
        return type(other) is Slotted and (other.left, other.right) == (self.left, self.right)

    def __hash__(self):
        return hash((self.left, self.right))


class Reduced:
    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        return Reduced, (self.name,)

    def __eq__(self, other):
        return type(other) is Reduced and other.name == self.name

    def __hash__(self):
        return hash(self.name)


class Vertex:
    """Says itself what identifies it."""

    def __init__(self, number):
        self.number = number
        self.scratch = object()

    def __em_key__(self):
        return self.number

    def __eq__(self, other):
        return type(other) is Vertex and other.number == self.number

    def __hash__(self):
        return hash(self.number)


class Text(str):
    pass


def keys():
    """About 400 keys, no two of them equal."""
    yield from (None, True, 0, -1, 2**64, -(2**63), 10**300, 0.5, float("inf"), 1e300, 2 + 3j, Ellipsis)
    for i in range(60):
        yield f"name {i}"
        yield f"bytes {i}".encode()
        yield ("tuple", f"t{i}", i)
        yield frozenset(f"member {i} {j}" for j in range(i % 9 + 1))
    for i in range(20):
        yield (frozenset({f"a{i}", f"b{i}"}), frozenset({(f"c{i}", frozenset({"d", "e"}))}))
        yield Edge(f"from {i}", "to", frozenset({f"x{i}", "y", "z"}), note=str(id(object())))
        yield Block(i, {f"name {i}", "alias", "third"})
        yield Slotted(f"left {i}", (f"right {i}",))
        yield Reduced(f"reduced {i}")
        yield Vertex(1000 + i)
        yield Point(f"x{i}", -i)
        yield Text(f"text {i}")
        yield decimal.Decimal(i) / 7 + 1000
        yield fractions.Fraction(i, 7) + 100
        yield uuid.UUID(int=i)
        yield pathlib.PurePosixPath(f"/etc/{i}")
        yield datetime.date(2020, 1, 1 + i)
        yield datetime.datetime(2021, 1, 1 + i, 12, 30, 5, 7)
        yield datetime.datetime(2022, 1, 1 + i, tzinfo=datetime.timezone(datetime.timedelta(hours=i - 10)))
        yield datetime.timedelta(seconds=i, microseconds=1)
        yield datetime.time(i, 1)
    yield from (*Color, *Level, *Access, Access.READ | Access.WRITE)
    yield from (str, dict.fromkeys, Edge, keys, range(7), datetime.timezone.utc)
    yield "\ud800 lone"
    yield "\u2603" * 30_000
    yield b"\xff" * 100_000
