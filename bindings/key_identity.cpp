#include "bindings/key_identity.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "bindings/value_codec.hpp"
#include "codec/endian.hpp"

namespace pyrsistence::bindings {

namespace {

LazyAttribute describe{"pyrsistence._keys", "describe"};
LazyAttribute guard{"pyrsistence._keys", "guard"};

/// Stands in a description for "the identity of the one field".
constexpr long kAlias = 0;

/// What pyrsistence._keys.describe returned: `tag` and the fields that follow it.
struct Description {
    nb::object owner;
    long tag;
    bool restorable;
    bool guarded;
    PyObject* fields;  ///< a tuple
};

Description describe_key(PyObject* key) {
    Description description{describe(nb::handle(key)), 0, false, false, nullptr};
    PyObject* tuple = description.owner.ptr();
    description.tag = PyLong_AsLong(PyTuple_GET_ITEM(tuple, 0));
    description.restorable = PyTuple_GET_ITEM(tuple, 1) == Py_True;
    description.guarded = PyTuple_GET_ITEM(tuple, 2) == Py_True;
    description.fields = PyTuple_GET_ITEM(tuple, 3);
    return description;
}

bool encode_float(double value, Buffer& out) {
    const std::size_t begin = out.size();
    put_float_identity(out, value);
    // Integral values have become ints; NaN has lost its sign and payload.
    return out.data()[begin] == std::byte{Tag::kFloat} && !std::isnan(value);
}

bool encode_complex(Py_complex value, Buffer& out) {
    if (value.imag == 0) {
        encode_float(value.real, out);
        return false;
    }
    out.push_back(std::byte{Tag::kComplexKey});
    encode_float(value.real, out);
    encode_float(value.imag, out);
    const bool negative_zero = value.real == 0 && std::signbit(value.real);
    return !negative_zero && !std::isnan(value.real) && !std::isnan(value.imag);
}

std::uint64_t field_number(PyObject* field) {
    const unsigned long long number = PyLong_AsUnsignedLongLong(field);
    if (number == static_cast<unsigned long long>(-1) && PyErr_Occurred()) nb::detail::raise_python_error();
    return number;
}

/// One pass over one key. `structure_` counts the described instances around the current part: their parts
/// may be lists, dicts, sets and bytearrays too, and are not hashed or guarded on their own.
class KeyEncoder {
public:
    bool encode(PyObject* key, Buffer& out) {
        PyTypeObject* type = Py_TYPE(key);
        if (type == &PyLong_Type) return put_python_int(out, key), true;
        if (type == &PyUnicode_Type) return put_python_text(out, key), true;
        if (type == &PyBytes_Type) return put_bytes(out, bytes_of(key)), true;
        if (key == Py_None) return put_none(out), true;
        if (type == &PyFloat_Type) return encode_float(PyFloat_AS_DOUBLE(key), out);
        if (type == &PyBool_Type) return put_uint(out, key == Py_True), false;
        const Visit visit(*this, key);
        if (type == &PyComplex_Type) return encode_complex(PyComplex_AsCComplex(key), out);
        if (type == &PyTuple_Type) return encode_tuple(key, out);
        if (type == &PyFrozenSet_Type) return encode_set(key, out);
        if (structure_ == 0) return encode_described(key, out);
        if (type == &PyList_Type) return encode_list(key, out), false;
        if (type == &PyDict_Type) return encode_dict(key, out), false;
        if (type == &PySet_Type) return encode_set(key, out), false;
        return encode_described(key, out);
    }

private:
    /// Marks an object as being encoded, so that a cycle ends in an error.
    class Visit {
    public:
        Visit(KeyEncoder& encoder, PyObject* key) : path_(encoder.path_) {
            if (std::find(path_.begin(), path_.end(), key) != path_.end()) raise("contains itself", key);
            if (path_.size() >= kMaxNesting) raise("is nested more than 200 levels deep", key);
            path_.push_back(key);
        }
        ~Visit() { path_.pop_back(); }
        Visit(const Visit&) = delete;
        Visit& operator=(const Visit&) = delete;

    private:
        [[noreturn]] void raise(const char* problem, PyObject* part) {
            PyObject* key = path_.front();
            PyErr_Format(
                PyExc_TypeError,
                "cannot use this '%s' as a key: a '%s' in it %s; give '%s' a method __em_key__() that "
                "returns what identifies it, or use pyrsistence.register_key()",
                Py_TYPE(key)->tp_name, Py_TYPE(part)->tp_name, problem, Py_TYPE(key)->tp_name);
            nb::detail::raise_python_error();
        }
        std::vector<PyObject*>& path_;
    };

