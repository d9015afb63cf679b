// What the tests of the pager share: a file that fails when told to, pages and extents whose content follows
// from a number, and a fixture that opens pagers over one file. Each object belongs to one test; the file may
// be used by several threads.
#pragma once

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "storage/pager.hpp"
#include "support.hpp"

namespace pyrsistence::storage {

/// Passes everything on, but fails when told to, and counts bytes.
class TestFile final : public os::File {
public:
    explicit TestFile(std::unique_ptr<os::File> file) : file_(std::move(file)) {}

    std::atomic<int> writes_until_failure = -1;
    std::atomic<bool> full = false;
    std::atomic<std::uint64_t> written = 0;

    std::atomic<unsigned> reads = 0;
    std::atomic<unsigned> lengthened = 0;  ///< calls of allocate()
    std::atomic<unsigned> used = 0;        ///< calls of use() of its mappings
    std::function<void(std::uint64_t offset, std::size_t bytes)> on_pieces;  ///< told of several that one call writes
    std::function<void()> on_allocate;  ///< called once, by the next one before it begins

    std::size_t read(MutableBytes buffer, std::uint64_t offset) override {
        ++reads;
        return file_->read(buffer, offset);
    }
    void write(Bytes bytes, std::uint64_t offset) override {
        count(bytes.size());
        file_->write(bytes, offset);
    }
    void write(std::span<const Bytes> parts, std::uint64_t offset) override {
        std::size_t bytes = 0;
        for (const Bytes part : parts) {
            count(part.size());
            bytes += part.size();
        }
        if (on_pieces) on_pieces(offset, bytes);
        file_->write(parts, offset);
    }
    void sync() override { file_->sync(); }
    void allocate(std::uint64_t offset, std::uint64_t length) override {
        ++lengthened;
        if (const auto call = std::exchange(on_allocate, nullptr)) call();
        if (full) throw StorageError("test: disk full", ENOSPC);
        file_->allocate(offset, length);
    }
    void truncate(std::uint64_t size) override { file_->truncate(size); }
    std::uint64_t size() const override { return file_->size(); }
    std::unique_ptr<os::Mapping> map(std::uint64_t offset, std::size_t length, os::Access access) override {
        return std::make_unique<Mapped>(file_->map(offset, length, access), used);
    }
    bool try_lock(std::uint64_t offset, os::Lock lock) override { return file_->try_lock(offset, lock); }
    void unlock(std::uint64_t offset) override { file_->unlock(offset); }
    Identity identity() const override { return file_->identity(); }
    void abandon() noexcept override { file_->abandon(); }

private:
    class Mapped final : public os::Mapping {
    public:
        Mapped(std::unique_ptr<os::Mapping> mapping, std::atomic<unsigned>& used)
            : os::Mapping(mapping->data(), mapping->size()), mapping_(std::move(mapping)), used_(used) {}
        void will_need(std::size_t offset, std::size_t length) const noexcept override {
            mapping_->will_need(offset, length);
        }
        void use(std::size_t offset) noexcept override {
            ++used_;
            mapping_->use(offset);
        }
        std::uint64_t faults() const noexcept override { return mapping_->faults(); }

    private:
        std::unique_ptr<os::Mapping> mapping_;
        std::atomic<unsigned>& used_;
    };

    void count(std::size_t bytes) {
        written += bytes;
        if (writes_until_failure >= 0 && writes_until_failure-- == 0) throw StorageError("test: EIO", EIO);
    }
    std::unique_ptr<os::File> file_;
};

using Seed = std::uint32_t;

inline void fill(std::byte* page, Seed seed) {
    for (std::size_t i = sizeof(PageHeader); i < kPageSize; i += 4) codec::store<std::uint32_t>(page + i, seed++);
}
inline bool filled(const std::byte* page, Seed seed) {
    for (std::size_t i = sizeof(PageHeader); i < kPageSize; i += 4) {
        if (codec::load<std::uint32_t>(page + i) != seed++) return false;
    }
    return true;
}
inline std::vector<std::byte> extent_content(std::size_t size, Seed seed) {
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(seed + i * 7 + i / 256);
    return bytes;
}
inline bool same(Bytes a, Bytes b) { return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0; }

class PagerTest : public ::testing::Test {
protected:
    using Access = Pager::Access;

    void SetUp() override {
        file_ = std::make_unique<TestFile>(os::FileSystem::posix().create(directory_ / "data"));
        file_->truncate(kMetaPages * kPageSize);
    }
    std::unique_ptr<Pager> open(const PagerState& state, std::size_t frames = 0, Access access = Access::write,
                                std::vector<PagerState> held = {}) {
        const Pager::Options options{.frame_memory = frames * kPageSize, .access = access, .held = std::move(held)};
        return std::make_unique<Pager>(*file_, state, options);
    }
    /// As another process sees a seal of the pager that has been written.
    std::unique_ptr<Pager> reader(std::uint64_t epoch, const Pager& pager) {
        return open({epoch, pager.page_count(), {}}, 0, Access::read);
    }
    static PageId add(Pager& pager, Seed seed) {
        pager.reserve();
        PageId id = 0;
        fill(pager.allocate(PageKind::leaf, 0, id), seed);
        return id;
    }
    static PageId change(Pager& pager, PageId id, Seed seed) {
        pager.reserve();
        fill(pager.write(id), seed);
        return id;
    }
    static void write_back(Pager& pager) {
        pager.write_sealed();
        while (!pager.retire(100)) {
        }
    }
    static PagerState checkpoint(Pager& pager) {
        const PagerState state = pager.seal();
        write_back(pager);
        pager.sync();
        pager.drop(0);  // the seal of a new file
        return state;
    }

    test::TempDir directory_{true};
    std::unique_ptr<TestFile> file_;
};

}  // namespace pyrsistence::storage
