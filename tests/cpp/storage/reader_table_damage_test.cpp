// Files that are missing, too short, damaged, hostile or cut short.
#include <atomic>
#include <thread>

#include "storage/memory_file.hpp"
#include "storage/reader_clients.hpp"

namespace pyrsistence::storage {
namespace {

class ReaderTableDamageTest : public ReaderTableFixture {};

TEST_F(ReaderTableDamageTest, ImpossibleSealsAreNotBelieved) {
    const Published good = seal(5);
    for (int field = 0; field < 6; ++field) {
        Published bad = good;
        switch (field) {
            case 0: bad.epoch = 0; break;
            case 1: bad.page_count = kMaxPages + 1; break;
            case 2: bad.page_count = 1; break;
            case 3: bad.catalog.page = bad.page_count; break;
            case 4: bad.catalog.page = 1; break;
            default: bad.catalog.level = 4; break;
        }
        writer_->table.publish(good);
        EXPECT_TRUE(writer_->table.published());
        writer_->table.publish(bad);
        EXPECT_FALSE(writer_->table.published()) << field;
    }
}

TEST_F(ReaderTableDamageTest, EveryChangedByteOfARecordIsSeen) {
    writer_->table.publish(seal(5));
    writer_->table.publish(seal(6));
    writer_->table.publish(seal(7));  // at 384
    for (std::size_t at = 0; at < 64; at += 8) {
        for (std::size_t bit = 0; bit < 64; bit += 5) {
            const std::uint64_t before = word(384 + at);
            set_word(384 + at, before ^ std::uint64_t{1} << bit);
            EXPECT_FALSE(writer_->table.published()) << at;  // the older record does not count either
            set_word(384 + at, before);
        }
    }
    EXPECT_EQ(writer_->table.published(), seal(7));
}

/// A record tells of pages in the page cache of one machine, as long as it runs.
TEST_F(ReaderTableDamageTest, ACopiedRecordIsNotBelieved) {
    writer_->table.publish(seal(5));
    test::copy_file_sparse(path_, dir_ / "copy");
    Client copy(dir_ / "copy", Role::writer);
    EXPECT_FALSE(copy.table.published());
    copy.table.publish(seal(6));
    EXPECT_EQ(copy.table.published(), seal(6));
}

TEST_F(ReaderTableDamageTest, AReaderMakesAMissingTable) {
    for (const char* content : {"", "12345\n"}) {
        const os::fs::path path = dir_.next();
        std::ofstream(path) << content;
        Client observer(path, Role::observer);
        EXPECT_FALSE(observer.table.published());
        EXPECT_EQ(observer.table.request(), 0u);
        EXPECT_TRUE(observer.table.readers().empty());
        EXPECT_EQ(os::fs::file_size(path), std::strlen(content));
        Client reader(path, Role::reader);
        const auto slot = reader.table.hold(7);
        Client writer(path, Role::writer);
        EXPECT_EQ(writer.table.epochs_in_use(), (Epochs{7}));
        std::string text;
        std::getline(std::ifstream(path), text, '\0');
        EXPECT_EQ(text, content);
    }
}

TEST_F(ReaderTableDamageTest, ADamagedTableIsLeftToTheWriter) {
    for (const std::size_t at : {64, 72}) {
        writer_->table.publish(seal(3));
        set_word(at, 0x1234);
        const auto reader = client(Role::reader);
        EXPECT_FALSE(reader->table.published());
        EXPECT_FALSE(reader->table.hold_published());
        EXPECT_THROW((void)reader->table.hold(3), CorruptionError);
        EXPECT_THROW((void)writer_->table.epochs_in_use(), CorruptionError);
        EXPECT_EQ(word(at), 0x1234u);
        writer_.emplace(path_, Role::writer);
        writer_->table.publish(seal(4));
        EXPECT_EQ(reader->table.published(), seal(4));
        const auto held = reader->table.hold_published();
        EXPECT_EQ(writer_->table.epochs_in_use(), (Epochs{4}));
    }
}

/// Their slots may lie elsewhere.
TEST_F(ReaderTableDamageTest, ReadersOfAnotherLayoutKeepTheWriterOut) {
    const auto reader = client(Role::reader);
    auto slot = reader->table.hold(7);
    set_word(72, 2);
    EXPECT_THROW(client(Role::writer), LockedError);
    EXPECT_EQ(word(72), 2u);
    slot.release();
    client(Role::writer);
    EXPECT_EQ(word(72), 1u);
}

TEST(ReaderTableFileTest, AFullDiskIsAnError) {
    testing::MemoryFile file;
    file.write(as_bytes("123\n"), 0);
    for (const Role role : {Role::writer, Role::reader}) {
        file.set_space(8192);
        try {
            ReaderTable table(file, role, "lock");
            FAIL() << "made";
        } catch (const StorageError& error) {
            EXPECT_EQ(error.code(), ENOSPC);
        }
        EXPECT_EQ(file.size(), 4u);
    }
    file.set_space(UINT64_MAX);
    ReaderTable table(file, Role::writer, "lock");
    EXPECT_EQ(file.size(), ReaderTable::kSize);
}

/// Pages that are lost read as zeros, as if there were no readers.
TEST_F(ReaderTableDamageTest, AFileCutShortProtectsAll) {
    const auto reader = client(Role::reader);
    writer_->table.publish(seal(3));
    auto held = reader->table.hold_published();
    for (const std::uint64_t size : {std::uint64_t{4096}, std::uint64_t{0}}) {
        writer_->file->truncate(size);
        EXPECT_THROW((void)writer_->table.epochs_in_use(), CorruptionError);
        EXPECT_THROW((void)reader->table.hold(3), CorruptionError);
        EXPECT_FALSE(reader->table.published());
        EXPECT_FALSE(reader->table.hold_published());
        writer_->table.publish(seal(4));
        writer_->table.answer(1);
        (void)reader->table.request();
        (void)reader->table.readers();
    }
    held.reset();
    writer_.reset();
    writer_.emplace(path_, Role::writer);
    writer_->table.publish(seal(5));
    EXPECT_EQ(client(Role::reader)->table.published(), seal(5));
}

/// Calls everything; whatever the file holds, it must end.
void exercise(ReaderTable& table, Role role) {
    try {
        (void)table.published();
        (void)table.requests();
        (void)table.answered();
        (void)table.readers();
        (void)table.request();
        if (role == Role::observer) return;
        const auto slot = table.hold(5);
        const auto held = table.hold_published();
        if (role != Role::writer) return;
        (void)table.epochs_in_use();
        table.answer(table.requests());
        table.publish(seal(3));
        table.retract();
    } catch (const CorruptionError&) {
        // A damaged table may say so.
    }
}

TEST(ReaderTableFileTest, GarbageHarmsNobody) {
    PYRSISTENCE_TRACE_SEED;
    Random random(2);
    test::TempDir dir(true);
    const os::fs::path path = dir / "lock";
    for (std::size_t round = 0; round < scaled(200); ++round) {
        constexpr std::size_t kWhole = ReaderTable::kSize;
        const std::size_t size = random.chance(50) ? kWhole : random.below(kWhole + 5000);
        std::string bytes = random.chance(50) ? test::content(random(), size) : std::string(size, '\0');
        if (random.chance(70) && size > 80) bytes.replace(64, 16, "pyrslock\x01\0\0\0\0\0\0\0", 16);
        for (std::size_t i = random.below(30); i > 0 && size > 0; --i) {
            bytes[random.below(std::min<std::size_t>(size, 5000))] = char(random());
        }
        os::fs::remove(path);
        std::ofstream(path) << bytes;
        for (const Role role : {Role::observer, Role::reader, Role::writer, Role::observer, Role::reader}) {
            Client client(path, role);
            exercise(client.table, role);
        }
        Client writer(path, Role::writer);
        EXPECT_EQ(writer.table.epochs_in_use(), Epochs{});
        writer.table.publish(seal(9));
        Client reader(path, Role::reader);
        const auto held = reader.table.hold_published();
        ASSERT_TRUE(held);
        EXPECT_EQ(held->first, seal(9));
        EXPECT_EQ(writer.table.epochs_in_use(), (Epochs{9}));
    }
}

TEST_F(ReaderTableDamageTest, AVandalHarmsNobody) {
    std::atomic<bool> stop = false;
    std::thread vandal([&] {
        Random random(3);
        const auto file = os::FileSystem::posix().open(path_, os::Access::read_write);
        const auto mapping = file->map(0, ReaderTable::kSize, os::Access::read_write);
        auto* const words = reinterpret_cast<std::uint64_t*>(mapping->data());
        while (!stop) {
            const std::uint64_t value = random.chance(50) ? random() : random.below(5);
            const std::size_t range = random.chance(90) ? 60 : ReaderTable::kSize / 8;
            std::atomic_ref(words[random.below(range)]).store(value);
            if (random.chance(20)) std::memcpy(&words[0], "4711", 4);
            if (random.chance(20)) {  // a table that counts makes for longer ways
                std::uint64_t magic;
                std::memcpy(&magic, "pyrslock", 8);
                std::atomic_ref(words[8]).store(magic);
                std::atomic_ref(words[9]).store(1);
            }
        }
    });
    const auto reader = client(Role::reader), observer = client(Role::observer);
    for (std::size_t i = 0; i < scaled(3000); ++i) {
        exercise(writer_->table, Role::writer);
        exercise(reader->table, Role::reader);
        exercise(observer->table, Role::observer);
    }
    stop = true;
    vandal.join();
}

}  // namespace
}  // namespace pyrsistence::storage
