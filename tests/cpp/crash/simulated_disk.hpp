// A disk that can lose power: a FileSystem over real files in memory that knows, for every file and
// directory entry, what is durable. At any call a test can take a *power-cut image*, in which each 512-byte
// sector, file length and name that changed since its last sync is as before or as now, by chance.
//
// Assumptions about the media: a sector is written whole or not at all, in any order, and nothing
// else is harmed; a rename happens or not. A sync covers what was written before it began.
//
// Threads: the thread that made the disk and one checkpoint thread at a time, which waits before each
// of its calls until it is given turns, so that a run follows from its random numbers alone.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "crash/turns.hpp"
#include "support.hpp"

namespace pyrsistence::test {

/// What a directory on a disk holds while the power is off. Pages that are missing are zeros.
struct DiskImage {
    static constexpr std::size_t kPage = 4096, kSector = 512;
    using Page = std::array<std::byte, kPage>;
    struct File {
        std::map<std::uint64_t, std::shared_ptr<const Page>> pages;
        std::uint64_t size = 0;

        /// What lies behind the end reads as zeros when the file grows again.
        void cut(std::uint64_t end) {
            size = end;
            pages.erase(pages.lower_bound((end + kPage - 1) / kPage), pages.end());
            const auto last = pages.find(end / kPage);
            if (last == pages.end()) return;
            const auto page = std::make_shared<Page>(*last->second);
            std::memset(page->data() + end % kPage, 0, kPage - end % kPage);
            last->second = page;
        }
    };
    std::map<std::string, File> files;  ///< by name; those of a directory within as "directory/name"
    std::set<std::string> directories;
};

/// Which of the sectors that are not durable a power cut keeps.
struct Survival {
    enum class Mode { none, all, half, few, most, one, all_but_one };
    Mode mode;
    bool pages;  ///< sectors of a page share their fate
    std::uint64_t special = 0;  ///< place among the changed ones of the sector that differs

    static Survival random(Random& random) {
        const auto mode = static_cast<Mode>(random.below(7));
        return {mode, random.chance(30), random.below(random.chance(50) ? 8 : 200)};
    }
    /// REQUIRES: called for the changed sectors in order, `place` counts them.
    bool keeps(Random& random, std::uint64_t place) const {
        switch (mode) {
            case Mode::none: return false;
            case Mode::all: return true;
            case Mode::half: return random.chance(50);
            case Mode::few: return random.chance(5);
            case Mode::most: return random.chance(95);
            case Mode::one: return place == special;
            case Mode::all_but_one: return place != special;
        }
        return false;
    }
};

class SimulatedDisk final : public os::FileSystem {
public:
    /// The directory is made and holds what the image does. It should lie in memory.
    explicit SimulatedDisk(fs::path directory, const DiskImage& image = {});
    ~SimulatedDisk() override {
        std::error_code ignored;
        fs::remove_all(directory_, ignored);
    }

    const fs::path& path() const { return directory_; }
    Turns& checkpoint_thread() { return turns_; }
    /// What the disk holds if the power fails now.
    DiskImage power_cut(Random& random);
    /// The same, with every name and length as it is now and of the changed sectors those that
    /// keep(name, offset) chooses.
    template <class Keep>
    DiskImage power_cut_keeping(Keep&& keep) {
        const std::lock_guard lock(mutex_);
        DiskImage image;
        for (const auto& [name, node] : entries_) {
            const auto keeps = [&](std::uint64_t offset) { return keep(name, offset); };
            if (node) image.files[name] = node->cut_power(keeps);
            else image.directories.insert(name);
        }
        return image;
    }
    /// From now on every call fails, and `on_call` is called no more.
    void turn_off() { off_ = true; }

    std::function<void()> on_call;  ///< before each call, and once more in the middle of a sync
    std::function<bool()> fails;    ///< whether the checkpoint thread's next write gets ENOSPC
    std::function<void()> in_sync;  ///< in the middle of a sync by the thread that made the disk

    std::unique_ptr<os::File> open(const fs::path& path, os::Access) override;
    std::unique_ptr<os::File> create(const fs::path& path) override;
    bool create_directory(const fs::path& path) override;
    void rename(const fs::path& from, const fs::path& to) override;
    void remove(const fs::path& path) override;
    std::vector<std::string> list(const fs::path& path) override;
    void sync_directory(const fs::path& path) override;

private:
    using Page = DiskImage::Page;
    static constexpr std::size_t kPage = DiskImage::kPage, kSector = DiskImage::kSector;
    class File;
    class Range;
    struct Node;
    using Entries = std::map<std::string, std::shared_ptr<Node>>;  ///< null: a directory

