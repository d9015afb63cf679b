#include "storage/logged_op.hpp"

#include "storage/catalog.hpp"

namespace pyrsistence::storage {

namespace {

std::uint64_t take_varint(Bytes& bytes) {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
        const auto byte = static_cast<std::uint8_t>(bytes[0]);
        bytes = bytes.subspan(1);
        value |= std::uint64_t{byte & 0x7fu} << shift;
        if (byte < 0x80) return value;
    }
    bad_record();
}

}  // namespace

void bad_record() {
    throw CorruptionError("log: a record that means nothing; restore a backup, or save what can be read by "
                          "verify(repair=True)");
}

LoggedOp parse_op(Bytes record) {
    if (record.empty()) bad_record();
    const auto code = static_cast<std::uint8_t>(record[0]);
    record = record.subspan(1);
    LoggedOp op{static_cast<Op>(code & 0x7f), static_cast<ContainerId>(take_varint(record)), (code & 0x80) != 0, {}, {}};
    if (op.external) {
        if (record.size() < ExtentRef::kEncodedSize) bad_record();
        op.extent = ExtentRef::decode(record.data());
        record = record.subspan(ExtentRef::kEncodedSize);
    }
    op.operands = record;
    return op;
}

LoggedOp take_op(Bytes& batch) {
    const std::uint64_t length = take_varint(batch);
    if (length > batch.size()) bad_record();
    const LoggedOp op = parse_op(batch.first(length));
    if (op.op == Op::batch) bad_record();
    batch = batch.subspan(length);
    return op;
}

std::string_view name_in(Bytes operands) {
    if (operands.size() > RootPage::kMaxName) bad_record();
    return as_text(operands);
}

}  // namespace pyrsistence::storage
