// What every container on disk has in common. Typed containers (Dict, List) build on the raw ones, which
// deal in bytes. Thread safety and durability: as of a Handle.
#pragma once

#include "pyrsistence/buffer.hpp"
#include "pyrsistence/handle.hpp"

namespace pyrsistence {

namespace storage {
class ReadStep;
class WriteStep;
}  // namespace storage

/// A run of consecutive entries, copied out of the store.
struct Chunk {
    struct Item {
        std::uint64_t key;  ///< entry id (dict) or rank (list)
        std::size_t begin, size;
    };
    Buffer bytes;
    std::vector<Item> items;
    std::uint64_t next = 0;     ///< where the following chunk begins
    bool more = false;          ///< false: the end was reached
    std::uint64_t version = 0;  ///< of the store when it was read

    Bytes entry(std::size_t i) const { return bytes.view().subspan(items[i].begin, items[i].size); }
    void add(std::uint64_t key, Bytes entry) {
        items.push_back({key, bytes.size(), entry.size()});
        bytes.append(entry);
    }
    void clear() {
        bytes.clear();
        items.clear();
    }
};

/// What a container takes of its store.
struct Usage {
    std::uint64_t entries;
    std::uint64_t bytes;  ///< of its pages; and of its extents, as far as can be told from the leaves looked at
    unsigned depth;       ///< pages from the root of its tree of entries to a leaf, both included; 0: it is empty
    double fill;          ///< share of the leaves' room that is in use, from 0 to 1; of those looked at
};

class Container : public Handle {
public:
    /// Number of entries. O(1).
    std::uint64_t size() const;
    bool empty() const { return size() == 0; }
    /// Of the store, and the entries of this container.
    Info info() const override;
    /// Looks at no more than a thousand leaves. O(pages / 200).
    Usage usage() const;
    /// Its name in the store, which Store::rename() may have changed; empty in a store of one container. The one that
    /// it was opened with if the handle is closed or the container is gone. O(1).
    std::string name() const;

protected:
    /// Gives a new container what it is to have from the beginning.
    using Prepare = std::function<void(storage::WriteStep&, std::uint32_t id)>;
    /// What to do about one that does not exist.
    enum class Missing { create, refuse };
    /// Opens or creates the container Options::name in a store.
    Container(std::uint8_t type, const std::filesystem::path& path, const Options& options, const Prepare& prepare = {},
              Missing missing = Missing::create);
    /// Opens or creates a container in a store that is open, or in a snapshot of it.
    Container(std::uint8_t type, const Handle& where, std::string_view name, const Prepare& prepare = {},
              Missing missing = Missing::create);
    Container(const Container& live, Time time);

    storage::ReadStep reading() const;

    std::uint32_t id_ = 0;
    std::string name_;
};

}  // namespace pyrsistence
