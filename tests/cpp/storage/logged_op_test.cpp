#include "storage/logged_op.hpp"

#include <gtest/gtest.h>

#include "storage/step.hpp"

namespace pyrsistence::storage {
namespace {

std::vector<std::byte> record(const RecordHeader& header, std::string_view operands = {}) {
    const Bytes head = header.view(), tail = as_bytes(operands);
    std::vector<std::byte> all(head.begin(), head.end());
    all.insert(all.end(), tail.begin(), tail.end());
    return all;
}

/// The records with their lengths in front, as a batch has them.
std::vector<std::byte> batch(const std::vector<std::vector<std::byte>>& parts) {
    std::vector<std::byte> all = record(RecordHeader(Op::batch, 0));
    for (const auto& part : parts) {
        all.push_back(std::byte(part.size()));
        all.insert(all.end(), part.begin(), part.end());
    }
    return all;
}

TEST(LoggedOpTest, GivesBackWhatARecordHeaderWrote) {
    const ExtentRef extent{7, 20'000, 99};
    const auto bytes = record(RecordHeader(Op(17), 300, &extent).u48(5), "rest");
    const LoggedOp op = parse_op(bytes);
    EXPECT_EQ(op.op, Op(17));
    EXPECT_EQ(op.container, 300u);
    ASSERT_TRUE(op.external);
    EXPECT_EQ(op.extent, extent);
    EXPECT_EQ(codec::load48(op.operands.data()), 5u);
    EXPECT_EQ(as_text(op.operands.subspan(6)), "rest");
    EXPECT_FALSE(parse_op(record(RecordHeader(Op::remove, 1))).external);
}

TEST(LoggedOpTest, ABatchIsVisitedInOrder) {
    std::vector<ContainerId> seen;
    const auto visit = [&](const LoggedOp& op) { seen.push_back(op.container); };
    for_each_op(batch({record(RecordHeader(Op(16), 3), "x"), record(RecordHeader(Op(19), 1)), record(RecordHeader(Op(16), 2), "y")}),
                visit);
    EXPECT_EQ(seen, (std::vector<ContainerId>{3, 1, 2}));
    for_each_op(record(RecordHeader(Op(16), 9), "x"), visit);
    EXPECT_EQ(seen.back(), 9u);
    for_each_op(batch({}), visit);
    EXPECT_EQ(seen.size(), 4u);
}

TEST(LoggedOpTest, WhatMeansNothingIsCorruption) {
    const auto ignore = [](const LoggedOp&) {};
    const auto good = record(RecordHeader(Op(16), 300), "x");
    EXPECT_THROW(for_each_op({}, ignore), CorruptionError);
    EXPECT_THROW(for_each_op(Bytes(good).first(2), ignore), CorruptionError) << "the container is cut off";
    EXPECT_THROW(for_each_op(batch({batch({good})}), ignore), CorruptionError) << "a batch in a batch";
    const auto cut = batch({good, good});
    unsigned seen = 0;
    EXPECT_THROW(for_each_op(Bytes(cut).first(cut.size() - 1), [&](const LoggedOp&) { ++seen; }), CorruptionError);
    EXPECT_EQ(seen, 1u) << "the second one is longer than the batch";
    const ExtentRef extent{7, 20'000, 99};
    const auto external = record(RecordHeader(Op(16), 1, &extent));
    EXPECT_THROW(for_each_op(Bytes(external).first(external.size() - 1), ignore), CorruptionError);
    EXPECT_THROW((void)name_in(std::vector<std::byte>(RootPage::kMaxName + 1)), CorruptionError);
    EXPECT_EQ(name_in(as_bytes("calls")), "calls");
}

}  // namespace
}  // namespace pyrsistence::storage
