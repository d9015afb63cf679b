#include "bindings/serializer.hpp"

#include "bindings/errors.hpp"
#include "bindings/key_identity.hpp"
#include "bindings/value_codec.hpp"
#include "codec/hash.hpp"

namespace pyrsistence::bindings {

namespace {

LazyAttribute pickle_dumps{"pickle", "dumps"};
LazyAttribute pickle_loads{"pickle", "loads"};
constexpr long kPickleProtocol = 5;

[[noreturn]] void raise(const char* error, const std::string& message) {
    PyErr_SetString(error_type(error).ptr(), message.c_str());
    nb::detail::raise_python_error();
}

nb::object optional(nb::object object) { return object.is_none() ? nb::object() : std::move(object); }

thread_local unsigned storing = 0;

class Storing {
public:
    Storing() { ++storing; }
    ~Storing() { --storing; }
    Storing(const Storing&) = delete;
    Storing& operator=(const Storing&) = delete;
};

void put_pickled(PyObject* value, Buffer& out) {
    const Storing now;
    const nb::object protocol = own(PyLong_FromLong(kPickleProtocol));
    const nb::object pickled = pickle_dumps(nb::handle(value), protocol);
    put_pickle(out, bytes_of(pickled.ptr()));
}

/// The content of the one item in `item`, whose tag is `tag`, as exact bytes.
nb::object content_of(Bytes item, std::uint8_t tag) {
    Reader reader(item);
    const Bytes content = reader.read_counted(tag);
    if (!reader.at_end()) throw CorruptionError("encoded value: bytes behind the end of a pickle");
    return to_bytes(content);
}

}  // namespace

bool storing_value() noexcept { return storing > 0; }

Serializer::Serializer(nb::object pickler, nb::object unpickler, bool allow_pickle)
    : pickler_(optional(std::move(pickler))),
      unpickler_(optional(std::move(unpickler))),
      allow_pickle_(allow_pickle) {}

void Serializer::encode_value(PyObject* value, Buffer& out) const {
    if (pickler_.is_valid()) {
        const nb::object pickled = call_pickler(value);
        return put_custom(out, bytes_of(pickled.ptr()));
    }
    const std::size_t begin = out.size();
    Obstacle obstacle;
    if (encode_native(value, out, obstacle)) return;
    out.truncate(begin);
    if (allow_pickle_) return put_pickled(value, out);
    raise("PickleRefusedError", "only pickle can store " + obstacle.describe() +
                                    ", and allow_pickle is False: convert it to built-in types, or open the "
                                    "container with allow_pickle=True");
}

nb::object Serializer::decode_value(Bytes item) const {
    const std::uint8_t tag = Reader(item).peek();
    if (tag == Tag::kCustom) return call_unpickler(item);
    if (tag != Tag::kPickle) return decode_native(item, Grammar::value);
    if (!allow_pickle_) {
        raise("PickleRefusedError",
              "this was stored as a pickle, and allow_pickle is False: if you trust whoever wrote the "
              "container, "
              "open it with allow_pickle=True");
    }
    return pickle_loads(content_of(item, tag));
}

nb::object Serializer::call_pickler(PyObject* value) const {
    static PyObject* const method = PyUnicode_InternFromString("pickle");
    const Storing now;
    nb::object pickled = own(PyObject_CallMethodObjArgs(pickler_.ptr(), method, value, nullptr));
    if (PyBytes_Check(pickled.ptr())) return pickled;
    PyErr_Format(PyExc_TypeError, "%s.pickle() must return bytes, not %s", Py_TYPE(pickler_.ptr())->tp_name,
                 Py_TYPE(pickled.ptr())->tp_name);
    nb::detail::raise_python_error();
}

nb::object Serializer::call_unpickler(Bytes item) const {
    if (!unpickler_.is_valid()) {
        raise("Error",
              "this was stored by a custom pickler: open the container with unpickler=, an object whose "
              "method unpickle(bytes) reads what that pickler wrote");
    }
    static PyObject* const method = PyUnicode_InternFromString("unpickle");
    const nb::object content = content_of(item, Tag::kCustom);
    return own(PyObject_CallMethodObjArgs(unpickler_.ptr(), method, content.ptr(), nullptr));
}

/// Returns whether the identity alone gives back the key.
bool Serializer::put_identity(PyObject* key, Buffer& identity) const {
    identity.clear();
    if (custom_required_ && !custom_keys()) [[unlikely]] {
        throw Error("the keys of this store were written with a pickler and cannot be looked up without it; open "
                    "it with pickler= and unpickler=");
    }
    const bool restorable = encode_identity(key, identity);
    if (!custom_keys() && identity.size() <= codec::kMaxIdentity) return restorable;
    Buffer digest;
    codec::digest_key(digest, identity);
    identity.assign(digest);
    return false;
}

void Serializer::encode_lookup(PyObject* key, Buffer& identity) const { put_identity(key, identity); }

void Serializer::encode_key(PyObject* key, Buffer& identity, Buffer& original) const {
    original.clear();
    if (!put_identity(key, identity)) encode_value(key, original);
}

nb::object Serializer::decode_key(Bytes identity, Bytes original) const {
    if (original.empty() || original.data() == identity.data()) {
        return decode_native(identity, Grammar::identity);
    }
    return decode_value(original);
}

int Serializer::traverse(visitproc visit, void* arg) const {
    Py_VISIT(pickler_.ptr());
    Py_VISIT(unpickler_.ptr());
    return 0;
}

void Serializer::clear() {
    const nb::object pickler = std::move(pickler_);  // dies last: its destructor may use this object
    const nb::object unpickler = std::move(unpickler_);
}

}  // namespace pyrsistence::bindings
