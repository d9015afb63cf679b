// EMArray: what moves bytes between a RawArray and the memory of NumPy arrays. What the bytes mean is NumPy's affair, in
// pyrsistence._array; but single numbers are read and stored here, where a detour would cost more than the access.
//
// Nothing is compiled against NumPy: arrays come and go through the buffer protocol.
#include <cmath>
#include <map>

#include "bindings/collection.hpp"
#include "pyrsistence/raw_array.hpp"

namespace pyrsistence::bindings {

namespace {

PyTypeObject* array_type = nullptr;

LazyAttribute make_scratch{"pyrsistence._array", "scratch"};
LazyAttribute get_generally{"pyrsistence._array", "get"};
LazyAttribute set_generally{"pyrsistence._array", "set_items"};
LazyAttribute append_generally{"pyrsistence._array", "append"};
LazyAttribute describe{"pyrsistence._array", "describe"};

constexpr std::size_t kMostPlain = 256;    ///< bytes of an item that is one scalar
constexpr std::size_t kBulk = 64 << 10;    ///< from so many bytes on the GIL is released
constexpr const char* kOutOfBounds = "index %zd is out of bounds for axis 0 with size %llu";

/// How items of a type become scalars and the reverse; kept until the process ends.
struct Scalars {
    PyObject* one = nullptr;       ///< an ndarray of one element; null if items are no plain scalars
    std::byte* place = nullptr;    ///< of that element
    char kind = 0;                 ///< 'b', 'i', 'u', 'f' as in NumPy if numbers can be encoded here
    std::size_t size = 0;          ///< bytes of an item
};

/// Made on first use. Returns one per type, so that there are few.
const Scalars& scalars_of(const ItemType& type) {
    static auto& all = *new std::map<std::pair<std::string, std::vector<std::uint64_t>>, Scalars>;
    const auto key = std::pair(type.dtype, type.shape);
    if (const auto found = all.find(key); found != all.end()) return found->second;
    Scalars made;
    if (type.shape.empty() && type.size <= kMostPlain) {
        const nb::object dtype = own(PyUnicode_DecodeUTF8(type.dtype.data(), static_cast<Py_ssize_t>(type.dtype.size()), "strict"));
        const nb::object size = own(PyLong_FromUnsignedLongLong(type.size));
        const nb::object parts = make_scratch(dtype, size);
        PyObject* one;
        unsigned long long address;
        int kind;
        if (!PyArg_ParseTuple(parts.ptr(), "OKC", &one, &address, &kind)) raise_pending();
        if (one != Py_None) {
            made.one = Py_NewRef(one);
            made.place = reinterpret_cast<std::byte*>(static_cast<std::uintptr_t>(address));
            made.kind = static_cast<char>(kind);
            made.size = type.size;
        }
    }
    return all.emplace(key, made).first->second;
}

/// A RawArray that knows how to make scalars of its items, when it has been told.
class OpenArray : public RawArray {
public:
    using RawArray::RawArray;
    explicit OpenArray(const OpenArray& live) : RawArray(live, Time::now), scalars_(live.scalars_) {}