    /// Every call passes here.
    void call(bool holds_lock_of_store = false);
    std::shared_ptr<Node> make(const std::string& name);
    std::string name_of(const fs::path& path) const { return path.lexically_relative(directory_); }
    /// Whether an entry belongs to a directory, not to one within.
    bool lies_in(const std::string& name, const fs::path& path) const {
        return (directory_ / name).parent_path() == path;
    }

    const fs::path directory_;
    const std::thread::id owner_ = std::this_thread::get_id();
    Turns turns_;
    std::atomic<bool> off_ = false;
    std::mutex mutex_;  ///< guards what follows and all nodes
    Entries entries_, durable_entries_;
    std::map<std::string, std::string> renamed_;  ///< both ways, since the directory was synced
};

/// One file. Its present content is that of the real file; what is durable is kept beside it.
struct SimulatedDisk::Node {
    explicit Node(const fs::path& path)
        : descriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) {
        if (descriptor < 0) throw StorageError("open " + path.string(), errno);
    }
    ~Node() { ::close(descriptor); }

    std::uint64_t size() const { return static_cast<std::uint64_t>(::lseek(descriptor, 0, SEEK_END)); }
    Page read(std::uint64_t page) const {
        Page bytes{};
        const ssize_t count = ::pread(descriptor, bytes.data(), kPage, off_t(page * kPage));
        if (count < 0) throw StorageError("pread", errno);
        return bytes;
    }
    void write(Bytes bytes, std::uint64_t offset) {
        const ssize_t count = ::pwrite(descriptor, bytes.data(), bytes.size(), off_t(offset));
        if (count != static_cast<ssize_t>(bytes.size())) throw StorageError("pwrite", errno);
        for (auto page = offset / kPage; page * kPage < offset + bytes.size(); ++page) dirty.insert(page);
        note_size();
    }
    void resize(std::uint64_t size) {
        if (::ftruncate(descriptor, off_t(size)) != 0) throw StorageError("ftruncate", errno);
        const auto cut = durable.pages.lower_bound(size / kPage);
        for (auto it = cut; it != durable.pages.end(); ++it) dirty.insert(it->first);
        note_size();
    }
    void note_size() {
        const auto now = size();
        if (now != (sizes.empty() ? durable.size : sizes.back())) sizes.push_back(now);
    }
    const Page& durable_page(std::uint64_t page) const {
        static const Page zeros{};
        const auto found = durable.pages.find(page);
        return found == durable.pages.end() ? zeros : *found->second;
    }
    /// Pages that may differ from what is durable. Nobody tells of stores through a mapping.
    std::set<std::uint64_t> unsynced() const {
        auto result = dirty;
        for (const auto& [number, more] : captured_dirty) result.insert(more.begin(), more.end());
        if (!mapped_writable) return result;
        const auto end = static_cast<off_t>(size());
        for (off_t at = ::lseek(descriptor, 0, SEEK_DATA); at >= 0 && at < end;) {
            const off_t hole = ::lseek(descriptor, at, SEEK_HOLE);
            for (; at < hole; at += off_t(kPage)) result.insert(std::uint64_t(at) / kPage);
            at = ::lseek(descriptor, at, SEEK_DATA);
        }
        return result;
    }

    /// A sync that has begun.
    struct Capture {
        std::uint64_t number;
        std::uint64_t size;
        std::map<std::uint64_t, std::shared_ptr<const Page>> pages;
    };
    Capture capture() {
        Capture result{++syncs, size(), {}};
        for (const auto page : unsynced()) {
            const Page now = read(page);
            if (now != durable_page(page)) result.pages[page] = std::make_shared<const Page>(now);
        }
        captured_dirty[result.number] = std::move(dirty);
        dirty.clear();
        return result;
    }
    /// Nothing that a later sync has made durable is taken back.
    void commit(const Capture& capture) {
        if (capture.number < last_commit) return;
        last_commit = capture.number;
        captured_dirty.erase(captured_dirty.begin(), captured_dirty.upper_bound(capture.number));
        for (const auto& [page, bytes] : capture.pages) {
            durable.pages[page] = bytes;
            if (read(page) != *bytes) dirty.insert(page);
        }
        durable.cut(capture.size);
        sizes.clear();
        note_size();
    }

    DiskImage::File cut_power(Random& random, const Survival& survival) {
        std::uint64_t place = 0, last_page = UINT64_MAX;
        bool keep = false;
        DiskImage::File result = cut_power([&](std::uint64_t offset) {
            const std::uint64_t page = offset / kPage;
            if (!survival.pages || page != last_page) keep = survival.keeps(random, place++);
            last_page = page;
            return keep;
        });
        result.cut(choose_size(random, survival));
        return result;
    }
    /// keep(offset) is asked for each changed sector, in order.
    template <class Keep>
    DiskImage::File cut_power(Keep&& keep) {
        DiskImage::File result = durable;
        const std::uint64_t now = size();
        for (const auto page : unsynced()) {
            if (page * kPage < now) mix(result, page, keep);
        }
        result.size = std::max(result.size, now);
        return result;
    }

