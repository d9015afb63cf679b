// Whatever allocation fails, nothing is half done: each operation runs again and again, each time with another
// allocation that fails, in its own thread or in the one of the checkpoint that it waits for. The error is
// bad_alloc; afterwards the store is as before, sound, and the operation can be done.
#include "crash/failing_memory.hpp"

#include <cstdlib>
#include <new>
#include <set>

#include "crash/profiles.hpp"
#include "crash/store_workload.hpp"
#include "storage/store.hpp"

// Inlined, they would look to the compiler like pairs that do not match.
[[gnu::noinline]] void* operator new(std::size_t size) {
    if (pyrsistence::test::FailingMemory::fails()) throw std::bad_alloc();
    if (void* place = std::malloc(size == 0 ? 1 : size)) return place;
    throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new[](std::size_t size) { return operator new(size); }
// AddressSanitizer has its own of each that is not replaced, whose memory must not come to the ones here.
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    return pyrsistence::test::FailingMemory::fails() ? nullptr : std::malloc(size == 0 ? 1 : size);
}
[[gnu::noinline]] void* operator new[](std::size_t size, const std::nothrow_t& tag) noexcept {
    return operator new(size, tag);
}
[[gnu::noinline]] void operator delete(void* place, const std::nothrow_t&) noexcept { std::free(place); }
[[gnu::noinline]] void operator delete[](void* place, const std::nothrow_t&) noexcept { std::free(place); }
[[gnu::noinline]] void operator delete(void* place) noexcept { std::free(place); }
[[gnu::noinline]] void operator delete[](void* place) noexcept { std::free(place); }
[[gnu::noinline]] void operator delete(void* place, std::size_t) noexcept { std::free(place); }
[[gnu::noinline]] void operator delete[](void* place, std::size_t) noexcept { std::free(place); }

namespace pyrsistence::test {
namespace {

/// A store that is open, and what operations on it need; they allocate nothing of their own.
class Scene {
public:
    explicit Scene(const fs::path& store, bool create = false)
        : path(store), free_path(store.parent_path() / "free") {
        open(create);
    }
    ~Scene() {
        try {
            close();
        } catch (const std::exception&) {
            // The test has seen it.
        }
    }
    Scene(const Scene&) = delete;
    Scene& operator=(const Scene&) = delete;

    void open(bool create = false) {
        storage::StoreOptions options;
        options.memory_limit = 4 << 20;
        options.index_pages = 1;  // a larger index has a delta
        options.files = &files;
        options.log_window = kSmall;
        options.hash_seed = 4711;
        options.on_checkpoint = [this](auto what) {
            if (what == storage::StoreOptions::Checkpoint::begins) FailingMemory::arm(checkpoint_fails);
            if (what == storage::StoreOptions::Checkpoint::ends) FailingMemory::arm(false);
        };
        raw = storage::Store::open(path, options);
        store.emplace(path);
        if (create || store->contains("dict")) dict.emplace(*store, "dict");
        if (create || store->contains("list")) list.emplace(*store, "list");
    }
    void close() {
        if (store && !FailingMemory::armed()) last = digest();
        end_all();
        dict.reset();
        list.reset();
        store.reset();
        storage::Store::release(raw);
    }
    void end_all() {
        inner.reset();
        outer.reset();
        snapshot.reset();
        named.reset();
    }
    std::uint64_t digest() const { return StoreModel::digest(*store); }

    // --- operands
    DictEntry entry(std::uint64_t key, std::size_t size) {
        bytes.clear();
        put_uint(bytes, key);
        const std::size_t identity = bytes.size();
        put_bytes(bytes, as_bytes(content(key + size, size)));
        return {bytes, identity, identity};
    }
    void prepare(std::uint64_t key, std::size_t size) {
        operand = entry(key, size);
        const std::size_t most = std::size_t{1} << 20;
        if (out.size() < most) {
            const std::vector<std::byte> room(most);
            out.append(room);
        }
        out.clear();
    }
    Bytes identity() const { return operand.bytes.first(operand.identity_size); }
    void prepare_items(std::size_t count, std::size_t size) {
        texts.assign(count, content(count, size));
        views.clear();
        for (const std::string& text : texts) views.push_back(as_bytes(text));
    }

