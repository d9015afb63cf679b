// Log records as operations: what each one is, to which container it belongs, and where its value lies.
//
// Pure functions over bytes, safe from any thread. Views point into the record.
#pragma once

#include "storage/format.hpp"

namespace pyrsistence::storage {

/// Where an operation's record ends up when it is replayed.
enum class Op : std::uint8_t {
    create = 1,  ///< u8 type, name
    batch = 2,   ///< { varint length, record }...: all or nothing
    remove = 3,
    rename = 4,  ///< name
    first_of_container = 16,
};

/// One record as its container sees it.
struct LoggedOp {
    Op op;
    ContainerId container;
    bool external;     ///< the value lies in `extent`
    ExtentRef extent;
    Bytes operands;
};

/// Throws CorruptionError for bytes that no release has written.
[[noreturn]] void bad_record();
LoggedOp parse_op(Bytes record);
/// Takes the next record of a batch off its front. Throws CorruptionError.
LoggedOp take_op(Bytes& batch);

/// Calls visit(op) for a record, or for each record of a batch. Throws CorruptionError.
template <class Visit>
void for_each_op(Bytes record, Visit&& visit) {
    const LoggedOp op = parse_op(record);
    if (op.op != Op::batch) return visit(op);
    for (Bytes rest = op.operands; !rest.empty();) visit(take_op(rest));
}

/// The operands of Op::create and Op::rename. Throw CorruptionError.
std::string_view name_in(Bytes operands);

}  // namespace pyrsistence::storage
