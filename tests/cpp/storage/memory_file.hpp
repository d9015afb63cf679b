// A file in memory for crash tests: it knows which 512-byte sectors changed since they were last
// durable, so that a test can lose power at any moment. Mappings are real ones of a memfd: stores
// through them count, and touching what lies beyond the end of the file is a SIGBUS as on a disk.
// Not thread-safe.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <random>
#include <vector>

#include "os/file.hpp"
#include "pyrsistence/error.hpp"

namespace pyrsistence::testing {

class MemoryFile : public os::File {
public:
    static constexpr std::size_t kSector = 512;
    static constexpr std::size_t kPage = 4096;

    MemoryFile() : descriptor_(::memfd_create("memory_file", MFD_CLOEXEC)) {
        if (descriptor_ < 0) throw StorageError("memfd_create", errno);
    }
    ~MemoryFile() override { abandon(); }

    std::size_t read(MutableBytes buffer, std::uint64_t offset) override {
        return static_cast<std::size_t>(::pread(descriptor_, buffer.data(), buffer.size(), off_t(offset)));
    }
    void write(Bytes bytes, std::uint64_t offset) override {
        take_space(offset, bytes.size());
        if (::pwrite(descriptor_, bytes.data(), bytes.size(), off_t(offset)) != ssize_t(bytes.size())) {
            throw StorageError("pwrite of the memory file", errno);
        }
    }
    void write(std::span<const Bytes> parts, std::uint64_t offset) override {
        for (const Bytes part : parts) {
            write(part, offset);
            offset += part.size();
        }
    }
    void sync() override {
        ++syncs_;
        if (fail_sync_) throw StorageError("fdatasync of the memory file: injected", EIO);
        for (const std::uint64_t page : dirty_pages()) {
            durable_[page] = page_now(page);
            bytes_synced_ += kPage;
        }
        durable_size_ = size();
        cut_durable();
    }
    void allocate(std::uint64_t offset, std::uint64_t length) override {
        take_space(offset, length);
        if (size() < offset + length) truncate(offset + length);
    }
    void truncate(std::uint64_t size) override {
        if (::ftruncate(descriptor_, off_t(size)) != 0) throw StorageError("ftruncate", errno);
    }
    std::uint64_t size() const override { return std::uint64_t(::lseek(descriptor_, 0, SEEK_END)); }
    std::unique_ptr<os::Mapping> map(std::uint64_t offset, std::size_t length, os::Access access) override {
        const int protection = access == os::Access::read_write ? PROT_READ | PROT_WRITE : PROT_READ;
        void* place = ::mmap(nullptr, length, protection, MAP_SHARED, descriptor_, off_t(offset));
        if (place == MAP_FAILED) throw StorageError("mmap of the memory file", errno);
        return std::make_unique<Range>(static_cast<std::byte*>(place), length);
    }
    bool try_lock(std::uint64_t, os::Lock) override { return true; }
    void unlock(std::uint64_t) override {}
    Identity identity() const override { return {0, std::uint64_t(descriptor_)}; }
    void abandon() noexcept override {
        if (descriptor_ >= 0) ::close(descriptor_);
        descriptor_ = -1;
    }

    // --- what tests do to it
    /// Makes each changed sector durable with the given probability, as background writeback does.
    template <class Random>
    void write_back(Random& random, double probability) {
        std::bernoulli_distribution chosen(probability);
        for (const std::uint64_t page : dirty_pages()) {
            const Page now = page_now(page);
            for (std::size_t at = 0; at < kPage; at += kSector) {
                if (chosen(random)) std::memcpy(durable_[page].data() + at, now.data() + at, kSector);
            }
        }
        if (chosen(random)) durable_size_ = std::max(durable_size_, size());
    }
    /// Power loss: of the sectors changed since they were durable, some are kept and the rest is as
    /// it was. Mappings must be gone.
    template <class Random>
    void crash(Random& random, double kept = 0.5) {
        write_back(random, kept);
        cut_durable();
        truncate(0);
        for (const auto& [page, bytes] : durable_) write_raw(bytes, page * kPage);
        truncate(durable_size_);
    }
    /// Changes bytes behind everyone's back, now and in what is durable.
    void damage(std::uint64_t offset, std::byte mask) {
        std::byte byte;
        if (::pread(descriptor_, &byte, 1, off_t(offset)) != 1) return;
        byte ^= mask;
        write_raw({&byte, 1}, offset);
        durable_[offset / kPage][offset % kPage] = byte;
    }
    std::vector<std::byte> bytes(std::uint64_t offset, std::size_t size) {
        std::vector<std::byte> result(size);
        result.resize(read(result, offset));
        return result;
    }

    /// ENOSPC once so many more bytes were written to, or allocated for, pages not used since the call.
    void set_space(std::uint64_t bytes) {
        space_ = bytes;
        used_.clear();
    }
    void fail_sync(bool fail) { fail_sync_ = fail; }
    unsigned syncs() const { return syncs_; }
    std::uint64_t bytes_synced() const { return bytes_synced_; }  ///< whole pages, as a disk sees them

private:
    using Page = std::array<std::byte, kPage>;

    class Range final : public os::Mapping {
    public:
        using os::Mapping::Mapping;
        ~Range() override { ::munmap(data(), size()); }
        void will_need(std::size_t, std::size_t) const noexcept override {}
    };

    Page page_now(std::uint64_t page) {
        Page result{};
        read(result, page * kPage);
        return result;
    }
    /// What lies beyond the durable end reads as zeroes once the file grows again.
    void cut_durable() {
        durable_.erase(durable_.lower_bound((durable_size_ + kPage - 1) / kPage), durable_.end());
        const auto last = durable_.find(durable_size_ / kPage);
        if (last == durable_.end()) return;
        std::memset(last->second.data() + durable_size_ % kPage, 0, kPage - durable_size_ % kPage);
    }
    void write_raw(Bytes bytes, std::uint64_t offset) {
        if (::pwrite(descriptor_, bytes.data(), bytes.size(), off_t(offset)) < 0) {
            throw StorageError("pwrite", errno);
        }
    }
    /// Pages with data that differ from their durable content.
    std::vector<std::uint64_t> dirty_pages() {
        std::vector<std::uint64_t> result;
        const auto end = off_t(size());
        for (off_t at = ::lseek(descriptor_, 0, SEEK_DATA); at >= 0 && at < end;) {
            const off_t hole = ::lseek(descriptor_, at, SEEK_HOLE);
            for (; at < hole; at += off_t(kPage)) {
                const std::uint64_t page = std::uint64_t(at) / kPage;
                if (page_now(page) != durable_[page]) result.push_back(page);
            }
            at = ::lseek(descriptor_, at, SEEK_DATA);
        }
        return result;
    }
    void take_space(std::uint64_t offset, std::uint64_t length) {
        if (space_ == UINT64_MAX) return;
        for (std::uint64_t page = offset / kPage; page * kPage < offset + length; ++page) {
            if (used_.contains(page)) continue;
            if (space_ < kPage) throw StorageError("allocate: the memory file is full", ENOSPC);
            space_ -= kPage;
            used_[page] = true;
        }
    }

    int descriptor_;
    std::map<std::uint64_t, Page> durable_;
    std::map<std::uint64_t, bool> used_;
    std::uint64_t durable_size_ = 0;
    std::uint64_t space_ = UINT64_MAX;
    std::uint64_t bytes_synced_ = 0;
    unsigned syncs_ = 0;
    bool fail_sync_ = false;
};

}  // namespace pyrsistence::testing
