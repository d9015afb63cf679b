// Backup: the pages of a durable checkpoint, copied while the store goes on.

#include <algorithm>
#include <array>
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
    Destination(os::FileSystem& files, const os::fs::path& path)
        : files_(files), path_(path), own_files_{path / "data", path / "data.new", path / "log", path / "lock"} {}
    ~Destination() {
        if (finished_) return;
        for (const os::fs::path& file : own_files_) {
            if (locked_) remove(file);
        }
        if (made_) remove(path_);
    }
    Destination(const Destination&) = delete;
    Destination& operator=(const Destination&) = delete;

    void prepare() {
        std::error_code ignored;
        if (os::fs::exists(path_, ignored) && !os::fs::is_directory(path_, ignored)) refuse();
        made_ = files_.create_directory(path_);
        if (!files_.list(path_).empty()) refuse();
        try {
            locked_ = made_;  // a call that fails may have made the file
            lock_ = files_.create(own_files_.back());
            locked_ = true;
            locked_ = lock_->try_lock(0, os::Lock::exclusive);
        } catch (const StorageError& error) {
            if (error.code() != EEXIST) throw;
            locked_ = false;
            refuse();
        }
        if (!locked_) refuse();
        files_.sync_directory(os::fs::absolute(path_).parent_path());
    }
    void finish() noexcept { finished_ = true; }

private:
    [[noreturn]] void refuse() const {
        throw ExistsError(path_.string() + " exists and is not empty; a backup needs a new directory");
    }
    void remove(const os::fs::path& path) noexcept {
        try {
            files_.remove(path);
        } catch (...) {
            // It was not made, or cannot be removed: without a file 'data' it is no store.
        }
    }

    os::FileSystem& files_;
    const os::fs::path path_;
    const std::array<os::fs::path, 4> own_files_;
    std::unique_ptr<os::File> lock_;
    bool made_ = false;    ///< the directory
    bool locked_ = false;  ///< and so, what is in it
    bool finished_ = false;
};

}  // namespace

void Store::backup(const os::fs::path& to, const Progress& progress) {
    Destination destination(files_, to);
    destination.prepare();
    with_checkpoint([&](os::File& data, const Meta& meta) {
        make_files(files_, to, meta, true, [&](os::File& copy) { copy_pages(data, copy, meta, progress); });
        destination.finish();
    });
}

}  // namespace pyrsistence::storage
