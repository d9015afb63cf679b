// Backup: the pages of a durable checkpoint, copied while the store goes on.

#include <algorithm>
#include <cerrno>

#include "storage/store.hpp"

namespace pyrsistence::storage {

namespace {

constexpr std::uint64_t kChunkPages = 256;

/// The pages that a checkpoint and its named snapshots reach.
SpaceMap pages_of(os::File& data, const Meta& meta) {
    const auto read = [&data](PageId first, MutableBytes bytes) { data.read(bytes, first * kPageSize); };
    if (meta.pages.space_map.bytes == 0) return SpaceMap(read);
    SpaceMap pages(read, meta.pages.space_map, meta.pages.page_count);
    for (const NamedSnapshot& one : read_snapshots(data, meta)) {
        pages.pin_stored(one.pages.epoch, one.pages.space_map, one.pages.page_count);
    }
    return pages;
}

/// At the same places, so that every reference stays right; what lies between them stays a hole.
void copy_pages(os::File& from, os::File& to, const Meta& meta, const Progress& progress) {
    to.allocate(0, kMetaPages * kPageSize);
    const SpaceMap pages = pages_of(from, meta);
    std::vector<std::byte> buffer(kChunkPages * kPageSize);
    pages.for_each_busy([&](PageId first, std::uint64_t count) {
        const PageId end = first + count;
        for (first = std::max(first, kMetaPages); first < end;) {  // meta pages go on changing
            const std::uint64_t chunk = std::min(kChunkPages, end - first);
            const MutableBytes bytes = MutableBytes(buffer).first(chunk * kPageSize);
            if (from.read(bytes, first * kPageSize) < bytes.size()) {
                throw CorruptionError("page " + std::to_string(first) + " of data: the file ends before it");
            }
            to.write(Bytes(bytes), first * kPageSize);
            first += chunk;
            if (progress) progress(first, pages.page_count());
        }
    });
}

/// The directory of a backup: locked like a store that is being written, so that nobody takes it for one that
/// may be created. Everything in it goes again unless it is finished.
class Destination {
public:
    Destination(os::FileSystem& files, const os::fs::path& path) : files_(files), path_(path) {
        std::error_code ignored;
        if (os::fs::exists(path, ignored) && !os::fs::is_directory(path, ignored)) refuse();
        made_ = files.create_directory(path);
        if (!files.list(path).empty()) refuse();
        try {
            lock_ = files.create(path / "lock");
            if (!lock_->try_lock(0, os::Lock::exclusive)) refuse();
        } catch (const StorageError& error) {
            if (error.code() == EEXIST) refuse();
            throw;
        }
        files.sync_directory(os::fs::absolute(path).parent_path());
    }
    ~Destination() {
        if (finished_) return;
        for (const char* name : {"data", "data.new", "log", "lock"}) remove(path_ / name);
        if (made_) remove(path_);
    }
    Destination(const Destination&) = delete;
    Destination& operator=(const Destination&) = delete;

    void finish() noexcept { finished_ = true; }

private:
    [[noreturn]] void refuse() const {
        throw ExistsError(path_.string() + " exists and is not empty; a backup needs a new directory");
    }
    void remove(const os::fs::path& path) noexcept {
        try {
            files_.remove(path);
        } catch (const StorageError&) {
            // It was not made, or cannot be removed: without a file 'data' it is no store.
        }
    }

    os::FileSystem& files_;
    const os::fs::path path_;
    std::unique_ptr<os::File> lock_;
    bool made_ = false;
    bool finished_ = false;
};

}  // namespace

void Store::backup(const os::fs::path& to, const Progress& progress) {
    Destination destination(files_, to);
    with_checkpoint([&](os::File& data, const Meta& meta) {
        make_files(files_, to, meta, true, [&](os::File& copy) { copy_pages(data, copy, meta, progress); });
        destination.finish();
    });
}

}  // namespace pyrsistence::storage
