// EMDeque: a RawList that may have a limit.
#include "bindings/list.hpp"

namespace pyrsistence::bindings {

namespace {

using list::Cursor;
using list::ListUse;

PyTypeObject* deque_type = nullptr;

constexpr Kind deque_kind() {
    Kind kind = kind_of<RawList, ListType::deque>("EMDeque", nullptr, &deque_type);
    kind.has_max_size = true;
    kind.open_in = [](const Handle& where, const Options& options) {
        return std::unique_ptr<Handle>(std::make_unique<RawList>(where, options.name, ListType::deque, options.max_size));
    };
    return kind;
}
constinit const Kind kDeque = deque_kind();

LazyAttribute describe{"pyrsistence._deque", "describe"};
LazyAttribute concatenated{"pyrsistence._deque", "concatenated"};
LazyAttribute repeated{"pyrsistence._deque", "repeated"};
LazyAttribute repetitions{"pyrsistence._deque", "repetitions"};
LazyAttribute copied{"pyrsistence._deque", "copy"};
LazyAttribute model{"collections", "deque"};

constexpr const char* kOutOfRange = "deque index out of range";
constexpr const char* kEmpty = "pop from an empty deque";

bool is_deque(PyObject* object) { return PyObject_TypeCheck(object, deque_type) != 0; }

Py_ssize_t index_from(PyObject* key) {
    if (PyIndex_Check(key)) [[likely]] return list::index_from(key);
    PyErr_Format(PyExc_TypeError, "sequence index must be integer, not '%.200s'", Py_TYPE(key)->tp_name);
    raise_pending();
}

void push(PyObject* self, PyObject* value, bool front) {
    const Collection& deque = collection_of(self);
    Buffer item;
    deque.serializer().encode_value(value, item);
    const ListUse use(deque);
    if (front) use->prepend(item);
    else use->append(item);
}

void push_all(PyObject* self, PyObject* iterable, bool front) {
    const nb::object source = iterable == self ? copied(nb::handle(self)) : nb::borrow(iterable);
    if (!front && !ListUse(collection_of(self))->max_size()) return list::append_all(self, source.ptr());
    const nb::object iterator = own(PyObject_GetIter(source.ptr()));
    SignalPoll poll;
    for (nb::object value; (value = nb::steal(PyIter_Next(iterator.ptr()))).is_valid(); poll.step()) {
        push(self, value.ptr(), front);
    }
    if (PyErr_Occurred()) raise_pending();
}

// --- slots

Py_ssize_t length(PyObject* self) { return static_cast<Py_ssize_t>(list::size(self)); }

PyObject* item(PyObject* self, Py_ssize_t index) {
    // Negative indices have had the length added already.
    return list::get_item(self, index < 0 ? PY_SSIZE_T_MAX : index, kOutOfRange);
}

PyObject* subscript(PyObject* self, PyObject* key) { return list::get_item(self, index_from(key), kOutOfRange); }

int assign_subscript(PyObject* self, PyObject* key, PyObject* value) {
    if (value != nullptr) list::set_item(self, index_from(key), value, kOutOfRange);
    else list::erase_item(self, index_from(key), kOutOfRange);
    return 0;
}

int contains(PyObject* self, PyObject* value) { return list::Search(self, value).next().has_value() ? 1 : 0; }

PyObject* iterate(PyObject* self, Cursor::Direction direction) {
    return list::iterate(self, direction, true, "deque mutated during iteration").release().ptr();
}
PyObject* iterator(PyObject* self) { return iterate(self, Cursor::Direction::forward); }
PyObject* reversed(PyObject* self, PyObject*) { return iterate(self, Cursor::Direction::backward); }

PyObject* rich_compare(PyObject* self, PyObject* other, int operation) {
    if (!is_deque(other) && checked(PyObject_IsInstance(other, model.get())) == 0) Py_RETURN_NOTIMPLEMENTED;
    return list::compare(self, other, operation).release().ptr();
}

PyObject* concatenate(PyObject* self, PyObject* other) {
    if (is_deque(other) || checked(PyObject_IsInstance(other, model.get())) != 0) {
        return concatenated(nb::handle(self), nb::handle(other)).release().ptr();
    }
    PyErr_Format(PyExc_TypeError, "can only concatenate deque (not \"%.200s\") to deque", Py_TYPE(other)->tp_name);
    return nullptr;
}

PyObject* extend_in_place(PyObject* self, PyObject* iterable) {
    push_all(self, iterable, false);
    return Py_NewRef(self);
}

PyObject* repeat(PyObject* self, Py_ssize_t times) {
    return repeated(nb::handle(self), own(PyLong_FromSsize_t(times))).release().ptr();
}

/// The items that there are, once more each time.
PyObject* repeat_in_place(PyObject* self, Py_ssize_t times) {
    if (times <= 0) ListUse(collection_of(self)).without_gil([](RawList& items) { items.clear(); });
    times = PyLong_AsSsize_t(repetitions(nb::handle(self), own(PyLong_FromSsize_t(times))).ptr());
    if (times > 1) {
        const nb::object copy = copied(nb::handle(self));
        for (Py_ssize_t i = 1; i < times; ++i) {
            push_all(self, copy.ptr(), false);
            checked(PyErr_CheckSignals());
        }
    }
    return Py_NewRef(self);
}

PyObject* repr(PyObject* self) { return describe(nb::handle(self)).release().ptr(); }

// --- methods

template <bool front>
PyObject* append(PyObject* self, PyObject* value) {
    push(self, value, front);
    Py_RETURN_NONE;
}

template <bool front>
PyObject* extend(PyObject* self, PyObject* iterable) {
    push_all(self, iterable, front);
    Py_RETURN_NONE;
}

template <bool front>
PyObject* pop(PyObject* self, PyObject*) {
    return list::take_item(self, front ? 0 : -1, kEmpty, kEmpty).release().ptr();
}

PyObject* insert(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("insert", count, 2, 2);
    if (!list::insert_item(self, list::index_from(args[0], PyExc_OverflowError), args[1])) {
        raise(PyExc_IndexError, "deque already at its maximum size");
    }
    Py_RETURN_NONE;
}

PyObject* remove(PyObject* self, PyObject* value) {
    list::remove_equal(self, value, "deque.remove(x): x not in deque");
    Py_RETURN_NONE;
}

PyObject* index(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("index", count, 1, 3);
    return list::index_of(self, args, count, "%R is not in deque");
}

PyObject* count(PyObject* self, PyObject* value) { return list::count_equal(self, value); }

PyObject* rotate(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("rotate", count, 0, 1);
    const Py_ssize_t steps = count == 0 ? 1 : list::index_from(args[0], PyExc_OverflowError);
    ListUse(collection_of(self)).without_gil([steps](RawList& items) { items.rotate(steps); });
    Py_RETURN_NONE;
}

PyObject* reverse(PyObject* self, PyObject*) {
    ListUse(collection_of(self)).without_gil([](RawList& items) { items.reverse(); });
    Py_RETURN_NONE;
}

PyObject* clear(PyObject* self, PyObject*) {
    ListUse(collection_of(self)).without_gil([](RawList& items) { items.clear(); });
    Py_RETURN_NONE;
}

PyObject* max_size(PyObject* self, void*) {
    const auto limit = ListUse(collection_of(self))->max_size();
    if (!limit) Py_RETURN_NONE;
    return PyLong_FromUnsignedLongLong(*limit);
}

constexpr const char* kClassDoc =
    R"(EMDeque(dirname, pickler=None, unpickler=None, *, mode='a', allow_pickle=True, memory_limit=None,
        at=None, name=None, maxlen=None)
--

A collections.deque that lives in the files of one directory instead of main memory.

It behaves as deque does, and every operation at any place takes O(log n), not only at the ends. There is nothing to
commit: an operation that has returned survives the death of the process; after sync() or close() it survives power
loss too. What is read is a fresh copy: to change a stored list, store it again, or use edit().

maxlen: the most items; a new item at one end of a full deque pushes out the one at the other, in one atomic operation.
    It belongs to the stored deque: a new one gets it; one that has another maxlen raises FormatError.
The other arguments and the errors are those of EMDict.

>>> import pyrsistence
>>> with pyrsistence.EMDeque(None, maxlen=3) as d:
...     d.extend("abcd")
...     d.appendleft("z")
...     list(d), d.pop(), d.popleft()
(['z', 'b', 'c'], 'c', 'z'))";

