// Many threads on one store, on handles that they share and on handles of their own, doing all that the public
// interface offers, while log window and memory are so small that checkpoints, eviction and relocation never end.
// Money moves between containers, and no state has more or less of it; each thread owns containers and keys that it
// knows exactly; lists are changed by blocks, and no read sees a part of one; keys of a multi-dict have values of all.
#include <map>
#include <set>
#include <thread>

#include "containers/elsewhere.hpp"
#include "containers/world.hpp"
#include "storage/reader_table.hpp"

namespace pyrsistence::test {
namespace {

using Accounts = Dict<std::uint64_t, std::int64_t>;
using Balances = List<std::int64_t>;
using Texts = Dict<std::uint64_t, std::string>;
using Tags = MultiDict<std::uint64_t, std::uint64_t>;

storage::StoreOptions small_options() {
    storage::StoreOptions options;
    options.memory_limit = 4 << 20;
    options.log_window = 64 << 10;
    return options;
}

/// Runs `body(number)` in that many threads; what one of them throws is a failure.
void in_threads(unsigned count, const std::function<void(unsigned)>& body) {
    std::vector<std::thread> threads;
    for (unsigned number = 0; number < count; ++number) {
        threads.emplace_back([&body, number] {
            try {
                body(number);
            } catch (const std::exception& error) {
                ADD_FAILURE() << "thread " << number << ": " << error.what();
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
}

/// What all threads change.
class Common {
public:
    static constexpr std::uint64_t kAccounts = 64, kBlock = 20;
    static constexpr std::int64_t kEach = 1000, kTotal = 2 * kAccounts * kEach;

    explicit Common(const Handle& store) : accounts(store, "accounts"), balances(store, "balances"),
                                           texts(store, "texts"), tags(store, "tags"), blocks(store, "blocks") {}

    static void fill(Store& store) {
        Common all(store);
        for (std::uint64_t i = 0; i < kAccounts; ++i) {
            all.accounts[i] = kEach;
            all.balances.push_back(kEach);
        }
        for (std::uint64_t i = 0; i < 10; ++i) all.add_block(i);
    }
    /// REQUIRES: a transaction.
    void transfer(Random& random) {
        const std::uint64_t from = random.below(kAccounts), to = random.below(kAccounts);
        const auto amount = static_cast<std::int64_t>(random.below(100));
        accounts[from] = accounts.at(from) - amount;
        balances[to] = balances.at(to) + amount;
    }
    void add_block(std::uint64_t number) { blocks.replace_slice(UINT64_MAX, 0, Block(number).views); }
    /// The size is a multiple of a block's whenever one looks, so that places which are outdated are places of
    /// blocks all the same.
    void change_blocks(Random& random) {
        const std::uint64_t count = blocks.size() / kBlock, at = random.below(count) * kBlock;
        const Block block(random.below(1'000'000));
        const unsigned dice = static_cast<unsigned>(random.below(100));
        if (count < 5 || (dice < 10 && count < 40)) add_block(random());
        else if (dice < 30) blocks.replace_slice(at, kBlock, block.views);
        else if (dice < 50) blocks.set_slice(at, 1, block.views);
        else if (dice < 60) blocks.set_slice(at + kBlock - 1, -1, block.views);
        else if (dice < 70) blocks.erase_slice(at, 1, kBlock);
        else if (dice < 75) blocks.reverse();
        else expect_block(at);
    }
    void expect_block(std::uint64_t at) const {
        Chunk chunk;
        blocks.read(at, kBlock, chunk);
        ASSERT_TRUE(chunk.items.empty() || chunk.items.size() == kBlock) << chunk.items.size();
        for (std::size_t i = 1; i < chunk.items.size(); ++i) {
            ASSERT_EQ(as_text(chunk.entry(i)), as_text(chunk.entry(0))) << "half a block";
        }
    }
    /// REQUIRES: a state that does not change.
    void expect_whole() const {
        std::int64_t total = 0;
        for (const auto& [account, balance] : accounts) total += balance;
        for (const std::int64_t balance : balances) total += balance;
        ASSERT_EQ(total, kTotal);
        ASSERT_EQ(blocks.size() % kBlock, 0u);
        for (std::uint64_t at = 0; at < blocks.size(); at += kBlock) expect_block(at);
    }

    Accounts accounts;
    Balances balances;
    Texts texts;  ///< keys of thread n begin at n << 32
    Tags tags;    ///< so do values
    RawList blocks;

private:
    struct Block {
        explicit Block(std::uint64_t number) : views(kBlock) {
            put_uint(item, number);
            std::ranges::fill(views, item.view());
        }
        Buffer item;
        std::vector<Bytes> views;
    };
};

/// What belongs to one thread: a plain value, so that a copy is the state before a transaction.
class Own {
public:
    explicit Own(unsigned number)
        : number_(number), dict(number, 150, kSizes), list(1000 + number, 150, kSizes),
          multi_dict(2000 + number, 150, SortedType::multi_dict, kSizes) {}

    void change_text(Texts& texts, Random& random) {
        const std::uint64_t key = (std::uint64_t{number_} << 32) + random.below(60);
        const auto found = texts_.find(key);
        const bool there = found != texts_.end();
        const std::string text = std::to_string(random()) + std::string(random.below(random.chance(5) ? 5000 : 60), 'x');
        const unsigned dice = static_cast<unsigned>(random.below(100));
        if (dice < 40) {
            ASSERT_EQ(texts.insert_or_assign(key, text), !there);
            texts_[key] = text;
        } else if (dice < 50) {
            ASSERT_EQ(texts.insert(key, text), !there);
            texts_.insert({key, text});
        } else if (dice < 70) {
            const auto popped = texts.pop(key);
            ASSERT_EQ(popped, there ? std::optional(found->second) : std::nullopt);
            texts_.erase(key);
        } else {
            ASSERT_EQ(texts.get(key), there ? std::optional(found->second) : std::nullopt);
        }
    }
    void change_tag(Tags& tags, Random& random) {
        const std::uint64_t key = random.below(10);
        std::vector<std::uint64_t>& values = tags_[key];
        const unsigned dice = static_cast<unsigned>(random.below(100));
        if (dice < 50 && values.size() < 100) {
            values.push_back((std::uint64_t{number_} << 32) + ++last_tag_);
            tags.add(key, values.back());
        } else if (dice < 80 && !values.empty()) {
            const auto one = values.begin() + static_cast<std::ptrdiff_t>(random.below(values.size()));
            ASSERT_TRUE(tags.discard(key, *one));
            values.erase(one);
        } else if (dice < 85) {
            ASSERT_FALSE(tags.discard(key, std::uint64_t{number_} << 32));
        } else {
            ASSERT_GE(tags.count(key), values.size());
        }
    }
    /// Its values of each key are there in the order of their coming. REQUIRES: a state that does not change.
    void expect_tags(const Tags& tags) const {
        std::map<std::uint64_t, std::vector<std::uint64_t>> seen;
        std::uint64_t last = 0;
        for (const auto& [key, value] : tags) {
            ASSERT_LE(std::exchange(last, key), key) << "keys out of order";
            if (value >> 32 == number_) seen[key].push_back(value);
        }
        for (const auto& [key, values] : tags_) ASSERT_EQ(seen[key], values) << "of key " << key;
    }
    /// Iterates over everybody's, and must meet each of its own once.
    void expect_texts(const Texts& texts) const {
        std::map<std::uint64_t, std::string> seen;
        for (const auto& [key, text] : texts) {
            if (key >> 32 != number_) continue;
            ASSERT_TRUE(seen.insert({key, text}).second) << "met twice";
        }
        ASSERT_TRUE(seen == texts_) << seen.size() << " keys, " << texts_.size() << " expected";
    }
    void expect_in(const Store& state) const {
        ASSERT_EQ(dict.difference(RawDict(state, name("dict"))), "");
        ASSERT_EQ(list.difference(RawList(state, name("list"))), "");
        ASSERT_EQ(multi_dict.difference(RawSorted(state, name("multi-dict"), SortedType::multi_dict)), "");
        expect_texts(Texts(state, "texts"));
        expect_tags(Tags(state.snapshot(), "tags"));
    }
    std::string name(const char* type) const {
        return std::string(type) + " " + std::to_string(number_) + (renamed_ ? " renamed" : "");
    }
    void rename(Store& store) {
        const std::string before[] = {name("dict"), name("list"), name("multi-dict")};
        renamed_ = !renamed_;
        ASSERT_TRUE(store.rename(before[0], name("dict")));
        ASSERT_TRUE(store.rename(before[1], name("list")));
        ASSERT_TRUE(store.rename(before[2], name("multi-dict")));
    }
    void remove_list(Store& store, std::uint64_t salt) {
        ASSERT_TRUE(store.remove(name("list")));
        list = ListDriver(salt, 150, kSizes);
    }

private:
    static constexpr Sizes kSizes = {20'000, 4};

    unsigned number_;
    bool renamed_ = false;
    std::map<std::uint64_t, std::string> texts_;
    std::map<std::uint64_t, std::vector<std::uint64_t>> tags_;
    std::uint64_t last_tag_ = 0;

public:
    DictDriver dict;
    ListDriver list;
    SortedDriver multi_dict;
};

/// One thread.
class Actor {
public:
    Actor(Store& store, Common& common, unsigned number, const fs::path& scratch)
        : store_(store), common_(common), number_(number), scratch_(scratch), random_(500 + number), own_(number) {
        open_handles();
    }
    void run(std::size_t deeds) {
        for (std::size_t i = 0; i < deeds && !::testing::Test::HasFailure(); ++i) any_of(kDeeds);
        look_at(store_.snapshot());
    }
    void close() {
        dict_.reset();
        list_.reset();
        multi_dict_.reset();
        my_common_.reset();
        mine_.reset();
    }
    void expect_in(const Store& state) const { own_.expect_in(state); }

private:
    struct Deed {
        unsigned weight;
        void (Actor::*act)();
    };
    template <std::size_t count>
    void any_of(const Deed (&deeds)[count]) {
        unsigned all = 0;
        for (const Deed& deed : deeds) all += deed.weight;
        std::uint64_t dice = random_.below(all);
        for (const Deed& deed : deeds) {
            if (dice < deed.weight) return (this->*deed.act)();
            dice -= deed.weight;
        }
    }

    /// By the handle that everybody uses or by one of its own.
    Store& store() { return random_.chance(50) ? store_ : *mine_; }
    Common& common() { return random_.chance(70) ? common_ : *my_common_; }

    void open_handles() {
        mine_ = std::make_unique<Store>(store_.path());
        my_common_ = std::make_unique<Common>(*mine_);
        open_containers();
    }
    void open_containers() {
        dict_ = std::make_unique<RawDict>(store(), own_.name("dict"));
        list_ = std::make_unique<RawList>(store(), own_.name("list"));
        multi_dict_ = std::make_unique<RawSorted>(store(), own_.name("multi-dict"), SortedType::multi_dict);
    }
    void close_handles() {
        mine_->close();
        ASSERT_TRUE(mine_->closed());
        expect_error<ClosedError>([&] { mine_->sync(); });
        open_handles();
    }
    void change_dict() {
        for (std::uint64_t i = random_.below(10); i > 0; --i) own_.dict.step(dict_.get());
    }
    void change_list() {
        for (std::uint64_t i = random_.below(10); i > 0; --i) own_.list.step(list_.get());
    }
    void change_multi_dict() {
        for (std::uint64_t i = random_.below(10); i > 0; --i) own_.multi_dict.step(multi_dict_.get());
    }
    void change_texts() {
        for (std::uint64_t i = random_.below(10); i > 0; --i) own_.change_text(common().texts, random_);
    }
    void change_tags() {
        for (std::uint64_t i = random_.below(10); i > 0; --i) own_.change_tag(common().tags, random_);
    }
    void iterate() {
        own_.expect_texts(common().texts);
        // A snapshot is of the state before a transaction, within which nobody else changes anything.
        if (depth_ > 0) own_.expect_tags(common().tags);
        else own_.expect_tags(common().tags.snapshot());
    }
    void change_blocks() { common().change_blocks(random_); }
    void rename() { own_.rename(store()); }
    void replace_list() {
        own_.remove_list(store(), random_());
        expect_error<ClosedError>([&] { (void)list_->size(); });
        open_containers();
    }
    void transfer() { common().transfer(random_); }
    void refused() {
        expect_error<Error>([&] { store().checkpoint(); });
        expect_error<Error>([&] { store().keep_snapshot("within"); });
        expect_error<Error>([&] { (void)store().verify(); });
    }
    void transact() {
        const Own before = own_;
        Transaction transaction(store(), random_.below(20) == 0);
        ++depth_;
        for (std::uint64_t i = random_.below(6); i > 0; --i) {
            if (depth_ < 3 && random_.chance(20)) transact();
            else any_of(kDeedsWithin);
        }
        --depth_;
        if (random_.chance(75)) return transaction.commit();
        transaction.roll_back();
        own_ = before;
        open_containers();
    }

    void look_at(const Store& state) const {
        Common(state).expect_whole();
        own_.expect_in(state);
    }
    void take_snapshot() {
        const Store state = store().snapshot();
        look_at(state);
        const std::uint64_t version = state.version();
        change_texts();
        ASSERT_EQ(state.version(), version);
        Common(state).expect_whole();
    }
    void keep_snapshot() {
        const std::string name = "of " + std::to_string(number_);
        store().keep_snapshot(name);
        const Store state(store_.path(), {.at = name});
        look_at(state);
        ASSERT_FALSE(store().snapshots().empty());
        ASSERT_TRUE(store().delete_snapshot(name));
        ASSERT_FALSE(store().delete_snapshot(name));
        look_at(state);
    }
    void back_up() {
        const fs::path to = scratch_ / ("backup " + std::to_string(number_));
        store().backup(to);
        {
            const Store copy(to);
            copy.check();
            look_at(copy);
        }
        fs::remove_all(to);
    }
    void look_around() {
        const Info info = dict_->info();
        ASSERT_EQ(info.entries, own_.dict.size());
        ASSERT_LE(info.live_pages, info.pages);
        ASSERT_TRUE(store().contains(own_.name("dict")));
        ASSERT_EQ(store().type_of(own_.name("list")), "list");
        ASSERT_GE(store().containers().size(), 6u);
        ASSERT_FALSE(store().closed() || store().read_only());
    }
    /// The same question in a row: between answers that needed no lock, nothing would put this thread in order
    /// with the others, which is what the sanitizer sees best.
    void ask_again_and_again() {
        const std::uint64_t which = random_.below(8);
        for (int i = 0; i < 200; ++i) {
            if (which == 0) (void)store_.info();
            else if (which == 1) (void)store_.containers();
            else if (which == 2) (void)store_.snapshots();
            else if (which == 3) (void)store_.version();
            else if (which == 4) (void)common_.accounts.size();
            else if (which == 5) (void)common_.accounts.at(3);
            else if (which == 6) (void)common_.texts.begin();
            else (void)common_.tags.count(3);
        }
    }
    void sync() { store().sync(); }
    void make_checkpoint() { store().checkpoint(); }
    void compact() { store().compact(); }
    void check() { store().check(); }
    void verify() {
        const Report report = store().verify();
        ASSERT_EQ(report.fault_count, 0u) << report.faults.front();
    }
    void refresh() { store().refresh(); }
    void publish() { store().publish(); }
    /// As a reader in another process does; the thread that watches the file publishes.
    void ask_to_publish() {
        const auto file = os::FileSystem::posix().open(store_.path() / "lock", os::Access::read_write);
        storage::ReaderTable(*file, storage::ReaderTable::Role::reader, "lock").request();
    }

    static constexpr Deed kDeedsWithin[] = {
        {200, &Actor::change_dict}, {200, &Actor::change_list}, {200, &Actor::change_texts},
        {100, &Actor::change_multi_dict}, {100, &Actor::change_tags},
        {100, &Actor::change_blocks}, {300, &Actor::transfer}, {20, &Actor::rename}, {10, &Actor::replace_list},
        {20, &Actor::iterate}, {20, &Actor::sync}, {20, &Actor::publish}, {10, &Actor::refused},
    };
    static constexpr Deed kDeeds[] = {
        {200, &Actor::change_dict}, {200, &Actor::change_list}, {200, &Actor::change_texts},
        {100, &Actor::change_multi_dict}, {100, &Actor::change_tags},
        {100, &Actor::change_blocks}, {200, &Actor::transact}, {20, &Actor::rename}, {10, &Actor::replace_list},
        {20, &Actor::iterate}, {20, &Actor::take_snapshot}, {4, &Actor::keep_snapshot}, {4, &Actor::back_up},
        {30, &Actor::look_around}, {30, &Actor::ask_again_and_again}, {10, &Actor::sync},
        {10, &Actor::make_checkpoint}, {3, &Actor::compact},
        {5, &Actor::check}, {5, &Actor::verify}, {10, &Actor::refresh}, {10, &Actor::publish},
        {10, &Actor::ask_to_publish}, {10, &Actor::close_handles},
    };

    Store& store_;
    Common& common_;
    const unsigned number_;
    const fs::path scratch_;
    Random random_;
    Own own_;
    int depth_ = 0;  ///< of transactions
    std::unique_ptr<Store> mine_;
    std::unique_ptr<Common> my_common_;
    std::unique_ptr<RawDict> dict_;
    std::unique_ptr<RawList> list_;
    std::unique_ptr<RawSorted> multi_dict_;
};

class HandleThreadsTest : public ::testing::Test {
protected:
    TempDir dir_;
    const fs::path path_ = dir_ / "store";
};

TEST_F(HandleThreadsTest, EverythingAtOnce) {
    PYRSISTENCE_TRACE_SEED;
    constexpr unsigned kThreads = 6;
    auto engine = storage::Store::open(path_, small_options());
    std::vector<std::unique_ptr<Actor>> actors;
    {
        Store store(path_);
        Common::fill(store);
        Common common(store);
        for (unsigned n = 0; n < kThreads; ++n) {
            actors.push_back(std::make_unique<Actor>(store, common, n, dir_.path()));
        }
        in_threads(kThreads, [&](unsigned n) { actors[n]->run(scaled(400)); });
        store.check();
        EXPECT_EQ(store.verify().fault_count, 0u);
        for (const auto& actor : actors) actor->close();
    }
    storage::Store::release(engine);
    const Store store(path_);
    store.check();
    Common(store).expect_whole();
    for (const auto& actor : actors) actor->expect_in(store);
    EXPECT_EQ(storage::Store::open_transactions(), 0u);
}

/// The last place was computed before another thread took the item there: a list that was never empty seemed so.
TEST_F(HandleThreadsTest, EachItemIsTakenOnce) {
    constexpr unsigned kThreads = 4;
    const std::size_t rounds = scaled(3000);
    List<std::uint64_t> list(path_);
    std::atomic<std::uint64_t> added = 0, taken = 0;
    in_threads(kThreads, [&](unsigned number) {
        for (std::size_t i = 0; i < rounds; ++i) {
            const std::uint64_t item = i * kThreads + number;
            list.push_back(item);
            added += item;
            (void)list.back();
            taken += list.pop_back();
        }
    });
    EXPECT_EQ(taken, added);
    EXPECT_TRUE(list.empty());
    list.check();
}

/// Some add values, and take one or all of a key; others read, and meet no value under a wrong key and none before an
/// older one of the same thread.
TEST_F(HandleThreadsTest, EachValueIsTakenOnce) {
    constexpr std::uint64_t kKeys = 3, kThreads = 3;
    const std::uint64_t rounds = scaled(1500);
    Tags tags(path_);
    std::atomic<std::uint64_t> added = 0, taken = 0, working = kThreads;
    const auto expect_values = [&](std::uint64_t key, const std::vector<std::uint64_t>& values) {
        std::map<std::uint64_t, std::uint64_t> last;  // of each thread
        for (const std::uint64_t value : values) {
            ASSERT_EQ(value % kKeys, key);
            ASSERT_LT(std::exchange(last[value >> 32], value), value) << "out of order";
        }
    };
    in_threads(kThreads + 2, [&](unsigned number) {
        Random random(900 + number);
        for (std::uint64_t i = 1; number < kThreads && i <= rounds && !HasFailure(); ++i) {
            const std::uint64_t value = (std::uint64_t{number} << 32) + i, key = value % kKeys;
            tags.add(key, value);
            added += value;
            if (random.chance(10)) {
                const auto all = tags.popall(random.below(kKeys));
                if (!all.empty()) expect_values(all[0] % kKeys, all);
                taken += std::accumulate(all.begin(), all.end(), std::uint64_t{0});
            } else if (random.chance(50) && tags.discard(key, value)) {
                taken += value;
            }
        }
        if (number < kThreads) --working;
        while (number >= kThreads && working > 0 && !HasFailure()) {
            const std::uint64_t key = random.below(kKeys);
            for (const std::uint64_t value : tags.getall(key)) ASSERT_EQ(value % kKeys, key);
            const Tags now = tags.snapshot();
            const auto values = now.getall(key);
            expect_values(key, {values.begin(), values.end()});
            ASSERT_EQ(now.count(0) + now.count(1) + now.count(2), now.size());
        }
    });
    for (const auto& [key, value] : tags) taken += value;
    EXPECT_EQ(taken, added);
    tags.check();
}

/// Two threads kept one checkpoint under two names, and the store could not be opened again.
TEST_F(HandleThreadsTest, EachSnapshotIsACheckpointOfItsOwn) {
    constexpr unsigned kThreads = 4;
    const std::size_t each = scaled(50);
    {
        Store store(path_);
        in_threads(kThreads, [&](unsigned number) {
            Texts texts(store, std::to_string(number));
            for (std::size_t i = 0; i < each; ++i) {
                texts[0] = std::to_string(i);
                store.keep_snapshot(std::to_string(number) + " " + std::to_string(i));
            }
        });
    }
    const Store store(path_);
    EXPECT_EQ(store.snapshots().size(), kThreads * each);
    std::set<std::uint64_t> checkpoints;
    for (const NamedSnapshot& one : store.snapshots()) {
        EXPECT_TRUE(checkpoints.insert(one.checkpoint).second) << one.checkpoint;
        const std::string number = one.name.substr(0, 1);
        EXPECT_EQ(Texts(Store(path_, {.at = one.name}), number).at(0), one.name.substr(2));
    }
    EXPECT_EQ(store.verify().fault_count, 0u);
}

/// A verification that awaited a checkpoint took the one that had just listed a new snapshot, before the store knew
/// that snapshot for its own, and so did not keep it: its pages were used again when it was deleted.
TEST_F(HandleThreadsTest, VerifyingKeepsSnapshotsThatComeAndGo) {
    PYRSISTENCE_TRACE_SEED;
    auto engine = storage::Store::open(path_, small_options());
    {
        Store store(path_);
        Common::fill(store);
        std::atomic<unsigned> making = 4;
        in_threads(6, [&](unsigned number) {
            Random random(800 + number);
            Common common(store);
            while (number >= 4 && making > 0 && !HasFailure()) {
                const Report report = store.verify();
                ASSERT_EQ(report.fault_count, 0u) << report.faults.front();
            }
            for (std::size_t i = 0; number < 4 && i < scaled(100); ++i) {
                const std::string name = std::to_string(number);
                for (int k = 0; k < 20; ++k) common.change_blocks(random);
                store.keep_snapshot(name);
                for (int k = 0; k < 5; ++k) common.texts[random.below(100)] = std::string(3000, 'x');
                ASSERT_TRUE(store.delete_snapshot(name));
            }
            if (number < 4) --making;
        });
        store.check();
    }
    storage::Store::release(engine);
}

TEST_F(HandleThreadsTest, TheLastHandleClosesTheStoreAndTheNextOneOpensIt) {
    PYRSISTENCE_TRACE_SEED;
    constexpr unsigned kThreads = 4;
    const std::size_t rounds = scaled(60);
    in_threads(kThreads, [&](unsigned number) {
        Random random(600 + number);
        for (std::size_t i = 0; i < rounds; ++i) {
            Texts texts(path_);
            ASSERT_LE(texts.size(), kThreads);
            ASSERT_EQ(texts.contains(number), i > 0);
            if (i > 0) {
                ASSERT_EQ(texts.at(number), std::to_string(i - 1));
            }
            texts[number] = std::to_string(i);
            if (random.chance(20)) (void)texts.snapshot().size();
            if (random.chance(20)) texts.sync();
            if (random.chance(50)) texts.close();
        }
    });
    const Texts texts(path_);
    texts.check();
    EXPECT_EQ(texts.size(), kThreads);
    for (unsigned n = 0; n < kThreads; ++n) EXPECT_EQ(texts.at(n), std::to_string(rounds - 1));
}

TEST_F(HandleThreadsTest, ReadersOfAnotherProcessShareAHandleToo) {
    PYRSISTENCE_TRACE_SEED;
    auto engine = storage::Store::open(path_, small_options());
    {
        Store store(path_);
        Common::fill(store);
        store.publish();
        Elsewhere reader(path_);
        const Common seen(reader);
        std::atomic<unsigned> writing = 2;
        in_threads(6, [&](unsigned number) {
            Random random(700 + number);
            if (number < 2) {
                Common common(store);
                for (std::size_t i = 0; i < scaled(1000); ++i) {
                    common.change_blocks(random);
                    Transaction transaction(store, false);
                    common.transfer(random);
                    transaction.commit();
                }
                --writing;
            }
            while (number >= 2 && writing > 0 && !::testing::Test::HasFailure()) {
                const std::uint64_t version = reader.version();
                if (random.chance(50)) reader.refresh();
                ASSERT_GE(reader.version(), version);
                const Store state = reader.snapshot();
                const Common then(state);
                then.expect_whole();
                seen.expect_block(random.below(10) * Common::kBlock);
                ASSERT_EQ(seen.accounts.size(), Common::kAccounts);
                then.expect_whole();
                if (random.chance(10)) reader.check();
                if (random.chance(10)) (void)reader.info();
                if (random.chance(5)) {
                    ASSERT_EQ(reader.verify().fault_count, 0u);
                }
            }
        });
        reader.refresh();
        Common(reader).expect_whole();
    }
    storage::Store::release(engine);
}

}  // namespace
}  // namespace pyrsistence::test
