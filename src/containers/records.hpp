// What the log records of containers mean (storage/logged_op.hpp), and their operands.
#pragma once

#include "storage/step.hpp"

namespace pyrsistence::containers {

enum class DictOp : std::uint8_t {
    add = 16,      ///< u48 id, u64 hash, entry
    replace = 17,  ///< u48 id, entry
    erase = 18,    ///< u48 id, u64 hash
    clear = 19,
};

enum class ListOp : std::uint8_t {
    insert = 16,       ///< u48 rank, item
    set = 17,          ///< u48 rank, item
    erase_slice = 18,  ///< u48 first, u48 step, u48 count
    reverse = 19,
    clear = 20,
    rotate = 21,  ///< u48: how many items go one by one from the end to the front
    limit = 22,   ///< u64: most items, of a deque
};

enum class SortedOp : std::uint8_t {
    insert = 16,       ///< entry, behind those with the same key
    set = 17,          ///< entry, in place of one with the same key
    erase = 18,        ///< sort key
    erase_slice = 19,  ///< u48 first, u48 count
    clear = 20,
};

enum class ArrayOp : std::uint8_t {
    write = 16,   ///< u64 position of the first byte, bytes
    append = 17,  ///< bytes
    resize = 18,  ///< u64 bytes in all: new ones are zero
    type = 19,    ///< of the items, encoded
};

template <class ContainerOp>
storage::RecordHeader record_header(ContainerOp op, ContainerId id, const storage::ExtentRef* extent = nullptr) {
    return storage::RecordHeader(static_cast<storage::Op>(op), id, extent);
}

/// A record's operands, read field by field. Throws CorruptionError where they end too early.
class Operands {
public:
    explicit Operands(const storage::LoggedOp& op) : rest_(op.operands) {}
    std::uint64_t u48() { return codec::load48(take(6)); }
    std::uint64_t u64() { return codec::load<std::uint64_t>(take(8)); }
    Bytes rest() const { return rest_; }

private:
    const std::byte* take(std::size_t size) {
        if (rest_.size() < size) storage::bad_record();
        const std::byte* field = rest_.data();
        rest_ = rest_.subspan(size);
        return field;
    }
    Bytes rest_;
};

}  // namespace pyrsistence::containers
