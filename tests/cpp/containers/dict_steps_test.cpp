#include "containers/dict_steps.hpp"

#include "codec/hash.hpp"
#include "codec/item.hpp"
#include "containers/models.hpp"

namespace pyrsistence::test {
namespace {

using containers::FoundEntry;
using storage::WriteStep;

class DictStepsTest : public ::testing::Test {
protected:
    static std::string entry(std::uint64_t key, std::string_view value) {
        Buffer out;
        put_uint(out, key);
        put_bytes(out, as_bytes(value));
        return std::string(as_text(out));
    }
    std::uint64_t hash(const std::string& entry) {
        return codec::key_hash(codec::entry_identity(as_bytes(entry)), open_.store().hash_seed());
    }
    FoundEntry find(WriteStep& step, const std::string& entry) {
        return containers::find_entry(step.pager(), step.root(0), hash(entry), codec::entry_identity(as_bytes(entry)));
    }
    void add(EntryId id, const std::string& entry) {
        WriteStep step(open_.store());
        FoundEntry found = find(step, entry);
        ASSERT_EQ(found.id, 0u);
        containers::commit_add(step, 0, id, found, hash(entry), as_bytes(entry));
    }

    TempDir dir_{true};
    const fs::path path_ = dir_ / "store";
    OpenStore<RawDict> open_{path_, nullptr, 0};
};

TEST_F(DictStepsTest, EntriesKeepTheIdsThatTheyAreGiven) {
    add(5, entry(1, "one"));
    add(4711, entry(2, "two"));
    EXPECT_EQ(open_->next_id(), 4712u);
    {
        WriteStep step(open_.store());
        EXPECT_EQ(find(step, entry(1, "")).id, 5u);
        EXPECT_EQ(find(step, entry(2, "")).id, 4711u);
        EXPECT_EQ(find(step, entry(3, "")).id, 0u);
        const FoundEntry found = find(step, entry(2, ""));
        EXPECT_EQ(as_text(containers::value_of(found.entry, 1)), entry(2, "two").substr(1));
        containers::commit_replace(step, 0, 4711, as_bytes(entry(2, "more")));
    }
    {
        WriteStep step(open_.store());
        containers::commit_erase(step, 0, 5, hash(entry(1, "")));
    }
    open_->check();
    open_.close();
    RawDict again(path_);
    Chunk chunk;
    again.read(0, 10, chunk);
    ASSERT_EQ(chunk.items.size(), 1u);
    EXPECT_EQ(chunk.items[0].key, 4711u);
    EXPECT_EQ(as_text(chunk.entry(0)), entry(2, "more"));
    again.check();
}

TEST_F(DictStepsTest, TheLastIdIsNotGivenOut) {
    EXPECT_THROW(add((EntryId{1} << 48) - 1, entry(1, "one")), CorruptionError);
    open_->check();
}

}  // namespace
}  // namespace pyrsistence::test
