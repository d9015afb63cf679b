// EMSortedDict, EMSortedSet and EMPriorityQueue. What needs no speed of theirs is in pyrsistence._sorted.
#include "bindings/sorted_parts.hpp"

namespace pyrsistence::bindings {

namespace {

using sorted::Engine;
using sorted::Entry;
using sorted::Part;

PyTypeObject *dict_type = nullptr, *set_type = nullptr, *queue_type = nullptr;

constinit const Kind kDict = kind_of<RawSorted, SortedType::dict>("EMSortedDict", nullptr, &dict_type);
constinit const Kind kSet = kind_of<RawSorted, SortedType::set>("EMSortedSet", nullptr, &set_type);
constinit const Kind kQueue = sorted::with_repeats(kind_of<RawSorted, SortedType::queue>("EMPriorityQueue", nullptr, &queue_type));

LazyAttribute equal{"pyrsistence._mapping", "equal"};
LazyAttribute compare{"pyrsistence._set", "compare"};
LazyAttribute to_pair{"pyrsistence._mapping", "pair"};
LazyAttribute describe{"pyrsistence._sorted", "describe"};
LazyAttribute get_slice{"pyrsistence._sorted", "get_slice"};
LazyAttribute delete_slice{"pyrsistence._sorted", "delete_slice"};

// --- of all three

int contains(PyObject* self, PyObject* key) {
    Buffer sort_key;
    try {
        sorted::encode_sort_key(key, sort_key);
    } catch (const OrderError&) {
        return 0;  // it cannot be there
    }
    return Engine(collection_of(self))->contains(sort_key) ? 1 : 0;
}

Py_ssize_t length(PyObject* self) { return static_cast<Py_ssize_t>(Engine(collection_of(self))->size()); }

PyObject* repr(PyObject* self) { return describe(nb::handle(self)).release().ptr(); }

template <Part part, bool backwards>
PyObject* iterate(PyObject* self, PyObject*) {
    return sorted::iterate_all(self, part, backwards);
}

template <Part part>
PyObject* iterate_forward(PyObject* self) {
    return sorted::iterate_all(self, part, false);
}

Py_ssize_t index_from(PyObject* object) {
    const Py_ssize_t index = PyNumber_AsSsize_t(object, PyExc_IndexError);
    if (index == -1 && PyErr_Occurred()) raise_pending();
    return index;
}

/// The argument of pop() and popitem().
Py_ssize_t index_argument(const char* method, PyObject* const* args, Py_ssize_t count) {
    expect_arguments(method, count, 0, 1);
    return count == 1 ? index_from(args[0]) : -1;
}

/// _at(index, part), as _iterate()
PyObject* at(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("_at", count, 2, 2);
    const long part = PyLong_AsLong(args[1]);
    if (part == -1 && PyErr_Occurred()) raise_pending();
    Chunk chunk;
    const Collection& self_ = collection_of(self);
    if (!sorted::read_at(self_, index_from(args[0]), chunk)) raise(PyExc_IndexError, "index out of range");
    return sorted::decode(self_.serializer(), chunk.entry(0), static_cast<Part>(part));
}

// --- the dict

/// False if there is no such key.
bool find(PyObject* self, PyObject* key, Buffer& sort_key, Buffer& entry) {
    try {
        sorted::encode_sort_key(key, sort_key);
    } catch (const OrderError&) {
        return false;
    }
    return Engine(collection_of(self))->get(sort_key, entry);
}

PyObject* value_of(PyObject* self, const Buffer& entry) {
    return sorted::decode(collection_of(self).serializer(), entry, Part::values);
}

void encode(const Collection& dict, PyObject* key, PyObject* value, Entry& entry) {
    entry.encode_key(dict.serializer(), key);
    dict.serializer().encode_value(value, entry.bytes);
}

void set(const Collection& dict, PyObject* key, PyObject* value) {
    Entry entry;
    encode(dict, key, value, entry);
    Engine(dict)->set(entry.view());
}

/// False if there is no such key.
bool erase(PyObject* self, PyObject* key) {
    Buffer sort_key;
    try {
        sorted::encode_sort_key(key, sort_key);
    } catch (const OrderError&) {
        return false;
    }
    return Engine(collection_of(self))->erase(sort_key);
}

PyObject* subscript(PyObject* self, PyObject* key) {
    Buffer sort_key, entry;
    if (!find(self, key, sort_key, entry)) raise_key_error(key);
    return value_of(self, entry);
}

int assign_subscript(PyObject* self, PyObject* key, PyObject* value) {
    if (value != nullptr) set(collection_of(self), key, value);
    else if (!erase(self, key)) raise_key_error(key);
    return 0;
}

PyObject* dict_compare(PyObject* self, PyObject* other, int operation) {
    if (operation != Py_EQ && operation != Py_NE) Py_RETURN_NOTIMPLEMENTED;
    nb::object same = equal(nb::handle(self), nb::handle(other));
    if (same.ptr() == Py_NotImplemented || operation == Py_EQ) return same.release().ptr();
    return PyBool_FromLong(same.ptr() == Py_False);
}

PyObject* get(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("get", count, 1, 2);
    Buffer sort_key, entry;
    if (find(self, args[0], sort_key, entry)) return value_of(self, entry);
    return Py_NewRef(count == 2 ? args[1] : Py_None);
}

/// The entry goes only when its value has been decoded: an unpickler that fails loses nothing.
PyObject* pop(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("pop", count, 1, 2);
    Buffer sort_key, entry;
    for (; find(self, args[0], sort_key, entry); checked(PyErr_CheckSignals())) {
        nb::object popped = own(value_of(self, entry));
        // False if another thread, or the unpickler, took or replaced it meanwhile.
        if (Engine(collection_of(self))->erase(sort_key, entry)) return popped.release().ptr();
    }
    if (count == 1) raise_key_error(args[0]);
    return Py_NewRef(args[1]);
}

PyObject* popitem(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    const Py_ssize_t index = index_argument("popitem", args, count);
    PyObject* taken = sorted::take_at(collection_of(self), index, Part::items);
    if (taken != nullptr) return taken;
    if (length(self) == 0) raise(PyExc_KeyError, "popitem(): dictionary is empty");
    raise(PyExc_IndexError, "popitem(): index out of range");
}

PyObject* setdefault(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("setdefault", count, 1, 2);
    PyObject* fallback = count == 2 ? args[1] : Py_None;
    Buffer sort_key, existing;
    if (!find(self, args[0], sort_key, existing)) {
        Entry entry;
        encode(collection_of(self), args[0], fallback, entry);
        if (Engine(collection_of(self))->insert(entry.view(), existing)) return Py_NewRef(fallback);
    }
    return value_of(self, existing);
}

/// Stores the pairs of an exact dict or an iterable, one operation each.
PyObject* store_pairs(PyObject* self, PyObject* source) {
    if (const auto numbers = NumberArray::of(source, NumberArray::Use::pairs, collection_of(self).serializer())) {
        sorted::store_rows(collection_of(self), *numbers, [](RawSorted& dict, const auto& entry) { dict.set(entry); });
        Py_RETURN_NONE;
    }
    const nb::object items = PyDict_CheckExact(source) ? own(PyObject_CallMethod(source, "items", nullptr)) : nb::borrow(source);
    const nb::object iterator = own(PyObject_GetIter(items.ptr()));
    SignalPoll poll;
    for (Py_ssize_t position = 0;; ++position, poll.step()) {
        nb::object element = nb::steal(PyIter_Next(iterator.ptr()));
        if (!element.is_valid()) break;
        if (!PyTuple_CheckExact(element.ptr()) || PyTuple_GET_SIZE(element.ptr()) != 2) {
            element = to_pair(own(PyLong_FromSsize_t(position)), element);
        }
        set(collection_of(self), PyTuple_GET_ITEM(element.ptr(), 0), PyTuple_GET_ITEM(element.ptr(), 1));
    }
    if (PyErr_Occurred()) raise_pending();
    Py_RETURN_NONE;
}

// --- the set

void insert(const Collection& set, PyObject* member) {
    Entry entry;
    entry.encode_key(set.serializer(), member);
    put_none(entry.bytes);
    Buffer existing;
    Engine(set)->insert(entry.view(), existing);
}

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

PyObject* set_pop(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    const Py_ssize_t index = index_argument("pop", args, count);
    PyObject* taken = sorted::take_at(collection_of(self), index, Part::keys);
    if (taken == nullptr) raise(PyExc_IndexError, length(self) == 0 ? "pop from an empty set" : "pop(): index out of range");
    return taken;
}

PyObject* add_all(PyObject* self, PyObject* source) {
    if (const auto numbers = NumberArray::of(source, NumberArray::Use::keys, collection_of(self).serializer())) {
        Buffer existing;
        sorted::store_rows(collection_of(self), *numbers,
                           [&](RawSorted& set, const auto& entry) { set.insert(entry, existing); });
        Py_RETURN_NONE;
    }
    const nb::object iterator = own(PyObject_GetIter(source));
    SignalPoll poll;
    for (nb::object member; (member = nb::steal(PyIter_Next(iterator.ptr()))).is_valid(); poll.step()) {
        insert(collection_of(self), member.ptr());
    }
    if (PyErr_Occurred()) raise_pending();
    Py_RETURN_NONE;
}

PyObject* item(PyObject* self, PyObject* index) {
    if (PySlice_Check(index)) return get_slice(nb::handle(self), nb::handle(index)).release().ptr();
    Chunk chunk;
    const Collection& set = collection_of(self);
    if (!sorted::read_at(set, index_from(index), chunk)) raise(PyExc_IndexError, "set index out of range");
    return sorted::decode(set.serializer(), chunk.entry(0), Part::keys);
}

int delete_item(PyObject* self, PyObject* index, PyObject* value) {
    if (value != nullptr) raise(PyExc_TypeError, "the members of a sorted set have no places to be assigned; use add()");
    if (PySlice_Check(index)) {
        delete_slice(nb::handle(self), nb::handle(index));
        return 0;
    }
    const Rank rank = rank_of(index_from(index));
    if (!Engine(collection_of(self))->erase_at(rank)) raise(PyExc_IndexError, "set index out of range");
    return 0;
}

PyObject* set_compare(PyObject* self, PyObject* other, int operation) {
    return compare(nb::handle(self), nb::handle(other), own(PyLong_FromLong(operation))).release().ptr();
}

// --- the queue

void encode_item(const Collection& queue, PyObject* const* args, Py_ssize_t count, Entry& entry) {
    const bool separate = count == 2 && args[1] != args[0];
    entry.encode_key(queue.serializer(), separate ? args[1] : args[0]);
    if (separate) queue.serializer().encode_value(args[0], entry.bytes);
}

PyObject* push(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("push", count, 1, 2);
    Entry entry;
    encode_item(collection_of(self), args, count, entry);
    Engine(collection_of(self))->push(entry.view());
    Py_RETURN_NONE;
}

template <Part part>
PyObject* take_first(PyObject* self, PyObject*) {
    PyObject* taken = sorted::take_at(collection_of(self), 0, part);
    if (taken == nullptr) raise(PyExc_IndexError, "pop from an empty priority queue");
    return taken;
}

template <Part part>
PyObject* peek(PyObject* self, PyObject*) {
    Chunk chunk;
    const Collection& queue = collection_of(self);
    if (!sorted::read_at(queue, 0, chunk)) raise(PyExc_IndexError, "the priority queue is empty");
    return sorted::decode(queue.serializer(), chunk.entry(0), part);
}

/// Null without an error if the queue is empty.
PyObject* exchange(const Collection& queue, const Entry& entry, const Chunk& first) {
    nb::object taken = own(sorted::decode(queue.serializer(), first.entry(0), Part::values));
    return Engine(queue)->replace_first(entry.view(), first.entry(0)) ? taken.release().ptr() : nullptr;
}

PyObject* replace(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("replace", count, 1, 2);
    const Collection& queue = collection_of(self);
    Entry entry;
    encode_item(queue, args, count, entry);
    Chunk first;
    for (; sorted::read_at(queue, 0, first); checked(PyErr_CheckSignals())) {
        if (PyObject* taken = exchange(queue, entry, first)) return taken;
    }
    raise(PyExc_IndexError, "replace in an empty priority queue");
}

PyObject* pushpop(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("pushpop", count, 1, 2);
    const Collection& queue = collection_of(self);
    Entry entry;
    encode_item(queue, args, count, entry);
    Chunk first;
    for (; sorted::read_at(queue, 0, first); checked(PyErr_CheckSignals())) {
        const Bytes smallest = split_sorted_entry(first.entry(0)).sort_key;
        if (!comparable(smallest, entry.sort_key)) Engine(queue)->require_comparable(entry.sort_key);
        if (as_text(entry.sort_key) < as_text(smallest)) break;
        if (PyObject* taken = exchange(queue, entry, first)) return taken;
    }
    return Py_NewRef(args[0]);
}

PyObject* push_all(PyObject* self, PyObject* source) {
    const nb::object iterator = own(PyObject_GetIter(source));
    SignalPoll poll;
    for (nb::object next; (next = nb::steal(PyIter_Next(iterator.ptr()))).is_valid(); poll.step()) {
        PyObject* const args[] = {next.ptr()};
        (void)own(push(self, args, 1));
    }
    if (PyErr_Occurred()) raise_pending();
    Py_RETURN_NONE;
}

// --- documentation

constexpr const char* kDictDoc =
    R"(EMSortedDict(dirname, pickler=None, unpickler=None, *, mode='a', allow_pickle=True, memory_limit=None,
             at=None, name=None)
--

A dict in the order of its keys, which lives in the files of one directory instead of main memory.

It has the methods of dict and of sortedcontainers.SortedDict: ranges of keys (irange), of places (islice), the place of
a key (bisect_left, index) and the key at a place (peekitem). Keys are numbers of any type, in the order of their values;
str, in the order of code points; bytes; dates and times; UUIDs; or tuples of these. Keys that Python cannot compare
raise OrderError, a TypeError. A sort key takes at most 1,000 bytes, about so many characters. Every operation on
one key takes O(log n) page touches. Durability, arguments and errors are those of EMDict.

>>> import pyrsistence
>>> with pyrsistence.EMSortedDict(None) as d:
...     d.update({30: "c", 10: "a", 20.5: "b"})
...     list(d), list(d.irange(15, 30)), d.peekitem(0)
([10, 20.5, 30], [20.5, 30], (10, 'a')))";

