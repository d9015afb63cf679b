// Several threads over one pager as a store has them: changes under one lock, while other threads write sealed
// frames without it, publish states and read them through pagers of their own.

#include <mutex>
#include <thread>

#include "storage/pager_fixture.hpp"

namespace pyrsistence::storage {
namespace {

class PagerThreadsTest : public PagerTest {
protected:
    using Guard = std::unique_lock<std::mutex>;

    struct World {
        std::map<PageId, Seed> pages;
        std::map<PageId, std::pair<ExtentRef, Seed>> extents;

        void check(Pager& pager) const {
            for (const auto& [id, seed] : pages) ASSERT_TRUE(filled(pager.read(id), seed)) << id;
            for (const auto& [first, extent] : extents) {
                const auto& [ref, seed] = extent;
                ASSERT_TRUE(same(pager.read_extent(ref), extent_content(ref.bytes, seed))) << first;
            }
        }
    };

    template <class Map>
    static auto pick(Map& map, test::Random& random) {
        const auto at = map.lower_bound(random.below(map.rbegin()->first + 1));
        return at == map.end() ? map.begin() : at;
    }
    void one_change(test::Random& random) {
        const std::uint64_t choice = random.below(100);
        const Seed seed = ++seed_;
        if (choice < 30 || world_.pages.size() < 20) {
            world_.pages[add(*pager_, seed)] = seed;
        } else if (choice < 75) {
            const auto at = pick(world_.pages, random);
            const PageId old = at->first;
            world_.pages.erase(at);
            world_.pages[change(*pager_, old, seed)] = seed;
        } else if (choice < (world_.pages.size() > 400 ? 97U : 90U)) {
            const auto at = pick(world_.pages, random);
            pager_->release(at->first);
            world_.pages.erase(at);
        } else if (choice < 98 && !world_.extents.empty()) {
            const auto at = pick(world_.extents, random);
            pager_->release(at->second.first);
            world_.extents.erase(at);
        } else if (world_.extents.size() < 30) {
            const ExtentRef ref = pager_->write_extent(extent_content(1 + random.below(20'000), seed));
            world_.extents[ref.first] = {ref, seed};
        }
    }
    /// As a transaction that is rolled back. Others may seal within it only as long as it does not return.
    void try_and_undo(test::Random& random) {
        const World before = world_;
        const std::uint64_t epoch = pager_->mark();
        for (std::uint64_t i = random.below(50); i > 0; --i) one_change(random);
        pager_->rewind();
        pager_->drop(epoch);
        world_ = before;
    }
    void write_back() {
        pager_->write_sealed();
        for (bool all = false; !all;) {
            const Guard guard(lock_);
            all = pager_->retire(20);
        }
    }
    void publish(std::unique_ptr<Pager>& own) {
        Guard guard(lock_);
        const PagerState state{pager_->mark(), pager_->page_count(), {}};
        pager_->hand_over(state.epoch);
        const World world = world_;
        guard.unlock();
        write_back();
        if (own) own->reopen(state);
        else own = open(state, 0, Access::read);
        world.check(*own);
        guard.lock();
        pager_->drop(state.epoch);
    }
    void make_checkpoint() {
        Guard guard(lock_);
        const PagerState state = pager_->seal();
        const World world = world_;
        guard.unlock();
        write_back();
        pager_->sync();
        guard.lock();
        world.check(*pager_);
        pager_->drop(durable_.epoch);
        durable_ = state;
        durable_world_ = world;
        pager_->trim();
    }
    /// `action` again and again until the changes are done.
    template <class Action>
    std::thread repeat(Action action) {
        return std::thread([this, action]() mutable {
            while (!done_ && !HasFailure()) action();
        });
    }

    std::mutex lock_;  ///< of what follows, but for calls that need none
    std::unique_ptr<Pager> pager_;
    World world_, durable_world_;
    PagerState durable_;
    Seed seed_ = 0;
    std::atomic<bool> done_ = false;
};

TEST_F(PagerThreadsTest, ChangesCheckpointsAndReaders) {
    PYRSISTENCE_TRACE_SEED;
    test::Random random(11);
    pager_ = open({});
    std::unique_ptr<Pager> readers[2];
    std::vector<std::thread> threads;
    for (auto& own : readers) threads.push_back(repeat([&] { publish(own); }));
    threads.push_back(repeat([&] { make_checkpoint(); }));
    for (std::size_t step = 0; step < test::scaled(3'000) && !HasFailure(); ++step) {
        {
            const Guard guard(lock_);
            for (int i = 0; i < 10 && !pager_->frames_scarce(); ++i) one_change(random);
            if (!pager_->frames_scarce() && random.chance(10)) try_and_undo(random);
            if (random.chance(1)) world_.check(*pager_);
        }
        if (random.chance(20)) write_back();
    }
    done_ = true;
    for (std::thread& thread : threads) thread.join();
    make_checkpoint();
    EXPECT_EQ(pager_->frames_in_use(), 0U);
    for (auto& own : readers) {
        own->reopen(durable_);
        durable_world_.check(*own);
    }
    pager_ = open(durable_);
    durable_world_.check(*pager_);
}

}  // namespace
}  // namespace pyrsistence::storage
