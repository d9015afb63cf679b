#include "bindings/value_codec.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "bindings/address_table.hpp"

namespace pyrsistence::bindings {

namespace {

LazyAttribute numpy_describe{"pyrsistence._numpy", "describe"};
LazyAttribute numpy_restore{"pyrsistence._numpy", "restore"};

// ---- Integers ----

/// REQUIRES: `integer` >= 0.
void put_magnitude(Buffer& out, bool negative, PyObject* integer) {
    Buffer payload;
#if PY_VERSION_HEX >= 0x030D0000
    const int flags = Py_ASNATIVEBYTES_LITTLE_ENDIAN | Py_ASNATIVEBYTES_UNSIGNED_BUFFER;
    const Py_ssize_t size = checked(PyLong_AsNativeBytes(integer, nullptr, 0, flags));
    checked(PyLong_AsNativeBytes(integer, payload.extend(static_cast<std::size_t>(size)), size, flags));
#else
    const std::size_t size = _PyLong_NumBits(integer) / 8 + 1;
    auto* place = reinterpret_cast<unsigned char*>(payload.extend(size));
    checked(_PyLong_AsByteArray(reinterpret_cast<PyLongObject*>(integer), place, size, 1, 0));
#endif
    put_big_int(out, negative, payload);
}

nb::object big_int_from(const Integer& integer) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(integer.big.data());
#if PY_VERSION_HEX >= 0x030D0000
    nb::object magnitude =
        own(PyLong_FromUnsignedNativeBytes(bytes, integer.big.size(), Py_ASNATIVEBYTES_LITTLE_ENDIAN));
#else
    nb::object magnitude = own(_PyLong_FromByteArray(bytes, integer.big.size(), 1, 0));
#endif
    return integer.negative ? own(PyNumber_Invert(magnitude.ptr())) : magnitude;
}

nb::object int_from(const Integer& integer) {
    if (integer.fits_int64()) return own(PyLong_FromLongLong(integer.int64()));
    if (!integer.big.empty()) return big_int_from(integer);
    const nb::object payload = own(PyLong_FromUnsignedLongLong(integer.low));
    return integer.negative ? own(PyNumber_Invert(payload.ptr())) : payload;
}

// ---- Text ----

bool is_ascii(std::string_view text) noexcept {
    std::uint64_t high = 0;
    std::size_t i = 0;
    for (; i + 8 <= text.size(); i += 8) {
        std::uint64_t eight;
        std::memcpy(&eight, text.data() + i, 8);
        high |= eight;
    }
    for (; i < text.size(); ++i) high |= static_cast<unsigned char>(text[i]);
    return (high & 0x8080'8080'8080'8080) == 0;
}

nb::object text_from(const Text& text) {
    const auto size = static_cast<Py_ssize_t>(text.utf8.size());
    if (size > 1 && is_ascii(text.utf8)) {
        nb::object ascii = own(PyUnicode_New(size, 127));
        std::memcpy(PyUnicode_1BYTE_DATA(ascii.ptr()), text.utf8.data(), text.utf8.size());
        return ascii;
    }
    PyObject* decoded =
        PyUnicode_DecodeUTF8(text.utf8.data(), size, text.has_surrogates ? "surrogatepass" : nullptr);
    if (decoded == nullptr && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        throw CorruptionError("encoded value: a str of " + std::to_string(size) + " bytes is not UTF-8");
    }
    return own(decoded);
}

Bytes bytearray_view(PyObject* array) noexcept {
    return {reinterpret_cast<const std::byte*>(PyByteArray_AS_STRING(array)),
            static_cast<std::size_t>(PyByteArray_GET_SIZE(array))};
}

// ---- Encoding ----

/// Encodes atoms; what it returns for anything else tells the caller to look further.
inline bool encode_atom(PyObject* value, Buffer& out) {
    PyTypeObject* type = Py_TYPE(value);
    if (type == &PyLong_Type) {
        put_python_int(out, value);
    } else if (type == &PyUnicode_Type) {
        put_python_text(out, value);
    } else if (value == Py_None) {
        put_none(out);
    } else if (type == &PyFloat_Type) {
        put_float(out, PyFloat_AS_DOUBLE(value));
    } else if (type == &PyBool_Type) {
        put_bool(out, value == Py_True);
    } else if (type == &PyBytes_Type) {
        put_bytes(out, bytes_of(value));
    } else if (type == &PyComplex_Type) {
        const Py_complex parts = PyComplex_AsCComplex(value);
        put_complex(out, parts.real, parts.imag);
    } else {
        return false;
    }
    return true;
}

void raise_changed(PyObject* container) {
    PyErr_Format(PyExc_RuntimeError, "%s changed size while it was stored", Py_TYPE(container)->tp_name);
    nb::detail::raise_python_error();
}

/// The dtypes of NumPy's types of numbers, which live as long as the process, as far as they have been met: their scalars
/// need not be described again, since their memory is what is stored.
std::vector<std::pair<PyTypeObject*, std::string>> numbers;

const std::string* known_number(PyTypeObject* type) {
    const auto found = std::ranges::find(numbers, type, &std::pair<PyTypeObject*, std::string>::first);
    return found == numbers.end() ? nullptr : &found->second;
}

void remember_number(PyTypeObject* type, std::string_view dtype) {
    if (std::string_view("biufc").find(dtype[0]) != std::string_view::npos) numbers.emplace_back(type, dtype);
}

/// One pass over one value. Objects are kept alive while they are encoded and sizes checked afterwards,
/// since before Python 3.12 an allocation may run the garbage collector and so any code.
class ValueEncoder {
public:
    ValueEncoder(Buffer& out, Obstacle& obstacle, Numpy numpy) : out_(out), obstacle_(obstacle), numpy_(numpy) {}

    bool encode(PyObject* value) {
        PyTypeObject* type = Py_TYPE(value);
        if (type == &PyUnicode_Type || type == &PyBytes_Type) return encode_text_or_bytes(value);
        if (encode_atom(value, out_)) return true;
        if (type == &PyTuple_Type) return encode_tuple(value);
        if (type == &PyList_Type) return encode_list(value);
        if (type == &PyDict_Type) return encode_dict(value);
        if (type == &PySet_Type) return encode_set(value);
        if (type == &PyFrozenSet_Type) return encode_frozenset(value);
        if (type == &PyByteArray_Type) return encode_bytearray(value);
        if (std::strncmp(type->tp_name, "numpy.", 6) == 0) return encode_numpy(value);
        return fail(Obstacle::Kind::other_type, value);
    }

private:
    /// Immutable objects whose items are longer than this are remembered, so that a value that reaches one of
    /// them again and again, or doubles at each level, is noticed before it fills the memory.
    static constexpr std::size_t kSmallItem = 256;
    static constexpr std::size_t kMaxRepeated = 16 << 20;

    class Level {
    public:
        explicit Level(unsigned& depth) : depth_(depth) { ++depth_; }
        ~Level() { --depth_; }

    private:
        unsigned& depth_;
    };

    bool fail(Obstacle::Kind kind, PyObject* object) {
        obstacle_.kind = kind;
        obstacle_.type = Py_TYPE(object)->tp_name;
        return false;
    }

    /// Begins a mutable container, which may be reached once only.
    bool enter(PyObject* container) {
        if (depth_ > kMaxNesting) return fail(Obstacle::Kind::too_deep, container);
        return seen_.insert(container, {}) || fail(Obstacle::Kind::shared, container);
    }
    void remember(PyObject* object, std::size_t begin) {
        if (out_.size() - begin < kSmallItem) return;
        seen_.insert(object, {begin, out_.size()});
        has_long_items_ = true;
    }
    const AddressTable::Range* find(PyObject* object) const {
        return has_long_items_ ? seen_.find(object) : nullptr;
    }
    bool repeat(PyObject* object, AddressTable::Range range) {
        const std::size_t size = range.end - range.begin;
        repeated_ += size;
        if (repeated_ > kMaxRepeated) return fail(Obstacle::Kind::too_large, object);
        std::byte* copy = out_.extend(size);
        std::memcpy(copy, out_.data() + range.begin, size);
        return true;
    }

    bool encode_text_or_bytes(PyObject* value) {
        if (const auto* range = find(value)) return repeat(value, *range);
        const std::size_t begin = out_.size();
        encode_atom(value, out_);
        remember(value, begin);
        return true;
    }

    bool encode_tuple(PyObject* tuple) {
        if (const auto* range = find(tuple)) return repeat(tuple, *range);
        const Level level(depth_);
        if (depth_ > kMaxNesting) return fail(Obstacle::Kind::too_deep, tuple);
        const std::size_t begin = out_.size();
        const Py_ssize_t count = PyTuple_GET_SIZE(tuple);
        put_header(out_, Tag::kTuple, static_cast<std::uint64_t>(count));
        for (Py_ssize_t i = 0; i < count; ++i) {
            if (!encode(PyTuple_GET_ITEM(tuple, i))) return false;
        }
        remember(tuple, begin);
        return true;
    }

    bool encode_list(PyObject* list) {
        const Level level(depth_);
        if (!enter(list)) return false;
        const Py_ssize_t count = PyList_GET_SIZE(list);
        put_header(out_, Tag::kList, static_cast<std::uint64_t>(count));
        for (Py_ssize_t i = 0; i < count; ++i) {
            if (PyList_GET_SIZE(list) != count) raise_changed(list);
            const nb::object member = nb::borrow(PyList_GET_ITEM(list, i));
            if (!encode(member.ptr())) return false;
        }
        return true;
    }

    bool encode_dict(PyObject* dict) {
        const Level level(depth_);
        if (!enter(dict)) return false;
        const Py_ssize_t count = PyDict_GET_SIZE(dict);
        put_header(out_, Tag::kDict, static_cast<std::uint64_t>(count));
        Py_ssize_t position = 0;
        Py_ssize_t done = 0;
        PyObject* key = nullptr;
        PyObject* value = nullptr;
        for (; PyDict_Next(dict, &position, &key, &value); ++done) {
            const nb::object key_owner = nb::borrow(key);
            const nb::object value_owner = nb::borrow(value);
            if (!encode(key) || !encode(value)) return false;
        }
        if (done != count) raise_changed(dict);
        return true;
    }

    bool encode_set(PyObject* set) {
        const Level level(depth_);
        return enter(set) && encode_members(set, Tag::kSet);
    }

    bool encode_frozenset(PyObject* set) {
        if (const auto* range = find(set)) return repeat(set, *range);
        const Level level(depth_);
        if (depth_ > kMaxNesting) return fail(Obstacle::Kind::too_deep, set);
        const std::size_t begin = out_.size();
        if (!encode_members(set, Tag::kFrozenSet)) return false;
        remember(set, begin);
        return true;
    }

    bool encode_members(PyObject* set, std::uint8_t tag) {
        put_header(out_, tag, static_cast<std::uint64_t>(PySet_GET_SIZE(set)));
        const nb::object iterator = own(PyObject_GetIter(set));
        while (PyObject* next = PyIter_Next(iterator.ptr())) {  // raises if the set changes its size
            const nb::object member = nb::steal(next);
            if (!encode(member.ptr())) return false;
        }
        if (PyErr_Occurred()) nb::detail::raise_python_error();
        return true;
    }

    bool encode_bytearray(PyObject* array) {
        if (!enter(array)) return false;
        put_bytearray(out_, bytearray_view(array));
        return true;
    }

    bool encode_numpy(PyObject* scalar) {
        if (const std::string* dtype = known_number(Py_TYPE(scalar))) {
            put_numpy_scalar(out_, *dtype, Memory(scalar, PyBUF_SIMPLE).bytes());
            return true;
        }
        if (numpy_ == Numpy::known) return fail(Obstacle::Kind::other_type, scalar);
        const nb::object description = numpy_describe(nb::handle(scalar));
        if (description.is_none()) return fail(Obstacle::Kind::other_type, scalar);
        const std::string_view dtype = as_text(bytes_of(PyTuple_GET_ITEM(description.ptr(), 0)));
        put_numpy_scalar(out_, dtype, bytes_of(PyTuple_GET_ITEM(description.ptr(), 1)));
        if constexpr (std::endian::native == std::endian::little) remember_number(Py_TYPE(scalar), dtype);
        return true;
    }

    Buffer& out_;
    Obstacle& obstacle_;
    const Numpy numpy_;
    AddressTable seen_;
    std::size_t repeated_ = 0;
    unsigned depth_ = 0;
    bool has_long_items_ = false;
};

// ---- Decoding ----

[[noreturn]] void throw_corrupt(const Reader& reader, const char* what) {
    throw CorruptionError("encoded value: " + std::string(what) + " before offset " +
                          std::to_string(reader.position()));
}

/// Runs after a Python call on decoded objects failed: types that cannot have been stored are corruption.
[[noreturn]] void throw_corrupt_or_python(const Reader& reader, const char* what) {
    if (!PyErr_ExceptionMatches(PyExc_TypeError) && !PyErr_ExceptionMatches(PyExc_ValueError) &&
        !PyErr_ExceptionMatches(PyExc_OverflowError)) {
        nb::detail::raise_python_error();
    }
    PyErr_Clear();
    throw_corrupt(reader, what);
}

class Decoder {
public:
    Decoder(Reader& reader, Grammar grammar) : reader_(reader), grammar_(grammar) {}

    nb::object decode() {
        const std::uint8_t tag = reader_.peek();
        if (tag >= Tag::kSmallInt0) {
            reader_.take(1);
            return own(PyLong_FromLong(tag - Tag::kSmallInt0));
        }
        if (tag >= Tag::kRational) return decode_key_item(tag);
        if (tag >= Tag::kShortBytes0) return to_bytes(reader_.read_bytes());
        if (tag >= Tag::kShortText0) return text_from(reader_.read_text());
        if (tag >= Tag::kInt0 && tag <= Tag::kBigNegative) return int_from(reader_.read_integer());
        switch (tag) {
            case Tag::kNone: reader_.read_none(); return nb::none();
            case Tag::kFloat: return own(PyFloat_FromDouble(reader_.read_float()));
            case Tag::kText:
            case Tag::kSurrogateText: return text_from(reader_.read_text());
            case Tag::kBytes: return to_bytes(reader_.read_bytes());
            case Tag::kTuple: return decode_tuple();
            case Tag::kNumpyScalar: return decode_numpy();
            default: return decode_value_item(tag);
        }
    }

private:
    nb::object decode_value_item(std::uint8_t tag) {
        if (grammar_ != Grammar::value) throw_corrupt(reader_, "a tag that no key has");
        switch (tag) {
            case Tag::kFalse:
            case Tag::kTrue: return own(PyBool_FromLong(reader_.read_bool()));
            case Tag::kComplex: return decode_complex();
            case Tag::kByteArray: return decode_bytearray();
            case Tag::kList: return decode_list();
            case Tag::kDict: return decode_dict();
            case Tag::kSet: return decode_set(tag, PySet_New);
            case Tag::kFrozenSet: return decode_set(tag, PyFrozenSet_New);
            default: throw_corrupt(reader_, "a tag that no value has here");
        }
    }

    nb::object decode_complex() {
        const std::complex<double> value = reader_.read_complex();
        return own(PyComplex_FromDoubles(value.real(), value.imag()));
    }
    nb::object decode_bytearray() {
        const Bytes bytes = reader_.read_counted(Tag::kByteArray);
        return own(PyByteArray_FromStringAndSize(reinterpret_cast<const char*>(bytes.data()),
                                                 static_cast<Py_ssize_t>(bytes.size())));
    }

    nb::object decode_tuple() {
        const auto count = static_cast<Py_ssize_t>(reader_.read_count(Tag::kTuple));
        const Reader::Level level(reader_);
        nb::object tuple = own(PyTuple_New(count));
        for (Py_ssize_t i = 0; i < count; ++i) PyTuple_SET_ITEM(tuple.ptr(), i, decode().release().ptr());
        return tuple;
    }
    nb::object decode_list() {
        const auto count = static_cast<Py_ssize_t>(reader_.read_count(Tag::kList));
        const Reader::Level level(reader_);
        nb::object list = own(PyList_New(count));
        for (Py_ssize_t i = 0; i < count; ++i) PyList_SET_ITEM(list.ptr(), i, decode().release().ptr());
        return list;
    }
    nb::object decode_dict() {
        const std::size_t count = reader_.read_count(Tag::kDict);
        const Reader::Level level(reader_);
        nb::object dict = own(PyDict_New());
        for (std::size_t i = 0; i < count; ++i) {
            const nb::object key = decode();
            const nb::object value = decode();
            if (PyDict_SetItem(dict.ptr(), key.ptr(), value.ptr()) < 0) {
                throw_corrupt_or_python(reader_, "a dict with an unhashable key");
            }
        }
        check_distinct(PyDict_GET_SIZE(dict.ptr()), count);
        return dict;
    }
    nb::object decode_set(std::uint8_t tag, PyObject* (*create)(PyObject*)) {
        const std::size_t count = reader_.read_count(tag);
        const Reader::Level level(reader_);
        nb::object set = own(create(nullptr));
        for (std::size_t i = 0; i < count; ++i) {
            const nb::object member = decode();
            if (PySet_Add(set.ptr(), member.ptr()) < 0) {
                throw_corrupt_or_python(reader_, "a set with an unhashable member");
            }
        }
        check_distinct(PySet_GET_SIZE(set.ptr()), count);
        return set;
    }
    void check_distinct(Py_ssize_t distinct, std::size_t count) {
        if (static_cast<std::size_t>(distinct) != count) {
            throw_corrupt(reader_, "equal members of a set or dict");
        }
    }

    nb::object decode_numpy() {
        const NumpyScalar scalar = reader_.read_numpy_scalar();
        const nb::object dtype = to_bytes(as_bytes(scalar.dtype));
        const nb::object data = to_bytes(scalar.data);
        PyObject* restored =
            PyObject_CallFunctionObjArgs(numpy_restore.get(), dtype.ptr(), data.ptr(), nullptr);
        if (restored == nullptr) throw_corrupt_or_python(reader_, "an impossible NumPy scalar");
        return own(restored);
    }

    nb::object decode_key_item(std::uint8_t tag) {
        if (grammar_ != Grammar::identity) throw_corrupt(reader_, "a tag of keys in a value");
        if (tag == Tag::kFrozenSetKey) return decode_set(tag, PyFrozenSet_New);
        const Reader::Level level(reader_);
        const nb::object fields = own(PyList_New(0));
        read_fields(tag, fields.ptr());
        static LazyAttribute restore{"pyrsistence._keys", "restore"};
        const nb::object number = own(PyLong_FromLong(tag));
        PyObject* key = PyObject_CallFunctionObjArgs(restore.get(), number.ptr(), fields.ptr(), nullptr);
        if (key == nullptr) throw_corrupt_or_python(reader_, "an impossible key");
        return own(key);
    }

    void read_fields(std::uint8_t tag, PyObject* fields) {
        reader_.take(1);
        const auto append = [&](const nb::object& field) { checked(PyList_Append(fields, field.ptr())); };
        switch (tag) {
            case Tag::kRational:
            case Tag::kComplexKey: append(decode()); return append(decode());
            case Tag::kDate: return append(unsigned_from(reader_.take(6)));
            case Tag::kNaiveDateTime:
            case Tag::kAwareDateTime:
            case Tag::kNaiveTime:
            case Tag::kTimeDelta: return append(unsigned_from(reader_.take(8)));
            case Tag::kUuid: return append(to_bytes(reader_.take(16)));
            case Tag::kPosixPath: return append(decode());
            default: throw_corrupt(reader_, "an identity that does not determine its key");
        }
    }
    static nb::object unsigned_from(Bytes little_endian) {
        std::uint64_t value = 0;
        for (std::size_t i = little_endian.size(); i-- > 0;) {
            value = value << 8 | std::to_integer<std::uint64_t>(little_endian[i]);
        }
        return own(PyLong_FromUnsignedLongLong(value));
    }

    Reader& reader_;
    const Grammar grammar_;
};

}  // namespace

void put_python_int(Buffer& out, PyObject* integer) {
    int overflow = 0;
    const long long small = PyLong_AsLongLongAndOverflow(integer, &overflow);
    if (overflow == 0) return put_int(out, small);
    if (overflow > 0) return put_magnitude(out, false, integer);
    const nb::object payload = own(PyNumber_Invert(integer));
    put_magnitude(out, true, payload.ptr());
}

void put_python_text(Buffer& out, PyObject* text) {
    if (PyUnicode_IS_COMPACT_ASCII(text)) {  // no copy in UTF-8 is made and kept
        const auto size = static_cast<std::size_t>(PyUnicode_GET_LENGTH(text));
        return put_text(out, {static_cast<const char*>(PyUnicode_DATA(text)), size}, false);
    }
    Py_ssize_t size = 0;
    if (const char* utf8 = PyUnicode_AsUTF8AndSize(text, &size)) {
        return put_text(out, {utf8, static_cast<std::size_t>(size)}, false);
    }
    if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) nb::detail::raise_python_error();
    PyErr_Clear();
    const nb::object encoded = own(PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass"));
    put_text(out, as_text(bytes_of(encoded.ptr())), true);
}

std::string Obstacle::describe() const {
    switch (kind) {
        case Kind::shared: return "a " + type + " that is reached twice or contains itself";
        case Kind::too_deep: return "more than 200 nested containers (a " + type + ")";
        case Kind::too_large: return "a large " + type + " that is reached many times";
        default: return "an object of type '" + type + "'";
    }
}

bool encode_native(PyObject* value, Buffer& out, Obstacle& obstacle, Numpy numpy) {
    if (encode_atom(value, out)) return true;
    return ValueEncoder(out, obstacle, numpy).encode(value);
}

nb::object decode_native(Bytes bytes, Grammar grammar) {
    Reader reader(bytes);
    nb::object object = [&] {
        try {
            return Decoder(reader, grammar).decode();
        } catch (const FormatError& error) {  // the Reader found another type: no grammar allows it here
            throw CorruptionError(error.what());
        }
    }();
    if (!reader.at_end()) throw_corrupt(reader, "bytes behind the end of the item: it ends");
    return object;
}

}  // namespace pyrsistence::bindings
