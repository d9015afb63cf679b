#define XXH_INLINE_ALL
#include <xxhash.h>

#include "fuzz/samples.hpp"
#include "fuzz/targets.hpp"
#include "fuzz/walk.hpp"
#include "pyrsistence/store.hpp"
#include "storage/reader_table.hpp"

namespace pyrsistence::fuzz {

namespace {

using storage::ReaderTable;

// Of the file; docs/format.md, "The directory".
constexpr std::size_t kMagic = 64, kLayout = 72, kNewest = 128, kRequests = 192, kAnswered = 256, kRecords = 320;
constexpr std::size_t kRecordSize = 64;

enum Switch : unsigned {
    kValidRecord = 1,  ///< the newest record counts on this machine
    kWriter = 2,       ///< somebody holds the writer's lock and has answered
};

/// Gives the newest record the checksum of this very file, as only its writer can know it.
void make_valid(os::File& file, std::vector<std::byte>& bytes) {
    const os::File::Identity identity = file.identity();
    std::byte origin[24];
    codec::store(origin, os::boot_id());
    codec::store(origin + 8, identity.device);
    codec::store(origin + 16, identity.inode);
    std::memcpy(&bytes[kMagic], "pyrslock", 8);
    codec::store(&bytes[kLayout], std::uint64_t{1});
    const auto newest = codec::load<std::uint64_t>(&bytes[kNewest]);
    std::byte* record = &bytes[kRecords + newest % 2 * kRecordSize];
    codec::store(record, newest);
    codec::store(record + 56, XXH3_64bits_withSeed(record, 56, XXH3_64bits(origin, sizeof origin)));
}

template <class Action>
void attempt(Action&& action) {
    try {
        action();
    } catch (const Error&) {
        // Recognised.
    }
}

void look(const fs::path& path) {
    pyrsistence::Store reader(path, {.mode = Mode::read, .memory_limit = 4 << 20});
    if (reader.size() != 2 || reader.verify().fault_count != 0) throw Violation("a reader sees another store");
    reader.close();
}

void read_beside_writer(const fs::path& path) {
    os::FileSystem& files = os::FileSystem::posix();
    const auto file = files.open(path / "lock", os::Access::read_write);
    const auto other = files.open(path / "lock", os::Access::read_write);
    if (!other->try_lock(0, os::Lock::exclusive)) throw Violation("the lock of a file that nobody has open");
    ReaderTable table(*file, ReaderTable::Role::observer, "lock");
    if (!table.published()) return;  // opening would wait for one
    attempt([&] {
        pyrsistence::Store store(path, {.mode = Mode::read, .memory_limit = 4 << 20});
        attempt([&] { (void)store.containers(); });
        attempt([&] { store.check(); });
        attempt([&] { store.refresh(); });
        attempt([&] { (void)store.verify(); });
        attempt([&] {
            const RawDict dict(store, "d");
            Chunk chunk;
            dict.read(0, 100, chunk);
        });
    });
}

}  // namespace

/// Whatever `lock` says, the store is sound, and only a living writer keeps others away.
void run_lock(Bytes input) {
    if (input.empty()) return;
    const auto switches = static_cast<unsigned>(input[0]);
    Image image = small_store();
    image.lock.assign(input.begin() + 1, input.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(
                                             input.size(), ReaderTable::kSize + 100)));
    if ((switches & (kValidRecord | kWriter)) != 0) image.lock.resize(ReaderTable::kSize);
    const fs::path path = scratch_directory() / "store";
    image.write(path);
    if ((switches & kValidRecord) != 0) {
        const auto file = os::FileSystem::posix().open(path / "lock", os::Access::read_write);
        make_valid(*file, image.lock);
        file->write(Bytes(image.lock), 0);
    }
    if ((switches & kWriter) != 0) {
        codec::store(&image.lock[kAnswered], codec::load<std::uint64_t>(&image.lock[kRequests]) + (1 << 20));
        os::FileSystem::posix().open(path / "lock", os::Access::read_write)->write(Bytes(image.lock), 0);
        read_beside_writer(path);
    }
    attempt([&] { look(path); });  // a table of another layout is refused
    try {
        pyrsistence::Store writer(path, {.memory_limit = 4 << 20});
        RawList(writer, "l").append(as_bytes("\x80"));
        (void)writer.info();
        writer.check();
        writer.close();
        look(path);
    } catch (const Error& error) {
        throw Violation(std::string("the file 'lock' keeps a sound store closed: ") + error.what());
    }
}

}  // namespace pyrsistence::fuzz

PYRSISTENCE_FUZZ_TARGET(pyrsistence::fuzz::run_lock)
