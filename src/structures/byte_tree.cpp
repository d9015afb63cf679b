#include "structures/byte_tree.hpp"

namespace pyrsistence::structures {

const bool ByteTree::registered_ = ByteTree::register_validator();

bool ByteTree::register_validator() {
    storage::Pager::set_validator(storage::PageKind::bytes, &ByteTree::validate);
    return true;
}

void ByteTree::validate(const std::byte* leaf, PageId id, PageId) {
    const unsigned n = storage::page_count(leaf);
    if (n == 0 || n > kMostBytes) bad_count(id);
}

void ByteTree::bad_count(PageId page) {
    throw CorruptionError("page " + std::to_string(page) + " of data: another number of bytes than its parent counts; "
                          "restore a backup, or save what can be read by verify(repair=True)");
}

/// The bytes of a leaf from an offset on. Throws CorruptionError if there are none.
Bytes ByteTree::rest(PageId id, std::uint64_t offset) const {
    const std::byte* leaf = spine_.leaf(id);
    const unsigned n = storage::page_count(leaf);
    if (offset >= n) [[unlikely]] bad_count(id);
    return {leaf + kData + offset, n - offset};
}

Bytes ByteTree::at(std::uint64_t position) const {
    const Path path = to(position);
    spine_.touch_parent(path);
    Spine<InnerNode<true>>::prefetch(spine_.pager().read(path.leaf), {0, kData + std::min<std::size_t>(position, kMostBytes - 1)});
    return rest(path.leaf, position);
}

void ByteTree::read(std::uint64_t position, MutableBytes out) const {
    if (out.empty()) return;
    Path path = to(position);
    for (;; position = 0) {
        spine_.read_ahead(path);
        if (out.size() > kMostBytes) spine_.load_ahead(path);
        const Bytes some = rest(path.leaf, position);
        const std::size_t count = std::min(some.size(), out.size());
        std::memcpy(out.data(), some.data(), count);
        out = out.subspan(count);
        if (out.empty()) return;
        if (!spine_.next_leaf(path)) bad_count(path.leaf);
    }
}

void ByteTree::write(std::uint64_t position, Bytes bytes) {
    while (!bytes.empty()) {
        std::uint64_t offset = position;
        Path path = to(offset);
        const std::size_t count = std::min(rest(path.leaf, offset).size(), bytes.size());
        std::memcpy(spine_.writable_leaf(path) + kData + offset, bytes.data(), count);
        position += count;
        bytes = bytes.subspan(count);
    }
}

/// Calls put(place, count) for the bytes of each leaf that is filled.
template <class Put>
void ByteTree::extend(std::uint64_t count, Put&& put) {
    while (count > 0) {
        if (spine_.empty()) spine_.plant();
        const std::uint64_t all = size();
        std::uint64_t filled = all == 0 ? 0 : all - 1;
        Path path = to(filled);
        if (all > 0) ++filled;
        if (filled != storage::page_count(spine_.leaf(path.leaf)) || filled > leaf_bytes_) bad_count(path.leaf);
        const bool full = filled == leaf_bytes_;
        const auto some = static_cast<std::size_t>(std::min<std::uint64_t>(count, leaf_bytes_ - (full ? 0 : filled)));
        if (full) {
            PageId id;
            std::byte* leaf = spine_.pager().allocate(storage::PageKind::bytes, 0, id);
            put(leaf + kData, some);
            storage::set_page_count(leaf, some);
            spine_.add_entries(path, some);
            spine_.insert_leaf(path, id, 0, some);
        } else {
            std::byte* leaf = spine_.writable_leaf(path);
            put(leaf + kData + filled, some);
            storage::set_page_count(leaf, filled + some);
            spine_.add_entries(path, some);
        }
        count -= some;
    }
}

void ByteTree::append(Bytes bytes) {
    extend(bytes.size(), [&bytes](std::byte* place, std::size_t count) {
        std::memcpy(place, bytes.data(), count);
        bytes = bytes.subspan(count);
    });
}

void ByteTree::append_zeros(std::uint64_t count) {
    extend(count, [](std::byte* place, std::size_t some) { std::memset(place, 0, some); });
}

void ByteTree::truncate_some(std::uint64_t size) {
    const std::uint64_t all = this->size();
    std::uint64_t last = all - 1;
    Path path = to(last);
    const unsigned n = storage::page_count(spine_.leaf(path.leaf));
    if (last + 1 != n) bad_count(path.leaf);
    const auto gone = static_cast<std::size_t>(std::min<std::uint64_t>(all - size, n));
    spine_.add_entries(path, std::uint64_t{0} - gone);
    if (gone < n) {
        std::byte* leaf = spine_.writable_leaf(path);
        std::memset(leaf + kData + (n - gone), 0, gone);
        storage::set_page_count(leaf, n - gone);
        return;
    }
    spine_.pager().release(path.leaf);
    spine_.remove_leaf(path);
}

std::uint64_t ByteTree::relocate(std::uint64_t position, PageId limit) {
    std::uint64_t offset = position;
    Path path = to(offset);
    const std::uint64_t next = position + rest(path.leaf, offset).size();
    spine_.relocate(path, limit);
    return next;
}

}  // namespace pyrsistence::structures
