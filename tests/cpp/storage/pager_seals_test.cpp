// Seals of the pager one by one: what they keep, what going back undoes, who reads them.

#include "storage/pager_fixture.hpp"

namespace pyrsistence::storage {
namespace {

using PagerSealsTest = PagerTest;

TEST_F(PagerSealsTest, AMarkKeepsPagesAndWritesNothing) {
    auto pager = open({});
    const PageId id = add(*pager, 1);
    const std::uint64_t written = file_->written;
    const std::uint64_t epoch = pager->mark();
    EXPECT_EQ(pager->epoch(), epoch + 1);
    const PageId moved = change(*pager, id, 2);
    EXPECT_NE(moved, id);
    pager->release(moved);
    EXPECT_TRUE(filled(pager->read(id), 1));
    EXPECT_TRUE(pager->space().busy(id));
    EXPECT_FALSE(pager->space().busy(moved));
    EXPECT_EQ(pager->frames_in_use(), 1U);
    pager->drop(epoch);
    pager->drop(epoch);  // nobody knows it any more
    EXPECT_FALSE(pager->space().busy(id));
    EXPECT_EQ(pager->frames_in_use(), 0U);
    EXPECT_EQ(file_->written, written);
}

TEST_F(PagerSealsTest, DropsInAnyOrder) {
    for (const std::array<int, 3>& order : {std::array{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}) {
        auto pager = open({});
        const PageId first = add(*pager, 0);
        PageId id = first;
        std::uint64_t seals[3];
        PageId pages[3];
        for (Seed i = 0; i < 3; ++i) {
            seals[i] = pager->mark();
            pages[i] = id;
            id = change(*pager, id, i + 1);
        }
        std::set<int> held{0, 1, 2};
        for (const int i : order) {
            pager->drop(seals[i]);
            held.erase(i);
            EXPECT_EQ(pager->frames_in_use(), 1 + held.size());
            for (int k = 0; k < 3; ++k) {
                EXPECT_EQ(pager->space().busy(pages[k]), held.contains(k)) << k;
                if (held.contains(k)) {
                    EXPECT_TRUE(filled(pager->read(pages[k]), static_cast<Seed>(k)));
                }
            }
        }
        EXPECT_TRUE(filled(pager->read(id), 3));
    }
}

TEST_F(PagerSealsTest, RewindUndoesEverythingSinceTheSeal) {
    auto pager = open({});
    std::vector<PageId> ids;
    for (Seed i = 0; i < 100; ++i) ids.push_back(add(*pager, i));
    const ExtentRef extent = pager->write_extent(extent_content(10'000, 1));
    const PagerState state = checkpoint(*pager);
    const PageId count = pager->page_count(), live = pager->live_pages();
    for (int round = 0; round < 3; ++round) {
        for (Seed i = 0; i < 50; ++i) change(*pager, ids[i], 1000 + i);
        for (Seed i = 50; i < 80; ++i) pager->release(ids[i]);
        pager->release(extent);
        const PageId fresh = add(*pager, 5);
        EXPECT_EQ(fresh, count + 50);
        pager->rewind();
        EXPECT_EQ(pager->live_pages(), live);
        EXPECT_EQ(pager->frames_in_use(), 0U);
        EXPECT_FALSE(pager->space().busy(fresh));
        for (Seed i = 0; i < 100; ++i) ASSERT_TRUE(filled(pager->read(ids[i]), i));
        EXPECT_TRUE(same(pager->read_extent(extent), extent_content(10'000, 1)));
    }
    EXPECT_EQ(pager->epoch(), state.epoch + 1);
}

TEST_F(PagerSealsTest, RewindsToInnerAndOuterSeals) {
    auto pager = open({}, 5000);
    const PageId a = add(*pager, 1);
    const std::uint64_t outer = pager->mark();
    const PageId b = change(*pager, a, 2);
    const std::uint64_t inner = pager->mark();
    const PageId c = change(*pager, b, 3);
    EXPECT_EQ(pager->frames_in_use(), 3U);
    pager->rewind();
    EXPECT_FALSE(pager->space().busy(c));
    EXPECT_TRUE(filled(pager->read(b), 2));
    EXPECT_EQ(pager->frames_in_use(), 2U);
    const PageId d = change(*pager, b, 4);  // b belongs to the inner seal
    EXPECT_NE(d, b);
    pager->drop(inner);
    EXPECT_FALSE(pager->space().busy(b));
    EXPECT_TRUE(filled(pager->read(d), 4));
    pager->rewind();
    EXPECT_TRUE(filled(pager->read(a), 1));
    EXPECT_EQ(pager->live_pages(), kMetaPages + 1);
    EXPECT_EQ(pager->frames_in_use(), 1U);
    pager->drop(outer);
    EXPECT_EQ(change(*pager, add(*pager, 9), 10), b);
}

TEST_F(PagerSealsTest, RewindsPastPagesThatWereWrittenEarly) {
    auto pager = open({});
    std::vector<PageId> ids;
    for (Seed i = 0; i < 2000; ++i) ids.push_back(add(*pager, i));
    const PageId count = pager->page_count();
    pager->mark();
    std::vector<PageId> moved;
    for (Seed i = 0; i < 2000; ++i) moved.push_back(change(*pager, ids[i], i + 7000));
    for (Seed i = 0; i < 2000; ++i) ASSERT_EQ(change(*pager, moved[i], i + 8000), moved[i]);
    pager->rewind();
    for (Seed i = 0; i < 2000; ++i) ASSERT_TRUE(filled(pager->read(ids[i]), i));
    EXPECT_EQ(pager->live_pages(), kMetaPages + 2000);
    for (Seed i = 0; i < 3000; ++i) ASSERT_EQ(add(*pager, i + 90'000), count + i);
    for (Seed i = 0; i < 3000; ++i) ASSERT_TRUE(filled(pager->read(count + i), i + 90'000));
    pager->write_all();
    EXPECT_EQ(pager->frames_in_use(), 0U);
}

/// The pages of the space map as sealed later belong to no earlier state: going back would have freed them.
TEST_F(PagerSealsTest, RefusesToGoBackBehindACheckpoint) {
    auto pager = open({});
    const PageId id = add(*pager, 1);
    pager->mark();
    const PageId moved = change(*pager, id, 2);
    const PagerState state = checkpoint(*pager);
    pager->drop(state.epoch);
    EXPECT_THROW(pager->rewind(), CorruptionError);
    EXPECT_TRUE(filled(pager->read(moved), 2));
    EXPECT_TRUE(filled(pager->read(id), 1));
    checkpoint(*pager);
}

// --- extents

TEST_F(PagerSealsTest, ExtentsStayForRecoveryAfterARewind) {
    auto pager = open({});
    const PagerState first = checkpoint(*pager);
    const auto value = extent_content(40'000, 1);
    const ExtentRef released = pager->write_extent(value);
    pager->release(released);
    const ExtentRef undone = pager->write_extent(value);
    const std::uint64_t live = pager->live_pages() - undone.pages();
    pager->rewind();
    EXPECT_EQ(pager->live_pages(), live);
    for (const ExtentRef& extent : {released, undone}) {
        EXPECT_TRUE(pager->space().busy(extent.first));
        EXPECT_FALSE(pager->space().live(extent.first));
        EXPECT_TRUE(same(pager->read_extent(extent), value));
    }
    const PagerState second = checkpoint(*pager);
    EXPECT_EQ(pager->live_pages(), live);
    EXPECT_TRUE(pager->space().busy(undone.first));
    const ExtentRef later = pager->write_extent(value);
    pager->release(later);
    pager->drop(first.epoch);
    EXPECT_FALSE(pager->space().busy(released.first));
    EXPECT_FALSE(pager->space().busy(undone.first));
    EXPECT_TRUE(pager->space().busy(later.first));
    EXPECT_LE(pager->write_extent(value).first, std::min(released.first, undone.first));
    EXPECT_GT(second.epoch, first.epoch);
}

/// A snapshot taken before a checkpoint took what the checkpoint kept for its log for its own.
TEST_F(PagerSealsTest, OlderSealsDoNotKeepExtentsOfTheLog) {
    auto pager = open({});
    add(*pager, 1);
    pager->mark();
    const PagerState first = checkpoint(*pager);
    const ExtentRef extent = pager->write_extent(extent_content(40'000, 1));
    pager->release(extent);
    checkpoint(*pager);
    EXPECT_TRUE(pager->space().busy(extent.first));
    pager->drop(first.epoch);
    EXPECT_FALSE(pager->space().busy(extent.first));
}

// --- frames handed over

TEST_F(PagerSealsTest, HandsOverTheFramesOfOlderEpochsOnly) {
    auto pager = open({}, 5000);
    std::vector<PageId> ids;
    std::vector<std::uint64_t> seals;
    for (Seed i = 0; i < 300; ++i) {
        ids.push_back(add(*pager, i));
        if (i % 100 == 99) seals.push_back(pager->mark());
    }
    pager->hand_over(seals[1]);
    pager->release(ids[0]);  // handed over, and held
    pager->release(ids[250]);
    pager->drop(seals[2]);
    EXPECT_EQ(pager->frames_in_use(), 299U);
    EXPECT_FALSE(pager->space().busy(ids[250]));
    pager->drop(seals[0]);
    pager->drop(seals[1]);  // not being written yet: comes back at once
    EXPECT_FALSE(pager->space().busy(ids[0]));
    EXPECT_EQ(pager->frames_in_use(), 298U);
    write_back(*pager);
    EXPECT_EQ(pager->frames_in_use(), 99U);
    for (Seed i = 200; i < 300; ++i) {
        if (i != 250) pager->release(ids[i]);
    }
    EXPECT_EQ(pager->frames_in_use(), 0U);
    for (Seed i = 1; i < 200; ++i) ASSERT_TRUE(filled(pager->read(ids[i]), i));
}

TEST_F(PagerSealsTest, PagesBeingWrittenWaitAmongOthersThatDoNot) {
    for (unsigned writing = 0; writing < 32; ++writing) {  // a bit per page
        auto pager = open({}, 5000);
        std::vector<PageId> ids, late;
        for (Seed i = 0; i < 5; ++i) {
            ids.push_back(add(*pager, i));
            if ((writing >> i & 1) != 0) late.push_back(ids.back());
        }
        const std::uint64_t first = pager->mark();
        pager->hand_over(first);
        write_back(*pager);
        for (const PageId id : late) pager->release(id);
        pager->drop(first);
        for (const PageId id : late) ASSERT_EQ(add(*pager, 7), id);
        const std::uint64_t second = pager->mark();
        pager->hand_over(second);
        pager->write_sealed();
        for (const PageId id : ids) pager->release(id);
        pager->drop(second);
        for (unsigned i = 0; i < 5; ++i) EXPECT_EQ(pager->space().busy(ids[i]), (writing >> i & 1) != 0) << i;
        pager->retire(SIZE_MAX);
        for (const PageId id : ids) EXPECT_FALSE(pager->space().busy(id));
        EXPECT_EQ(pager->frames_in_use(), 0U);
    }
}

/// Frames in every condition, against the set of those that should exist.
TEST_F(PagerSealsTest, NoFrameIsLost) {
    PYRSISTENCE_TRACE_SEED;
    test::Random random(77);
    auto pager = open({}, 20'000);
    struct Seal {
        std::uint64_t epoch;
        std::set<PageId> live;
        bool behind_save;
    };
    std::set<PageId> live, framed, handed, written;  // written: handed over and not retired
    std::map<PageId, std::uint64_t> epochs;
    std::vector<Seal> seals{{0, {}, false}};
    const auto forget = [&](PageId id) {
        const bool held = std::ranges::any_of(seals, [id](const Seal& seal) { return seal.live.contains(id); });
        if (held || live.contains(id) || written.contains(id)) return;
        framed.erase(id);
        handed.erase(id);
    };
    const auto hand_over = [&](std::uint64_t epoch) {
        for (const PageId id : framed) {
            if (epochs[id] <= epoch && !written.contains(id)) handed.insert(id);
        }
    };
    const auto some = [&] { return *std::next(live.begin(), static_cast<std::ptrdiff_t>(random.below(live.size()))); };
    const auto drop = [&](std::size_t at) {
        const Seal gone = seals[at];
        seals.erase(seals.begin() + static_cast<std::ptrdiff_t>(at));
        pager->drop(gone.epoch);
        for (const PageId id : gone.live) forget(id);
    };
    for (std::size_t step = 0; step < test::scaled(20'000) && !HasFailure(); ++step) {
        const std::uint64_t choice = random.below(100);
        if (choice < 40 || live.size() < 5) {
            const PageId id = add(*pager, static_cast<Seed>(step));
            EXPECT_TRUE(live.insert(id).second);
            EXPECT_FALSE(written.contains(id)) << "it is being written";
            framed.insert(id);
            epochs[id] = pager->epoch();
        } else if (choice < 70) {
            const PageId old = some(), id = change(*pager, old, static_cast<Seed>(step));
            live.erase(old);
            live.insert(id);
            framed.insert(id);
            epochs[id] = pager->epoch();
            if (id != old) forget(old);
        } else if (choice < 85) {
            const PageId id = some();
            pager->release(id);
            live.erase(id);
            forget(id);
        } else if (choice < 88) {
            seals.push_back({pager->mark(), live, false});
        } else if (choice < 89) {
            const PagerState state = pager->seal();
            for (Seal& seal : seals) seal.behind_save = true;
            seals.push_back({state.epoch, live, false});
            hand_over(state.epoch);
        } else if (choice < 92 && seals.size() > 1) {
            drop(random.below(seals.size() - 1));
        } else if (choice < 94 && seals.size() > 2) {
            drop(seals.size() - 1);
        } else if (choice < 95 && !seals.back().behind_save) {
            const std::set<PageId> undone = std::exchange(live, seals.back().live);
            pager->rewind();
            for (const PageId id : undone) forget(id);
        } else if (choice < 96) {
            const std::uint64_t epoch = seals[random.below(seals.size())].epoch;
            pager->hand_over(epoch);
            hand_over(epoch);
        } else if (choice < 97) {
            pager->write_sealed();
            written.merge(std::exchange(handed, {}));
        } else if (choice < 98) {
            const std::size_t few = random.below(3);
            EXPECT_EQ(pager->retire(few), written.size() <= few);
            if (few < written.size()) pager->retire(SIZE_MAX);
            for (const PageId id : written) framed.erase(id);
            written.clear();
        }
        EXPECT_EQ(pager->frames_in_use(), framed.size()) << "step " << step;
    }
    while (seals.size() > 1) drop(0);
    for (const PageId id : live) pager->release(id);
    pager->drop(seals[0].epoch);
    write_back(*pager);
    EXPECT_EQ(pager->frames_in_use(), 0U);
}

TEST_F(PagerSealsTest, WriteAllLeavesNothingInMemory) {
    auto pager = open({}, 5000);
    std::vector<PageId> ids;
    for (Seed i = 0; i < 400; ++i) ids.push_back(add(*pager, i));
    const std::uint64_t held = pager->mark();
    for (Seed i = 0; i < 100; ++i) change(*pager, ids[i], i + 5000);
    pager->seal();
    const PageId last = add(*pager, 77);
    file_->writes_until_failure = 1;
    EXPECT_THROW(pager->write_all(), StorageError);
    file_->writes_until_failure = -1;
    EXPECT_TRUE(filled(pager->read(last), 77));
    pager->write_all();
    EXPECT_EQ(pager->frames_in_use(), 0U);
    const auto other = reader(held, *pager);
    for (Seed i = 0; i < 400; ++i) ASSERT_TRUE(filled(other->read(ids[i]), i));
    EXPECT_TRUE(filled(pager->read(last), 77));
    EXPECT_EQ(change(*pager, last, 78), last);
}

// --- readers

TEST_F(PagerSealsTest, ReadersSeeWhatWasPublished) {
    auto pager = open({}, 5000);
    std::vector<PageId> ids;
    for (Seed i = 0; i < 500; ++i) ids.push_back(add(*pager, i));
    const auto value = extent_content(60'000, 4);
    const ExtentRef extent = pager->write_extent(value);
    const auto publish = [&] {
        const std::uint64_t epoch = pager->mark();
        pager->hand_over(epoch);
        write_back(*pager);
        return epoch;
    };
    const auto first = reader(publish(), *pager);
    std::vector<PageId> later = ids;
    for (Seed i = 0; i < 400; ++i) later[i] = change(*pager, ids[i], i + 1000);
    for (Seed i = 0; i < 30'000; ++i) later.push_back(add(*pager, i));  // outgrows mapping and states
    pager->release(extent);
    const std::uint64_t second = publish();
    for (Seed i = 0; i < 500; ++i) ASSERT_TRUE(filled(first->read(ids[i]), i));
    EXPECT_TRUE(same(first->read_extent(extent), value));
    EXPECT_THROW(first->read(later.back()), CorruptionError);
    first->reopen({second, pager->page_count(), {}});
    for (Seed i = 0; i < 400; ++i) ASSERT_TRUE(filled(first->read(later[i]), i + 1000));
    for (Seed i = 0; i < 30'000; ++i) ASSERT_TRUE(filled(first->read(later[500 + i]), i));
    for (Seed i = 0; i < 500; ++i) ASSERT_TRUE(filled(first->read(ids[i]), i)) << "of the first, still held";
    EXPECT_FALSE(first->knows_space());
    EXPECT_EQ(first->frames_in_use(), 0U);
}

/// A reader that looked at a second state took what it had verified there for verified in every later one.
TEST_F(PagerSealsTest, ReadersForgetWhatTheyVerifiedElsewhere) {
    auto pager = open({});
    const PageId kept = add(*pager, 1);
    const std::uint64_t base = pager->mark();
    pager->hand_over(base);
    write_back(*pager);
    const auto other = reader(base, *pager);
    PageId page = add(*pager, 2);
    ExtentRef extent = pager->write_extent(extent_content(kPageSize, 3));
    std::uint64_t empty = 0;
    for (Seed seed = 2; seed < 42; seed += 10) {  // page and extent change places
        const PagerState state = checkpoint(*pager);
        pager->drop(empty);
        other->grow(state);
        EXPECT_TRUE(filled(other->read(page), seed));
        EXPECT_TRUE(same(other->read_extent(extent), extent_content(kPageSize, seed + 1)));
        EXPECT_TRUE(filled(other->read(kept), 1));
        pager->release(page);
        pager->release(extent);
        empty = checkpoint(*pager).epoch;
        pager->drop(state.epoch);
        const PageId of_page = page, of_extent = extent.first;
        const auto next_page = [&] {
            do page = add(*pager, seed + 10);
            while (page < of_extent);
        };
        if (of_extent < of_page) next_page();
        do extent = pager->write_extent(extent_content(kPageSize, seed + 11));
        while (extent.first < of_page);
        if (of_extent > of_page) next_page();
        EXPECT_TRUE(page == of_extent && extent.first == of_page);
    }
}

// --- opening with older states

TEST_F(PagerSealsTest, HeldStatesOutliveReopening) {
    auto pager = open({});
    std::vector<PagerState> states;
    std::vector<PageId> pages;
    PageId id = add(*pager, 0);
    for (Seed i = 0; i < 6; ++i) {
        states.push_back(checkpoint(*pager));
        pages.push_back(id);
        id = change(*pager, id, i + 1);
    }
    pager = open(states[5], 0, Access::write, {states[1], states[3]});
    for (Seed i = 0; i < 3000; ++i) add(*pager, i);
    const PagerState last = checkpoint(*pager);
    for (const unsigned i : {1U, 3U, 5U}) EXPECT_TRUE(filled(pager->read(pages[i]), i));
    EXPECT_TRUE(filled(open(states[3])->read(pages[3]), 3));
    pager->drop(states[3].epoch);
    EXPECT_FALSE(pager->space().busy(pages[3]));
    pager->drop(states[1].epoch);
    pager->drop(states[5].epoch);
    EXPECT_FALSE(pager->space().busy(pages[1]));
    EXPECT_TRUE(pager->space().live(pages[5]));
    EXPECT_GT(last.epoch, states[5].epoch);
}

TEST_F(PagerSealsTest, RefusesImpossibleHeldStates) {
    auto pager = open({});
    add(*pager, 1);
    const PagerState old = checkpoint(*pager);
    add(*pager, 2);
    const PagerState state = checkpoint(*pager);
    const auto refused = [&](PagerState held) {
        EXPECT_THROW(open(state, 0, Access::write, {held}), CorruptionError);
    };
    for (const PageId count : {PageId{0}, old.page_count - 1, kMaxPages, UINT64_MAX}) {
        refused({old.epoch, count, old.space_map});
        refused({old.epoch, count, {old.space_map.first, (count + 32767) / 32768 * 20, 0}});
    }
    refused({old.epoch, old.page_count, {}});
    refused({old.epoch, old.page_count, {old.space_map.first, old.space_map.bytes, 1}});
    refused({old.epoch, old.page_count, {kMaxPages, old.space_map.bytes, old.space_map.checksum}});
    EXPECT_NO_THROW(open(state, 0, Access::write, {old}));
}

TEST_F(PagerSealsTest, ProtectsStatesThatItDoesNotKnow) {
    auto pager = open({});
    const PageId id = add(*pager, 1);
    const PagerState durable = checkpoint(*pager);
    const PageId moved = change(*pager, id, 2);
    const std::uint64_t published = pager->mark();
    const auto other = reader(published, *pager);
    pager->write_all();
    const std::uint64_t epoch = pager->epoch();
    pager = open(durable);  // what came after it is lost, but somebody reads it
    const PageId end = file_->size() / kPageSize;
    pager->protect(epoch, end);
    EXPECT_EQ(pager->epoch(), epoch + 1);
    const PageId fresh = change(*pager, id, 3);
    EXPECT_GE(fresh, end);
    EXPECT_TRUE(filled(other->read(moved), 2));
    EXPECT_TRUE(filled(pager->read(moved), 2));
    EXPECT_EQ(pager->live_pages(), durable.page_count);
    pager->rewind();
    EXPECT_TRUE(filled(pager->read(id), 1));
    EXPECT_FALSE(pager->space().live(moved));
    EXPECT_TRUE(pager->space().busy(moved));
    pager->drop(epoch);
    EXPECT_EQ(add(*pager, 4), moved);
    EXPECT_TRUE(filled(pager->read(id), 1));
}

}  // namespace
}  // namespace pyrsistence::storage
