// Recovery: the last durable checkpoint, then every record of the log since, through the very
// functions that made them.

#include <array>

#include "storage/store.hpp"

namespace pyrsistence::storage {

namespace {

std::array<Store::Apply, 16>& appliers() {
    static std::array<Store::Apply, 16> table{};
    return table;
}

[[noreturn]] void bad_record() {
    throw CorruptionError("log: a record that means nothing; restore a backup, or remove the file 'log' to go back to the last checkpoint");
}

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

LoggedOp parse(Bytes record) {
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

/// Calls visit(op) for a record, or for each record of a batch.
template <class Visit>
void for_each_op(Bytes record, Visit&& visit) {
    const LoggedOp op = parse(record);
    if (op.op != Op::batch) return visit(op);
    for (Bytes rest = op.operands; !rest.empty();) {
        const std::uint64_t length = take_varint(rest);
        if (length > rest.size()) bad_record();
        const LoggedOp part = parse(rest.first(length));
        if (part.op == Op::batch) bad_record();
        visit(part);
        rest = rest.subspan(length);
    }
}

}  // namespace

void Store::set_apply(ContainerType type, Apply apply) { appliers()[static_cast<std::size_t>(type)] = apply; }

void Store::load() {
    meta_ = Meta::read(*data_, path_.string());
    // A quarter of the limit is left to page states, bitmaps and everything that is not a frame.
    pager_ = std::make_unique<Pager>(*data_, meta_.pages,
                                     Pager::Options{options_.memory_limit / 4 * 3, read_only()});
    log_ = std::make_unique<Log>(*log_file_, read_only());
    catalog_ = meta_.catalog;
    seals_ = {meta_.pages.epoch};
    Log::Replay outcome;
    replay(outcome);
    generation_ = std::max(meta_.log.generation, outcome.highest_generation);
    sequence_ = outcome.next_sequence;
    writing_ = !read_only() && sequence_ == meta_.log.sequence && log_->resume(meta_.log);
}

/// First claims every extent that the log refers to, so that replaying cannot overwrite one, then
/// applies the records. An extent that a power failure left unwritten ends the log like a torn
/// record does; if its record had been synced, that is corruption.
void Store::replay(Log::Replay& outcome) {
    std::uint64_t end = UINT64_MAX;
    std::exception_ptr fault;
    outcome = log_->replay(meta_.log, meta_.checkpoint, [&](std::uint64_t sequence, Bytes record) {
        if (fault) return true;
        std::vector<ExtentRef> claimed;
        try {
            for_each_op(record, [&](const LoggedOp& op) {
                if (!op.external) return;
                pager_->claim(op.extent);
                claimed.push_back(op.extent);
                pager_->read_extent(op.extent);
            });
        } catch (const CorruptionError&) {
            fault = std::current_exception();
            end = sequence;
            for (const ExtentRef& extent : claimed) pager_->release(extent);
        }
        return true;
    });
    if (fault && end < outcome.synced_sequence) std::rethrow_exception(fault);
    WriteStep step(*this, WriteStep::Replay{});
    log_->replay(meta_.log, meta_.checkpoint, [&](std::uint64_t sequence, Bytes record) {
        if (sequence >= end) return false;
        apply(step, record);
        return true;
    });
}

void Store::apply(WriteStep& step, Bytes record) {
    for_each_op(record, [&](const LoggedOp& op) {
        step.next();
        if (op.op == Op::create) {
            if (op.operands.empty() || op.container != catalog_.containers) bad_record();
            step.create(static_cast<ContainerType>(op.operands[0]), as_text(op.operands.subspan(1)));
            return;
        }
        if (op.container >= catalog_.containers) bad_record();
        const auto type = static_cast<std::size_t>(RootPage::type(step.root(op.container)));
        if (type >= appliers().size() || !appliers()[type]) bad_record();
        appliers()[type](step, op);
    });
}

/// After a change that failed half way: back to the last checkpoint, and the log again. The next
/// operation that writes makes a checkpoint first.
void Store::restore(Guard& lock) noexcept {
    try {
        busy_ = true;
        settle(lock);
        if (!poison_) load();
    } catch (...) {
        poison_ = std::current_exception();
    }
    busy_ = false;
    changed_.notify_all();
}

}  // namespace pyrsistence::storage
