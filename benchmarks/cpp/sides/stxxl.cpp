// STXXL's external-memory containers. Their files vanish with the process, so that nothing is ever synced.
#include <stxxl/map>
#include <stxxl/priority_queue>
#include <stxxl/queue>
#include <stxxl/unordered_map>
#include <stxxl/vector>

#include <cstdlib>
#include <limits>

#include "in_memory.hpp"

namespace bench {
namespace {

/// A key or a value under a name of our own, because the library's tracing, though switched off, must be able
/// to print it.
template <class T>
struct Boxed {
    T item;
    friend bool operator==(const Boxed&, const Boxed&) = default;
    friend std::ostream& operator<<(std::ostream& out, const Boxed&) { return out; }
};

}  // namespace
}  // namespace bench

/// The library rebinds allocators by a member that C++20 took away.
template <class Key, class Value>
struct std::allocator<std::pair<const bench::Boxed<Key>, bench::Boxed<Value>>> {
    template <class U>
    struct rebind {
        using other = std::allocator<U>;
    };
};

namespace bench {
namespace {

constexpr std::uint64_t kRoomForEntry = 1024;

/// Must come before the first container: the disk cannot be changed afterwards.
const Settings& configured(const Settings& settings) {
    setenv("STXXLLOGFILE", (settings.directory / "stxxl.log").c_str(), 1);
    setenv("STXXLERRLOGFILE", (settings.directory / "stxxl.errlog").c_str(), 1);
    // Growing step by step would be slow; a hole until used.
    const std::uint64_t size = (std::uint64_t{1} << 30) + settings.entries * kRoomForEntry;
    stxxl::disk_config disk(settings.directory / "stxxl.disk", size, "syscall unlink autogrow");
    stxxl::config::get_instance()->add_disk(disk);
    return settings;
}

/// All caches are made at once, so they are no larger than what they will hold.
std::uint64_t cache_bytes(const Settings& settings, std::uint64_t needed) {
    constexpr std::uint64_t kLeast = 16 << 20;
    return std::clamp(needed, kLeast, std::max(kLeast, settings.cache_bytes));
}

/// The order of keys, and the two keys that must not occur.
template <class Key>
struct Less {
    using Box = Boxed<Key>;
    bool operator()(const Box& a, const Box& b) const { return a.item < b.item; }
    static Box min_value() { return filled(std::numeric_limits<char>::min()); }
    static Box max_value() { return filled(std::numeric_limits<char>::max()); }

private:
    static Box filled(char byte) {
        Box key;
        key.item.fill(byte);
        return key;
    }
};
template <>
struct Less<std::uint64_t> {
    using Box = Boxed<std::uint64_t>;
    bool operator()(Box a, Box b) const { return a.item < b.item; }
    static Box min_value() { return {0}; }
    static Box max_value() { return {std::numeric_limits<std::uint64_t>::max()}; }
};

/// Buckets are ranges of hashes, so all bits must be random, which those of std::hash<std::uint64_t> are not.
struct BoxHash {
    template <class Key>
    std::size_t operator()(const Boxed<Key>& key) const {
        return mix(Hash()(key.item));
    }
};

template <class Items>
class Map {
    using Key = typename Items::Key;
    using Value = typename Items::Value;
    using Tree = stxxl::map<Boxed<Key>, Boxed<Value>, Less<Key>>;

public:
    explicit Map(const Settings& settings)
        : map_(kNodeCache, cache_bytes(configured(settings), 2 * settings.entries * kEntry)) {
        map_.enable_prefetching();
    }
    void set(const Key& key, const Value& value) {
        auto [at, fresh] = map_.insert({{key}, {value}});
        if (!fresh) at->second = {value};
    }
    template <class Use>
    bool get(const Key& key, Use use) const {
        typename Tree::const_iterator found = map_.find({key});
        if (found == map_.end()) return false;
        use(found->second.item);
        return true;
    }
    bool erase(const Key& key) { return map_.erase(Boxed<Key>{key}) == 1; }
    template <class Use>
    void for_each(Use use) const {
        for (typename Tree::const_iterator at = map_.begin(); at != map_.end(); ++at) {
            use(at->first.item, at->second.item);
        }
    }
    template <class Use>
    void range(const Key& key, std::uint64_t count, Use use) const {
        typename Tree::const_iterator at = map_.lower_bound(Boxed<Key>{key});
        for (; at != map_.end() && count > 0; ++at, --count) use(at->first.item, at->second.item);
    }

private:
    static constexpr std::size_t kNodeCache = 16 << 20, kEntry = sizeof(std::pair<Key, Value>);
    Tree map_;
};

template <class Items>
class UnorderedMap {
    using Key = typename Items::Key;
    using Value = typename Items::Value;
    static constexpr unsigned kSubBlock = 4 << 10, kSubBlocks = 1;
    // Each bucket has a linked list of entries that wait in memory; short ones, as each search walks along it.
    static constexpr std::size_t kBuffered = 16, kNode = sizeof(std::pair<Key, Value>) + 2 * sizeof(void*);
    using Table = stxxl::unordered_map<Boxed<Key>, Boxed<Value>, BoxHash, Less<Key>, kSubBlock, kSubBlocks>;

public:
    explicit UnorderedMap(const Settings& settings) : map_(buckets(configured(settings)), BoxHash(), Less<Key>(), buckets(settings) * kBuffered * kNode) {}

