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
    /// The key is a number of an array.
    void encode_key(const NumberArray& numbers, std::size_t i) {
        bytes.clear();
        numbers.put_identity(bytes, i);
        identity_size = bytes.size();
        bytes.push_back(std::byte{Tag::kSeparator});
        numbers.put_value(bytes, i);
        key_size = bytes.size();
    }
    void encode(const Serializer& serializer, PyObject* key, PyObject* value) {
        encode_key(serializer, key);
        serializer.encode_value(value, bytes);
    }
    DictEntry view() const noexcept { return {bytes, identity_size, key_size}; }
};

/// The numbers of an array that are stored in a dict or set, or looked up there, without objects of Python's; nothing if
/// those are needed.
inline std::optional<NumberArray> numbers_for(const Collection& dict, PyObject* source, NumberArray::Use use) {
    return dict.serializer().plain_keys() ? NumberArray::of(source, use) : std::nullopt;
}

/// For Kind::check, of an engine that is a RawDict. Throws FormatError.
void check_keys(const Handle& engine, Serializer& serializer);

}  // namespace pyrsistence::bindings
