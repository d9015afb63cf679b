// EMMultiDict: a RawSorted whose keys may be equal. What needs no speed of its own is in pyrsistence._sorted.
#include "bindings/sorted_parts.hpp"
#include "pyrsistence/sorted_dict.hpp"

namespace pyrsistence::bindings {

namespace {

using sorted::Engine;
using sorted::Entry;
using sorted::Part;

PyTypeObject* multi_dict_type = nullptr;

constinit const Kind kMultiDict =
    sorted::with_repeats(kind_of<RawSorted, SortedType::multi_dict>("EMMultiDict", nullptr, &multi_dict_type));

LazyAttribute equal{"pyrsistence._sorted", "equal_multi_dicts"};
LazyAttribute describe{"pyrsistence._sorted", "describe"};
LazyAttribute to_pair{"pyrsistence._mapping", "pair"};
LazyAttribute assign{"pyrsistence._sorted", "assign_all"};

/// False if there can be no such key.
bool encode_lookup(PyObject* key, Buffer& sort_key) {
    try {
        sorted::encode_sort_key(key, sort_key);
        return true;
    } catch (const OrderError&) {
        return false;
    }
}

void add_one(const Collection& dict, PyObject* key, PyObject* value) {
    Entry entry;
    entry.encode_key(dict.serializer(), key);
    dict.serializer().encode_value(value, entry.bytes);
    Engine(dict)->push(entry.view());
}

/// The values in a chunk of entries.
nb::object decode_values(const Collection& dict, const Chunk& chunk) {
    nb::object values = own(PyList_New(0));
    for (std::size_t i = 0; i < chunk.items.size(); ++i) {
        const nb::object value = own(sorted::decode(dict.serializer(), chunk.entry(i), Part::values));
        checked(PyList_Append(values.ptr(), value.ptr()));
    }
    return values;
}

/// The values under a key.
nb::object values_of(const Collection& dict, PyObject* key) {
    Buffer sort_key;
    Chunk chunk;
    if (encode_lookup(key, sort_key)) Engine(dict)->read_all(sort_key, chunk);
    return decode_values(dict, chunk);
}

// --- slots

int contains(PyObject* self, PyObject* key) {
    Buffer sort_key;
    return encode_lookup(key, sort_key) && Engine(collection_of(self))->contains(sort_key) ? 1 : 0;
}

Py_ssize_t length(PyObject* self) { return static_cast<Py_ssize_t>(Engine(collection_of(self))->size()); }

PyObject* iterate(PyObject* self) { return sorted::iterate_all(self, Part::keys, false, sorted::Repeats::once); }

PyObject* subscript(PyObject* self, PyObject* key) {
    nb::object values = values_of(collection_of(self), key);
    if (PyList_GET_SIZE(values.ptr()) == 0) raise_key_error(key);
    return values.release().ptr();
}

int assign_subscript(PyObject* self, PyObject* key, PyObject* values) {
    if (values != nullptr) return assign(nb::handle(self), nb::handle(key), nb::handle(values)).is_valid() ? 0 : -1;
    Buffer sort_key;
    if (!encode_lookup(key, sort_key) || Engine(collection_of(self))->erase_all(sort_key) == 0) raise_key_error(key);
    return 0;
}

PyObject* rich_compare(PyObject* self, PyObject* other, int operation) {
    if (operation != Py_EQ && operation != Py_NE) Py_RETURN_NOTIMPLEMENTED;
    nb::object same = equal(nb::handle(self), nb::handle(other));
    if (same.ptr() == Py_NotImplemented || operation == Py_EQ) return same.release().ptr();
    return PyBool_FromLong(same.ptr() == Py_False);
}

PyObject* repr(PyObject* self) { return describe(nb::handle(self)).release().ptr(); }

// --- methods

PyObject* add(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("add", count, 2, 2);
    add_one(collection_of(self), args[0], args[1]);
    Py_RETURN_NONE;
}

PyObject* getall(PyObject* self, PyObject* key) { return values_of(collection_of(self), key).release().ptr(); }

PyObject* count_values(PyObject* self, PyObject* key) {
    Buffer sort_key;
    if (!encode_lookup(key, sort_key)) return PyLong_FromLong(0);
    return PyLong_FromUnsignedLongLong(Engine(collection_of(self))->equal_range(sort_key).size());
}

/// Values that cannot be decoded stay, and so do those that others add meanwhile.
PyObject* popall(PyObject* self, PyObject* key) {
    const Collection& dict = collection_of(self);
    Buffer sort_key;
    Chunk chunk;
    if (!encode_lookup(key, sort_key)) return PyList_New(0);
    for (;; checked(PyErr_CheckSignals())) {
        Engine(dict)->read_all(sort_key, chunk);
        nb::object values = decode_values(dict, chunk);
        if (Engine(dict)->erase_if_same(sort_key, chunk)) return values.release().ptr();
    }
}

/// Removes the first value under the key that is equal to this one; false if there is none.
bool remove_value(PyObject* self, PyObject* key, PyObject* value) {
    const Collection& dict = collection_of(self);
    Buffer sort_key;
    if (!encode_lookup(key, sort_key)) return false;
    SignalPoll poll;
    return detail::erase_first_match([&dict] { return Engine(dict); }, sort_key, [&](Bytes entry) {
        poll.step();
        const nb::object found = own(sorted::decode(dict.serializer(), entry, Part::values));
        return checked(PyObject_RichCompareBool(found.ptr(), value, Py_EQ)) != 0;
    });
}

PyObject* discard(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("discard", count, 2, 2);
    return PyBool_FromLong(remove_value(self, args[0], args[1]));
}

/// Adds the pairs of an iterable, one operation each.
PyObject* add_pairs(PyObject* self, PyObject* source) {
    if (const auto numbers = NumberArray::of(source, NumberArray::Use::pairs, collection_of(self).serializer())) {
        sorted::store_rows(collection_of(self), *numbers, [](RawSorted& dict, const auto& entry) { dict.push(entry); });
        Py_RETURN_NONE;
    }
    const nb::object iterator = own(PyObject_GetIter(source));
    SignalPoll poll;
    for (Py_ssize_t position = 0;; ++position, poll.step()) {
        nb::object element = nb::steal(PyIter_Next(iterator.ptr()));
        if (!element.is_valid()) break;
        if (!PyTuple_CheckExact(element.ptr()) || PyTuple_GET_SIZE(element.ptr()) != 2) {
            element = to_pair(own(PyLong_FromSsize_t(position)), element);
        }
        add_one(collection_of(self), PyTuple_GET_ITEM(element.ptr(), 0), PyTuple_GET_ITEM(element.ptr(), 1));
    }
    if (PyErr_Occurred()) raise_pending();
    Py_RETURN_NONE;
}

template <Part part, bool backwards, sorted::Repeats repeats>
PyObject* entries(PyObject* self, PyObject*) {
    return sorted::iterate_all(self, part, backwards, repeats);
}

constexpr const char* kClassDoc =
    R"(EMMultiDict(dirname, pickler=None, unpickler=None, *, mode='a', allow_pickle=True, memory_limit=None,
            at=None, name=None)
--

A dict with any number of values under each key, which lives in the files of one directory instead of main memory.

What defaultdict(list) is in memory: adding a value to a key does not read or write its other values, however many
those are. Keys are in order, and are what the keys of EMSortedDict may be; the values of a key are in the order in which
they were added. len() is the number of values, count(key) that of one key. O(log n) page touches for each operation on
one value. Durability, arguments and errors are those of EMDict.

>>> import pyrsistence
>>> with pyrsistence.EMMultiDict(None) as d:
...     d.add("main", 0x401000)
...     d.add("exit", 0x402000)
...     d.add("main", 0x401234)
...     d["main"], d.count("main"), len(d), list(d)
([4198400, 4198964], 2, 3, ['exit', 'main']))";