    TestFileSystem files;
    fs::path path;
    const fs::path free_path;
    std::uint64_t last = 0;  ///< digest() when it was closed
    std::shared_ptr<storage::Store> raw;
    std::optional<Workplace> store;
    std::optional<RawDict> dict;
    std::optional<RawList> list;
    std::optional<Transaction> outer, inner;
    std::unique_ptr<Store> snapshot;
    std::optional<Store> named;
    std::atomic<bool> checkpoint_fails = true;
    Buffer bytes, out;
    DictEntry operand{};
    std::vector<std::string> texts;
    std::vector<Bytes> views;
};

struct Operation {
    const char* name;
    std::function<void(Scene&)> run;
    std::function<void(Scene&)> prepare = {};
    enum Kind {
        change,
        within,  ///< a transaction, which may be undone
        ends,    ///< a transaction, which is undone if it fails
        closes,
    } kind = change;

    friend void PrintTo(const Operation& one, std::ostream* out) { *out << one.name; }
};

constexpr const char* kLongName = "a name that is longer than any string without memory of its own";

const std::vector<Operation>& operations() {
    using S = Scene&;
    const auto set = [](S s) { s.dict->set(s.operand); };
    const auto in_transaction = [](S s) {
        s.outer.emplace(*s.store, false);
        s.prepare(9000, 100);
        s.dict->set(s.operand);
    };
    const auto nested = [in_transaction](S s) {
        in_transaction(s);
        s.inner.emplace(*s.store);
        s.prepare(9001, 2000);
        for (int i = 0; i < 30; ++i) s.list->append(s.operand.bytes);
    };
    const auto long_one = [in_transaction](S s) {
        in_transaction(s);
        s.prepare(9, 1000);
        for (int i = 0; i < 100; ++i) s.list->append(s.operand.bytes);
    };
    const auto dirty = [](S s) {
        for (std::uint64_t key = 0; key < 40; ++key) s.dict->set(s.entry(key, 200));
    };
    const auto killed = [dirty](S s) {
        dirty(s);
        copy_store(s.path, s.free_path);
        s.close();
        s.path = s.free_path;
    };
    const auto a_snapshot = [dirty](S s) {
        s.snapshot.reset(new Store(s.store->snapshot()));
        dirty(s);
    };
    static const std::vector<Operation> all = {
        {"dict set new", set, [](S s) { s.prepare(5000, 100); }},
        {"dict set a first large", set, [](S s) { s.prepare(5001, 30'000); }},
        {"dict replace", set, [](S s) { s.prepare(10, 90); }},
        {"dict replace by large", set, [](S s) { s.prepare(11, 20'000); }},
        {"dict insert", [](S s) { s.dict->insert(s.operand, s.out); }, [](S s) { s.prepare(5002, 20); }},
        {"dict pop", [](S s) { s.dict->pop(s.identity(), s.out); }, [](S s) { s.prepare(12, 0); }},
        {"dict pop large", [](S s) { s.dict->pop(s.identity(), s.out); }, [](S s) { s.prepare(3, 0); }},
        {"dict pop last", [](S s) { s.dict->pop_last(s.out); }},
        {"dict get", [](S s) { s.dict->get(s.identity(), s.out); }, [](S s) { s.prepare(12, 0); }},
        {"dict clear", [](S s) { s.dict->clear(); }},
        {"dict clear beside a snapshot", [](S s) { s.dict->clear(); }, a_snapshot},
        {"list append", [](S s) { s.list->append(s.operand.bytes); }, [](S s) { s.prepare(1, 50); }},
        {"list append large", [](S s) { s.list->append(s.operand.bytes); }, [](S s) { s.prepare(1, 70'000); }},
        {"list insert", [](S s) { s.list->insert(77, s.operand.bytes); }, [](S s) { s.prepare(1, 1200); }},
        {"list pop", [](S s) { s.list->pop(50, s.out); }},
        {"list erase slice", [](S s) { s.list->erase_slice(3, 2, 200); }},
        {"list replace slice", [](S s) { s.list->replace_slice(20, 10, s.views); },
         [](S s) { s.prepare_items(40, 300); }},
        {"list replace slice by large", [](S s) { s.list->replace_slice(20, 10, s.views); },
         [](S s) { s.prepare_items(6, 5000); }},
        {"list batch beyond the log", [](S s) { s.list->replace_slice(20, 300, s.views); },
         [](S s) { s.prepare_items(200, 1000); }},
        {"list set slice", [](S s) { s.list->set_slice(2, 3, s.views); }, [](S s) { s.prepare_items(30, 600); }},
        {"list reverse", [](S s) { s.list->reverse(); }},
        {"list clear", [](S s) { s.list->clear(); }},
        {"create", [](S s) { RawDict(*s.store, kLongName); }},
        {"remove", [](S s) { s.store->Store::remove("list"); }},
        {"rename", [](S s) { s.store->Store::rename("list", kLongName); }},
        {"begin", [](S s) { s.outer.emplace(*s.store, false); }, {}, Operation::within},
        {"set in a transaction", set, [=](S s) { in_transaction(s), s.prepare(9002, 3000); }, Operation::within},
        {"begin a savepoint", [](S s) { s.inner.emplace(*s.store); }, in_transaction, Operation::within},
        {"set in a savepoint", set, [=](S s) { nested(s), s.prepare(9003, 3000); }, Operation::within},
        {"commit a savepoint", [](S s) { s.inner->commit(); }, nested, Operation::within},
        {"roll back a savepoint", [](S s) { s.inner->roll_back(); }, nested, Operation::within},
        {"commit", [](S s) { s.outer->commit(); }, in_transaction, Operation::ends},
        {"commit beyond the log", [](S s) { s.outer->commit(); }, long_one, Operation::ends},
        {"roll back", [](S s) { s.outer->roll_back(); }, nested, Operation::ends},
        {"snapshot", [](S s) { s.snapshot.reset(new Store(s.store->snapshot())); }, dirty},
        {"let go of a snapshot", [](S s) { s.snapshot.reset(); }, a_snapshot},
        {"open a named snapshot", [](S s) { s.named.emplace(s.path, Options{.at = "old"}); }},
        {"keep a snapshot", [](S s) { s.store->keep_snapshot(kLongName); }, dirty},
        {"delete a snapshot", [](S s) { s.store->delete_snapshot("old"); }, dirty},
        {"sync", [](S s) { s.store->sync(); }, dirty},
        {"checkpoint", [](S s) { s.store->checkpoint(); }, dirty},
        {"checkpoint beside snapshots", [](S s) { s.store->checkpoint(); }, a_snapshot},
        {"publish", [](S s) { s.store->publish(); }, dirty},
        {"compact", [](S s) { s.store->compact(); }, [](S s) { s.dict->clear(); }},
        {"backup", [](S s) { s.store->backup(s.free_path); }, dirty},
        {"verify", [](S s) { EXPECT_EQ(s.store->verify().fault_count, 0u); }, dirty},
        {"check", [](S s) { s.store->check(); }, dirty},
        {"info", [](S s) { (void)s.store->info(); }, dirty},
        {"close", [](S s) { s.close(); }, dirty, Operation::closes},
        {"open", [](S s) { s.open(); }, [](S s) { s.close(); }, Operation::closes},
        {"recover", [](S s) { s.open(); }, killed, Operation::closes},
    };
    return all;
}

class FailingMemoryTest : public ::testing::TestWithParam<Operation> {
protected:
    static void SetUpTestSuite() {
        image_ = std::make_unique<TempDir>(true);
        Scene scene(image_->path() / "store", true);
        for (std::uint64_t i = 0; i < 300; ++i) scene.dict->set(scene.entry(i, i % 50 == 3 ? 9000 : i % 90));
        for (std::uint64_t i = 0; i < 500; ++i) {
            scene.list->append(scene.entry(i, i % 100 == 7 ? 6000 : 40).bytes);
        }
        scene.store->keep_snapshot("old");
        for (std::uint64_t key = 0; key < 30; ++key) scene.dict->set(scene.entry(key * 7, 10));
        scene.close();
    }
    static void TearDownTestSuite() { image_.reset(); }

    /// Runs the operation on a store of its own, with the allocation `at` failing. False if there were fewer.
    bool run(std::uint64_t at, bool lasting) {
        const TempDir dir(true);
        copy_store(image_->path() / "store", dir / "store");
        Scene scene(dir / "store");
        const std::uint64_t committed = scene.digest();
        if (operation().prepare) operation().prepare(scene);
        const std::uint64_t before = scene.store ? scene.digest() : scene.last;
        const bool done = attempt(scene, at, lasting);
        const std::uint64_t failed = FailingMemory::failed();
        if (done) expect(scene, after_.value_or(scene.store ? scene.digest() : scene.last));
        else if (operation().kind == Operation::closes) expect_opens(scene, before);
        else if (operation().kind == Operation::ends) expect(scene, committed);
        else if (operation().kind == Operation::within) expect_undoable(scene, before, committed);
        else expect_repeatable(scene, before);
        if (!after_ && !HasFailure()) after_ = scene.store ? scene.digest() : scene.last;
        expect_after_closing(scene);
        return failed > 0;
    }

private:
    static const Operation& operation() { return GetParam(); }

    /// False if it threw.
    static bool attempt(Scene& scene, std::uint64_t at, bool lasting) {
        std::exception_ptr error;
        FailingMemory::fail_at(at, lasting);
        try {
            const FailingMemory::Scope armed;
            operation().run(scene);
        } catch (...) {
            error = std::current_exception();
        }
        FailingMemory::fail_at_none();
        if (error) expect_out_of_memory(error);
        return !error;
    }
    static void expect_out_of_memory(const std::exception_ptr& error) {
        try {
            std::rethrow_exception(error);
        } catch (const std::bad_alloc&) {
        } catch (const StorageError& found) {
            EXPECT_EQ(found.code(), ENOMEM) << found.what();
        } catch (const std::exception& found) {
            ADD_FAILURE() << "not the error of an allocation: " << found.what();
        }
    }

    static void expect(Scene& scene, std::uint64_t digest) {
        if (!scene.store) return;
        EXPECT_EQ(scene.digest(), digest);
        scene.store->check();
    }
    void expect_repeatable(Scene& scene, std::uint64_t before) {
        expect(scene, before);
        EXPECT_FALSE(fs::exists(scene.free_path)) << "something was left";
        expect_killed(scene, before);
        operation().run(scene);
        expect(scene, after_.value());
    }
    /// A copy as a kill would leave it.
    static void expect_killed(Scene& scene, std::uint64_t digest) {
        const fs::path copy = scene.free_path;
        {
            const auto still = scene.files.stand_still();
            copy_store(scene.path, copy);
        }
        const Workplace killed(copy);
        killed.check();
        EXPECT_EQ(StoreModel::digest(killed), digest) << "after a kill";
        fs::remove_all(copy);
    }
    /// The transaction goes on or has been undone.
    void expect_undoable(Scene& scene, std::uint64_t before, std::uint64_t committed) {
        const std::uint64_t found = scene.digest();
        EXPECT_TRUE(found == before || found == committed) << "half of an operation";
        scene.end_all();
        expect(scene, committed);
    }
    static void expect_opens(Scene& scene, std::uint64_t before) {
        try {
            scene.close();
        } catch (const std::exception&) {
            // It may have been closed but for the last step.
        }
        scene.open();
        expect(scene, before);
    }
    void expect_after_closing(Scene& scene) {
        if (!scene.store) scene.open();
        scene.end_all();
        scene.dict->set(scene.entry(77'000, 10));  // it goes on
        const std::uint64_t last = scene.digest();
        scene.close();
        scene.open();
        EXPECT_EQ(scene.digest(), last) << "after closing";
        scene.store->check();
    }

    static inline std::unique_ptr<TempDir> image_;
    std::optional<std::uint64_t> after_;
};

/// An allocation that failed in the space map left a group marked as noted that was not, so that the next
/// checkpoint stored it as it had been; another one left a null pointer among what a pin keeps; listing a
/// directory or letting go of a snapshot ended the process.
TEST_P(FailingMemoryTest, NothingIsHalfDone) {
    run(UINT64_MAX, false);  // sees what comes of it
    const std::uint64_t allocations = FailingMemory::count();
    for (const bool lasting : {false, true}) {
        const auto stride = std::max<std::uint64_t>(1, allocations / scaled(60));
        for (std::uint64_t at = 1; !HasFailure(); at += stride) {
            SCOPED_TRACE("allocation " + std::to_string(at) + (lasting ? " and all that follow" : ""));
            try {
                if (!run(at, lasting)) break;
            } catch (const std::exception& error) {
                ADD_FAILURE() << "not usable afterwards: " << error.what();
            }
        }
    }
}
INSTANTIATE_TEST_SUITE_P(Operations, FailingMemoryTest, ::testing::ValuesIn(operations()), [](const auto& test) {
    std::string name = test.param.name;
    std::ranges::replace(name, ' ', '_');
    return name;
});

}  // namespace
}  // namespace pyrsistence::test
