// LMDB, configured as in its documentation for speed: a writable map, whose pages the kernel writes when it
// likes, and transactions of many operations, because each commit copies the path to the root.
#include <lmdb.h>

#include <utility>

#include "../workloads.hpp"

namespace bench {
namespace {

void check(int code) {
    if (code != MDB_SUCCESS) throw std::runtime_error(std::string("lmdb: ") + mdb_strerror(code));
}

template <class T>
MDB_val as_val(const T& item) {
    const std::string_view bytes = as_view(item);
    return {bytes.size(), const_cast<char*>(bytes.data())};
}
std::string_view bytes_of(const MDB_val& val) { return {static_cast<const char*>(val.mv_data), val.mv_size}; }

/// An environment with one database, and the transaction that is open.
class Database {
public:
    static constexpr int kBatch = 10'000;
    static constexpr mdb_mode_t kMode = 0644;

    Database(const Settings& settings, unsigned flags, std::size_t entry_bytes) {
        check(mdb_env_create(&environment_));
        // Room for pages half full, and the copies that a transaction makes; a hole in the file until used.
        const std::size_t room = (std::size_t{1} << 30) + settings.entries * (entry_bytes + 64) * 4;
        check(mdb_env_set_mapsize(environment_, room));
        check(mdb_env_open(environment_, settings.directory.c_str(), MDB_WRITEMAP | MDB_MAPASYNC, kMode));
        begin(false);
        check(mdb_dbi_open(transaction_, nullptr, flags, &database_));
    }
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;
    ~Database() {
        if (cursor_) mdb_cursor_close(cursor_);
        if (transaction_) mdb_txn_abort(transaction_);
        mdb_env_close(environment_);
    }

    void put(MDB_val key, MDB_val value, unsigned flags) {
        start_writing();
        check(mdb_put(transaction_, database_, &key, &value, flags));
        finish_batch();
    }
    bool get(MDB_val key, MDB_val& value) {
        if (!transaction_) begin(true);
        const int code = mdb_get(transaction_, database_, &key, &value);
        if (code != MDB_NOTFOUND) check(code);
        return code == MDB_SUCCESS;
    }
    bool erase(MDB_val key) {
        start_writing();
        const int code = mdb_del(transaction_, database_, &key, nullptr);
        if (code != MDB_NOTFOUND) check(code);
        finish_batch();
        return code == MDB_SUCCESS;
    }
    template <class Use>
    void for_each(Use use) {
        start_reading();
        read_from(MDB_FIRST, {}, UINT64_MAX, use);
    }
    template <class Use>
    void range(MDB_val key, std::uint64_t count, Use use) {
        start_reading();
        read_from(MDB_SET_RANGE, key, count, use);
    }
    /// Removes the first key and returns it; valid until the next call.
    MDB_val take_first() {
        start_writing();
        MDB_val key, value;
        check(mdb_cursor_get(cursor(), &key, &value, MDB_FIRST));
        taken_.assign(bytes_of(key));
        check(mdb_cursor_del(cursor(), 0));
        finish_batch();
        return {taken_.size(), taken_.data()};
    }
    void sync() {
        end();
        check(mdb_env_sync(environment_, 1));
    }

private:
    void begin(bool reading) {
        check(mdb_txn_begin(environment_, nullptr, reading ? MDB_RDONLY : 0, &transaction_));
        reading_ = reading;
        pending_ = 0;
    }
    void end() {
        if (!transaction_) return;
        if (cursor_) mdb_cursor_close(std::exchange(cursor_, nullptr));
        check(mdb_txn_commit(std::exchange(transaction_, nullptr)));
    }
    void start_writing() {
        if (transaction_ && reading_) end();
        if (!transaction_) begin(false);
    }
    void start_reading() {
        if (transaction_ && !reading_) end();
        if (!transaction_) begin(true);
    }
    void finish_batch() {
        if (++pending_ == kBatch) end();
    }
    /// One for the whole transaction.
    MDB_cursor* cursor() {
        if (!cursor_) check(mdb_cursor_open(transaction_, database_, &cursor_));
        return cursor_;
    }
    template <class Use>
    void read_from(MDB_cursor_op first, MDB_val key, std::uint64_t count, Use use) {
        MDB_val value;
        int code = mdb_cursor_get(cursor(), &key, &value, first);
        for (; code == MDB_SUCCESS && count > 0; --count) {
            use(bytes_of(key), bytes_of(value));
            if (count > 1) code = mdb_cursor_get(cursor_, &key, &value, MDB_NEXT);
        }
        if (code != MDB_NOTFOUND) check(code);
    }