constexpr const char* kSetDoc =
    R"(EMSortedSet(dirname, pickler=None, unpickler=None, *, mode='a', allow_pickle=True, memory_limit=None,
            at=None, name=None)
--

A set in the order of its members, which lives in the files of one directory instead of main memory.

It has the methods and operators of set and of sortedcontainers.SortedSet; results are temporary EMSortedSets, and none of
the operands is loaded into memory. What its members may be, and the cost, is as for the keys of EMSortedDict.

>>> import pyrsistence
>>> with pyrsistence.EMSortedSet(None) as s:
...     s.update([30, 10, 20])
...     list(s), s[0], s[-1], list(s.irange(15))
([10, 20, 30], 10, 30, [20, 30]))";

constexpr const char* kQueueDoc =
    R"(EMPriorityQueue(dirname, pickler=None, unpickler=None, *, mode='a', allow_pickle=True, memory_limit=None,
                at=None, name=None)
--

A priority queue that lives in the files of one directory instead of main memory: the smallest item comes first.

Items are their own priorities, as in heapq, or are given one: push(item, priority). Priorities are what the keys of
EMSortedDict are; items are any values if they have a priority of their own. Of equal priorities the first to come
is the first to go. Every operation takes O(log n) page touches. Durability, arguments and errors are those of EMDict.

