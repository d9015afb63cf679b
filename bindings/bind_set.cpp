// EMSet: a RawDict whose values are all None. Its set algebra is in pyrsistence._set.
#include "bindings/batched_store.hpp"
#include "bindings/dict_iterator.hpp"
#include "codec/item.hpp"

namespace pyrsistence::bindings {

namespace {

using Members = Use<RawDict>;

PyTypeObject* set_type = nullptr;

constinit const Kind kSet = kind_of<RawDict, DictType::set>("EMSet", &check_keys, &set_type);

LazyAttribute compare{"pyrsistence._set", "compare"};
LazyAttribute describe{"pyrsistence._set", "describe"};

// --- native operations

void insert(const Collection& set, PyObject* member) {
    Entry entry;
    entry.encode_key(set.serializer(), member);
    put_none(entry.bytes);
    Buffer existing;
    Members(set)->insert(entry.view(), existing);
}

/// The identity of a member that is looked for. As in set, a set stands for the frozenset of its members.
void encode_lookup(const Collection& set, PyObject* member, Buffer& identity) {
    const bool frozen = PySet_Check(member) && Py_TYPE(member)->tp_hash == &PyObject_HashNotImplemented;
    const nb::object key = frozen ? own(PyFrozenSet_New(member)) : nb::borrow(member);
    set.serializer().encode_lookup(key.ptr(), identity);
}

bool erase(PyObject* self, PyObject* member) {
    const Collection& set = collection_of(self);
    Buffer identity;
    encode_lookup(set, member, identity);
    return Members(set)->erase(identity);
}

// --- slots

int contains(PyObject* self, PyObject* member) {
    const Collection& set = collection_of(self);
    Buffer identity;
    encode_lookup(set, member, identity);
    return Members(set)->contains(identity) ? 1 : 0;
}

Py_ssize_t length(PyObject* self) { return static_cast<Py_ssize_t>(Members(collection_of(self))->size()); }

PyObject* iterate(PyObject* self) { return make_dict_iterator(self, Part::keys, false, "Set"); }

PyObject* rich_compare(PyObject* self, PyObject* other, int operation) {
    return compare(nb::handle(self), nb::handle(other), own(PyLong_FromLong(operation))).release().ptr();
}

PyObject* repr(PyObject* self) { return describe(nb::handle(self)).release().ptr(); }

// --- methods

PyObject* add(PyObject* self, PyObject* member) {
    insert(collection_of(self), member);
    Py_RETURN_NONE;
}

PyObject* discard(PyObject* self, PyObject* member) {
    erase(self, member);
    Py_RETURN_NONE;
}

PyObject* remove(PyObject* self, PyObject* member) {
    if (!erase(self, member)) raise_key_error(member);
    Py_RETURN_NONE;
}

/// The member goes only when it has been decoded: an unpickler that fails loses nothing.
PyObject* pop(PyObject* self, PyObject*) {
    const Collection& set = collection_of(self);
    Chunk chunk;
    for (;; checked(PyErr_CheckSignals())) {
        {
            const Members engine(set);
            engine->read_back(engine->next_id(), 1, chunk);
        }
        if (chunk.items.empty()) raise(PyExc_KeyError, "pop from an empty set");
        const codec::EntryView entry = codec::split_entry(chunk.entry(0));
        nb::object member = set.serializer().decode_key(entry.identity, entry.key);
        // False if another thread took it meanwhile.
        if (Members(set)->erase(entry.identity, entry.value)) return member.release().ptr();
    }
}

PyObject* clear(PyObject* self, PyObject*) {
    Members(collection_of(self)).without_gil([](RawDict& engine) { engine.clear(); });
    Py_RETURN_NONE;
}

/// Adds the elements of an iterable, one after the other.
PyObject* add_all(PyObject* self, PyObject* source) {
    if (const auto numbers = NumberArray::of(source, NumberArray::Use::keys, collection_of(self).serializer())) {
        BatchedStore(collection_of(self), source, RawDict::Existing::keep).add_all(*numbers);
        Py_RETURN_NONE;
    }
    const nb::object iterator = own(PyObject_GetIter(source));
    BatchedStore store(collection_of(self), source, RawDict::Existing::keep);
    for_each_element(iterator.ptr(), store, [&](const nb::object& member) { store.add(member.ptr(), nullptr); });
    Py_RETURN_NONE;
}

constexpr const char* kClassDoc =
    R"(EMSet(dirname, pickler=None, unpickler=None, *, mode='a', allow_pickle=True, memory_limit=None,
      at=None, name=None)
--

A set that lives in the files of one directory instead of main memory.

It behaves as set does, and remembers the order in which its members were added. Its operators work with sets,
frozensets, the views of dicts and other EMSets, of which none is loaded into memory; their results are temporary
EMSets. There is nothing to commit: an operation that has returned survives the death of the process; after sync()
or close() it survives power loss too. The arguments and errors are those of EMDict.

>>> import pyrsistence
>>> with pyrsistence.EMSet(None) as s:
...     s.update("abc")
...     "b" in s, len(s), s >= {"a", "c"}
(True, 3, True))";

constexpr const char* kAddDoc = R"(add($self, member, /)
--

Add a member; one that is there stays as it was first added. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMSet(None) as s:
...     s.add(1)
...     s.add(1.0)
...     list(s)
[1])";

constexpr const char* kDiscardDoc = R"(discard($self, member, /)
--

Remove a member if it is there. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMSet(None) as s:
...     s.add("a")
...     s.discard("a")
...     s.discard("b")
...     len(s)
0)";

constexpr const char* kRemoveDoc = R"(remove($self, member, /)
--

Remove a member; KeyError if it is not there. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMSet(None) as s:
...     s.add("a")
...     s.remove("a")
...     "a" in s
False)";

constexpr const char* kPopDoc = R"(pop($self, /)
--

Remove and return the member that was added last; KeyError if the set is empty. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMSet(None) as s:
...     s.update("ab")
...     s.pop()
'b')";

constexpr const char* kClearDoc = R"(clear($self, /)
--

Remove everything, as one atomic operation. Takes time in proportion to the pages in use.

>>> import pyrsistence
>>> with pyrsistence.EMSet(None) as s:
...     s.add(1)
...     s.clear()
...     len(s)
0)";

template <class Function>
PyType_Slot slot(int id, Function* function) {
    return {id, reinterpret_cast<void*>(function)};
}

}  // namespace

void bind_set(nb::module_& module) {
    set_type = make_collection_type(
        module, {"pyrsistence.EMSet",
                 kClassDoc,
                 0,
                 &new_collection<kSet>,
                 {slot(Py_sq_length, guarded<&length>), slot(Py_sq_contains, guarded<&contains>),
                  slot(Py_tp_iter, guarded<&iterate>), slot(Py_tp_richcompare, guarded<&rich_compare>),
                  slot(Py_tp_repr, guarded<&repr>)},
                 {{"add", guarded<&add>, METH_O, kAddDoc},
                  {"discard", guarded<&discard>, METH_O, kDiscardDoc},
                  {"remove", guarded<&remove>, METH_O, kRemoveDoc},
                  {"pop", guarded<&pop>, METH_NOARGS, kPopDoc},
                  {"clear", guarded<&clear>, METH_NOARGS, kClearDoc},
                  {"_add_all", guarded<&add_all>, METH_O, nullptr}}});
}

}  // namespace pyrsistence::bindings
