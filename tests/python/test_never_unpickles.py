"""allow_pickle=False never unpickles, whatever is done to a store from a stranger; some things never do in any mode."""

import pickle

import pytest

import pyrsistence
from pyrsistence import EMDict, EMList, PickleRefusedError, Store

LOADED = []


def _load(*state):
    LOADED.append(state)
    return "loaded"


class Trap:
    """Whoever unpickles it is found out."""

    def __reduce__(self):
        return _load, ("trap",)


class TrapKey:
    def __init__(self, number):
        self.number = number

    def __em_key__(self):
        return self.number

    def __hash__(self):
        return hash(self.number)

    def __reduce__(self):
        return _load, (self.number,)


PLACES = {
    "alone": Trap,
    "in a list": lambda: [1, Trap()],
    "in a tuple": lambda: (Trap(), 2),
    "in a dict": lambda: {"a": {"b": [Trap()]}},
    "large": lambda: [Trap(), "x" * 100_000],
    "class": lambda: [Trap, _load],
}


@pytest.fixture
def stranger(tmp_path):
    """A store full of traps, with a named snapshot and some of it in the log only."""
    path = tmp_path / "stranger"
    with Store(path) as store:
        values, keys, items = store.dict("values"), store.dict("keys"), store.list("items")
        for name, make in PLACES.items():
            values[name] = make()
            items.append(make())
        keys[TrapKey(1)] = 1
        keys[TrapKey(2)] = Trap()
        values["plain"] = 1
        items.append(1)
        store.snapshots.create("then")
        items.append(Trap())
    LOADED.clear()
    yield path
    LOADED.clear()


def attempt(call):
    """Nothing is loaded, whether the call is refused or not. An iterator is used up."""
    try:
        result = call()
        if hasattr(result, "__next__"):
            list(result)
    except (PickleRefusedError, pyrsistence.ReadOnlyError, KeyError, ValueError, TypeError):
        pass
    assert not LOADED


DICT_CALLS = [
    lambda d: len(d),
    lambda d: list(d),
    lambda d: list(reversed(d)),
    lambda d: list(d.values()),
    lambda d: list(d.items()),
    lambda d: iter(d.items()),
    lambda d: [d[name] for name in PLACES],
    lambda d: [attempt(lambda name=name: d[name]) for name in PLACES],
    lambda d: d.get("alone"),
    lambda d: "alone" in d,
    lambda d: TrapKey(1) in d,
    lambda d: d.setdefault("alone", 1),
    lambda d: repr(d),
    lambda d: d == {"alone": 1},
    lambda d: d == d,
    lambda d: 1 in d.values(),
    lambda d: ("alone", 1) in d.items(),
    lambda d: d | {},
    lambda d: d.copy(),
    lambda d: dict(d),
    lambda d: d.edit("alone").__enter__(),
    lambda d: d.snapshot(),
    lambda d: d.pop("alone"),
    lambda d: d.popitem(),
    lambda d: d.update(d),
]
LIST_CALLS = [
    lambda l: len(l),
    lambda l: list(l),
    lambda l: list(reversed(l)),
    lambda l: [attempt(lambda i=i: l[i]) for i in range(len(l))],
    lambda l: l[:],
    lambda l: l[::-2],
    lambda l: 1 in l,
    lambda l: l.index(1),
    lambda l: l.count("loaded"),
    lambda l: repr(l),
    lambda l: l == [1],
    lambda l: l + l,
    lambda l: l * 2,
    lambda l: l.copy(),
    lambda l: l.sort(),
    lambda l: l.sort(key=str),
    lambda l: l.reverse(),
    lambda l: l.pop(),
    lambda l: l.remove(1),
    lambda l: l.extend(l),
    lambda l: l.__setitem__(slice(0, 2), [1, 2]),
]
STORE_CALLS = [
    lambda s: (len(s.info), s.verify(), s.check(), list(s.snapshots)),
    lambda s: s.refresh(),
    lambda s: s.snapshot(),
]


def try_everything(store):
    for call in STORE_CALLS:
        attempt(lambda: call(store))
    for name in ("values", "keys"):
        for call in DICT_CALLS:
            attempt(lambda: call(store[name]))
    for call in LIST_CALLS:
        attempt(lambda: call(store["items"]))


def test_a_trap_is_a_trap(stranger):
    """Otherwise the tests below could not fail."""
    for place in PLACES:
        if place == "class":
            continue
        with Store(stranger) as store:
            store["values"][place]
        assert LOADED, place
        LOADED.clear()
    with Store(stranger) as store:
        list(store["keys"])
    assert LOADED


@pytest.mark.parametrize("mode", ["r", "r+", "a"])
def test_nothing_is_loaded(stranger, mode):
    with Store(stranger, mode=mode, allow_pickle=False) as store:
        try_everything(store)


def test_nothing_is_loaded_from_snapshots_copies_and_sent_handles(stranger, tmp_path):
    with Store(stranger, at="then", allow_pickle=False) as store:
        try_everything(store)
    with Store(stranger, allow_pickle=False) as store:
        store.backup(tmp_path / "copy")
        with store.snapshot() as before:
            try_everything(before)
        sent = pickle.dumps(store)
        attempt(lambda: try_everything(pickle.loads(sent)))
    with Store(tmp_path / "copy", allow_pickle=False) as store:
        try_everything(store)


def test_what_is_refused_stays(stranger):
    with Store(stranger, allow_pickle=False) as store:
        values, items = store["values"], store["items"]
        del values["plain"]
        sizes = len(values), len(items)
        for call in (lambda: values.pop("alone"), values.popitem, items.pop, lambda: values["alone"]):
            with pytest.raises(PickleRefusedError):
                call()
            assert (len(values), len(items)) == sizes and not LOADED


@pytest.mark.parametrize("allow", [True, False])
def test_what_never_unpickles(stranger, tmp_path, allow):
    with Store(stranger, allow_pickle=allow) as store:
        values, items = store["values"], store["items"]
        assert (len(values), len(items)) == (len(PLACES) + 1, len(PLACES) + 2)
        for container in (values, items, store):
            container.info, container.check(), container.verify(), container.compact(), container.sync()
            assert not LOADED
        store.backup(tmp_path / "copy")
        del values["alone"], items[0]
        items.reverse()
        with store.transaction():
            items.clear()
    assert not LOADED
    data = stranger / "data"
    content = bytearray(data.read_bytes())
    content[4096 * 5 + 99] ^= 0xFF
    data.write_bytes(content)
    try:
        pyrsistence.verify(stranger, repair=True)
    finally:
        assert not LOADED


@pytest.mark.parametrize("cls", [EMDict, EMList])
def test_the_flag_goes_with_the_handle(tmp_path, cls):
    with cls(tmp_path / "s") as container:
        container.update(a=Trap()) if cls is EMDict else container.append(Trap())
    with cls(tmp_path / "s", mode="r", allow_pickle=False) as container:
        with pickle.loads(pickle.dumps(container)) as again, pytest.raises(PickleRefusedError):
            again["a"] if cls is EMDict else again[0]
    assert not LOADED


def test_copies_inherit_the_flag(tmp_path):
    with Store(tmp_path / "s", allow_pickle=False) as store:
        d, l = store.dict("d"), store.list("l")
        for copy in (d.copy(), d | {}, {} | d):
            with copy, pytest.raises(PickleRefusedError):
                copy["trap"] = Trap()
        for copy in (l.copy(), l + [], [] + l, l * 2):
            with copy, pytest.raises(PickleRefusedError):
                copy.append(Trap())
    assert not LOADED