>>> import pyrsistence
>>> with pyrsistence.EMPriorityQueue(None) as q:
...     q.push("write", 2)
...     q.push("read", 1)
...     q.push("sync", 2)
...     [q.pop() for _ in range(len(q))]
['read', 'write', 'sync'])";

constexpr const char* kGetDoc = R"(get($self, key, default=None, /)
--

Return the value for key, or default if there is none. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMSortedDict(None) as d:
...     d.get("missing", 0)
0)";

constexpr const char* kPopDoc = R"(pop($self, key, default=<unrepresentable>, /)
--

Remove key and return its value; if there is no such key, return default, or raise KeyError. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMSortedDict(None) as d:
...     d[1] = "one"
...     d.pop(1), d.pop(1, None)
('one', None))";

constexpr const char* kPopItemDoc = R"(popitem($self, index=-1, /)
--

Remove and return the pair (key, value) at a place in the order; KeyError if the dict is empty. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMSortedDict(None) as d:
...     d.update(a=1, b=2, c=3)
...     d.popitem(), d.popitem(0)
(('c', 3), ('a', 1)))";

constexpr const char* kSetDefaultDoc = R"(setdefault($self, key, default=None, /)
--

Return the value for key; if there is none, store default first. O(log n).

The result is a copy of what is stored: changing it changes nothing (see edit()).

