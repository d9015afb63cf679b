#include "bindings/batched_store.hpp"
#include "bindings/dict_iterator.hpp"
#include "codec/item.hpp"
#include "pyrsistence/raw_dict.hpp"

namespace pyrsistence::bindings {

namespace {

using Dict = Use<RawDict>;

PyTypeObject* dict_type = nullptr;

constinit const Kind kDict = kind_of<RawDict>("EMDict", &check_keys, &dict_type);

LazyAttribute compare{"pyrsistence._mapping", "equal"};
LazyAttribute describe{"pyrsistence._mapping", "describe"};
LazyAttribute to_pair{"pyrsistence._mapping", "pair"};

bool overrides_get(PyObject* self) { return overrides(self, dict_type, &PyMappingMethods::mp_subscript); }
bool overrides_set(PyObject* self) { return overrides(self, dict_type, &PyMappingMethods::mp_ass_subscript); }
bool overrides_iter(PyObject* self) { return overrides(self, dict_type, &PyTypeObject::tp_iter); }

/// Calls the Python implementation of a method, which relies on [] and the like only.
PyObject* generic(const char* name, PyObject* self, PyObject* const* args, Py_ssize_t count) {
    static PyObject* module = nullptr;
    if (module == nullptr) module = own(PyImport_ImportModule("pyrsistence._mapping")).release().ptr();
    const nb::object function = own(PyObject_GetAttrString(module, name));
    PyObject* arguments[4] = {self};
    std::copy(args, args + count, arguments + 1);
    return PyObject_Vectorcall(function.ptr(), arguments, static_cast<std::size_t>(count + 1), nullptr);
}

// --- native operations

/// False if there is no such key.
bool find(const Collection& self, PyObject* key, Buffer& identity, Buffer& value) {
    self.serializer().encode_lookup(key, identity);
    return Dict(self)->get(identity, value);
}

void set(const Collection& self, PyObject* key, PyObject* value) {
    Entry entry;
    entry.encode(self.serializer(), key, value);
    Dict(self)->set(entry.view());
}

/// What a subclass has under this name; null without an error if there is nothing.
nb::object subclass_attribute(PyObject* self, const char* name) {
    if (Py_TYPE(self) == dict_type) return {};
    nb::object attribute = nb::steal(PyObject_GetAttrString(reinterpret_cast<PyObject*>(Py_TYPE(self)), name));
    if (attribute.is_valid()) return attribute;
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) raise_pending();
    PyErr_Clear();
    return {};
}

/// A missing key is an error, unless a subclass says otherwise, as EMCounter does.
void erase(PyObject* self, PyObject* key) {
    const Collection& dict = collection_of(self);
    Buffer identity;
    dict.serializer().encode_lookup(key, identity);
    if (Dict(dict)->erase(identity)) return;
    if (!subclass_attribute(self, "_missing_is_deleted").is_valid()) raise_key_error(key);
}

/// dict's hook for subclasses; null without an error if there is none.
nb::object call_missing(PyObject* self, PyObject* key) {
    const nb::object method = subclass_attribute(self, "__missing__");
    if (!method.is_valid()) return {};
    return own(PyObject_CallFunctionObjArgs(method.ptr(), self, key, nullptr));
}

/// Stores the pairs of an exact dict or an iterable, one after the other. What is no pair is left to Python, for
/// its errors.
PyObject* store_pairs(PyObject* self, PyObject* source) {
    if (const auto numbers = NumberArray::of(source, NumberArray::Use::pairs, collection_of(self).serializer())) {
        BatchedStore(collection_of(self), source, RawDict::Existing::replace).add_all(*numbers);
        Py_RETURN_NONE;
    }
    const nb::object items = PyDict_CheckExact(source) ? own(PyObject_CallMethod(source, "items", nullptr)) : nb::borrow(source);
    const nb::object iterator = own(PyObject_GetIter(items.ptr()));
    BatchedStore store(collection_of(self), source, RawDict::Existing::replace);
    Py_ssize_t position = 0;
    for_each_element(iterator.ptr(), store, [&](nb::object element) {
        if (!PyTuple_CheckExact(element.ptr()) || PyTuple_GET_SIZE(element.ptr()) != 2) {
            store.flush();
            element = to_pair(own(PyLong_FromSsize_t(position)), element);
        }
        store.add(PyTuple_GET_ITEM(element.ptr(), 0), PyTuple_GET_ITEM(element.ptr(), 1));
        ++position;
    });
    Py_RETURN_NONE;
}

// --- slots

PyObject* subscript(PyObject* self, PyObject* key) {
    const Collection& dict = collection_of(self);
    Buffer identity, value;
    if (find(dict, key, identity, value)) [[likely]]
        return dict.serializer().decode_value(value).release().ptr();
    nb::object other = call_missing(self, key);
    if (!other.is_valid()) raise_key_error(key);
    return other.release().ptr();
}

int assign_subscript(PyObject* self, PyObject* key, PyObject* value) {
    if (value == nullptr) erase(self, key);
    else set(collection_of(self), key, value);
    return 0;
}

int contains(PyObject* self, PyObject* key) {
    const Collection& dict = collection_of(self);
    Buffer identity;
    dict.serializer().encode_lookup(key, identity);
    return Dict(dict)->contains(identity) ? 1 : 0;
}

Py_ssize_t length(PyObject* self) { return static_cast<Py_ssize_t>(Dict(collection_of(self))->size()); }

PyObject* iterate(PyObject* self) { return make_dict_iterator(self, Part::keys, false, "dictionary"); }

PyObject* rich_compare(PyObject* self, PyObject* other, int operation) {
    if (operation != Py_EQ && operation != Py_NE) Py_RETURN_NOTIMPLEMENTED;
    nb::object equal = compare(nb::handle(self), nb::handle(other));
    if (equal.ptr() == Py_NotImplemented || operation == Py_EQ) return equal.release().ptr();
    return PyBool_FromLong(equal.ptr() == Py_False);
}

PyObject* repr(PyObject* self) { return describe(nb::handle(self)).release().ptr(); }

// --- methods

PyObject* get(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("get", count, 1, 2);
    if (overrides_get(self)) return generic("generic_get", self, args, count);
    const Collection& dict = collection_of(self);
    Buffer identity, value;
    if (find(dict, args[0], identity, value)) return dict.serializer().decode_value(value).release().ptr();
    return Py_NewRef(count == 2 ? args[1] : Py_None);
}

/// Appends the values of these keys to the list, by way of `found`.
void look_up(const Collection& dict, const Chunk& identities, Chunk& found, nb::handle fallback, PyObject* values) {
    Dict(dict).without_gil([&](const RawDict& engine) { engine.get_many(identities, found); });
    for (std::size_t i = 0; i < found.items.size(); ++i) {
        const nb::object value = found.items[i].key == 0 ? nb::borrow(fallback)
                                                         : dict.serializer().decode_value(found.entry(i));
        checked(PyList_Append(values, value.ptr()));
    }
}

PyObject* get_many(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("get_many", count, 1, 2);
    if (overrides_get(self)) return generic("generic_get_many", self, args, count);
    const Collection& dict = collection_of(self);
    const nb::handle fallback = count == 2 ? args[1] : Py_None;
    const nb::object values = own(PyList_New(0));
    Chunk identities, found;
    Buffer identity;
    SignalPoll poll;
    const auto add = [&] {
        identities.add(0, identity);
        identity.clear();
        if (identities.items.size() < RawDict::kTogether) return;
        look_up(dict, identities, found, fallback, values.ptr());
        identities.clear();
    };
    if (const auto numbers = NumberArray::of(args[0], NumberArray::Use::keys, dict.serializer())) {
        for (std::size_t i = 0; i < numbers->rows(); ++i, poll.step()) {
            numbers->key(i).put_identity(identity);
            add();
        }
    } else {
        const nb::object iterator = own(PyObject_GetIter(args[0]));
        for (nb::object key; (key = nb::steal(PyIter_Next(iterator.ptr()))).is_valid(); poll.step()) {
            dict.serializer().encode_lookup(key.ptr(), identity);
            add();
        }
        if (PyErr_Occurred()) raise_pending();
    }
    look_up(dict, identities, found, fallback, values.ptr());
    return Py_NewRef(values.ptr());
}

/// The entry goes only when its value has been decoded: an unpickler that fails loses nothing.
PyObject* pop(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("pop", count, 1, 2);
    if (overrides_get(self) || overrides_set(self)) return generic("generic_pop", self, args, count);
    const Collection& dict = collection_of(self);
    Buffer identity, value;
    dict.serializer().encode_lookup(args[0], identity);
    for (; Dict(dict)->get(identity, value); checked(PyErr_CheckSignals())) {
        nb::object popped = dict.serializer().decode_value(value);
        // False if another thread, or the unpickler, took or replaced it meanwhile.
        if (Dict(dict)->erase(identity, value)) return popped.release().ptr();
    }
    if (count == 1) raise_key_error(args[0]);
    return Py_NewRef(args[1]);
}

PyObject* popitem(PyObject* self, PyObject*) {
    if (overrides_get(self) || overrides_set(self)) return generic("generic_popitem", self, nullptr, 0);
    const Collection& dict = collection_of(self);
    Chunk chunk;
    for (;; checked(PyErr_CheckSignals())) {
        {
            const Dict engine(dict);
            engine->read_back(engine->next_id(), 1, chunk);
        }
        if (chunk.items.empty()) {
            PyErr_SetString(PyExc_KeyError, "popitem(): dictionary is empty");
            raise_pending();
        }
        const codec::EntryView entry = codec::split_entry(chunk.entry(0));
        const nb::object key = dict.serializer().decode_key(entry.identity, entry.key);
        const nb::object value = dict.serializer().decode_value(entry.value);
        // False if another thread took or replaced it meanwhile.
        if (Dict(dict)->erase(entry.identity, entry.value)) return PyTuple_Pack(2, key.ptr(), value.ptr());
    }
}

PyObject* setdefault(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("setdefault", count, 1, 2);
    if (overrides_get(self) || overrides_set(self)) return generic("generic_setdefault", self, args, count);
    const Collection& dict = collection_of(self);
    PyObject* fallback = count == 2 ? args[1] : Py_None;
    Buffer identity, value;
    if (!find(dict, args[0], identity, value)) {
        Entry entry;
        entry.encode(dict.serializer(), args[0], fallback);
        if (Dict(dict)->insert(entry.view(), value)) return Py_NewRef(fallback);
    }
    return dict.serializer().decode_value(value).release().ptr();
}

PyObject* clear(PyObject* self, PyObject*) {
    if (overrides_set(self)) return generic("generic_clear", self, nullptr, 0);
    Dict(collection_of(self)).without_gil([](RawDict& engine) { engine.clear(); });
    Py_RETURN_NONE;
}

PyObject* reversed(PyObject* self, PyObject*) { return make_dict_iterator(self, Part::keys, true, "dictionary"); }

/// For the views: None if a subclass overrides what they are made of.
template <Part part, bool backwards>
PyObject* entries(PyObject* self, PyObject*) {
    if (overrides_get(self) || overrides_iter(self)) Py_RETURN_NONE;
    return make_dict_iterator(self, part, backwards, "dictionary");
}

constexpr const char* kClassDoc =
    R"(EMDict(dirname, pickler=None, unpickler=None, *, mode='a', allow_pickle=True, memory_limit=None,
       at=None, name=None)
