// What EMDict and EMSet share: the bytes that are stored for a key, and the check whether the handle's pickler is the
// one that the keys were stored with.
#pragma once

#include "bindings/collection.hpp"
#include "bindings/number_array.hpp"
#include "pyrsistence/encoding.hpp"
#include "pyrsistence/raw_dict.hpp"

namespace pyrsistence::bindings {

/// What is stored for one key and value.
struct Entry {
    Buffer bytes;
    std::size_t identity_size = 0;
    std::size_t key_size = 0;

    void encode_key(const Serializer& serializer, PyObject* key) {
        Buffer original;
        serializer.encode_key(key, bytes, original);
        identity_size = bytes.size();
        if (!original.empty()) {
            bytes.push_back(std::byte{Tag::kSeparator});
            bytes.append(original);
        }
        key_size = bytes.size();
    }
    void encode_key(const NumberArray::Key& key) {
        bytes.clear();
        key.put_identity(bytes);
        identity_size = bytes.size();
        bytes.push_back(std::byte{Tag::kSeparator});
        key.put_item(bytes);
        key_size = bytes.size();
    }
    void encode(const Serializer& serializer, PyObject* key, PyObject* value) {
        encode_key(serializer, key);
        serializer.encode_value(value, bytes);
    }
    DictEntry view() const noexcept { return {bytes, identity_size, key_size}; }
};

/// For Kind::check, of an engine that is a RawDict. Throws FormatError.
void check_keys(const Handle& engine, Serializer& serializer);

}  // namespace pyrsistence::bindings