>>> import pyrsistence
>>> with pyrsistence.EMSortedDict(None) as d:
...     d.setdefault("a", 1), d.setdefault("a", 2)
(1, 1))";

constexpr const char* kReversedDoc = R"(__reversed__($self, /)
--

Iterate over the keys, the greatest first.)";

constexpr const char* kAddDoc = R"(add($self, member, /)
--

Add a member; one that is there stays as it was first added. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMSortedSet(None) as s:
...     s.add(1)
...     s.add(1.0)
...     list(s)
[1])";

constexpr const char* kDiscardDoc = R"(discard($self, member, /)
--

Remove a member if it is there. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMSortedSet(None) as s:
...     s.add("a")
...     s.discard("a")
...     s.discard("b")
...     len(s)
0)";

constexpr const char* kRemoveDoc = R"(remove($self, member, /)
--

Remove a member; KeyError if it is not there. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMSortedSet(None) as s:
...     s.add("a")
...     s.remove("a")
...     "a" in s
False)";

constexpr const char* kSetPopDoc = R"(pop($self, index=-1, /)
--

Remove and return the member at a place in the order; IndexError if there is none. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMSortedSet(None) as s:
...     s.update("abc")
...     s.pop(), s.pop(0)
('c', 'a'))";

constexpr const char* kPushDoc = R"(push($self, item, priority=<the item itself>, /)
--

