// Random changes of a pager against copies of its pages: one per seal that is held, so that whatever a seal
// reaches is compared long after. Frames are few, so that pages are written early; checkpoints and published
// states are written by a second thread, which also reads them as another process would.

#include <future>
#include <optional>

#include "storage/pager_fixture.hpp"

namespace pyrsistence::storage {
namespace {

/// Everything that a state of the pager reaches.
struct World {
    struct PageSlot {
        PageId id;
        Seed seed;
    };
    struct ExtentSlot {
        ExtentRef ref;
        Seed seed;
    };
    std::vector<PageSlot> pages;
    std::vector<ExtentSlot> extents;
    std::vector<PageId> map;  ///< pages of the space map

    template <class T>
    static T take(std::vector<T>& from, std::size_t i) {
        const T taken = from[i];
        from[i] = from.back();
        from.pop_back();
        return taken;
    }
    template <class Visit>
    void for_each(Visit&& visit) const {
        for (const PageSlot& page : pages) visit(page.id);
        for (const PageId id : map) visit(id);
        for (const ExtentSlot& extent : extents) {
            for (PageId i = 0; i < extent.ref.pages(); ++i) visit(extent.ref.first + i);
        }
    }
    void check(Pager& pager) const {
        for (const PageSlot& page : pages) ASSERT_TRUE(filled(pager.read(page.id), page.seed)) << page.id;
        for (const ExtentSlot& extent : extents) {
            ASSERT_TRUE(same(pager.read_extent(extent.ref), extent_content(extent.ref.bytes, extent.seed)))
                << extent.ref.first;
        }
    }
};

class PagerModelTest : public PagerTest {
protected:
    struct Seal {
        std::uint64_t epoch = 0;
        World world;
        std::optional<PagerState> state = {};  ///< if it can be opened
        bool checkpoint = false;               ///< keeps the extents written since
        bool written = false;                  ///< all of it is in the file
        bool sealed_since = false;             ///< there is no way back
        PageId all_below = 0;                  ///< pages that it protects beside its own
    };
    /// An extent that a record of the log may name, whether it is in use or not.
    struct LogExtent {
        World::ExtentSlot slot;
        std::set<std::uint64_t> checkpoints;  ///< from which a recovery would need it
    };

