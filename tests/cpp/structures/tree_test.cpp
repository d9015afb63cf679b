#include "structures/tree.hpp"

#include <map>

#include "structures/pager_harness.hpp"

namespace pyrsistence::structures {
namespace {

using storage::ExtentRef;
using test::PagerHarness;
using test::Random;
using test::scaled;

/// A record is known by a number, whose top bits choose its size.
std::string bytes_of(std::uint32_t number) {
    const std::uint32_t n = number & 0x3fffffff;
    switch (number >> 30) {
        case 0: return test::content(number, 1 + n % 8);
        case 1: return test::content(number, 1 + n % 250);
        case 2: return test::content(number, 200 + n % 1153);  // up to SlottedPage::kMaxRecord
        default: return test::content(number, 1353 + n % 1700);
    }
}

std::uint32_t random_number(Random& random, unsigned flavour) {
    const std::uint32_t n = static_cast<std::uint32_t>(random()) & 0x3fffffff;
    if (random.chance(2)) return n | 3u << 30;
    const unsigned kind = flavour % 4;
    return n | (kind == 3 ? static_cast<unsigned>(random.below(3)) : kind) << 30;
}

/// One tree, its root field in memory, and what it looked like at a seal that is held.
template <class Model, class Structure = Tree>
class TreeTest : public ::testing::Test {
protected:
    Structure tree() { return {harness_.pager(), root_.data(), key_}; }

    /// Everything that may move pages comes first; then the record is ready.
    Record record(std::uint32_t number) {
        text_ = bytes_of(number);
        if (text_.size() > SlottedPage::kMaxRecord) {
            harness_.extent(text_).encode(reference_.data());
            harness_.pager().reserve();
            return {reference_, true};
        }
        harness_.pager().reserve();
        return {as_bytes(text_), false};
    }
    void expect_record(const Tree& tree, const Record& record, std::uint32_t number) {
        ASSERT_EQ(as_text(tree.resolve(record)), bytes_of(number));
    }
    /// Takes a seal now and then, remembers what it holds, and later proves that it still does.
    void maybe_seal(Random& random, Model& model) {
        if (attempt_.running()) return attempt_.count(harness_, root_, model);
        if (!harness_.pager().frames_scarce() && !random.chance(1)) return;
        if (held_ && random.chance(20)) {
            check_tree(held_root_, held_model_, false);
            held_ = false;
        }
        harness_.seal(held_);
        if (random.chance(20)) attempt_.begin(harness_, root_, model, 1 + random.below(200));
        if (!held_ && random.chance(30)) {
            held_ = true;
            held_root_ = root_;
            held_model_ = model;
        }
    }
    void check(const Model& model) { check_tree(root_, model, true); }

    virtual void expect_next(const Model& model, typename Model::const_iterator& it, std::uint64_t key, Bytes bytes) = 0;

    void check_tree(std::array<std::byte, RootField::kSize>& root, const Model& model, bool account) {
        const Structure tree(harness_.pager(), root.data(), key_);
        PagerHarness::Account pages(harness_.pager());
        auto it = model.begin();
        tree.check([&](std::uint64_t key, Bytes bytes) { expect_next(model, it, key, bytes); },
                   [&](PageId first, std::uint64_t count) { if (account) pages.run(first, count); });
        ASSERT_TRUE(it == model.end());
        ASSERT_EQ(tree.size(), model.size());
        if (account) pages.finish();
    }

