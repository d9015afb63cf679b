#include "pyrsistence/typed.hpp"

#include "codec/item.hpp"

namespace pyrsistence::detail {

EntryView split_entry(Bytes entry) {
    const codec::EntryView parts = codec::split_entry(entry);
    return {parts.identity, parts.key, parts.value};
}

void throw_bytes_behind_item(std::size_t position) {
    throw CorruptionError("stored value: bytes behind the end of the item, which ends at byte " +
                          std::to_string(position));
}

void throw_no_such_key(const char* operation, const std::string& path) {
    throw std::out_of_range(std::string(operation) + ": no such key in " + path +
                            "; get() returns an empty optional instead");
}

void throw_changed_while_sorting(const std::string& path) {
    throw Error(path + ": the list was changed while it was being sorted, and has not been sorted; sort it again, or "
                "within a transaction");
}

void throw_no_such_index(std::uint64_t index, std::uint64_t size, const std::string& path) {
    throw std::out_of_range("index " + std::to_string(index) + " in the " + std::to_string(size) +
                            " items of " + path);
}

}  // namespace pyrsistence::detail