    // --- changes
    void one_change() {
        pager_->reserve();
        const std::uint64_t choice = random_.below(100);
        auto& [pages, extents, map] = world_;
        if (choice < 25 || pages.size() < 10) {
            pages.push_back({add(*pager_, ++seed_), seed_});
        } else if (choice < 75) {
            auto& slot = pages[random_.below(pages.size())];
            slot = {change(*pager_, slot.id, ++seed_), seed_};
        } else if (choice < (pages.size() > 1500 ? 98U : 93U)) {
            pager_->release(World::take(pages, random_.below(pages.size())).id);
        } else if (choice < 99 && !extents.empty() && (extents.size() > 20 || random_.chance(50))) {
            pager_->release(World::take(extents, random_.below(extents.size())).ref);
        } else {
            write_extent();
        }
    }
    void write_extent() {
        const auto bytes = extent_content(1 + random_.below(90'000), ++seed_);
        world_.extents.push_back({pager_->write_extent(bytes), seed_});
        log_.push_back({world_.extents.back(), {}});
        for (const Seal& seal : seals_) {
            if (seal.checkpoint) log_.back().checkpoints.insert(seal.epoch);
        }
    }

    // --- seals
    void mark() { seals_.push_back({pager_->mark(), world_}); }
    void seal() {
        const PagerState state = pager_->seal();
        for (Seal& seal : seals_) seal.sealed_since = pager_->writes();
        if (pager_->writes()) world_.map = map_pages(state.space_map);
        seals_.push_back({state.epoch, world_, std::nullopt, true});
        if (pager_->writes()) seals_.back().state = state;
    }
    /// The space map's own pages, as its directory in the file has them.
    std::vector<PageId> map_pages(const ExtentRef& directory) {
        std::vector<std::byte> bytes(directory.bytes);
        file_->read(bytes, directory.first * kPageSize);
        std::vector<PageId> pages;
        for (PageId i = 0; i < directory.pages(); ++i) pages.push_back(directory.first + i);
        for (std::size_t i = 0; i < bytes.size(); i += 20) {
            if (const PageId page = codec::load48(bytes.data() + i)) pages.push_back(page);
        }
        return pages;
    }
    void drop(std::size_t at) {
        const std::uint64_t epoch = seals_[at].epoch;
        pager_->drop(epoch);
        seals_.erase(seals_.begin() + static_cast<std::ptrdiff_t>(at));
        if (epoch == foreign_epoch_) foreign_.clear();
        for (LogExtent& extent : log_) extent.checkpoints.erase(epoch);
        std::erase_if(log_, [](const LogExtent& extent) { return extent.checkpoints.empty(); });
    }
    void drop_epoch(std::uint64_t epoch) {
        const auto found = std::ranges::find(seals_, epoch, &Seal::epoch);
        if (found != seals_.end()) drop(static_cast<std::size_t>(found - seals_.begin()));
    }
    void drop_some_seal() {
        const std::size_t at = random_.below(seals_.size());
        const std::uint64_t epoch = seals_[at].epoch;
        if (epoch != durable_.epoch && epoch != background_epoch_) drop(at);
    }
    void rewind() {
        const Seal& newest = seals_.back();
        if (newest.sealed_since) {
            EXPECT_THROW(pager_->rewind(), CorruptionError);
            return;
        }
        pager_->rewind();
        world_ = newest.world;
    }

    // --- writing, in a second thread
    void start_checkpoint() {
        if (thread_.valid()) return;
        seal();
        in_background([this] { pager_->sync(); });
        checkpointing_ = true;
    }
    /// What readers would see; one of them looks at it while changes go on.
    void start_publishing() {
        if (thread_.valid()) return;
        if (random_.chance(70)) mark();
        pager_->hand_over(seals_.back().epoch);
        const PagerState state{seals_.back().epoch, pager_->page_count(), {}};
        in_background([this, state, world = seals_.back().world] {
            if (!reader_) reader_ = open(state, 0, Access::read);
            else reader_->reopen(state);
            world.check(*reader_);
        });
        checkpointing_ = false;
    }
    template <class Action>
    void in_background(Action&& action) {
        background_epoch_ = seals_.back().epoch;
        thread_ = std::async(std::launch::async, [this, action] {
            pager_->write_sealed();
            action();
        });
    }
    void end_background() {
        if (!thread_.valid()) return;
        thread_.get();
        while (!pager_->retire(50)) {
        }
        now_written(background_epoch_);
        if (std::exchange(checkpointing_, false)) replace_durable();
        background_epoch_ = 0;
    }
    void now_written(std::uint64_t epoch) {
        if (!pager_->writes()) return;
        for (Seal& seal : seals_) seal.written = seal.written || seal.epoch <= epoch;
    }
    void replace_durable() {
        const std::uint64_t old = durable_.epoch;
        durable_ = *std::ranges::find(seals_, background_epoch_, &Seal::epoch);
        drop_epoch(old);
        pager_->trim(random_.chance(50));
    }
    void settle() {
        end_background();
        write_back(*pager_);
    }
    void write_some() {
        const std::uint64_t epoch = seals_[random_.below(seals_.size())].epoch;
        if (epoch >= pager_->epoch()) return;
        pager_->hand_over(epoch);
        if (!thread_.valid() && random_.chance(30)) {
            file_->writes_until_failure = static_cast<int>(random_.below(3));
            try {
                pager_->write_sealed();
            } catch (const StorageError&) {
                pager_->retire(SIZE_MAX);
            }
            file_->writes_until_failure = -1;
        }
        pager_->write_sealed();
        now_written(epoch);
        pager_->retire(random_.below(100));
    }
    void write_everything() {
        pager_->write_all();
        EXPECT_EQ(pager_->frames_in_use(), 0U);
        now_written(UINT64_MAX);
    }

    // --- checks
    /// Every held seal is as it was, in memory and, once written, for a reader.
    void check() {
        world_.check(*pager_);
        std::uint64_t live = kMetaPages;
        world_.for_each([&](PageId) { ++live; });
        ASSERT_EQ(pager_->live_pages(), live);
        const auto other = reader(pager_->epoch(), *pager_);
        for (const Seal& seal : seals_) {
            seal.world.check(*pager_);
            if (seal.written) seal.world.check(*other);
        }
        for (const World& world : foreign_) world.check(*other);
        for (const LogExtent& extent : log_) {
            const auto bytes = extent_content(extent.slot.ref.bytes, extent.slot.seed);
            ASSERT_TRUE(same(pager_->read_extent(extent.slot.ref), bytes)) << extent.slot.ref.first;
        }
    }
    /// Nothing is busy but what somebody needs.
    void check_space() {
        settle();
        std::vector<bool> needed(pager_->page_count());
        const auto need = [&](PageId id) {
            ASSERT_LT(id, needed.size());
            needed[id] = true;
        };
        need(0);
        need(1);
        world_.for_each(need);
        for (const Seal& seal : seals_) {
            seal.world.for_each(need);
            for (PageId id = 0; id < seal.all_below; ++id) need(id);
        }
        for (const LogExtent& extent : log_) {
            for (PageId i = 0; i < extent.slot.ref.pages(); ++i) need(extent.slot.ref.first + i);
        }
        for (PageId id = 0; id < needed.size(); ++id) ASSERT_EQ(pager_->space().busy(id), needed[id]) << id;
    }
    void check_empty_handed() {
        settle();
        start_checkpoint();
        settle();
        while (seals_.size() > 1) drop(seals_[0].epoch == durable_.epoch ? 1 : 0);
        ASSERT_EQ(pager_->frames_in_use(), 0U);
        check_space();
    }

    // --- opening again
    /// Power fails, or the store goes back to its checkpoint: of the other seals, some are known, and some are
    /// only protected since others still read them.
    void crash_and_reopen(bool protect) {
        if (thread_.valid()) thread_.get();
        if (protect) write_everything();
        const std::uint64_t epoch = pager_->epoch();
        std::vector<Seal> known;
        std::vector<PagerState> held;
        foreign_.clear();
        for (Seal& seal : seals_) {
            if (seal.epoch == durable_.epoch || !seal.written) continue;
            if (seal.state && seal.epoch < durable_.epoch && seal.epoch > 0 && random_.chance(60)) {
                held.push_back(*seal.state);
                seal.checkpoint = false;
                seal.sealed_since = true;
                known.push_back(seal);
            } else if (protect && seal.all_below == 0) {
                foreign_.push_back(seal.world);
            }
        }
        pager_.reset();
        pager_ = open(*durable_.state, 0, Access::write, held);
        world_ = durable_.world;
        seals_ = std::move(known);
        seals_.push_back(durable_);
        seals_.back().sealed_since = false;
        background_epoch_ = 0;
        checkpointing_ = false;
        replay_log();
        if (protect) {
            foreign_epoch_ = epoch;
            const PageId end = file_->size() / kPageSize;
            pager_->protect(epoch, end);
            seals_.push_back({epoch, world_});
            seals_.back().all_below = end;
        }
    }
    /// What the log may name is there; some of it was released later.
    void replay_log() {
        std::erase_if(log_, [&](const LogExtent& one) { return !one.checkpoints.contains(durable_.epoch); });
        for (LogExtent& one : log_) {
            one.checkpoints = {durable_.epoch};
            pager_->claim(one.slot.ref);
            world_.extents.push_back(one.slot);
        }
        world_.check(*pager_);
        while (!world_.extents.empty() && random_.chance(80)) {
            pager_->release(World::take(world_.extents, random_.below(world_.extents.size())).ref);
        }
    }

    void event() {
        const std::uint64_t choice = random_.below(1000);
        const bool writes = pager_->writes();
        if (choice < 100 && writes) start_checkpoint();
        if (choice >= 100 && choice < 200 && writes) start_publishing();
        if (choice >= 200 && choice < 350) end_background();
        if (choice >= 350 && choice < 450 && seals_.size() < 10) mark();
        if (choice >= 450 && choice < 500 && seals_.size() < 10) seal();
        if (choice >= 500 && choice < 650) drop_some_seal();
        if (choice >= 650 && choice < 750) rewind();
        if (choice >= 750 && choice < 800) write_some();
        if (choice >= 800 && choice < 810 && writes) write_everything();
        if (choice >= 810 && choice < 900) check();
        if (choice >= 900 && choice < 950) check_space();
        if (choice >= 950 && choice < 960 && writes) check_empty_handed();
        if (choice >= 960 && choice < 975 && writes) crash_and_reopen(random_.chance(50));
    }
    void steps(std::size_t count, unsigned every) {
        for (std::size_t step = 0; step < count && !HasFailure(); ++step) {
            SCOPED_TRACE("step " + std::to_string(step));
            if (pager_->frames_scarce()) settle();
            one_change();
            if (random_.below(every) == 0) event();
        }
    }
    void start(std::uint64_t salt, std::size_t frames) {
        random_ = test::Random(salt);
        pager_ = open({}, frames);
        seals_.push_back({0, {}, PagerState{}, true, true});
        durable_ = seals_[0];
        start_checkpoint();
        end_background();
    }
    void run(std::uint64_t salt, std::size_t frames, std::size_t count, unsigned every) {
        PYRSISTENCE_TRACE_SEED;
        start(salt, frames);
        steps(count, every);
        check();
        check_empty_handed();
        crash_and_reopen(false);
        check();
        check_space();
    }

    test::Random random_{0};
    std::unique_ptr<Pager> pager_;
    std::unique_ptr<Pager> reader_;      ///< used by the second thread only
    World world_;
    std::vector<Seal> seals_;            ///< held, oldest first
    Seal durable_;
    std::vector<LogExtent> log_;
    std::vector<World> foreign_;         ///< kept by the seal of foreign_epoch_
    std::uint64_t foreign_epoch_ = 0;
    std::future<void> thread_;
    std::uint64_t background_epoch_ = 0; ///< which the thread is writing
    bool checkpointing_ = false;
    Seed seed_ = 0;
};

TEST_F(PagerModelTest, FewFrames1) { run(1, 0, test::scaled(60'000), 200); }
TEST_F(PagerModelTest, FewFrames2) { run(2, 0, test::scaled(60'000), 800); }
TEST_F(PagerModelTest, ManySeals) { run(3, 0, test::scaled(20'000), 20); }
TEST_F(PagerModelTest, ManyFrames) { run(4, 20'000, test::scaled(60'000), 200); }

/// A pager that replays a log for a reader knows seals, too, but changes nothing.
TEST_F(PagerModelTest, ReplayInMemory) {
    PYRSISTENCE_TRACE_SEED;
    start(5, 0);
    steps(test::scaled(5'000), 200);
    check_empty_handed();
    const World durable = world_;
    const std::uint64_t written = file_->written, size = file_->size();
    pager_ = open(*durable_.state, 0, Access::replay);
    log_.clear();
    seals_.back().sealed_since = false;
    for (std::size_t step = 0; step < test::scaled(10'000) && !HasFailure(); ++step) {
        one_change();
        if (random_.below(100) == 0) event();
    }
    check();
    EXPECT_EQ(file_->written, written);
    EXPECT_EQ(file_->size(), size);
    durable.check(*open(*durable_.state));
}

}  // namespace
}  // namespace pyrsistence::storage