constexpr const char* kAddDoc = R"(add($self, key, value, /)
--

Add a value behind those that the key has. O(log n), whatever their number.

>>> import pyrsistence
>>> with pyrsistence.EMMultiDict(None) as d:
...     d.add("a", 2)
...     d.add("a", 1)
...     d["a"]
[2, 1])";

constexpr const char* kGetAllDoc = R"(getall($self, key, /)
--

Return the values of the key as a list, empty if there are none. O(log n + values).

>>> import pyrsistence
>>> with pyrsistence.EMMultiDict(None) as d:
...     d.add("a", 1)
...     d.getall("a"), d.getall("b")
([1], []))";

constexpr const char* kCountDoc = R"(count($self, key, /)
--

Return how many values the key has. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMMultiDict(None) as d:
...     d.update([("a", 1), ("a", 2)])
...     d.count("a"), d.count("b")
(2, 0))";

constexpr const char* kPopAllDoc = R"(popall($self, key, /)
--

Remove the key and return its values as a list, empty if there are none. O(log n + values).

>>> import pyrsistence
>>> with pyrsistence.EMMultiDict(None) as d:
...     d.update([("a", 1), ("a", 2)])
...     d.popall("a"), "a" in d
([1, 2], False))";

constexpr const char* kDiscardDoc = R"(discard($self, key, value, /)
--