--

A dict that lives in the files of one directory instead of main memory.

It behaves as dict does: insertion order, views, equality, errors. There is nothing to commit: an operation
that has returned survives the death of the process; after sync() or close() it survives power loss too.
What is read is a fresh copy: to change a stored list, store it again, or use edit(). A key is found by two trees of
some 300 children a node: O(log n), five pages of 4 KiB in a million entries.

dirname: str or os.PathLike; None is a temporary store, deleted when it is closed.
pickler, unpickler: objects with pickle(object) -> bytes and unpickle(bytes) -> object, for every key and
    value; by default built-in types have an encoding of their own, and others are pickled.
mode: "a" creates what is missing, "r" reads only, "r+" must exist, "w" empties a store, "x" must not exist.
allow_pickle: False refuses to pickle and to unpickle: for files from strangers.
memory_limit: bytes of private memory, at least 4 MiB; by default a quarter of what the process may use.
name: of the dict, in a store of several containers (see Store); with "r" and "r+" it must exist, too.
at: the name of a snapshot of the store to be read (see snapshots); nothing can be changed then.

Raises FormatError, LockedError (the message names the process), CorruptionError, FileNotFoundError,
FileExistsError, StorageError; all are RuntimeErrors whose message begins "Cannot open EMDict".

>>> import pyrsistence
>>> with pyrsistence.EMDict(None) as d:
...     d["answer"] = 42
...     d["answer"], len(d), "question" in d
(42, 1, False))";

