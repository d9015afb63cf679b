"""Sets, deques, counters and default dicts: what the random programs do not say."""

import collections
import operator
import pickle
import subprocess
import sys

import pytest
from pyrsistence import EMCounter, EMDefaultDict, EMDeque, EMDict, EMSet, Error, FormatError, ReadOnlyError, Store


# ---- EMSet ----


def test_a_set_keeps_the_first_of_equal_members_in_the_order_of_their_coming():
    with EMSet(None) as s:
        s.update([3, 1.0, True, "a", 3.0])
        assert [(type(member), member) for member in s] == [(int, 3), (float, 1.0), (str, "a")]
        assert s.pop() == "a" and s.pop() == 1.0 and s.pop() == 3
        with pytest.raises(KeyError, match="pop from an empty set"):
            s.pop()


def test_a_set_stands_for_a_frozenset_where_it_is_looked_for():
    with EMSet(None) as s:
        s.add(frozenset("ab"))
        assert {"a", "b"} in s
        with pytest.raises(TypeError):
            s.add({"a"})
        s.discard({"c"})
        s.remove({"b", "a"})
        with pytest.raises(KeyError) as caught:
            s.remove({"a"})
        assert caught.value.args == ({"a"},)


def test_a_member_added_during_iteration_is_an_error_and_a_removed_one_is_not():
    with EMSet(None) as s:
        s.update("abc")
        for member in s:
            s.discard(member)
        assert not s
        s.update("abc")
        with pytest.raises(RuntimeError, match="^Set changed size during iteration$"):
            for member in s:
                s.add(member + "x")


def test_operators_take_sets_and_methods_iterables():
    with EMSet(None) as s, EMSet(None) as other, EMDict(None) as d:
        s.update("ab")
        other.update("bc")
        d.update(b=1, c=2)
        for operand in (other, frozenset("bc"), {"b", "c"}, d.keys(), dict(b=1, c=2).keys()):
            results = s | operand, s & operand, s - operand, s ^ operand, operand - s
            assert [set(result) for result in results] == [set("abc"), set("b"), set("a"), set("ac"), set("c")]
            for result in results:
                assert type(result) in (EMSet, set)  # a dict's view makes a set of its own difference
                getattr(result, "close", bool)()
            assert s != operand and not s <= operand and not s.isdisjoint(operand)
        for function in (s.__or__, s.__and__, s.__sub__, s.__xor__, s.__ior__, s.__lt__, s.__eq__):
            assert function("ab") is NotImplemented
        with s.union("c", ["d"]) as union:
            assert list(union) == ["a", "b", "c", "d"]
        s -= s
        assert len(s) == 0 and s == set()


def test_an_intersection_that_fails_removes_nothing():
    with EMSet(None) as s:
        s.update("abc")
        with pytest.raises(TypeError):
            s.intersection_update("ab", 5)
        assert list(s) == ["a", "b", "c"]
        with {"c", "d"} | s as union:
            assert len(union) == 4 and set(list(union)[:2]) == {"c", "d"}


def test_a_set_is_no_dict(tmp_path):
    with EMSet(tmp_path / "s") as s:
        s.add(1)
    with pytest.raises(FormatError, match="holds a set, not a dict"):
        EMDict(tmp_path / "s")
    with pytest.raises(ReadOnlyError), EMSet(tmp_path / "s", mode="r") as s:
        s.add(2)
    with pytest.raises(TypeError, match="unhashable"):
        hash(s)


def test_a_set_with_a_pickler_finds_its_members(tmp_path):
    class Pickler:
        pickle, unpickle = staticmethod(pickle.dumps), staticmethod(pickle.loads)

    with EMSet(tmp_path / "s", Pickler(), Pickler()) as s:
        s.update([1, "a", (1, 2)])
        assert (1, 2) in s and list(s) == [1, "a", (1, 2)]
        with s | {5} as union:
            assert list(union) == [1, "a", (1, 2), 5]
    with pytest.raises(Error, match="written with a pickler"), EMSet(tmp_path / "s") as s:
        assert 1 in s


# ---- EMDeque ----