Remove the first value of the key that is equal to this one; return whether there was one. O(log n + values of the key).

>>> import pyrsistence
>>> with pyrsistence.EMMultiDict(None) as d:
...     d.update([("a", 1), ("a", 2), ("a", 1)])
...     d.discard("a", 1), d.discard("a", 3), d["a"]
(True, False, [2, 1]))";

constexpr const char* kBisectLeftDoc = R"(bisect_left($self, key, /)
--

Return how many values have smaller keys. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMMultiDict(None) as d:
...     d.update([(1, "a"), (2, "b"), (2, "c")])
...     d.bisect_left(2)
1)";

constexpr const char* kBisectRightDoc = R"(bisect_right($self, key, /)
--

Return how many values have smaller or equal keys. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMMultiDict(None) as d:
...     d.update([(1, "a"), (2, "b"), (2, "c")])
...     d.bisect_right(2)
3)";

constexpr const char* kReversedDoc = R"(__reversed__($self, /)
--

Iterate over the keys, the greatest first, each once.)";

template <class Function>
PyCFunction fast(Function* function) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function));
}
template <class Function>
PyType_Slot slot(int id, Function* function) {
    return {id, reinterpret_cast<void*>(function)};
}

}  // namespace

void bind_multi_dict(nb::module_& module) {
    using sorted::Repeats;
    multi_dict_type = make_collection_type(
        module, {"pyrsistence.EMMultiDict",
                 kClassDoc,
                 0,
                 &new_collection<kMultiDict>,
                 {slot(Py_mp_subscript, guarded<&subscript>), slot(Py_mp_ass_subscript, guarded<&assign_subscript>),
                  slot(Py_mp_length, guarded<&length>), slot(Py_sq_contains, guarded<&contains>),
                  slot(Py_tp_iter, guarded<&iterate>), slot(Py_tp_richcompare, guarded<&rich_compare>),
                  slot(Py_tp_repr, guarded<&repr>)},
                 {{"add", fast(guarded<&add>), METH_FASTCALL, kAddDoc},
                  {"getall", guarded<&getall>, METH_O, kGetAllDoc},
                  {"count", guarded<&count_values>, METH_O, kCountDoc},
                  {"popall", guarded<&popall>, METH_O, kPopAllDoc},
                  {"discard", fast(guarded<&discard>), METH_FASTCALL, kDiscardDoc},
                  {"clear", guarded<&sorted::clear>, METH_NOARGS, sorted::kClearDoc},
                  {"bisect_left", guarded<&sorted::bisect_left>, METH_O, kBisectLeftDoc},
                  {"bisect_right", guarded<&sorted::bisect_right>, METH_O, kBisectRightDoc},
                  {"__reversed__", guarded<&entries<Part::keys, true, Repeats::once>>, METH_NOARGS, kReversedDoc},
                  {"_add_pairs", guarded<&add_pairs>, METH_O, nullptr},
                  {"_iterate", fast(guarded<&sorted::iterate_slice>), METH_FASTCALL, nullptr},
                  {"_iterate_between", fast(guarded<&sorted::iterate_between>), METH_FASTCALL, nullptr},
                  {"_values", guarded<&entries<Part::values, false, Repeats::all>>, METH_NOARGS, nullptr},
                  {"_items", guarded<&entries<Part::items, false, Repeats::all>>, METH_NOARGS, nullptr}}});
}

}  // namespace pyrsistence::bindings