    MDB_env* environment_ = nullptr;
    MDB_dbi database_ = 0;
    MDB_txn* transaction_ = nullptr;
    MDB_cursor* cursor_ = nullptr;
    std::string taken_;
    bool reading_ = false;
    int pending_ = 0;  ///< operations in the transaction
};

template <class Items>
class Lmdb {
    using Key = typename Items::Key;
    using Value = typename Items::Value;
    static constexpr bool kNumbers = std::is_same_v<Key, std::uint64_t>;

public:
    explicit Lmdb(const Settings& settings)
        : database_(settings, kNumbers ? MDB_INTEGERKEY : 0, sizeof(Key) + sizeof(Value)) {}

    void set(const Key& key, const Value& value) {
        const unsigned flags = Items::kAscending ? MDB_APPEND : 0;
        database_.put(as_val(key), as_val(value), flags);
    }
    template <class Use>
    bool get(const Key& key, Use use) {
        MDB_val value;
        if (!database_.get(as_val(key), value)) return false;
        use(bytes_of(value));
        return true;
    }
    bool erase(const Key& key) { return database_.erase(as_val(key)); }
    template <class Use>
    void for_each(Use use) {
        database_.for_each(use);
    }
    template <class Use>
    void range(const Key& key, std::uint64_t count, Use use) {
        database_.range(as_val(key), count, use);
    }
    void sync() { database_.sync(); }

private:
    Database database_;
};

/// LMDB has no queues; what stands in are numbers as keys of nothing. The first goes.
class LmdbQueue {
public:
    explicit LmdbQueue(const Settings& settings) : numbers_(settings, MDB_INTEGERKEY, sizeof(std::uint64_t)) {}

    void push(std::uint64_t value) { numbers_.put(as_val(value), {}, 0); }
    std::uint64_t pop() { return from_view<std::uint64_t>(bytes_of(numbers_.take_first())); }
    void sync() { numbers_.sync(); }

private:
    Database numbers_;
};

/// LMDB has no sequences; what stands in is a map from place to value.
class LmdbList {
public:
    explicit LmdbList(const Settings& settings) : map_(settings, MDB_INTEGERKEY, 2 * sizeof(std::uint64_t)) {}

    void push_back(std::uint64_t value) {
        map_.put(as_val(size_), as_val(value), MDB_APPEND);
        ++size_;
    }
    std::uint64_t get(std::uint64_t i) {
        MDB_val value;
        if (!map_.get(as_val(i), value)) throw std::runtime_error("lmdb: no such place");
        return from_view<std::uint64_t>(bytes_of(value));
    }
    void set(std::uint64_t i, std::uint64_t value) { map_.put(as_val(i), as_val(value), 0); }
    template <class Use>
    void for_each(Use use) {
        map_.for_each(
            [&](std::string_view, std::string_view value) { use(from_view<std::uint64_t>(value)); });
    }
    void sync() { map_.sync(); }

private:
    Database map_;
    std::uint64_t size_ = 0;
};

std::string version() {
    int major, minor, patch;
    mdb_version(&major, &minor, &patch);
    return std::to_string(major) + '.' + std::to_string(minor) + '.' + std::to_string(patch);
}

}  // namespace

void add_lmdb(Sides& sides) {
    Side side{.name = "LMDB",
              .version = version(),
              .configuration = "writemap, mapasync, transactions of 10,000; integerkey for numbers, append for "
                               "ascending keys; a list is a map from place to value, a priority queue one whose "
                               "first key goes",
              .after_kill = "all but the open transaction",
              .after_power_loss = "may be damaged"};
    add_map<Lmdb>(side);
    add_sorted<Lmdb>(side);
    add_priority_queue<LmdbQueue>(side);
    add_list<LmdbList>(side);
    sides.push_back(std::move(side));
}

}  // namespace bench