def test_the_limit_belongs_to_the_stored_deque(tmp_path):
    with EMDeque(tmp_path / "d", maxlen=2) as d:
        d.extend("abc")
        assert list(d) == ["b", "c"] and d.maxlen == 2
        with pytest.raises(IndexError, match="deque already at its maximum size"):
            d.insert(0, "z")
    with EMDeque(tmp_path / "d") as d:
        assert d.maxlen == 2
        d.appendleft("a")
        assert list(d) == ["a", "b"]
    with pytest.raises(FormatError, match="holds a deque of at most 2 items, not of at most 3"):
        EMDeque(tmp_path / "d", maxlen=3)
    for bad, error in ((-1, ValueError), ("2", TypeError)):
        with pytest.raises(error):
            EMDeque(tmp_path / "other", maxlen=bad)
    with EMDeque(tmp_path / "other", maxlen=0) as d:
        d.append(1)
        assert len(d) == 0 and repr(d).endswith("[], maxlen=0)")


def test_a_limit_holds_in_transactions_and_snapshots():
    with EMDeque(None, maxlen=2) as d:
        d.extend("ab")
        with pytest.raises(ZeroDivisionError), d.transaction():
            d.extend("cde")
            assert list(d) == ["d", "e"]
            1 / 0
        assert list(d) == ["a", "b"]
        with d.snapshot() as before:
            d.append("c")
            assert list(before) == ["a", "b"] and before.maxlen == 2


def test_deques_compare_and_add_with_deques_only():
    with EMDeque(None) as d:
        d.extend([1, 2])
        model = collections.deque([1, 2])
        assert d == model and model == d and d <= model and d < collections.deque([1, 3])
        assert d != [1, 2]
        with pytest.raises(TypeError, match="can only concatenate deque"):
            d + [3]
        with pytest.raises(TypeError, match="sequence index must be integer, not 'slice'"):
            d[0:1]
        with d + model as both, d * 2 as twice:
            assert list(both) == list(twice) == [1, 2, 1, 2]
        d.extend(d)
        d.extendleft(d)
        assert list(d) == [2, 1, 2, 1, 1, 2, 1, 2]


def test_what_cannot_be_decoded_is_not_lost_whoever_fills_the_deque_meanwhile(tmp_path):
    class Meddler:
        failing = False
        pickle = staticmethod(pickle.dumps)

        def unpickle(self, data):
            if self.failing:
                self.failing = False
                d.append(3)
                raise ValueError("not this one")
            return pickle.loads(data)

    meddler = Meddler()
    with EMDeque(tmp_path / "d", meddler, meddler, maxlen=2) as d:
        d.extend([1, 2])
        meddler.failing = True
        with pytest.raises(ValueError, match="not this one"):
            d.pop()
        assert list(d) == [2, 3]  # as append() left it


def test_many_repetitions_end_when_nothing_changes_any_more():
    with EMDeque(None) as empty, EMDeque(None, maxlen=5) as full:
        full.extend("abc")
        empty *= 10**15
        with empty * 10**15 as nothing, full * 10**15 as many:
            assert list(nothing) == [] and list(many) == list(collections.deque("abc" * 3, maxlen=5))
        full *= 10**15
        assert list(full) == list("bcabc")


def test_a_change_during_iteration_is_noticed():
    with EMDeque(None) as d:
        d.extend("abc")
        with pytest.raises(RuntimeError, match="^deque mutated during iteration$"):
            for _ in d:
                d.append("x")


# ---- EMCounter, EMDefaultDict ----


def test_counters_count_as_counter_does(tmp_path):
    text = "the quick brown fox jumps over the lazy dog " * 3000
    with EMCounter(tmp_path / "c") as c:
        c.update(text)
        model = collections.Counter(text)
        assert c == model and model == c and c.most_common() == model.most_common() and c.total() == model.total()
        assert c.most_common(3) == model.most_common(3) and c["?"] == 0 and "?" not in c
        del c["?"]
        with pytest.raises(NotImplementedError):
            EMCounter.fromkeys("ab")
    with EMDict(tmp_path / "c") as d:  # on disk it is a dict
        assert d["t"] == model["t"]