    PagerHarness harness_;
    TreeOrder key_ = TreeOrder::rank;
    std::array<std::byte, RootField::kSize> root_{}, held_root_{};
    Model held_model_;
    bool held_ = false;
    test::Attempt<std::array<std::byte, RootField::kSize>, Model> attempt_;
    std::string text_;
    std::array<std::byte, ExtentRef::kEncodedSize> reference_{};
};

using Ranks = std::vector<std::uint32_t>;

class RankTreeTest : public TreeTest<Ranks> {
protected:
    void expect_next(const Ranks& model, Ranks::const_iterator& it, std::uint64_t key, Bytes bytes) override {
        ASSERT_TRUE(it != model.end());
        ASSERT_EQ(key, static_cast<std::uint64_t>(it - model.begin()));
        ASSERT_EQ(as_text(bytes), bytes_of(*it++));
    }
    void insert(Ranks& model, std::uint64_t rank, std::uint32_t number) {
        const Record put = record(number);
        tree().insert(rank, put);
        model.insert(model.begin() + static_cast<std::ptrdiff_t>(rank), number);
    }
    void replace(Ranks& model, std::uint64_t rank, std::uint32_t number) {
        const Record put = record(number);
        tree().replace(rank, put);
        model[rank] = number;
    }
    void erase(Ranks& model, std::uint64_t rank, std::uint64_t count) {
        count = std::min(count, model.size() - rank);
        const auto begin = model.begin() + static_cast<std::ptrdiff_t>(rank);
        model.erase(begin, begin + static_cast<std::ptrdiff_t>(count));
        while (count > 0) {
            harness_.pager().reserve();
            const std::uint64_t gone = tree().erase_some(rank, count);
            ASSERT_TRUE(gone > 0 && gone <= count);
            count -= gone;
        }
    }
    void read_some(Random& random, const Ranks& model) {
        const Tree view = tree();
        std::uint64_t at = random.below(model.size() + 3), left = 1 + random.below(50);
        const bool back = random.chance(50);
        std::uint64_t expected = back ? std::min(at, model.size()) : at;
        for (std::optional<std::uint64_t> next = at; next && left > 0;) {
            const auto visit = [&](std::uint64_t key, const Record& record) {
                if (back) --expected;
                EXPECT_EQ(key, expected);
                expect_record(view, record, model.at(key));
                if (!back) ++expected;
                return --left > 0;
            };
            next = back ? view.scan_back(*next, visit) : view.scan(*next, visit);
            EXPECT_TRUE(next || left == 0 || (back ? expected == 0 : expected >= model.size()));
        }
    }
    void run(Random& random, std::size_t operations, unsigned skew, unsigned flavour, unsigned growth, std::size_t most) {
        Ranks& model = model_;
        for (std::size_t i = 0; i < operations && !HasFatalFailure(); ++i) {
            maybe_seal(random, model);
            const std::uint64_t rank = random.place(model.size(), skew);
            const unsigned dice = static_cast<unsigned>(random.below(100));
            if ((dice < growth && model.size() < most) || model.empty()) insert(model, rank, random_number(random, flavour));
            else if (dice < 80) erase(model, std::min(rank, model.size() - 1), random.chance(3) ? random.below(300) : 1);
            else if (dice < 90) replace(model, std::min(rank, model.size() - 1), random_number(random, flavour + random.chance(10)));
            else if (dice < 95) expect_record(tree(), tree().at(std::min(rank, model.size() - 1)), model[std::min(rank, model.size() - 1)]);
            else read_some(random, model);
        }
        check(model);
    }

