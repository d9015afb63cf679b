// A closed store whose pages can be listed by what they are, read, damaged and mended, and what verification
// says of it. Each object belongs to one test.
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "containers/layout.hpp"
#include "containers/verify.hpp"
#include "support.hpp"

namespace pyrsistence::test {

using storage::Fault;
using storage::kPageSize;
using storage::Part;
using storage::Verification;

class ClosedStore {
public:
    using Page = std::array<std::byte, kPageSize>;

    explicit ClosedStore(const fs::path& path)
        : path_(path), data_(os::FileSystem::posix().open(path / "data", os::Access::read_write)) {
        look_again();
    }
    void look_again() { meta_ = storage::Meta::read(*data_, path_.string()); }

    os::File& data() { return *data_; }
    const storage::Meta& meta() const { return meta_; }
    const fs::path& path() const { return path_; }

    Page read(PageId id) {
        Page page{};
        data_->read(page, id * kPageSize);
        return page;
    }
    /// With the right checksum.
    void write(PageId id, Page page) {
        codec::store(page.data(), static_cast<std::uint32_t>(XXH3_64bits_withSeed(page.data() + 4, kPageSize - 4, id)));
        data_->write(page, id * kPageSize);
    }
    /// Changes a page so that its checksum fits again.
    void change(PageId id, const std::function<void(std::byte* page)>& edit) {
        Page page = read(id);
        edit(page.data());
        write(id, page);
    }
    /// One byte, and the checksum does not fit any more.
    void flip(PageId id, std::size_t offset = 2000) {
        Page page = read(id);
        page[offset] ^= std::byte{0x10};
        data_->write(page, id * kPageSize);
    }
    void write_meta(const storage::Meta& meta) {
        meta.write(*data_);
        look_again();
    }

    /// Makes the space map say that pages are in use or free. REQUIRES: it has one group, as map() lists it.
    void set_in_use(const std::map<PageId, bool>& pages) {
        const PageId block = map().space[0], directory = meta_.pages.space_map.first;
        Page bits = read(block), entries = read(directory);
        auto live = codec::load<std::uint32_t>(entries.data() + 8);
        for (const auto& [id, in_use] : pages) {
            const std::byte bit{static_cast<std::uint8_t>(1u << id % 8)};
            const bool before = (bits[id / 8] & bit) != std::byte{};
            bits[id / 8] = in_use ? bits[id / 8] | bit : bits[id / 8] & ~bit;
            live += unsigned{in_use} - unsigned{before};
        }
        data_->write(bits, block * kPageSize);
        codec::store(entries.data() + 8, live);
        codec::store<std::uint64_t>(entries.data() + 12, XXH3_64bits(bits.data(), bits.size()));
        data_->write(entries, directory * kPageSize);
        storage::Meta meta = meta_;
        meta.pages.space_map.checksum = XXH3_64bits(entries.data(), meta.pages.space_map.bytes);
        write_meta(meta);
    }

    /// The pages of a store with one container, in the order of their trees.
    struct Map {
        std::vector<PageId> catalog, roots, leaves, inner, buckets, hash_inner, delta, filter, space;
        std::vector<PageId> inner_of_level(ClosedStore& store, unsigned level) const {
            std::vector<PageId> found;
            for (const PageId id : inner) {
                if (storage::page_level(store.read(id).data()) == level) found.push_back(id);
            }
            return found;
        }
    };
    Map map() {
        Map map;
        const auto pager = storage::open_to_read(*data_, meta_.pages);
        storage::CatalogRoot catalog = meta_.catalog;
        storage::Catalog(*pager, catalog).walk([&](PageId id) {
            const auto kind = storage::page_kind(pager->read(id));
            (kind == storage::PageKind::root ? map.roots : map.catalog).push_back(id);
        });
        storage::open_space_map(*data_, meta_.pages).own_pages([&](PageId first, std::uint64_t pages) {
            for (PageId id = first; id < first + pages; ++id) map.space.push_back(id);
        });
        for (const PageId id : map.roots) {
            Page root = read(id);
            const storage::ContainerType type = storage::RootPage::type(root.data());
            const bool by_key = containers::order_of(type) == structures::TreeOrder::key, array = type == storage::ContainerType::array;
            std::byte* const entries = root.data() + containers::kEntriesField;
            if (by_key) list<structures::KeyNode>(*pager, entries, storage::PageKind::leaf, map.inner, map.leaves);
            else list<structures::InnerNode<true>>(*pager, entries, array ? storage::PageKind::bytes : storage::PageKind::leaf, map.inner, map.leaves);
            using Root = containers::DictRoot;
            if (containers::order_of(storage::RootPage::type(root.data())) != structures::TreeOrder::id) continue;
            list<structures::InnerNode<false>>(*pager, root.data() + Root::kIndex, storage::PageKind::bucket, map.hash_inner, map.buckets);
            list<structures::InnerNode<false>>(*pager, root.data() + Root::kDelta, storage::PageKind::bucket, map.hash_inner, map.delta);
            list<structures::InnerNode<false>>(*pager, root.data() + Root::kFilter, storage::PageKind::filter, map.hash_inner, map.filter);
        }
        return map;
    }
    /// The extents that the leaves of the map refer to.
    std::vector<storage::ExtentRef> extents(const Map& map) {
        std::vector<storage::ExtentRef> found;
        for (const PageId id : map.leaves) {
            const Page leaf = read(id);
            for (unsigned i = 0; i < Leaf::slots(leaf.data()); ++i) {
                if (!Leaf::external(leaf.data(), i)) continue;
                found.push_back(storage::ExtentRef::decode(Leaf::record(leaf.data(), i).stored.data()));
            }
        }
        return found;
    }
    using Leaf = structures::SlottedPage;
    using Inner = structures::InnerNode<true>;
    using HashInner = structures::InnerNode<false>;
    using Index = structures::BucketTree;

    Verification verify(Verification::Options options = {}) {
        Verification out(meta_.pages.page_count, std::move(options));
        storage::verify_checkpoint(*data_, meta_, containers::container_walk(meta_.hash_seed), out);
        return out;
    }

private:
    template <class Node>
    static void list(storage::Pager& pager, std::byte* root, storage::PageKind kind, std::vector<PageId>& inner,
                     std::vector<PageId>& leaves) {
        structures::Spine<Node>(pager, root, kind)
            .walk([&](PageId id, const std::byte*, unsigned) { inner.push_back(id); },
                  [&](PageId id) { leaves.push_back(id); });
    }

    fs::path path_;
    std::unique_ptr<os::File> data_;
    storage::Meta meta_;
};

/// All findings, one a line.
inline std::string to_string(const Verification& found) {
    std::string text = std::to_string(found.fault_count()) + " faults\n";
    for (const Fault& fault : found.faults()) text += fault.text + "\n";
    return text;
}

/// How many faults name this page.
inline std::size_t faults_of(const Verification& found, PageId page) {
    return static_cast<std::size_t>(std::ranges::count_if(
        found.faults(), [page](const Fault& fault) { return fault.page == page; }));
}
inline std::size_t faults_with(const Verification& found, std::string_view text) {
    return static_cast<std::size_t>(std::ranges::count_if(
        found.faults(), [text](const Fault& fault) { return fault.text.find(text) != std::string::npos; }));
}

}  // namespace pyrsistence::test