    const int descriptor;
    DiskImage::File durable;
    std::set<std::uint64_t> dirty;  ///< written or cut off since the last capture
    std::map<std::uint64_t, std::set<std::uint64_t>> captured_dirty;  ///< by syncs that have not ended
    std::vector<std::uint64_t> sizes;  ///< that the file had since the last commit, if it changed
    std::uint64_t syncs = 0, last_commit = 0;
    bool mapped_writable = false;

private:
    template <class Keep>
    void mix(DiskImage::File& result, std::uint64_t id, Keep&& keep) {
        const Page now = read(id);
        const Page& old = durable_page(id);
        if (now == old) return;
        Page mixed = old;
        for (std::size_t at = 0; at < kPage; at += kSector) {
            if (std::memcmp(now.data() + at, old.data() + at, kSector) == 0) continue;
            if (keep(id * kPage + at)) std::memcpy(mixed.data() + at, now.data() + at, kSector);
        }
        result.pages[id] = std::make_shared<const Page>(mixed);
    }
    std::uint64_t choose_size(Random& random, const Survival& survival) const {
        if (sizes.empty() || survival.mode == Survival::Mode::none) return durable.size;
        if (survival.mode == Survival::Mode::all) return sizes.back();
        const auto choice = random.below(sizes.size() + 2);
        return choice < sizes.size() ? sizes[choice] : choice == sizes.size() ? durable.size : sizes.back();
    }
};

class SimulatedDisk::Range final : public os::Mapping {
public:
    using os::Mapping::Mapping;
    ~Range() override { ::munmap(data(), size()); }
    void will_need(std::size_t, std::size_t) const noexcept override {}
};

class SimulatedDisk::File final : public os::File {
public:
    File(SimulatedDisk& disk, std::shared_ptr<Node> node) : disk_(disk), node_(std::move(node)) {}

    std::size_t read(MutableBytes buffer, std::uint64_t offset) override {
        disk_.call();
        const ssize_t count = ::pread(node_->descriptor, buffer.data(), buffer.size(), off_t(offset));
        if (count < 0) throw StorageError("pread", errno);
        return static_cast<std::size_t>(count);
    }
    void write(Bytes bytes, std::uint64_t offset) override {
        disk_.call();
        if (disk_.fails && std::this_thread::get_id() != disk_.owner_ && disk_.fails()) {
            throw StorageError("no space", ENOSPC);
        }
        const std::lock_guard lock(disk_.mutex_);
        node_->write(bytes, offset);
    }
    /// Each part by itself: a power failure may come in between.
    void write(std::span<const Bytes> parts, std::uint64_t offset) override {
        for (const Bytes part : parts) {
            write(part, offset);
            offset += part.size();
        }
    }
    void sync() override {
        disk_.call();
        Node::Capture capture = [this] {
            const std::lock_guard lock(disk_.mutex_);
            return node_->capture();
        }();
        if (disk_.in_sync && std::this_thread::get_id() == disk_.owner_) disk_.in_sync();
        disk_.call();
        const std::lock_guard lock(disk_.mutex_);
        node_->commit(capture);
    }
    void allocate(std::uint64_t offset, std::uint64_t length) override {
        disk_.call();
        const std::lock_guard lock(disk_.mutex_);
        if (node_->size() < offset + length) node_->resize(offset + length);
    }
    /// A checkpoint cuts the tail off under the store's lock, where it must not wait for turns.
    void truncate(std::uint64_t size) override {
        disk_.call(true);
        const std::lock_guard lock(disk_.mutex_);
        node_->resize(size);
    }
    std::uint64_t size() const override { return node_->size(); }
    std::unique_ptr<os::Mapping> map(std::uint64_t offset, std::size_t length, os::Access access) override {
        disk_.call();
        const int protection = access == os::Access::read_write ? PROT_READ | PROT_WRITE : PROT_READ;
        const std::lock_guard lock(disk_.mutex_);
        if (access == os::Access::read_write) node_->mapped_writable = true;
        void* place = ::mmap(nullptr, length, protection, MAP_SHARED, node_->descriptor, off_t(offset));
        if (place == MAP_FAILED) throw StorageError("mmap", errno);
        return std::make_unique<Range>(static_cast<std::byte*>(place), length);
    }
    bool try_lock(std::uint64_t, os::Lock) override { return true; }
    void unlock(std::uint64_t) override {}
    Identity identity() const override {
        struct stat status {};
        ::fstat(node_->descriptor, &status);
        return {status.st_dev, status.st_ino};
    }
    void abandon() noexcept override {}

private:
    SimulatedDisk& disk_;
    std::shared_ptr<Node> node_;
};

