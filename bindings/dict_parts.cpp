#include "bindings/dict_parts.hpp"

#include "codec/item.hpp"

namespace pyrsistence::bindings {

/// A key that went through a pickler is found by a digest, any other by its identity: looked up the other way it
/// would be missed in silence. All keys of a dict are of one kind, so the first tells.
void check_keys(const Handle& engine, Serializer& serializer) {
    Chunk first;
    static_cast<const RawDict&>(engine).read(0, 1, first);
    serializer.require_custom_keys(false);
    if (first.items.empty()) return;
    const Bytes key = codec::split_entry(first.entry(0)).key;
    const bool custom = key[0] == std::byte{Tag::kCustom};
    serializer.require_custom_keys(custom);
    if (!custom && serializer.custom_keys()) {
        throw FormatError(engine.path().string() + " was written without a pickler; open it without one");
    }
}

}  // namespace pyrsistence::bindings