constexpr const char* kGetDoc = R"(get($self, key, default=None, /)
--

Return the value for key, or default if there is none. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMDict(None) as d:
...     d.get("missing", 0)
0)";

constexpr const char* kGetManyDoc = R"(get_many($self, keys, default=None, /)
--

Return the values for many keys as a list, with default for those that are missing.

keys: an iterable, of many numbers best an ndarray; the list has their order. The same as
[d.get(key, default) for key in keys], but what the keys need is loaded side by side, from memory or, for a store
larger than memory, from the disk: worth it for keys that are spread over millions of entries.
O(len(keys)). The keys are looked up in groups, each of which sees one moment of a dict that others change.

>>> import pyrsistence
>>> with pyrsistence.EMDict(None) as d:
...     d.update(a=1, b=2)
...     d.get_many(["b", "c", "a"], 0)
[2, 0, 1])";

constexpr const char* kPopDoc = R"(pop($self, key, default=<unrepresentable>, /)
--

Remove key and return its value; if there is no such key, return default, or raise KeyError. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMDict(None) as d:
...     d[1] = "one"
...     d.pop(1), d.pop(1, None)
('one', None))";

constexpr const char* kPopItemDoc = R"(popitem($self, /)
--

Remove and return the pair (key, value) that was inserted last; KeyError if the dict is empty. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMDict(None) as d:
...     d.update(a=1, b=2)
...     d.popitem()
('b', 2))";