    const Scalars* scalars() const noexcept { return scalars_; }
    void set_scalars(const Scalars& scalars) noexcept { scalars_ = &scalars; }

private:
    const Scalars* scalars_ = nullptr;
};

using ArrayUse = Use<OpenArray>;

constexpr Kind array_kind() {
    Kind kind{"EMArray", nullptr, nullptr, nullptr, nullptr, &array_type};
    kind.has_item_type = true;
    kind.open = [](const std::filesystem::path& path, const Options& options) {
        return std::unique_ptr<Handle>(std::make_unique<OpenArray>(path, options));
    };
    kind.open_in = [](const Handle& where, const Options& options) {
        return std::unique_ptr<Handle>(std::make_unique<OpenArray>(where, options.name, options.item_type));
    };
    kind.snapshot = [](const Handle& live) {
        return std::unique_ptr<Handle>(std::make_unique<OpenArray>(static_cast<const OpenArray&>(live)));
    };
    return kind;
}
constinit const Kind kArray = array_kind();

std::uint64_t size(PyObject* self) { return ArrayUse(collection_of(self))->size(); }

[[noreturn]] void raise_out_of_bounds(PyObject* self, Py_ssize_t index) {
    PyErr_Format(PyExc_IndexError, kOutOfBounds, index, static_cast<unsigned long long>(size(self)));
    raise_pending();
}

/// Whether a key is one number: for NumPy a bool is a mask, and arrays have __index__, too.
bool is_number(PyObject* key) {
    return PyLong_CheckExact(key) || (PyIndex_Check(key) && !PyBool_Check(key) && !PySequence_Check(key));
}

Py_ssize_t index_from(PyObject* key) {
    const Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (index == -1 && PyErr_Occurred()) raise_pending();
    return index;
}

/// How the items of an array become scalars. Imports NumPy the first time.
const Scalars& scalars_of(const Collection& array) {
    ItemType type;
    {
        const ArrayUse use(array);
        if (const Scalars* known = use->scalars()) [[likely]] return *known;
        type = use->type();
    }
    const Scalars& made = scalars_of(type);
    const ArrayUse use(array);
    if (use->type() == type) use->set_scalars(made);
    return made;
}

// --- numbers

template <class Number>
bool put(std::byte* place, Number number) {
    std::memcpy(place, &number, sizeof number);
    return true;
}

bool encode_signed(long long number, std::size_t size, std::byte* place) {
    if (size == 8) return put(place, number);
    const long long most = (1LL << (8 * size - 1)) - 1;
    if (number > most || number < -most - 1) return false;
    std::memcpy(place, &number, size);
    return true;
}

/// False for what NumPy is to judge. Little-endian, as the items are.
bool encode_integer(PyObject* value, char kind, std::size_t size, std::byte* place) {
    nb::object number;
    if (!PyLong_Check(value)) {
        if (!PyIndex_Check(value) || PySequence_Check(value)) return false;
        number = own(PyNumber_Index(value));
        value = number.ptr();
    }
    int overflow = 0;
    const long long small = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (kind == 'i') return overflow == 0 && encode_signed(small, size, place);
    if (overflow == 0 && (small < 0 || (size < 8 && small >> (8 * size) != 0))) return false;
    unsigned long long large = static_cast<unsigned long long>(small);
    if (overflow != 0) {
        if (overflow < 0 || size < 8) return false;
        large = PyLong_AsUnsignedLongLong(value);
        if (PyErr_Occurred()) {
            PyErr_Clear();
            return false;
        }
    }
    std::memcpy(place, &large, size);
    return true;
}

bool encode_float(PyObject* value, std::size_t size, std::byte* place) {
    if (!PyFloat_Check(value) && !PyLong_CheckExact(value)) return false;
    const double number = PyFloat_AsDouble(value);
    if (number == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    if (size == 8) return put(place, number);
    const auto rounded = static_cast<float>(number);
    return std::isinf(rounded) == std::isinf(number) && put(place, rounded);
}

/// False for what NumPy is to judge. May run user code.
bool encode(const Scalars& scalars, PyObject* value, std::byte* place) {
    if constexpr (std::endian::native != std::endian::little) return false;
    switch (scalars.kind) {
        case 'i':
        case 'u': return encode_integer(value, scalars.kind, scalars.size, place);
        case 'f': return encode_float(value, scalars.size, place);
        case 'b': return PyBool_Check(value) && put(place, value == Py_True);
        default: return false;
    }
}

/// For an item that was encoded as one of these. It may be another array by now.
class ItemUse : public ArrayUse {
public:
    ItemUse(const Collection& array, const Scalars& scalars) : ArrayUse(array) {
        if ((*this)->scalars() != &scalars) raise_runtime_error("the array was opened anew while its item was made");
    }
};

// --- slots

Py_ssize_t length(PyObject* self) { return static_cast<Py_ssize_t>(size(self)); }

PyObject* subscript(PyObject* self, PyObject* key) {
    const Collection& array = collection_of(self);
    const Scalars* scalars = is_number(key) ? &scalars_of(array) : nullptr;
    if (scalars == nullptr || scalars->one == nullptr) return get_generally(nb::handle(self), nb::handle(key)).release().ptr();
    const Py_ssize_t index = index_from(key);
    std::byte item[kMostPlain];  // the GIL may go to others meanwhile
    if (!ItemUse(array, *scalars)->get(rank_of(index), {item, scalars->size})) [[unlikely]] raise_out_of_bounds(self, index);
    std::memcpy(scalars->place, item, scalars->size);
    return PySequence_GetItem(scalars->one, 0);
}

/// The same by the sequence protocol, which has added the length to negative indices.
PyObject* item(PyObject* self, Py_ssize_t index) {
    const nb::object key = own(PyLong_FromSsize_t(index < 0 ? PY_SSIZE_T_MAX : index));
    return subscript(self, key.ptr());
}

int assign_subscript(PyObject* self, PyObject* key, PyObject* value) {
    if (value == nullptr) raise(PyExc_ValueError, "cannot delete array elements; truncate() and pop() remove the last ones");
    if (is_number(key)) {
        const Py_ssize_t index = index_from(key);
        const Collection& array = collection_of(self);
        const Scalars& scalars = scalars_of(array);
        std::byte item[kMostPlain];
        if (encode(scalars, value, item)) {
            if (ItemUse(array, scalars)->set(rank_of(index), {item, scalars.size})) return 0;
            raise_out_of_bounds(self, index);
        }
    }
    (void)set_generally(nb::handle(self), nb::handle(key), nb::handle(value));
    return 0;
}

PyObject* repr(PyObject* self) { return describe(nb::handle(self)).release().ptr(); }

// --- methods

PyObject* append(PyObject* self, PyObject* value) {
    const Collection& array = collection_of(self);
    const Scalars& scalars = scalars_of(array);
    std::byte item[kMostPlain];
    if (encode(scalars, value, item)) ItemUse(array, scalars)->append({item, scalars.size});
    else (void)append_generally(nb::handle(self), nb::handle(value));
    Py_RETURN_NONE;
}

/// With the GIL, unless there are many bytes.
template <class Action>
auto on_bytes(PyObject* self, std::size_t bytes, Action action) {
    const ArrayUse use(collection_of(self));
    return bytes > kBulk ? use.without_gil(action) : action(*use);
}

Py_ssize_t whole_items(PyObject* self, Bytes bytes) {
    const std::size_t item = ArrayUse(collection_of(self))->item_size();
    if (bytes.size() % item != 0) raise(PyExc_ValueError, "the buffer holds a part of an item");
    return static_cast<Py_ssize_t>(bytes.size() / item);
}

PyObject* read(PyObject* self, PyObject* args) {
    unsigned long long first;
    PyObject* buffer;
    if (!PyArg_ParseTuple(args, "KO:_read", &first, &buffer)) raise_pending();
    const Memory out(buffer, PyBUF_WRITABLE);
    return PyLong_FromUnsignedLongLong(
        on_bytes(self, out.bytes().size(), [&](OpenArray& array) { return array.read(first, out.bytes()); }));
}

PyObject* write(PyObject* self, PyObject* args) {
    unsigned long long first;
    PyObject* buffer;
    if (!PyArg_ParseTuple(args, "KO:_write", &first, &buffer)) raise_pending();
    const Memory items(buffer, PyBUF_SIMPLE);
    const Py_ssize_t count = whole_items(self, items.bytes());
    const bool there = on_bytes(self, items.bytes().size(), [&](OpenArray& array) { return array.write(first, items.bytes()); });
    if (!there) raise_out_of_bounds(self, static_cast<Py_ssize_t>(first) + count - 1);
    Py_RETURN_NONE;
}

PyObject* append_items(PyObject* self, PyObject* buffer) {
    const Memory items(buffer, PyBUF_SIMPLE);
    (void)whole_items(self, items.bytes());
    on_bytes(self, items.bytes().size(), [&](OpenArray& array) { array.append(items.bytes()); });
    Py_RETURN_NONE;
}

void expect_items(PyObject* self, const Memory& indices, const Memory& items) {
    if (static_cast<std::size_t>(whole_items(self, items.bytes())) == indices.indices().size()) return;
    raise(PyExc_ValueError, "not as many items as indices");
}

PyObject* gather(PyObject* self, PyObject* args) {
    PyObject *numbers, *buffer;
    if (!PyArg_ParseTuple(args, "OO:_gather", &numbers, &buffer)) raise_pending();
    const Memory indices(numbers, PyBUF_SIMPLE), out(buffer, PyBUF_WRITABLE);
    expect_items(self, indices, out);
    const bool there = on_bytes(self, out.bytes().size(), [&](OpenArray& array) {
        return array.gather(indices.indices(), out.bytes());
    });
    if (!there) raise(PyExc_IndexError, "the array has become shorter meanwhile");
    Py_RETURN_NONE;
}

PyObject* scatter(PyObject* self, PyObject* args) {
    PyObject *numbers, *buffer;
    if (!PyArg_ParseTuple(args, "OO:_scatter", &numbers, &buffer)) raise_pending();
    const Memory indices(numbers, PyBUF_SIMPLE), items(buffer, PyBUF_SIMPLE);
    expect_items(self, indices, items);
    const bool there = on_bytes(self, items.bytes().size(), [&](OpenArray& array) {
        return array.scatter(indices.indices(), items.bytes());
    });
    if (!there) raise(PyExc_IndexError, "the array has become shorter meanwhile");
    Py_RETURN_NONE;
}

// --- pages without a copy

/// What an ndarray of rows has as its base: it keeps them as they are.
struct RowsObject {
    PyObject_HEAD
    RawArray::Rows* rows;
    Py_ssize_t size;
};

PyTypeObject* rows_type = nullptr;

RowsObject& rows_of(PyObject* self) noexcept { return *reinterpret_cast<RowsObject*>(self); }

int expose(PyObject* self, Py_buffer* view, int flags) {
    const RowsObject& object = rows_of(self);
    return PyBuffer_FillInfo(view, self, const_cast<std::byte*>(object.rows->bytes), object.size, 1, flags);
}

void destroy_rows(PyObject* self) {
    PyTypeObject* type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    std::unique_ptr<RawArray::Rows> rows(rows_of(self).rows);
    {
        const WithoutGil released;  // it may be the last that keeps its store open
        rows.reset();
    }
    type->tp_free(self);
    Py_DECREF(type);
}

int traverse_rows(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    return 0;
}

/// (memory of pages that begins with item `first`, items in it), or None if the page is not in the file yet.
PyObject* pages_from(PyObject* self, PyObject* number) {
    const unsigned long long first = PyLong_AsUnsignedLongLong(number);
    if (PyErr_Occurred()) raise_pending();
    std::uint64_t row_items = 0, item = 0;
    std::optional<RawArray::Rows> rows;
    {
        const ArrayUse use(collection_of(self));
        row_items = use->row_items();
        item = use->item_size();
        if (row_items > 0) rows = use.without_gil([&](OpenArray& array) { return array.rows(first / row_items * row_items); });
    }
    if (!rows) Py_RETURN_NONE;
    const std::uint64_t full = (rows->items - 1) / row_items, last = rows->items - full * row_items;
    const auto items = static_cast<unsigned long long>(rows->items);
    nb::object made = own(rows_type->tp_alloc(rows_type, 0));
    rows_of(made.ptr()).size = static_cast<Py_ssize_t>(full * RawArray::kRowBytes + last * item);
    rows_of(made.ptr()).rows = new RawArray::Rows(std::move(*rows));
    return Py_BuildValue("(OK)", made.ptr(), items);
}

/// Items in a page; 0 if they are larger.
PyObject* row_items(PyObject* self, void*) {
    return PyLong_FromUnsignedLongLong(ArrayUse(collection_of(self))->row_items());
}

/// False if it is empty.
PyObject* pop_into(PyObject* self, PyObject* buffer) {
    const Memory out(buffer, PyBUF_WRITABLE);
    if (whole_items(self, out.bytes()) != 1) raise(PyExc_ValueError, "not the memory of one item");
    return PyBool_FromLong(ArrayUse(collection_of(self))->pop(out.bytes()));
}

PyObject* resize(PyObject* self, PyObject* length) {
    const Py_ssize_t count = PyNumber_AsSsize_t(length, PyExc_OverflowError);
    if (count == -1 && PyErr_Occurred()) raise_pending();
    if (count < 0) raise(PyExc_ValueError, "negative dimensions are not allowed: " + std::to_string(count));
    ArrayUse(collection_of(self)).without_gil([count](OpenArray& array) { array.resize(static_cast<std::uint64_t>(count)); });
    Py_RETURN_NONE;
}

PyObject* clear(PyObject* self, PyObject*) {
    ArrayUse(collection_of(self)).without_gil([](OpenArray& array) { array.clear(); });
    Py_RETURN_NONE;
}

/// (bytes of an item, text of its dtype, its shape)
PyObject* item_type(PyObject* self, void*) {
    const ItemType type = ArrayUse(collection_of(self))->type();
    const nb::object shape = own(PyTuple_New(static_cast<Py_ssize_t>(type.shape.size())));
    for (std::size_t i = 0; i < type.shape.size(); ++i) {
        PyTuple_SET_ITEM(shape.ptr(), static_cast<Py_ssize_t>(i), own(PyLong_FromUnsignedLongLong(type.shape[i])).release().ptr());
    }
    return Py_BuildValue("(KOO)", static_cast<unsigned long long>(type.size), to_text(type.dtype).ptr(), shape.ptr());
}

constexpr const char* kClassDoc =
    R"(EMArray(dirname, dtype=None, shape=(), *, mode='a', memory_limit=None, at=None, name=None)
--

A NumPy array that can grow, and lives in the files of one directory instead of main memory.

Items lie side by side in full pages. What is read is an ordinary ndarray or scalar, a copy: a[i], a[i:j], a[mask],
a[indices]; what is assigned is broadcast and cast as NumPy does. blocks() goes through all of it in bounded memory. There
is nothing to commit: an operation that has returned survives the death of the process; after sync() or close() it
survives power loss too.

dtype: of the elements, anything NumPy has a fixed size for, but no objects; structured ones, too. Stored little-endian.
    An array that exists needs none, and raises FormatError for another one than its own.
shape: of one item, that is, all dimensions but the first, which grows. The default is one element.
mode: "a" opens or creates, "r" only reads, "r+" must exist, "w" empties what is there, "x" must not exist.
The other arguments and the errors are those of EMDict. An operation on more than 256 KiB happens in parts of about that
size, front to back; transaction() makes one change of them, snapshot() one state to read. ImportError without NumPy.

>>> import numpy, pyrsistence
>>> with pyrsistence.EMArray(None, "f8") as a:
...     a.extend(numpy.arange(5) / 2)
...     a[1:3] = 7
...     a[-1] += 1
...     a[:], len(a)
(array([0. , 7. , 7. , 1.5, 3. ]), 5))";

constexpr const char* kAppendDoc = R"(append($self, item, /)
--

Add an item at the end. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMArray(None, "i4") as a:
...     a.append(3)
...     int(a[0])
3)";

constexpr const char* kResizeDoc = R"(resize($self, length, /)
--

Cut items off the end, or append zeros, until there are `length` items.

Cutting is atomic and takes time in proportion to the pages removed. Zeros are appended 16 MiB at a time: if the process
dies meanwhile, some are there. ValueError if the length is negative.

>>> import pyrsistence
>>> with pyrsistence.EMArray(None, "i4") as a:
...     a.resize(3)
...     a.tolist()
[0, 0, 0])";