    Ranks model_;
};

TEST_F(RankTreeTest, BehavesAsAVector) {
    PYRSISTENCE_TRACE_SEED;
    Random random(1);
    for (unsigned phase = 0; phase < 32 && !HasFatalFailure(); ++phase) {
        SCOPED_TRACE("phase " + std::to_string(phase));
        const unsigned growth = phase % 4 == 3 ? 10 : 70;
        run(random, scaled(20'000), phase / 2, phase / 4, growth, 12'000);
        if (phase % 8 == 7) {
            erase(model_, 0, model_.size());
            check(model_);
            EXPECT_LT(harness_.pager().live_pages(), 12u) << "an empty tree holds pages";
        }
    }
    harness_.pager().reserve();
    tree().clear();
    model_.clear();
    check(model_);
}

TEST_F(RankTreeTest, GrowsByAppendingAndShrinksFromBothEnds) {
    PYRSISTENCE_TRACE_SEED;
    Random random(2);
    const std::size_t count = scaled(150'000);
    for (std::size_t i = 0; i < count; ++i) {
        maybe_seal(random, model_);
        insert(model_, model_.size(), static_cast<std::uint32_t>(random.below(1u << 30)) | (i % 8 == 0 ? 1u << 30 : 0));
    }
    check(model_);
    const std::uint64_t pages = harness_.pager().live_pages();
    std::size_t bytes = 0;
    for (const std::uint32_t number : model_) bytes += bytes_of(number).size() + SlottedPage::kSlot;
    EXPECT_LT(pages * 9 / 10 - 20, bytes / SlottedPage::kRoom) << "appending fills leaves";
    while (!model_.empty() && !HasFatalFailure()) {
        maybe_seal(random, model_);
        if (random.chance(50)) erase(model_, 0, 1 + random.below(100));
        else erase(model_, model_.size() - std::min<std::size_t>(model_.size(), 60), 60);
    }
    check(model_);
}

using Ids = std::map<EntryId, std::uint32_t>;

class IdTreeTest : public TreeTest<Ids> {
protected:
    void SetUp() override { key_ = TreeOrder::id; }

    void expect_next(const Ids& model, Ids::const_iterator& it, std::uint64_t key, Bytes bytes) override {
        ASSERT_TRUE(it != model.end());
        ASSERT_EQ(key, it->first);
        ASSERT_EQ(as_text(bytes), bytes_of(it++->second));
    }
    void put(EntryId id, std::uint32_t number) {
        const Record put = record(number);
        tree().put(id, put);
        model_[id] = number;
        next_ = std::max(next_, id + 1);
    }
    void erase(EntryId id) {
        harness_.pager().reserve();
        EXPECT_EQ(tree().erase_id(id), model_.erase(id) == 1) << id;
    }
    /// An id that exists, or is near one.
    EntryId some_id(Random& random, unsigned skew) {
        if (model_.empty()) return random.below(next_ + 2);
        const EntryId first = model_.begin()->first, last = model_.rbegin()->first;
        const EntryId id = first + random.place(last - first, skew);
        if (random.chance(10)) return id;
        const auto it = model_.lower_bound(id);
        return it == model_.end() ? last : it->first;
    }
    void read_some(Random& random, EntryId at) {
        const Tree view = tree();
        std::uint64_t left = 1 + random.below(50);
        if (random.chance(50)) {
            auto it = model_.lower_bound(at);
            for (std::optional<std::uint64_t> next = at; next && left > 0;) {
                next = view.scan(*next, [&](EntryId id, const Record& record) {
                    EXPECT_TRUE(it != model_.end() && it->first == id) << id;
                    if (it == model_.end()) return false;
                    expect_record(view, record, it++->second);
                    return --left > 0;
                });
            }
            EXPECT_TRUE(left == 0 || it == model_.end()) << "a scan from " << at << " stopped early";
        } else {
            auto it = model_.lower_bound(at);
            for (std::optional<std::uint64_t> next = at; next && left > 0;) {
                next = view.scan_back(*next, [&](EntryId id, const Record& record) {
                    EXPECT_TRUE(it != model_.begin()) << id;
                    if (it == model_.begin()) return false;
                    --it;
                    EXPECT_EQ(it->first, id);
                    expect_record(view, record, it->second);
                    return --left > 0;
                });
            }
            EXPECT_TRUE(left == 0 || it == model_.begin()) << "a scan back from " << at << " stopped early";
        }
    }
    void look_up(EntryId id) {
        const Tree view = tree();
        const auto it = model_.find(id);
        const Record found = view.find(id);
        ASSERT_EQ(found.stored.empty(), it == model_.end()) << id;
        if (it != model_.end()) expect_record(view, found, it->second);
        if (model_.empty()) return;
        ASSERT_EQ(view.first_id(), model_.begin()->first);
        ASSERT_EQ(view.last_id(), model_.rbegin()->first);
    }

    Ids model_;
    EntryId next_ = 1;
};

TEST_F(IdTreeTest, BehavesAsAMap) {
    PYRSISTENCE_TRACE_SEED;
    Random random(3);
    for (unsigned phase = 0; phase < 32 && !HasFatalFailure(); ++phase) {
        SCOPED_TRACE("phase " + std::to_string(phase));
        const unsigned growth = phase % 4 == 3 ? 5 : 50, flavour = phase / 4, skew = phase / 2;
        for (std::size_t i = 0; i < scaled(14'000) && !HasFatalFailure(); ++i) {
            maybe_seal(random, model_);
            const unsigned dice = static_cast<unsigned>(random.below(100));
            const EntryId id = some_id(random, skew);
            if (dice < growth && model_.size() < 20'000) {
                const EntryId gap = random.chance(5) ? random.below(random.chance(10) ? 1'000'000 : 3000) : 0;
                put(next_ + gap, random_number(random, flavour));
            } else if (dice < 75) {
                erase(id);
            } else if (dice < 85) {
                if (model_.contains(id)) put(id, random_number(random, flavour + 1));
            } else if (dice < 92) {
                look_up(id);
            } else {
                read_some(random, id + random.below(3));
            }
        }
        check(model_);
        for (int i = 0; i < 20 && !model_.empty(); ++i) {
            const EntryId id = some_id(random, 3);
            const auto rank = static_cast<std::uint64_t>(std::distance(model_.begin(), model_.lower_bound(id)));
            EXPECT_EQ(tree().rank_of(id), rank);
            if (rank < model_.size()) expect_record(tree(), tree().at(rank), model_.lower_bound(id)->second);
        }
    }
    while (!model_.empty() && !HasFatalFailure()) {
        maybe_seal(random, model_);
        erase(random.chance(50) ? model_.begin()->first : model_.rbegin()->first);
    }
    check(model_);
}

/// Erasing the first ids of a leaf left its separator below its base; a scan back that began between
/// the two found nothing, although all earlier leaves lay before it.
TEST_F(IdTreeTest, ScanBackPassesIdsErasedAtTheBeginOfALeaf) {
    for (EntryId id = 1; id <= 3000; ++id) put(id, static_cast<std::uint32_t>(id) | 1u << 30);
    for (EntryId id = 1000; id < 2000; ++id) {
        erase(id);
        std::optional<std::uint64_t> next = id + 1;
        EntryId found = 0;
        while (next && found == 0) {
            next = tree().scan_back(*next, [&](EntryId at, const Record&) {
                found = at;
                return false;
            });
        }
        ASSERT_EQ(found, 999u) << "before " << id + 1;
    }
}

TEST_F(IdTreeTest, ClearsATreeWithExtents) {
    Random random(4);
    for (unsigned round = 0; round < 3; ++round) {
        for (std::size_t i = 0; i < 3000; ++i) {
            maybe_seal(random, model_);
            put(next_, random_number(random, 3));
        }
        check(model_);
        harness_.pager().reserve();
        tree().clear();
        model_.clear();
        check(model_);
    }
    harness_.seal(false);
    harness_.seal(false);
    EXPECT_LT(harness_.pager().live_pages(), 8u);
}

/// Keys and numbers of their records. Equal keys are in the order of their coming.
using Keys = std::multimap<std::string, std::uint32_t>;

class KeyTreeTest : public TreeTest<Keys, KeyTree> {
protected:
    void SetUp() override { key_ = TreeOrder::key; }

    static std::string bytes_of(const std::string& key, std::uint32_t number) {
        std::byte length[2];
        return std::string(as_text(KeyedRecord::put_length(length, key.size()))) + key + structures::bytes_of(number);
    }
    void expect_next(const Keys& model, Keys::const_iterator& it, std::uint64_t, Bytes bytes) override {
        ASSERT_TRUE(it != model.end());
        ASSERT_EQ(as_text(bytes), bytes_of(it->first, it->second));
        ++it;
    }
    Record record(const std::string& key, std::uint32_t number) {
        text_ = bytes_of(key, number);
        if (text_.size() <= SlottedPage::kMaxRecord) {
            harness_.pager().reserve();
            return {as_bytes(text_), false};
        }
        head_.resize(ExtentRef::kEncodedSize);
        harness_.extent(text_).encode(head_.data());
        const Bytes head = KeyedRecord::head(as_bytes(text_));
        head_.insert(head_.end(), head.begin(), head.end());
        harness_.pager().reserve();
        return {head_, true};
    }
    /// A key of one of several kinds; long ones have much in common.
    static std::string some_key(Random& random, unsigned flavour, std::uint64_t range) {
        const std::uint64_t n = random.below(range);
        std::string digits;
        for (unsigned shift = 32; shift > 0; shift -= 8) digits += static_cast<char>(n >> (shift - 8));
        switch (flavour % 5) {
            case 0: return digits;
            case 1: return "https://example.org/a/long/way/to/" + std::to_string(n);
            case 2: return test::content(n, n % 40);
            case 3: return std::string(KeyedRecord::kMaxKey - 4, 'x') + digits;
            default: return std::string(n % 900, 'y') + digits.substr(2);
        }
    }
    void insert(const std::string& key, std::uint32_t number) {
        const Record put = record(key, number);
        auto place = tree().behind(as_bytes(key));
        tree().insert(place, put);
        model_.emplace(key, number);
    }
    void set(const std::string& key, std::uint32_t number) {
        const Record put = record(key, number);
        auto place = tree().find(as_bytes(key));
        const auto [first, last] = model_.equal_range(key);
        ASSERT_EQ(place.found, first != last) << key;
        if (!place.found) {
            tree().insert(place, put);
            model_.emplace(key, number);
            return;
        }
        const auto it = std::next(first, static_cast<std::ptrdiff_t>(place.rank - rank_of(first)));
        tree().replace(place, put);
        it->second = number;
    }
    void erase(const std::string& key) {
        harness_.pager().reserve();
        auto place = tree().find(as_bytes(key));
        const auto [first, last] = model_.equal_range(key);
        ASSERT_EQ(place.found, first != last) << key;
        if (!place.found) return;
        const auto it = std::next(first, static_cast<std::ptrdiff_t>(place.rank - rank_of(first)));
        tree().erase(place);
        model_.erase(it);
    }
    void erase_range(std::uint64_t rank, std::uint64_t count) {
        count = std::min(count, model_.size() - rank);
        const auto begin = std::next(model_.begin(), static_cast<std::ptrdiff_t>(rank));
        model_.erase(begin, std::next(begin, static_cast<std::ptrdiff_t>(count)));
        while (count > 0) {
            harness_.pager().reserve();
            count -= tree().erase_some(rank, count);
        }
    }
    void look_up(const std::string& key) {
        const KeyTree view = tree();
        const auto [first, last] = model_.equal_range(key);
        const std::uint64_t low = rank_of(first), high = rank_of(last);
        ASSERT_EQ(view.lower_bound(as_bytes(key)), low);
        ASSERT_EQ(view.upper_bound(as_bytes(key)), high);
        const auto equals = view.equal_range(as_bytes(key));
        ASSERT_EQ(equals.first.rank, low);
        ASSERT_EQ(equals.end, high);
        const auto place = view.find(as_bytes(key));
        if (!place.found) {
            ASSERT_EQ(place.rank, low);
        }
        for (const auto& one : {equals.first, place}) expect_place(key, one);
    }
    void expect_place(const std::string& key, const KeyTree::Place& place) {
        const KeyTree view = tree();
        const auto [first, last] = model_.equal_range(key);
        const std::uint64_t low = rank_of(first);
        ASSERT_EQ(place.found, first != last);
        if (place.found) {
            ASSERT_EQ(as_text(KeyedRecord::key_of(view.at(place))), key);
        }
        const auto [before, after] = view.neighbours(place);
        ASSERT_EQ(before.has_value(), place.rank > 0);
        ASSERT_EQ(after.has_value(), place.rank < model_.size());
        const auto here = std::next(first, static_cast<std::ptrdiff_t>(place.rank - low));
        if (before) {
            ASSERT_EQ(as_text(KeyedRecord::key_of(*before)), std::prev(here)->first);
        }
        if (after) {
            ASSERT_EQ(as_text(KeyedRecord::key_of(*after)), here->first);
        }
    }
    std::uint64_t rank_of(Keys::const_iterator it) const {
        return static_cast<std::uint64_t>(std::distance(model_.begin(), it));
    }

    Keys model_;
    std::vector<std::byte> head_;
};

TEST_F(KeyTreeTest, BehavesAsAMultimap) {
    PYRSISTENCE_TRACE_SEED;
    Random random(5);
    for (unsigned phase = 0; phase < 40 && !HasFatalFailure(); ++phase) {
        SCOPED_TRACE("phase " + std::to_string(phase));
        const unsigned growth = phase % 4 == 3 ? 10 : 55, flavour = phase / 4;
        const std::uint64_t range = phase % 2 == 0 ? 100'000 : 300;
        for (std::size_t i = 0; i < scaled(3'000) && !HasFatalFailure(); ++i) {
            maybe_seal(random, model_);
            const unsigned dice = static_cast<unsigned>(random.below(100));
            std::string key = some_key(random, flavour + random.chance(5), range);
            if (!model_.empty() && random.chance(70)) {
                const auto near = model_.lower_bound(key);
                if (near != model_.end()) key = near->first;
            }
            if (dice < growth / 2 && model_.size() < 5'000) insert(key, random_number(random, flavour / 2));
            else if (dice < growth && model_.size() < 5'000) set(some_key(random, flavour, range), random_number(random, flavour / 2));
            else if (dice < 70) set(key, random_number(random, flavour / 2));
            else if (dice < 90) erase(key);
            else if (dice < 92 && !model_.empty()) erase_range(random.below(model_.size()), random.below(100));
            else look_up(key);
        }
        check(model_);
        if (phase % 8 == 7) {
            erase_range(0, model_.size());
            check(model_);
            EXPECT_LT(harness_.pager().live_pages(), 12u) << "an empty tree holds pages";
        }
    }
    harness_.pager().reserve();
    tree().clear();
    model_.clear();
    check(model_);
}

TEST_F(KeyTreeTest, AscendingKeysFillLeavesAndNodes) {
    const std::size_t count = scaled(200'000);
    for (std::uint32_t i = 0; i < count; ++i) {
        if (harness_.pager().frames_scarce()) harness_.seal(false);
        std::string key(4, '\0');
        for (unsigned k = 0; k < 4; ++k) key[k] = static_cast<char>(i >> (24 - 8 * k));
        insert(key, 7);
    }
    check(model_);
    const std::size_t bytes = count * (bytes_of("1234", 7).size() + SlottedPage::kSlot);
    EXPECT_LT((harness_.pager().live_pages() - 10) * 97 / 100, bytes / SlottedPage::kRoom);
}

/// Nothing is found that is not there, and no search leaves its page.
TEST_F(KeyTreeTest, CountsThatAreWrongInANode) {
    constexpr std::uint32_t kKeys = 400;
    for (std::uint32_t i = 0; i < kKeys; ++i) insert(std::to_string(1000 + i), 20 | 1u << 30);
    ASSERT_EQ(RootField::height(root_.data()), 1u);
    PageId node = RootField::page(root_.data());
    const std::string separator(as_text(KeyNode::separator(harness_.pager().read(node), 1)));
    erase(separator);
    for (const std::int64_t wrong : {30, -100}) {
        harness_.pager().reserve();
        std::byte* changed = harness_.pager().write(node);
        RootField::set_page(root_.data(), node);
        KeyNode::add(changed, 0, static_cast<std::uint64_t>(wrong));
        const KeyTree view = tree();
        const auto unless_damaged = [](const auto& look) {
            try {
                look();
            } catch (const CorruptionError&) {
            }
        };
        for (std::uint32_t i = 0; i < kKeys; ++i) {
            const std::string key = std::to_string(1000 + i);
            unless_damaged([&] {
                const auto place = view.find(as_bytes(key));
                EXPECT_EQ(place.found, key != separator) << key;
                if (!place.found) return;
                const std::byte* leaf = harness_.pager().read(place.path.leaf);
                ASSERT_LT(place.slot, SlottedPage::slots(leaf));
            });
            unless_damaged([&] {
                const auto equals = view.equal_range(as_bytes(key));
                EXPECT_LE(equals.first.rank, equals.end) << key;
            });
        }
    }
}

TEST_F(KeyTreeTest, EqualKeysThatEndBeforeTheyBegin) {
    constexpr std::uint32_t kKeys = 20, kEqual = 20;
    for (std::uint32_t i = 0; i < kKeys * kEqual; ++i) insert(std::to_string(1000 + i / kEqual), 20 | 1u << 30);
    PageId node = RootField::page(root_.data());
    harness_.pager().reserve();
    std::byte* changed = harness_.pager().write(node);
    RootField::set_page(root_.data(), node);
    for (unsigned i = 0; i < storage::page_count(changed); ++i) KeyNode::add(changed, i, 1 - KeyNode::total(changed, i));
    unsigned refused = 0;
    for (std::uint32_t i = 0; i < kKeys; ++i) {
        const std::string key = std::to_string(1000 + i);
        try {
            const auto equals = tree().equal_range(as_bytes(key));
            EXPECT_LE(equals.first.rank, equals.end) << key;
        } catch (const CorruptionError&) {
            ++refused;
        }
    }
    EXPECT_GT(refused, 0u);
}

TEST(KeyedRecordTest, ReadsWhatItWroteAndNoMore) {
    for (const std::size_t size : {0, 1, 127, 128, 129, 255, 256, 999, 1000}) {
        std::byte length[2];
        const std::string key(size, 'k');
        std::string record(as_text(KeyedRecord::put_length(length, size)));
        record += key + "value";
        EXPECT_EQ(as_text(KeyedRecord::key_of(as_bytes(record))), key);
        EXPECT_TRUE(KeyedRecord::sound(as_bytes(record))) << size;
        EXPECT_EQ(KeyedRecord::head(as_bytes(record)).size(), record.size() - 5);
        const std::string cut = record.substr(0, std::min<std::size_t>(record.size(), 40));
        EXPECT_LE(KeyedRecord::key_of(as_bytes(cut)).size(), cut.size());
    }
    for (const char* text : {"", "\x80", "\x80\x01", "\xff\xff", "\x85"}) EXPECT_FALSE(KeyedRecord::sound(as_bytes(std::string_view(text)))) << text;
    EXPECT_EQ(as_text(separator_between(as_bytes("abc"), as_bytes("abd"))), "abd");
    EXPECT_EQ(as_text(separator_between(as_bytes("abc"), as_bytes("abcxyz"))), "abcx");
    EXPECT_EQ(as_text(separator_between(as_bytes("a"), as_bytes("bcd"))), "b");
    EXPECT_EQ(as_text(separator_between(as_bytes("same"), as_bytes("same"))), "same");
}

}  // namespace
}  // namespace pyrsistence::structures