Add an item, behind those with the same priority. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMPriorityQueue(None) as q:
...     q.push((2, "b"))
...     q.push((1, "a"))
...     q.pop()
(1, 'a'))";

constexpr const char* kQueuePopDoc = R"(pop($self, /)
--

Remove and return the first item; IndexError if there is none. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMPriorityQueue(None) as q:
...     q.update([3, 1, 2])
...     q.pop()
1)";

constexpr const char* kQueuePopItemDoc = R"(popitem($self, /)
--

Remove the first item and return the pair (priority, item); IndexError if there is none. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMPriorityQueue(None) as q:
...     q.push("read", 1)
...     q.popitem()
(1, 'read'))";

constexpr const char* kPeekDoc = R"(peek($self, /)
--

Return the first item, which stays; IndexError if there is none. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMPriorityQueue(None) as q:
...     q.update([3, 1, 2])
...     q.peek(), len(q)
(1, 3))";

constexpr const char* kPeekItemDoc = R"(peekitem($self, /)
--

Return the pair (priority, item) of the first item, which stays; IndexError if there is none. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMPriorityQueue(None) as q:
...     q.push("read", 1)
...     q.peekitem()
(1, 'read'))";

constexpr const char* kReplaceDoc = R"(replace($self, item, priority=<the item itself>, /)
--

Remove and return the first item, then add another, as one atomic operation; IndexError if there is none. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMPriorityQueue(None) as q:
...     q.update([2, 3])
...     q.replace(1), q.peek()
(2, 1))";

constexpr const char* kPushPopDoc = R"(pushpop($self, item, priority=<the item itself>, /)
--

Add an item, then remove and return the first one, as one atomic operation. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMPriorityQueue(None) as q:
...     q.update([2, 3])
...     q.pushpop(1), q.pushpop(4), list(q)
(1, 2, [3, 4]))";

constexpr const char* kUpdateDoc = R"(update($self, iterable, /)
--

Add the elements of an iterable, one operation each.

>>> import pyrsistence
>>> with pyrsistence.EMPriorityQueue(None) as q:
...     q.update([3, 1, 2])
...     list(q)
[1, 2, 3])";

template <class Function>
PyCFunction fast(Function* function) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function));
}
template <class Function>
PyType_Slot slot(int id, Function* function) {
    return {id, reinterpret_cast<void*>(function)};
}

/// Of dict and set.
std::vector<PyMethodDef> with_ranges(std::vector<PyMethodDef> methods) {
    methods.insert(methods.end(), {{"bisect_left", guarded<&sorted::bisect_left>, METH_O, sorted::kBisectLeftDoc},
                                   {"bisect_right", guarded<&sorted::bisect_right>, METH_O, sorted::kBisectRightDoc},
                                   {"index", fast(guarded<&sorted::index_of>), METH_FASTCALL, sorted::kIndexDoc},
                                   {"clear", guarded<&sorted::clear>, METH_NOARGS, sorted::kClearDoc},
                                   {"__reversed__", guarded<&iterate<Part::keys, true>>, METH_NOARGS, kReversedDoc},
                                   {"_erase_slice", fast(guarded<&sorted::erase_slice>), METH_FASTCALL, nullptr},
                                   {"_erase_between", fast(guarded<&sorted::erase_between>), METH_FASTCALL, nullptr},
                                   {"_iterate", fast(guarded<&sorted::iterate_slice>), METH_FASTCALL, nullptr},
                                   {"_iterate_between", fast(guarded<&sorted::iterate_between>), METH_FASTCALL, nullptr},
                                   {"_at", fast(guarded<&at>), METH_FASTCALL, nullptr}});
    return methods;
}

}  // namespace