constexpr const char* kClearDoc = R"(clear($self, /)
--

Remove everything, as one atomic operation. Takes time in proportion to the pages in use.

>>> import pyrsistence
>>> with pyrsistence.EMArray(None, "i4") as a:
...     a.append(1)
...     a.clear()
...     len(a)
0)";

template <class Function>
PyType_Slot slot(int id, Function* function) {
    return {id, reinterpret_cast<void*>(function)};
}

std::vector<PyMethodDef> methods() {
    return {{"append", guarded<&append>, METH_O, kAppendDoc},
            {"resize", guarded<&resize>, METH_O, kResizeDoc},
            {"clear", guarded<&clear>, METH_NOARGS, kClearDoc},
            {"_read", guarded<&read>, METH_VARARGS, nullptr},
            {"_write", guarded<&write>, METH_VARARGS, nullptr},
            {"_append", guarded<&append_items>, METH_O, nullptr},
            {"_gather", guarded<&gather>, METH_VARARGS, nullptr},
            {"_scatter", guarded<&scatter>, METH_VARARGS, nullptr},
            {"_pages", guarded<&pages_from>, METH_O, nullptr},
            {"_pop", guarded<&pop_into>, METH_O, nullptr}};
}

std::vector<PyType_Slot> slots() {
    return {slot(Py_sq_length, guarded<&length>),
            slot(Py_mp_length, guarded<&length>),
            slot(Py_sq_item, guarded<&item>),
            slot(Py_mp_subscript, guarded<&subscript>),
            slot(Py_mp_ass_subscript, guarded<&assign_subscript>),
            slot(Py_tp_repr, guarded<&repr>)};
}

}  // namespace

void bind_array(nb::module_& module) {
    array_type = make_collection_type(module, {"pyrsistence.EMArray", kClassDoc, 0, &new_collection<kArray>, slots(), methods(),
                                               {{"_item_type", guarded<&item_type>, nullptr, nullptr, nullptr},
                                                {"_row_items", guarded<&row_items>, nullptr, nullptr, nullptr}}});
    rows_type = make_plain_type("pyrsistence.EMArrayPages", sizeof(RowsObject),
                                {slot(Py_bf_getbuffer, &expose), slot(Py_tp_dealloc, &destroy_rows),
                                 slot(Py_tp_traverse, &traverse_rows)});
}

}  // namespace pyrsistence::bindings