inline SimulatedDisk::SimulatedDisk(fs::path directory, const DiskImage& image)
    : directory_(std::move(directory)) {
    fs::create_directories(directory_);
    for (const auto& name : image.directories) {
        fs::create_directory(directory_ / name);
        entries_[name] = nullptr;
    }
    for (const auto& [name, file] : image.files) {
        const auto node = make(name);
        for (const auto& [page, bytes] : file.pages) {
            const ssize_t count = ::pwrite(node->descriptor, bytes->data(), kPage, off_t(page * kPage));
            if (count != ssize_t(kPage)) throw StorageError("pwrite", errno);
        }
        if (::ftruncate(node->descriptor, off_t(file.size)) != 0) throw StorageError("ftruncate", errno);
        node->durable = file;
    }
    durable_entries_ = entries_;
}

inline std::shared_ptr<SimulatedDisk::Node> SimulatedDisk::make(const std::string& name) {
    return entries_[name] = std::make_shared<Node>(directory_ / name);
}

inline void SimulatedDisk::call(bool holds_lock_of_store) {
    if (std::this_thread::get_id() != owner_ && !holds_lock_of_store) turns_.await();
    if (off_) throw StorageError(directory_.string() + ": the power is off", EIO);
    if (on_call) on_call();
}

inline DiskImage SimulatedDisk::power_cut(Random& random) {
    const std::lock_guard lock(mutex_);
    const bool alike = random.chance(50);
    const Survival common = Survival::random(random);
    std::set<std::string> names;
    for (const Entries* entries : {&entries_, &durable_entries_}) {
        for (const auto& [name, node] : *entries) names.insert(name);
    }
    DiskImage image;
    std::map<std::string, bool> is_new;
    for (const auto& name : names) {
        const auto find = [&name](const Entries& entries) {
            const auto found = entries.find(name);
            return found == entries.end() ? nullptr : found->second;
        };
        const auto now = find(entries_), durable = find(durable_entries_);
        const auto partner = renamed_.find(name);
        const auto fate = partner == renamed_.end() ? is_new.end() : is_new.find(partner->second);
        is_new[name] = fate == is_new.end() ? random.chance(50) : fate->second;
        const auto directory = fs::path(name).parent_path();
        if (!directory.empty() && !image.directories.contains(directory)) continue;
        const bool is_directory = entries_.contains(name) && !now;
        if (is_directory && (is_new[name] || durable_entries_.contains(name))) image.directories.insert(name);
        const auto& node = is_new[name] ? now : durable;
        if (node) image.files[name] = node->cut_power(random, alike ? common : Survival::random(random));
    }
    return image;
}

inline std::unique_ptr<os::File> SimulatedDisk::open(const fs::path& path, os::Access) {
    call();
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(name_of(path));
    if (found == entries_.end()) throw StorageError("open " + path.string(), ENOENT);
    return std::make_unique<File>(*this, found->second);
}

inline std::unique_ptr<os::File> SimulatedDisk::create(const fs::path& path) {
    call();
    const std::lock_guard lock(mutex_);
    if (entries_.contains(name_of(path))) throw StorageError("open " + path.string(), EEXIST);
    return std::make_unique<File>(*this, make(name_of(path)));
}

inline bool SimulatedDisk::create_directory(const fs::path& path) {
    call();
    const std::lock_guard lock(mutex_);
    if (!fs::create_directory(path)) return false;
    entries_[name_of(path)] = nullptr;
    return true;
}

inline void SimulatedDisk::rename(const fs::path& from, const fs::path& to) {
    call();
    const std::lock_guard lock(mutex_);
    fs::rename(from, to);
    entries_[name_of(to)] = entries_.at(name_of(from));
    entries_.erase(name_of(from));
    renamed_[name_of(from)] = name_of(to);
    renamed_[name_of(to)] = name_of(from);
}

inline void SimulatedDisk::remove(const fs::path& path) {
    call();
    const std::lock_guard lock(mutex_);
    if (entries_.erase(name_of(path)) == 0) throw StorageError("unlink " + path.string(), ENOENT);
    fs::remove(path);
}

inline std::vector<std::string> SimulatedDisk::list(const fs::path& path) {
    call();
    const std::lock_guard lock(mutex_);
    std::vector<std::string> names;
    for (const auto& [name, node] : entries_) {
        if (lies_in(name, path)) names.push_back(fs::path(name).filename());
    }
    return names;
}

inline void SimulatedDisk::sync_directory(const fs::path& path) {
    call();
    const std::lock_guard lock(mutex_);
    std::erase_if(durable_entries_, [&](const auto& entry) { return lies_in(entry.first, path); });
    for (const auto& [name, node] : entries_) {
        if (lies_in(name, path)) durable_entries_[name] = node;
    }
    std::erase_if(renamed_, [&](const auto& names) { return lies_in(names.first, path); });
}

}  // namespace pyrsistence::test