constexpr const char* kAppendDoc = R"(append($self, value, /)
--

Add a value at the right end. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMDeque(None) as d:
...     d.append(1)
...     d[-1]
1)";

constexpr const char* kAppendLeftDoc = R"(appendleft($self, value, /)
--

Add a value at the left end. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMDeque(None) as d:
...     d.append(1)
...     d.appendleft(0)
...     list(d)
[0, 1])";

constexpr const char* kExtendDoc = R"(extend($self, iterable, /)
--

Append the elements of an iterable at the right end, one operation each.

>>> import pyrsistence
>>> with pyrsistence.EMDeque(None, maxlen=2) as d:
...     d.extend([1, 2, 3])
...     list(d)
[2, 3])";

constexpr const char* kExtendLeftDoc = R"(extendleft($self, iterable, /)
--

Append the elements of an iterable at the left end one after the other, which reverses them.

>>> import pyrsistence
>>> with pyrsistence.EMDeque(None) as d:
...     d.extendleft([1, 2, 3])
...     list(d)
[3, 2, 1])";

constexpr const char* kPopDoc = R"(pop($self, /)
--

Remove and return the value at the right end; IndexError if there is none. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMDeque(None) as d:
...     d.extend("ab")
...     d.pop()
'b')";

constexpr const char* kPopLeftDoc = R"(popleft($self, /)
--

Remove and return the value at the left end; IndexError if there is none. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMDeque(None) as d:
...     d.extend("ab")
...     d.popleft()
'a')";

constexpr const char* kInsertDoc = R"(insert($self, index, value, /)
--

