// How one handle turns keys and values into items and back: natively, by pickle, or by the pickler and
// unpickler its user gave. Immutable after construction but for clear(). REQUIRES the GIL; every function may
// run user code, so no page, cursor or lock may be held meanwhile.
#pragma once

#include "bindings/py_util.hpp"
#include "pyrsistence/buffer.hpp"

namespace pyrsistence::bindings {

/// Whether this thread is pickling a value that is to be stored: a container does not let itself become a part of one.
bool storing_value() noexcept;

class Serializer {
public:
    Serializer() = default;
    /// `pickler` has pickle(object) -> bytes, `unpickler` has unpickle(bytes) -> object; each may be None.
    Serializer(nb::object pickler, nb::object unpickler, bool allow_pickle);

    /// Appends the value item. Throws PickleRefusedError if it would be a pickle and these are not allowed.
    void encode_value(PyObject* value, Buffer& out) const;
    /// REQUIRES: `item` is private memory.
    nb::object decode_value(Bytes item) const;

    /// Replaces `identity` by what is hashed and compared for this key: its identity, or the digest of it if
    /// that is long or a pickler is in use. Enough for lookups; the pickler is not called.
    void encode_lookup(PyObject* key, Buffer& identity) const;
    /// The same, and replaces `original` by the key's value item, empty if the identity gives back the key.
    void encode_key(PyObject* key, Buffer& identity, Buffer& original) const;
    /// REQUIRES: both are private memory; `original` is empty or the identity itself if nothing else is
    /// stored.
    nb::object decode_key(Bytes identity, Bytes original) const;

    nb::object pickler() const { return pickler_.is_valid() ? pickler_ : nb::none(); }
    nb::object unpickler() const { return unpickler_.is_valid() ? unpickler_ : nb::none(); }
    bool allow_pickle() const noexcept { return allow_pickle_; }
    /// Whether keys are stored as a pickler made them and found by the digests of their identities.
    bool custom_keys() const noexcept { return pickler_.is_valid() || unpickler_.is_valid(); }
    /// Whether a key is stored as its identity and its value item; otherwise only the functions above know how.
    bool plain_keys() const noexcept { return !custom_keys() && !custom_required_; }
    /// Says that the keys in the store are custom; lookups without a pickler then throw Error.
    void require_custom_keys(bool required) noexcept { custom_required_ = required; }

    /// For the tp_traverse and tp_clear of the type that owns this.
    int traverse(visitproc visit, void* arg) const;
    void clear();

private:
    bool put_identity(PyObject* key, Buffer& identity) const;
    nb::object call_pickler(PyObject* value) const;
    nb::object call_unpickler(Bytes bytes) const;

    nb::object pickler_;
    nb::object unpickler_;
    bool allow_pickle_ = true;
    bool custom_required_ = false;
};

}  // namespace pyrsistence::bindings
