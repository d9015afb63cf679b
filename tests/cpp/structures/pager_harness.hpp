// A pager over a real file, with as few frames as it accepts, for tests of the structures. Seals are
// taken, held, written and dropped as a store does, so that copies on write and evictions happen.
#pragma once

#include "storage/pager.hpp"
#include "structures/tree.hpp"
#include "support.hpp"

namespace pyrsistence::test {

class PagerHarness {
public:
    PagerHarness() : file_(os::FileSystem::posix().create(dir_ / "data")) {
        file_->truncate(storage::kMetaPages * storage::kPageSize);
        pager_ = std::make_unique<storage::Pager>(*file_, storage::PagerState{}, storage::Pager::Options{0, false});
    }

    storage::Pager& pager() { return *pager_; }

    /// Ends the epoch. Older seals are dropped unless `keep_older`; nothing changes what a held one reaches.
    void seal(bool keep_older) {
        seals_.push_back(pager_->seal().epoch);
        write();
        if (!keep_older) drop_older();
    }
    void drop_older() {
        for (; seals_.size() > 1; seals_.erase(seals_.begin())) pager_->drop(seals_.front());
    }
    void write() {
        pager_->write_sealed();
        while (!pager_->retire(64)) {
        }
    }
    /// What a large value becomes before it goes into a tree.
    storage::ExtentRef extent(const std::string& text) { return pager_->write_extent(as_bytes(text)); }

    /// Throws unless the pages given are all that is in use, beside the pager's own.
    class Account {
    public:
        explicit Account(storage::Pager& pager) : pager_(pager), seen_(pager.page_count()) {}
        void page(PageId id) { run(id, 1); }
        void extent(const storage::ExtentRef& ref) { run(ref.first, ref.pages()); }
        void finish() {
            pager_.space().own_pages([this](PageId first, std::uint64_t pages) { run(first, pages); });
            if (reached_ + storage::kMetaPages != pager_.live_pages()) {
                throw CorruptionError(std::to_string(pager_.live_pages()) + " pages live, reached " +
                                      std::to_string(reached_ + storage::kMetaPages));
            }
        }

    private:
        void run(PageId first, std::uint64_t pages) {
            for (PageId id = first; id < first + pages; ++id, ++reached_) {
                if (id >= seen_.size() || seen_[id] || !pager_.space().live(id)) {
                    throw CorruptionError("page " + std::to_string(id) + " used twice, free or out of range");
                }
                seen_[id] = true;
            }
        }
        storage::Pager& pager_;
        std::vector<bool> seen_;
        std::uint64_t reached_ = 0;
    };

private:
    TempDir dir_;
    std::unique_ptr<os::File> file_;
    std::unique_ptr<storage::Pager> pager_;
    std::vector<std::uint64_t> seals_;
};

}  // namespace pyrsistence::test
