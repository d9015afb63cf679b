// A pager over a real file, with as few frames as it accepts, for tests of the structures. Seals are
// taken, held, written and dropped as a store does, so that copies on write, evictions and ways back happen.
#pragma once

#include "storage/pager.hpp"
#include "structures/tree.hpp"
#include "support.hpp"

namespace pyrsistence::test {

class PagerHarness {
public:
    PagerHarness() : file_(os::FileSystem::posix().create(dir_ / "data")) {
        file_->truncate(storage::kMetaPages * storage::kPageSize);
        pager_ = std::make_unique<storage::Pager>(*file_, storage::PagerState{}, storage::Pager::Options{0});
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
    /// Until undo(), no seal() and no other begin().
    void begin() { attempt_ = pager_->mark(); }
    /// The pages are as they were at begin().
    void undo() {
        pager_->rewind();
        pager_->drop(attempt_);
    }
    /// What a large value becomes before it goes into a tree.
    storage::ExtentRef extent(const std::string& text) { return pager_->write_extent(as_bytes(text)); }

    /// Throws unless the pages given are all that is in use, beside the pager's own.
    class Account {
    public:
        explicit Account(storage::Pager& pager) : pager_(pager), seen_(pager.page_count()) {}
        void page(PageId id) { run(id, 1); }
        void run(PageId first, std::uint64_t pages) {
            for (PageId id = first; id < first + pages; ++id, ++reached_) {
                if (id >= seen_.size() || seen_[id] || !pager_.space().live(id)) {
                    throw CorruptionError("page " + std::to_string(id) + " used twice, free or out of range");
                }
                seen_[id] = true;
            }
        }
        void finish() {
            pager_.space().own_pages([this](PageId first, std::uint64_t pages) { run(first, pages); });
            if (reached_ + storage::kMetaPages != pager_.live_pages()) {
                throw CorruptionError(std::to_string(pager_.live_pages()) + " pages live, reached " +
                                      std::to_string(reached_ + storage::kMetaPages));
            }
        }

    private:
        storage::Pager& pager_;
        std::vector<bool> seen_;
        std::uint64_t reached_ = 0;
    };

private:
    TempDir dir_;
    std::unique_ptr<os::File> file_;
    std::unique_ptr<storage::Pager> pager_;
    std::vector<std::uint64_t> seals_;
    std::uint64_t attempt_ = 0;
};

/// Some operations on a structure that are all undone in the end, as by a transaction that is rolled back.
template <class Root, class Model>
class Attempt {
public:
    bool running() const { return left_ > 0; }
    void begin(PagerHarness& harness, const Root& root, const Model& model, std::uint64_t operations) {
        harness.begin();
        root_ = root;
        model_ = model;
        left_ = operations;
    }
    /// To be called once per operation.
    void count(PagerHarness& harness, Root& root, Model& model) {
        if (--left_ > 0) return;
        harness.undo();
        root = root_;
        model = std::move(model_);
    }

private:
    Root root_{};
    Model model_;
    std::uint64_t left_ = 0;
};

}  // namespace pyrsistence::test