def test_a_counter_is_cleared_as_one_operation():
    with EMCounter(None) as c:
        c.update(range(1000))
        with c.snapshot() as before:
            logged = c.info.log_bytes
            c.clear()
            assert len(c) == 0 and len(before) == 1000
        assert c.info.log_bytes - logged < 200


def test_what_came_before_an_exception_is_counted():
    with EMCounter(None) as c:
        with pytest.raises(TypeError):
            c.update(["a", "a", [], "b"])
        assert dict(c) == {"a": 2}


def test_a_counter_may_stand_on_the_left():
    model, other = collections.Counter(a=3, b=-1, c=1), collections.Counter(a=1, b=5, d=2)
    with EMCounter(None) as c:
        c.update(other)
        for combine in (operator.add, operator.sub, operator.or_, operator.and_):
            with combine(model, c) as result:
                assert result == combine(model, other), combine


def test_what_a_default_factory_makes_is_stored():
    with EMDefaultDict(lambda: 5, None) as d:
        assert d["a"] == 5 and d == {"a": 5} and d.get("b") is None and d.pop("b", 0) == 0
        d.default_factory = None
        with pytest.raises(KeyError):
            d["b"]
        with pytest.raises(TypeError, match="must be callable or None"):
            d.default_factory = 5


@pytest.mark.parametrize("factory", [list, dict, set, collections.deque, lambda: [], lambda: bytearray()])
def test_a_factory_whose_values_would_be_lost_is_refused(factory):
    with pytest.raises(TypeError, match=r"with d\.edit\(key, default=\w+\(\)\) as value"), EMDefaultDict(factory, None) as d:
        try:
            d["a"]
        finally:
            assert len(d) == 0
    with EMDefaultDict(int, None) as d:
        with d.edit("a", default=[]) as values:
            values.append(1)
        assert d["a"] == [1]


def test_handles_are_pickled_with_their_factory(tmp_path):
    d = EMDefaultDict(int, tmp_path / "d")
    d["a"] += 1
    program = f"import pickle; d = pickle.loads({pickle.dumps(d)!r}); print(type(d).__name__, d.default_factory, dict(d))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "EMDefaultDict <class 'int'> {'a': 1}\n"
    d.close()


# ---- In notebooks ----


def test_they_show_themselves_in_notebooks(tmp_path):
    with Store(tmp_path / "store") as store:
        store.set("<b>").add("<script>")
        store.deque("last").extend(range(1000))
        shown = store._repr_html_()
        assert "<td>&#x27;&lt;b&gt;&#x27;</td><td>set</td><td>1</td>" in shown and "<td>deque</td><td>1,000</td>" in shown
        assert "&lt;script&gt;" in store["<b>"]._repr_html_() and "<script>" not in store["<b>"]._repr_html_()
        assert "<td>1,000</td>" in store["last"]._repr_html_()
        last = store["last"]
    assert "closed" in store._repr_html_() and "closed" in last._repr_html_()


# ---- In stores ----


def test_a_store_opens_each_as_what_it_is(tmp_path):
    with Store(tmp_path / "store") as store:
        store.set("seen").add(1)
        store.deque("last", maxlen=2).extend("abc")
        store.counter("words").update("aab")
        store.defaultdict("calls", int)["main"] += 1
    with Store(tmp_path / "store") as store:
        assert [type(one) for one in store.values()] == [EMSet, EMDeque, EMDict, EMDict]
        assert list(store["last"]) == ["b", "c"] and store["last"].maxlen == 2
        assert store.counter("words").most_common(1) == [("a", 2)]
        with store.transaction():
            store["seen"].add(2)
            store["last"].append("d")
        with pytest.raises(FormatError, match="holds under 'seen' a set, not a deque"):
            store.deque("seen")
        with pytest.raises(FormatError, match="at most 2 items, not of at most 5"):
            store.deque("last", maxlen=5)
        with pytest.raises(TypeError, match="would lose data"):
            store.defaultdict("new", list)
        assert "new" not in store
        del store["seen"]
        assert list(store) == ["last", "words", "calls"]
        store.check()
        assert store.verify().fault_count == 0
        store["last"].compact()
        assert list(store["last"]) == ["c", "d"]
