// Tkrzw's HashDBM and TreeDBM on its default file class, MemoryMapParallelFile, tuned as the chapters
// "Tuning HashDBM" and "Tuning TreeDBM" of its documentation advise.
#include <tkrzw_dbm_hash.h>
#include <tkrzw_dbm_tree.h>
#include <tkrzw_file_mmap.h>

#include "../workloads.hpp"

namespace bench {
namespace {

void check(const tkrzw::Status& status) {
    if (!status.IsOK()) throw std::runtime_error("tkrzw: " + std::string(status));
}

/// Buckets: what Rebuild() would choose, two for each record.
tkrzw::HashDBM::TuningParameters tuned(const Settings& settings, const tkrzw::HashDBM&) {
    tkrzw::HashDBM::TuningParameters tuning;
    tuning.num_buckets = static_cast<std::int64_t>(2 * settings.entries);
    return tuning;
}

/// For random access to large databases: pages that just fit an alignment of 4 KiB, and a cache of as many as
/// memory allows.
tkrzw::TreeDBM::TuningParameters tuned(const Settings& settings, const tkrzw::TreeDBM&) {
    constexpr std::int32_t kPageBytes = 4080;
    constexpr std::uint64_t kPageBuckets = 1'000'000, kMostPages = 1'000'000'000;
    tkrzw::TreeDBM::TuningParameters tuning;
    tuning.align_pow = 12;
    tuning.max_page_size = kPageBytes;
    tuning.num_buckets = kPageBuckets;
    tuning.max_cached_pages =
        static_cast<std::int32_t>(std::min<std::uint64_t>(settings.cache_bytes / kPageBytes, kMostPages));
    return tuning;
}

/// Changes nothing.
template <class Use>
class Visitor : public tkrzw::DBM::RecordProcessor {
public:
    explicit Visitor(Use& use) : use_(use) {}
    std::string_view ProcessFull(std::string_view key, std::string_view value) override {
        use_(key, value);
        return NOOP;
    }

private:
    Use& use_;
};

template <class Items, class Dbm>
class Tkrzw {
    using Key = typename Items::Key;
    using Value = typename Items::Value;
    // Ascending keys are to be ascending bytes, for the tree; the hash does not care.
    static constexpr bool kOrdered = std::is_same_v<Dbm, tkrzw::TreeDBM>;

public:
    explicit Tkrzw(const Settings& settings) : dbm_(std::make_unique<tkrzw::MemoryMapParallelFile>()) {
        const std::string path = settings.directory / "casket";
        check(dbm_.OpenAdvanced(path, true, tkrzw::File::OPEN_TRUNCATE, tuned(settings, dbm_)));
    }
    ~Tkrzw() { dbm_.Close(); }
    Tkrzw(const Tkrzw&) = delete;
    Tkrzw& operator=(const Tkrzw&) = delete;

    void set(const Key& key, const Value& value) {
        const auto bytes = stored(key);
        check(dbm_.Set(as_view(bytes), as_view(value)));
    }
    template <class Use>
    bool get(const Key& key, Use use) {
        const auto bytes = stored(key);
        const tkrzw::Status status = dbm_.Get(as_view(bytes), &value_);
        if (status == tkrzw::Status::NOT_FOUND_ERROR) return false;
        check(status);
        use(std::string_view(value_));
        return true;
    }
    bool erase(const Key& key) {
        const auto bytes = stored(key);
        const tkrzw::Status status = dbm_.Remove(as_view(bytes));
        if (status == tkrzw::Status::NOT_FOUND_ERROR) return false;
        check(status);
        return true;
    }
    template <class Use>
    void for_each(Use use) {
        Visitor<Use> visitor(use);
        check(dbm_.ProcessEach(&visitor, false));
    }
    template <class Use>
    void range(const Key& key, std::uint64_t count, Use use)
        requires kOrdered
    {
        const auto bytes = stored(key);
        const std::unique_ptr<tkrzw::DBM::Iterator> at = dbm_.MakeIterator();
        for (check(at->Jump(as_view(bytes))); count > 0; --count) {
            const tkrzw::Status status = at->Step(&key_, &value_);
            if (status == tkrzw::Status::NOT_FOUND_ERROR) return;
            check(status);
            use(std::string_view(key_), std::string_view(value_));
        }
    }
    void sync() { check(dbm_.Synchronize(true)); }

private:
    static auto stored(const Key& key) {
        if constexpr (kOrdered) {
            return ordered(key);
        } else {
            return key;
        }
    }

    Dbm dbm_;
    std::string key_, value_;
};

template <class Items>
using Hash = Tkrzw<Items, tkrzw::HashDBM>;
template <class Items>
using Tree = Tkrzw<Items, tkrzw::TreeDBM>;

}  // namespace

void add_tkrzw(Sides& sides) {
    Side hash{.name = "Tkrzw HashDBM",
              .version = tkrzw::PACKAGE_VERSION,
              .configuration = "MemoryMapParallelFile, num_buckets = 2 n, updates in place",
              .after_kill = "all that returned, unless killed within an update; opening scans the whole file",
              .after_power_loss = "may be damaged"};
    add_map<Hash>(hash);
    sides.push_back(std::move(hash));
    Side tree{.name = "Tkrzw TreeDBM",
              .version = tkrzw::PACKAGE_VERSION,
              .configuration = "MemoryMapParallelFile, align_pow = 12, max_page_size = 4080, num_buckets = 1 M, "
                               "pages cached up to a quarter of the memory",
              .after_kill = "what was synced, and pages that left the cache since; may be inconsistent",
              .after_power_loss = "may be damaged"};
    add_map<Tree>(tree);
    add_sorted<Tree>(tree);
    sides.push_back(std::move(tree));
}

}  // namespace bench