void bind_sorted(nb::module_& module) {
    sorted::init_iterator();
    dict_type = make_collection_type(
        module, {"pyrsistence.EMSortedDict",
                 kDictDoc,
                 Py_TPFLAGS_MAPPING,
                 &new_collection<kDict>,
                 {slot(Py_mp_subscript, guarded<&subscript>), slot(Py_mp_ass_subscript, guarded<&assign_subscript>),
                  slot(Py_mp_length, guarded<&length>), slot(Py_sq_contains, guarded<&contains>),
                  slot(Py_tp_iter, guarded<&iterate_forward<Part::keys>>), slot(Py_tp_richcompare, guarded<&dict_compare>),
                  slot(Py_tp_repr, guarded<&repr>)},
                 with_ranges({{"get", fast(guarded<&get>), METH_FASTCALL, kGetDoc},
                              {"pop", fast(guarded<&pop>), METH_FASTCALL, kPopDoc},
                              {"popitem", fast(guarded<&popitem>), METH_FASTCALL, kPopItemDoc},
                              {"setdefault", fast(guarded<&setdefault>), METH_FASTCALL, kSetDefaultDoc},
                              {"_store_pairs", guarded<&store_pairs>, METH_O, nullptr},
                              {"_values", guarded<&iterate<Part::values, false>>, METH_NOARGS, nullptr},
                              {"_items", guarded<&iterate<Part::items, false>>, METH_NOARGS, nullptr},
                              {"_reversed_values", guarded<&iterate<Part::values, true>>, METH_NOARGS, nullptr},
                              {"_reversed_items", guarded<&iterate<Part::items, true>>, METH_NOARGS, nullptr}})});
    set_type = make_collection_type(
        module, {"pyrsistence.EMSortedSet",
                 kSetDoc,
                 0,
                 &new_collection<kSet>,
                 {slot(Py_mp_subscript, guarded<&item>), slot(Py_mp_ass_subscript, guarded<&delete_item>),
                  slot(Py_mp_length, guarded<&length>), slot(Py_sq_contains, guarded<&contains>),
                  slot(Py_tp_iter, guarded<&iterate_forward<Part::keys>>), slot(Py_tp_richcompare, guarded<&set_compare>),
                  slot(Py_tp_repr, guarded<&repr>)},
                 with_ranges({{"add", guarded<&add>, METH_O, kAddDoc},
                              {"discard", guarded<&discard>, METH_O, kDiscardDoc},
                              {"remove", guarded<&remove>, METH_O, kRemoveDoc},
                              {"pop", fast(guarded<&set_pop>), METH_FASTCALL, kSetPopDoc},
                              {"_add_all", guarded<&add_all>, METH_O, nullptr}})});
    queue_type = make_collection_type(
        module, {"pyrsistence.EMPriorityQueue",
                 kQueueDoc,
                 0,
                 &new_collection<kQueue>,
                 {slot(Py_sq_length, guarded<&length>), slot(Py_tp_iter, guarded<&iterate_forward<Part::values>>),
                  slot(Py_tp_repr, guarded<&repr>)},
                 {{"push", fast(guarded<&push>), METH_FASTCALL, kPushDoc},
                  {"pop", guarded<&take_first<Part::values>>, METH_NOARGS, kQueuePopDoc},
                  {"popitem", guarded<&take_first<Part::items>>, METH_NOARGS, kQueuePopItemDoc},
                  {"peek", guarded<&peek<Part::values>>, METH_NOARGS, kPeekDoc},
                  {"peekitem", guarded<&peek<Part::items>>, METH_NOARGS, kPeekItemDoc},
                  {"replace", fast(guarded<&replace>), METH_FASTCALL, kReplaceDoc},
                  {"pushpop", fast(guarded<&pushpop>), METH_FASTCALL, kPushPopDoc},
                  {"update", guarded<&push_all>, METH_O, kUpdateDoc},
                  {"clear", guarded<&sorted::clear>, METH_NOARGS, sorted::kClearDoc},
                  {"_items", guarded<&iterate<Part::items, false>>, METH_NOARGS, nullptr}}});
}

}  // namespace pyrsistence::bindings