    bool encode_tuple(PyObject* tuple, Buffer& out) {
        bool restorable = true;
        const Py_ssize_t count = PyTuple_GET_SIZE(tuple);
        put_header(out, Tag::kTuple, static_cast<std::uint64_t>(count));
        for (Py_ssize_t i = 0; i < count; ++i) restorable &= encode(PyTuple_GET_ITEM(tuple, i), out);
        return restorable;
    }

    void encode_list(PyObject* list, Buffer& out) {
        const nb::object copy = own(PyList_AsTuple(list));
        put_header(out, Tag::kList, static_cast<std::uint64_t>(PyTuple_GET_SIZE(copy.ptr())));
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(copy.ptr()); ++i) {
            encode(PyTuple_GET_ITEM(copy.ptr(), i), out);
        }
    }

    /// A set and a frozenset with equal members are equal.
    bool encode_set(PyObject* set, Buffer& out) {
        bool restorable = true;
        const nb::object members = own(PySequence_Tuple(set));
        std::vector<std::string> items;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(members.ptr()); ++i) {
            Buffer item;
            restorable &= encode(PyTuple_GET_ITEM(members.ptr(), i), item);
            items.emplace_back(as_text(item));
        }
        put_sorted(out, Tag::kFrozenSetKey, items);
        return restorable;
    }

    void encode_dict(PyObject* dict, Buffer& out) {
        const nb::object pairs = own(PyDict_Items(dict));
        std::vector<std::string> items;
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(pairs.ptr()); ++i) {
            PyObject* pair = PyList_GET_ITEM(pairs.ptr(), i);
            Buffer item;
            encode(PyTuple_GET_ITEM(pair, 0), item);
            encode(PyTuple_GET_ITEM(pair, 1), item);
            items.emplace_back(as_text(item));
        }
        put_sorted(out, Tag::kDict, items);
    }

    static void put_sorted(Buffer& out, std::uint8_t tag, std::vector<std::string>& items) {
        std::sort(items.begin(), items.end());  // std::string compares bytes as unsigned char
        put_header(out, tag, items.size());
        for (const std::string& item : items) out.append(as_bytes(item));
    }

    bool encode_described(PyObject* key, Buffer& out) {
        const Description description = describe_key(key);
        const std::size_t begin = out.size();
        put_described(description, out);
        if (description.guarded && structure_ == 0) {
            guard(nb::handle(key), to_bytes(out.view().subspan(begin)));
        }
        return description.restorable;
    }

    void put_described(const Description& description, Buffer& out) {
        PyObject* first = PyTuple_GET_ITEM(description.fields, 0);
        const auto tag = static_cast<std::uint8_t>(description.tag);
        if (description.tag != kAlias && tag != Tag::kNumpyScalar) out.push_back(std::byte{tag});
        switch (tag) {
            case Tag::kNumpyScalar:
                return put_numpy_scalar(out, as_text(bytes_of(first)),
                                        bytes_of(PyTuple_GET_ITEM(description.fields, 1)));
            case Tag::kDate: return codec::store48(out.extend(6), field_number(first));
            case Tag::kNaiveDateTime:
            case Tag::kAwareDateTime:
            case Tag::kNaiveTime:
            case Tag::kAwareTime:
            case Tag::kTimeDelta: return codec::store<std::uint64_t>(out.extend(8), field_number(first));
            case Tag::kUuid: return out.append(bytes_of(first));
            case Tag::kInstance:
                ++structure_;
                put_fields(description.fields, out);
                --structure_;
                return;
            default: return put_fields(description.fields, out);
        }
    }

    void put_fields(PyObject* fields, Buffer& out) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(fields); ++i) encode(PyTuple_GET_ITEM(fields, i), out);
    }

    std::vector<PyObject*> path_;
    unsigned structure_ = 0;
};

/// Types whose hash cannot fail and is not worth computing.
bool hashes_for_certain(PyObject* key) noexcept {
    PyTypeObject* type = Py_TYPE(key);
    return type == &PyLong_Type || type == &PyUnicode_Type || type == &PyBytes_Type ||
           type == &PyFloat_Type || type == &PyBool_Type || key == Py_None;
}

}  // namespace

bool encode_identity(PyObject* key, Buffer& out) {
    if (!hashes_for_certain(key) && PyObject_Hash(key) == -1) nb::detail::raise_python_error();
    return KeyEncoder().encode(key, out);
}

}  // namespace pyrsistence::bindings