Insert a value before an index; IndexError if the deque is full. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMDeque(None) as d:
...     d.extend("ac")
...     d.insert(1, "b")
...     list(d)
['a', 'b', 'c'])";

constexpr const char* kRemoveDoc = R"(remove($self, value, /)
--

Remove the first item that is equal to the value; ValueError if there is none. O(n).

>>> import pyrsistence
>>> with pyrsistence.EMDeque(None) as d:
...     d.extend("aba")
...     d.remove("a")
...     list(d)
['b', 'a'])";

constexpr const char* kIndexDoc = R"(index($self, value, start=0, stop=sys.maxsize, /)
--

Return the index of the first item that is equal to the value; ValueError if there is none. O(n).

>>> import pyrsistence
>>> with pyrsistence.EMDeque(None) as d:
...     d.extend("abc")
...     d.index("b")
1)";

constexpr const char* kCountDoc = R"(count($self, value, /)
--

Return how many items are equal to the value. O(n).

>>> import pyrsistence
>>> with pyrsistence.EMDeque(None) as d:
...     d.extend("aba")
...     d.count("a")
2)";

constexpr const char* kRotateDoc = R"(rotate($self, n=1, /)
--

Move n items one by one from the right end to the left one, or if n is negative the other way. Atomic.

O(min(abs(n), len) log len). An iterator does not notice it.

>>> import pyrsistence
>>> with pyrsistence.EMDeque(None) as d:
...     d.extend("abc")
...     d.rotate(1)
...     list(d)
['c', 'a', 'b'])";

constexpr const char* kReverseDoc = R"(reverse($self, /)
--

Reverse the items in place. Atomic. O(n).

>>> import pyrsistence
>>> with pyrsistence.EMDeque(None) as d:
...     d.extend("ab")
...     d.reverse()
...     list(d)
['b', 'a'])";

constexpr const char* kClearDoc = R"(clear($self, /)
--

Remove everything, as one atomic operation. Takes time in proportion to the pages in use.

>>> import pyrsistence
>>> with pyrsistence.EMDeque(None) as d:
...     d.append(1)
...     d.clear()
...     len(d)
0)";

constexpr const char* kReversedDoc = R"(__reversed__($self, /)
--

Iterate from the right end to the left one.)";

template <class Function>
PyCFunction fast(Function* function) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function));
}

std::vector<PyMethodDef> methods() {
    return {
        {"append", guarded<&append<false>>, METH_O, kAppendDoc},
        {"appendleft", guarded<&append<true>>, METH_O, kAppendLeftDoc},
        {"extend", guarded<&extend<false>>, METH_O, kExtendDoc},
        {"extendleft", guarded<&extend<true>>, METH_O, kExtendLeftDoc},
        {"pop", guarded<&pop<false>>, METH_NOARGS, kPopDoc},
        {"popleft", guarded<&pop<true>>, METH_NOARGS, kPopLeftDoc},
        {"insert", fast(guarded<&insert>), METH_FASTCALL, kInsertDoc},
        {"remove", guarded<&remove>, METH_O, kRemoveDoc},
        {"index", fast(guarded<&index>), METH_FASTCALL, kIndexDoc},
        {"count", guarded<&count>, METH_O, kCountDoc},
        {"rotate", fast(guarded<&rotate>), METH_FASTCALL, kRotateDoc},
        {"reverse", guarded<&reverse>, METH_NOARGS, kReverseDoc},
        {"clear", guarded<&clear>, METH_NOARGS, kClearDoc},
        {"__reversed__", guarded<&reversed>, METH_NOARGS, kReversedDoc},
    };
}

constexpr const char* kMaxLenDoc = "The most items that there may be; None if there is no limit.";

template <class Function>
PyType_Slot slot(int id, Function* function) {
    return {id, reinterpret_cast<void*>(function)};
}

std::vector<PyType_Slot> slots() {
    return {slot(Py_sq_length, guarded<&length>),
            slot(Py_mp_length, guarded<&length>),
            slot(Py_sq_item, guarded<&item>),
            slot(Py_mp_subscript, guarded<&subscript>),
            slot(Py_mp_ass_subscript, guarded<&assign_subscript>),
            slot(Py_sq_contains, guarded<&contains>),
            slot(Py_sq_concat, guarded<&concatenate>),
            slot(Py_sq_inplace_concat, guarded<&extend_in_place>),
            slot(Py_sq_repeat, guarded<&repeat>),
            slot(Py_sq_inplace_repeat, guarded<&repeat_in_place>),
            slot(Py_tp_iter, guarded<&iterator>),
            slot(Py_tp_richcompare, guarded<&rich_compare>),
            slot(Py_tp_repr, guarded<&repr>)};
}

}  // namespace

void bind_deque(nb::module_& module) {
    deque_type = make_collection_type(module, {"pyrsistence.EMDeque", kClassDoc, Py_TPFLAGS_SEQUENCE,
                                               &new_collection<kDeque>, slots(), methods(),
                                               {{"maxlen", guarded<&max_size>, nullptr, kMaxLenDoc, nullptr}}});
}

}  // namespace pyrsistence::bindings