constexpr const char* kSetDefaultDoc = R"(setdefault($self, key, default=None, /)
--

Return the value for key; if there is none, store default first. O(log n).

The result is a copy of what is stored: changing it changes nothing (see edit()).

>>> import pyrsistence
>>> with pyrsistence.EMDict(None) as d:
...     d.setdefault("a", 1), d.setdefault("a", 2)
(1, 1))";

constexpr const char* kClearDoc = R"(clear($self, /)
--

Remove everything, as one atomic operation. Takes time in proportion to the pages in use.

>>> import pyrsistence
>>> with pyrsistence.EMDict(None) as d:
...     d[1] = 1
...     d.clear()
...     len(d)
0)";

constexpr const char* kReversedDoc = R"(__reversed__($self, /)
--

Iterate over the keys, the one inserted last first.)";

template <class Function>
PyCFunction fast(Function* function) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function));
}

std::vector<PyMethodDef> methods() {
    return {
        {"get", fast(guarded<&get>), METH_FASTCALL, kGetDoc},
        {"get_many", fast(guarded<&get_many>), METH_FASTCALL, kGetManyDoc},
        {"pop", fast(guarded<&pop>), METH_FASTCALL, kPopDoc},
        {"popitem", guarded<&popitem>, METH_NOARGS, kPopItemDoc},
        {"setdefault", fast(guarded<&setdefault>), METH_FASTCALL, kSetDefaultDoc},
        {"clear", guarded<&clear>, METH_NOARGS, kClearDoc},
        {"__reversed__", guarded<&reversed>, METH_NOARGS, kReversedDoc},
        {"_store_pairs", guarded<&store_pairs>, METH_O, nullptr},
        {"_values", guarded<&entries<Part::values, false>>, METH_NOARGS, nullptr},
        {"_items", guarded<&entries<Part::items, false>>, METH_NOARGS, nullptr},
        {"_reversed_values", guarded<&entries<Part::values, true>>, METH_NOARGS, nullptr},
        {"_reversed_items", guarded<&entries<Part::items, true>>, METH_NOARGS, nullptr},
    };
}

template <class Function>
PyType_Slot slot(int id, Function* function) {
    return {id, reinterpret_cast<void*>(function)};
}

}  // namespace

void bind_dict(nb::module_& module) {
    init_dict_iterator();
    dict_type = make_collection_type(
        module, {"pyrsistence.EMDict",
                 kClassDoc,
                 Py_TPFLAGS_MAPPING,
                 &new_collection<kDict>,
                 {slot(Py_mp_subscript, guarded<&subscript>),
                  slot(Py_mp_ass_subscript, guarded<&assign_subscript>), slot(Py_mp_length, guarded<&length>),
                  slot(Py_sq_contains, guarded<&contains>), slot(Py_tp_iter, guarded<&iterate>),
                  slot(Py_tp_richcompare, guarded<&rich_compare>), slot(Py_tp_repr, guarded<&repr>)},
                 methods()});
}

}  // namespace pyrsistence::bindings
