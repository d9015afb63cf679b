// RocksDB, configured as "Setup Options and Basic Tuning" and the tuning guide of its wiki advise, once with
// its write-ahead log, which keeps what pyrsistence keeps, and once without.
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/version.h>

#include <thread>

#include "../workloads.hpp"

namespace bench {
namespace {

void check(const rocksdb::Status& status) {
    if (!status.ok()) throw std::runtime_error("rocksdb: " + status.ToString());
}

rocksdb::Options tuned(const Settings& settings) {
    constexpr double kFilterBitsPerKey = 10;
    constexpr std::size_t kBlockBytes = 16 << 10;
    rocksdb::BlockBasedTableOptions table;
    table.block_cache = rocksdb::NewLRUCache(settings.cache_bytes);
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(kFilterBitsPerKey));
    table.block_size = kBlockBytes;
    table.cache_index_and_filter_blocks = true;
    table.pin_l0_filter_and_index_blocks_in_cache = true;

    rocksdb::Options options;
    options.create_if_missing = true;
    options.error_if_exists = true;
    options.IncreaseParallelism(static_cast<int>(std::thread::hardware_concurrency()));
    options.OptimizeLevelStyleCompaction();
    options.level_compaction_dynamic_level_bytes = true;
    options.bytes_per_sync = 1 << 20;
    options.compaction_pri = rocksdb::kMinOverlappingRatio;
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    return options;
}

template <class Items, bool with_log>
class RocksDb {
    using Key = typename Items::Key;
    using Value = typename Items::Value;

public:
    explicit RocksDb(const Settings& settings) {
        rocksdb::DB* db = nullptr;
        check(rocksdb::DB::Open(tuned(settings), settings.directory / "rocksdb", &db));
        db_.reset(db);
        write_.disableWAL = !with_log;
    }

    void set(const Key& key, const Value& value) {
        const auto bytes = ordered(key);
        check(db_->Put(write_, slice(bytes), slice(value)));
    }
    template <class Use>
    bool get(const Key& key, Use use) {
        const auto bytes = ordered(key);
        const rocksdb::Status status = db_->Get(read_, db_->DefaultColumnFamily(), slice(bytes), &value_);
        if (status.IsNotFound()) return false;
        check(status);
        use(value_.ToStringView());
        value_.Reset();
        return true;
    }
    bool erase(const Key& key) {
        const auto bytes = ordered(key);
        check(db_->Delete(write_, slice(bytes)));
        return true;
    }
    template <class Use>
    void for_each(Use use) {
        const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(read_));
        for (at->SeekToFirst(); at->Valid(); at->Next()) {
            use(at->key().ToStringView(), at->value().ToStringView());
        }
        check(at->status());
    }
    template <class Use>
    void range(const Key& key, std::uint64_t count, Use use) {
        const auto bytes = ordered(key);
        const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(read_));
        for (at->Seek(slice(bytes)); at->Valid() && count > 0; at->Next(), --count) {
            use(at->key().ToStringView(), at->value().ToStringView());
        }
        check(at->status());
    }
    void sync() { check(with_log ? db_->SyncWAL() : db_->Flush(rocksdb::FlushOptions())); }

private:
    template <class T>
    static rocksdb::Slice slice(const T& item) {
        return as_view(item);
    }

    std::unique_ptr<rocksdb::DB> db_;
    rocksdb::ReadOptions read_;
    rocksdb::WriteOptions write_;
    rocksdb::PinnableSlice value_;
};

template <class Items>
using Logged = RocksDb<Items, true>;
template <class Items>
using Unlogged = RocksDb<Items, false>;

}  // namespace

void add_rocksdb(Sides& sides) {
    const std::string tuning =
        "IncreaseParallelism, OptimizeLevelStyleCompaction, bloom filter of 10 bits per key, blocks of 16 KiB, "
        "block cache of a quarter of the memory, dynamic level bytes; ";
    Side logged{.name = "RocksDB",
                .version = rocksdb::GetRocksVersionAsString(),
                .configuration = tuning + "write-ahead log",
                .after_kill = "every operation that returned",
                .after_power_loss = "a prefix of the operations, at least up to the last sync"};
    add_map<Logged>(logged);
    add_sorted<Logged>(logged);
    sides.push_back(std::move(logged));
    Side unlogged{.name = "RocksDB without log",
                  .version = rocksdb::GetRocksVersionAsString(),
                  .configuration = tuning + "disableWAL",
                  .after_kill = "what was flushed last",
                  .after_power_loss = "what was flushed last"};
    add_map<Unlogged>(unlogged);
    add_sorted<Unlogged>(unlogged);
    sides.push_back(std::move(unlogged));
}

}  // namespace bench