    void set(const Key& key, const Value& value) { map_.insert_oblivious({{key}, {value}}); }
    template <class Use>
    bool get(const Key& key, Use use) {
        typename Table::const_iterator found = std::as_const(map_).find({key});
        if (found == std::as_const(map_).end()) return false;
        use((*found).second.item);
        return true;
    }
    bool erase(const Key& key) { return map_.erase(Boxed<Key>{key}) == 1; }
    template <class Use>
    void for_each(Use use) const {
        for (typename Table::const_iterator at = map_.begin(); at != map_.end(); ++at) {
            use((*at).first.item, (*at).second.item);
        }
    }

private:
    /// As many as subblocks will be filled; the cache of blocks is set before the table exists.
    static std::size_t buckets(const Settings& settings) {
        const std::uint64_t bytes = settings.entries * sizeof(std::pair<Key, Value>);
        stxxl::hash_map::tuning::get_instance()->blockcache_size =
            cache_bytes(settings, 2 * bytes) / (kSubBlock * kSubBlocks);
        return std::max<std::size_t>(128, bytes / kSubBlock);
    }

    Table map_;
};

class Vector {
    static constexpr unsigned kPageBlocks = 1, kDefaultPages = 8, kBlock = 64 << 10;
    using Items = stxxl::VECTOR_GENERATOR<std::uint64_t, kPageBlocks, kDefaultPages, kBlock>::result;

public:
    explicit Vector(const Settings& settings)
        : items_(stxxl::uint64{0}, pages(configured(settings))) {}

    void push_back(std::uint64_t value) { items_.push_back(value); }
    std::uint64_t get(std::uint64_t i) const { return items_[i]; }
    void set(std::uint64_t i, std::uint64_t value) { items_[i] = value; }
    template <class Use>
    void for_each(Use use) const {
        for (Items::const_iterator at = items_.begin(); at != items_.end(); ++at) use(*at);
    }

private:
    static stxxl::unsigned_type pages(const Settings& settings) {
        return cache_bytes(settings, 2 * settings.entries * sizeof(std::uint64_t)) / kBlock;
    }

    Items items_;
};

/// Its internal memory and the most items it may hold must be known when it is compiled; pools as in its tutorial.
class PriorityQueue {
    struct Greater {
        bool operator()(std::uint64_t a, std::uint64_t b) const { return a > b; }
        static std::uint64_t min_value() { return std::numeric_limits<std::uint64_t>::max(); }
    };
    static constexpr unsigned kMemory = 256 << 20, kThousands = 64 << 10, kPool = 16 << 20;
    using Queue = stxxl::PRIORITY_QUEUE_GENERATOR<std::uint64_t, Greater, kMemory, kThousands>::result;

public:
    explicit PriorityQueue(const Settings& settings) : queue_(pool(configured(settings)), kPool / 2) {}

    void push(std::uint64_t value) { queue_.push(value); }
    std::uint64_t pop() {
        const std::uint64_t value = queue_.top();
        queue_.pop();
        return value;
    }

private:
    static std::size_t pool(const Settings&) { return kPool / 2; }

    Queue queue_;
};

class Queue {
public:
    explicit Queue(const Settings& settings) : queue_(disks(configured(settings))) {}

    void push(std::uint64_t value) { queue_.push(value); }
    std::uint64_t pop() {
        const std::uint64_t value = queue_.front();
        queue_.pop();
        return value;
    }

private:
    /// The default: pools for as many blocks as there are disks.
    static int disks(const Settings&) { return -1; }

    stxxl::queue<std::uint64_t> queue_;
};

Side stxxl_side(std::string name, std::string configuration) {
    Side side = in_memory_side(std::move(name), stxxl::get_version_string(), std::move(configuration));
    side.configuration += "; direct I/O";
    return side;
}

}  // namespace

void add_stxxl(Sides& sides) {
    const std::string cached = "; caches of what is stored, at most a quarter of the memory";
    Side map = stxxl_side("stxxl::map", "nodes of 16 KiB, leaves of 128 KiB, prefetching" + cached);
    add_map<Map>(map);
    add_sorted<Map>(map);
    sides.push_back(std::move(map));
    Side table = stxxl_side("stxxl::unordered_map",
                            "buckets and blocks of 4 KiB, insert_oblivious, 16 entries per bucket buffered" + cached);
    add_map<UnorderedMap>(table);
    sides.push_back(std::move(table));
    Side vector = stxxl_side("stxxl::vector", "blocks of 64 KiB, pages of one block, least recently used" + cached);
    add_list<Vector>(vector);
    add_array<Vector>(vector);
    sides.push_back(std::move(vector));
    Side heap = stxxl_side("stxxl::priority_queue", "256 MiB of internal memory, room for 64 M items, pools of 16 MiB");
    add_priority_queue<PriorityQueue>(heap);
    sides.push_back(std::move(heap));
    Side queue = stxxl_side("stxxl::queue", "defaults");
    add_deque<Queue>(queue);
    sides.push_back(std::move(queue));
}

}  // namespace bench
