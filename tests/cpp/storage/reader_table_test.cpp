#include "storage/reader_table.hpp"

#include <condition_variable>
#include <mutex>
#include <thread>

#include "storage/reader_clients.hpp"

namespace pyrsistence::storage {
namespace {

class ReaderTableTest : public ReaderTableFixture {};

/// docs/format.md, "The directory".
TEST_F(ReaderTableTest, BytesAreWhereTheFormatSays) {
    EXPECT_EQ(writer_->file->size(), 69632u);
    std::string text(16, '?');
    writer_->file->read({reinterpret_cast<std::byte*>(text.data()), text.size()}, 0);
    EXPECT_EQ(text, std::string("4711\n") + std::string(11, '\0'));
    writer_->file->read({reinterpret_cast<std::byte*>(text.data()), text.size()}, 64);
    EXPECT_EQ(text, std::string("pyrslock\x01\0\0\0\0\0\0\0", 16));
    writer_->table.publish(seal(10));
    writer_->table.publish({11, 12, {13, 2, 15}, 16, 17});
    EXPECT_EQ(word(128), 2u);
    EXPECT_EQ(word(384 - 64 + 8), 11u);  // the second record is at 320
    EXPECT_EQ(word(384), 1u);
    EXPECT_EQ(word(384 + 8), 10u);
    const Epochs fields = {2, 11, 12, 13, 15 | std::uint64_t{2} << 32, 16, 17};
    for (std::size_t i = 0; i < fields.size(); ++i) EXPECT_EQ(word(320 + 8 * i), fields[i]) << i;
    EXPECT_NE(word(320 + 56), 0u);
    const auto reader = client(Role::reader);
    EXPECT_EQ(reader->table.request(), 1u);
    EXPECT_EQ(word(192), 1u);
    writer_->table.answer(1);
    EXPECT_EQ(word(256), 1u);
    const auto first = reader->table.hold(21);
    const auto second = reader->table.hold(22);
    EXPECT_EQ(word(4096), 21u);
    EXPECT_EQ(word(4096 + 64), 22u);
    EXPECT_EQ(word(4096 + 8), std::uint64_t(::getpid()));
    EXPECT_GT(word(4096 + 16), std::uint64_t{1'700'000'000'000'000});
    EXPECT_TRUE(writer_->file->locked_elsewhere((std::uint64_t{1} << 40) + 1));
    EXPECT_FALSE(writer_->file->locked_elsewhere((std::uint64_t{1} << 40) + 2));
    EXPECT_EQ(writer_->file->size(), 69632u);
}

TEST_F(ReaderTableTest, WhatIsPublishedIsRead) {
    const auto reader = client(Role::reader), observer = client(Role::observer);
    const std::array tables = {&writer_->table, &reader->table, &observer->table};
    for (const ReaderTable* table : tables) EXPECT_FALSE(table->published());
    for (std::uint64_t epoch = 1; epoch < 10; ++epoch) {
        writer_->table.publish(seal(epoch));
        for (const ReaderTable* table : tables) EXPECT_EQ(table->published(), seal(epoch));
    }
    writer_->table.publish({20, 2, {0, 0, 0}, 0, 0});  // an empty store
    EXPECT_TRUE(reader->table.published());
    writer_->table.retract();
    EXPECT_FALSE(reader->table.published());
    EXPECT_FALSE(reader->table.hold_published());
    writer_->table.publish(seal(30));
    writer_.emplace(path_, Role::writer);  // as after a crash: it may read what the one before published
    EXPECT_EQ(writer_->table.published(), seal(30));
}

TEST_F(ReaderTableTest, SlotsOfOneProcessAreIndependent) {
    const auto reader = client(Role::reader);
    ReaderTable& table = reader->table;
    EXPECT_EQ(writer_->table.pages_in_use(), 0u);
    {
        const auto few = table.hold(7, 20), more = table.hold(5, 30);
        EXPECT_EQ(writer_->table.pages_in_use(), 30u);
        const auto unknown = table.hold(6);
        EXPECT_EQ(writer_->table.pages_in_use(), kMaxPages);
    }
    EXPECT_EQ(writer_->table.pages_in_use(), 0u);
    auto seven = table.hold(7), five = table.hold(5), again = table.hold(7);
    EXPECT_EQ(writer_->table.epochs_in_use(), (Epochs{5, 7}));
    seven.release();
    seven.release();
    EXPECT_FALSE(seven);
    EXPECT_EQ(writer_->table.epochs_in_use(), (Epochs{5, 7}));
    again = std::move(five);
    EXPECT_FALSE(five);
    EXPECT_EQ(writer_->table.epochs_in_use(), (Epochs{5}));
    {
        const auto moved = std::move(again);
        EXPECT_EQ(writer_->table.epochs_in_use(), (Epochs{5}));
    }
    EXPECT_EQ(writer_->table.epochs_in_use(), Epochs{});
}

/// The writer's own slots lie behind its own locks, which are no obstacle to it.
TEST_F(ReaderTableTest, ThePublishersOwnSlotsCount) {
    const auto slot = writer_->table.hold(7);
    EXPECT_EQ(writer_->table.epochs_in_use(), (Epochs{7}));
    EXPECT_EQ(writer_->table.epochs_in_use(), (Epochs{7}));
    EXPECT_EQ(writer_->table.readers().size(), 1u);
    const auto other = writer_->table.hold(8);
    EXPECT_EQ(writer_->table.epochs_in_use(), (Epochs{7, 8}));
}

/// POSIX locks would all be gone when any descriptor of the file is closed.
TEST_F(ReaderTableTest, ClosingAnotherFileKeepsTheSlots) {
    const auto reader = client(Role::reader);
    const auto slot = reader->table.hold(7);
    {
        const auto other = client(Role::reader);
        const auto passing = other->table.hold(8);
        EXPECT_EQ(writer_->table.epochs_in_use(), (Epochs{7, 8}));
    }
    client(Role::observer).reset();
    EXPECT_EQ(writer_->table.epochs_in_use(), (Epochs{7}));
}

TEST_F(ReaderTableTest, HoldingPublishedSealsFollowsTheWriter) {
    const auto reader = client(Role::reader);
    EXPECT_FALSE(reader->table.hold_published());
    writer_->table.publish(seal(3));
    auto held = reader->table.hold_published();
    ASSERT_TRUE(held);
    EXPECT_EQ(held->first, seal(3));
    writer_->table.publish(seal(4));
    EXPECT_EQ(writer_->table.epochs_in_use(), (Epochs{3}));
    auto next = reader->table.hold_published();
    ASSERT_TRUE(next);
    EXPECT_EQ(writer_->table.epochs_in_use(), (Epochs{3, 4}));
    held.reset();
    EXPECT_EQ(writer_->table.epochs_in_use(), (Epochs{4}));
}

TEST_F(ReaderTableTest, AllSlotsCanBeTaken) {
    const auto reader = client(Role::reader), other = client(Role::reader);
    std::vector<ReaderTable::Slot> slots;
    Epochs expected;
    for (unsigned i = 0; i < ReaderTable::kSlots; ++i) {
        slots.push_back((i % 2 == 0 ? reader : other)->table.hold(1 + i));
        expected.push_back(1 + i);
    }
    for (const auto& client : {&reader, &other}) {
        try {
            (void)(*client)->table.hold(9999);
            FAIL() << "held";
        } catch (const StorageError& error) {
            EXPECT_EQ(error.code(), EUSERS);
            EXPECT_NE(std::string(error.what()).find("1024"), std::string::npos) << error.what();
        }
    }
    EXPECT_EQ(writer_->table.epochs_in_use(), expected);
    slots[500].release();
    slots.push_back(reader->table.hold(5000));
    EXPECT_EQ(writer_->table.epochs_in_use().back(), 5000u);
    EXPECT_EQ(writer_->table.readers().size(), ReaderTable::kSlots);
}

TEST_F(ReaderTableTest, TheSlotsOfTheDeadAreFreeAgain) {
    const Gate ready;
    std::vector<Process> processes;
    for (std::uint64_t i = 0; i < 4; ++i) {
        processes.emplace_back([&, i] {
            Client reader(path_, Role::reader);
            const auto slot = reader.table.hold(10 + i);
            ready.open();
            return ::pause();
        });
        ready.pass();
    }
    const auto observer = client(Role::observer);
    EXPECT_EQ(observer->table.readers().size(), 4u);
    EXPECT_EQ(writer_->table.epochs_in_use(), (Epochs{10, 11, 12, 13}));
    processes[1].kill();
    processes[3].kill();
    const auto readers = observer->table.readers();
    ASSERT_EQ(readers.size(), 2u);
    EXPECT_EQ(readers[1].epoch, 12u);
    EXPECT_EQ(readers[1].pid, std::uint64_t(processes[2].pid()));
    const auto reader = client(Role::reader);
    const auto slot = reader->table.hold(20);  // in an empty slot
    EXPECT_EQ(word(4096 + 64), 11u);
    EXPECT_EQ(writer_->table.epochs_in_use(), (Epochs{10, 12, 20}));
    EXPECT_EQ(word(4096 + 64), 0u);
    processes.clear();
    EXPECT_EQ(writer_->table.epochs_in_use(), (Epochs{20}));
}

/// Nobody frees slots while no writer is there.
TEST_F(ReaderTableTest, ReadersTakeOverTheSlotsOfTheDead) {
    const auto reader = client(Role::reader);
    for (unsigned i = 0; i < ReaderTable::kSlots; ++i) set_word(4096 + 64 * i, 1000 + i);
    {
        const auto slot = reader->table.hold(5);
        EXPECT_EQ(word(4096), 5u);
        EXPECT_EQ(reader->table.readers().size(), 1u);
    }
    EXPECT_EQ(writer_->table.epochs_in_use(), Epochs{});
}

/// A reader that comes while the writer clears the slot of a dead one.
TEST_F(ReaderTableTest, AClearedSlotIsNobodyElses) {
    using Call = HookedFile::Call;
    HookedFile file(path_);
    ReaderTable writer(file, Role::writer, "lock");
    const auto reader = client(Role::reader);
    const std::vector<std::vector<Call>> moments = {{Call::try_lock, Call::locked_elsewhere}, {Call::unlock}};
    for (const auto& calls : moments) {
        set_word(4096, 7);
        ReaderTable::Slot slot;
        file.after(calls, [&] { slot = reader->table.hold(9); });
        (void)writer.epochs_in_use();
        EXPECT_TRUE(slot);
        EXPECT_EQ(writer.epochs_in_use(), (Epochs{9}));
    }
}

/// The same through one open file, whose locks are no obstacle to its own threads.
TEST_F(ReaderTableTest, AClearedSlotIsNobodyElsesInThisProcess) {
    HookedFile file(path_);
    ReaderTable writer(file, Role::writer, "lock");
    for (unsigned i = 0; i < ReaderTable::kSlots; ++i) set_word(4096 + 64 * i, 7);  // none looks free
    ReaderTable::Slot slot;
    std::thread other;
    file.after({HookedFile::Call::try_lock}, [&] {
        other = std::thread([&] { slot = writer.hold(9); });
        ::usleep(20'000);
    });
    (void)writer.epochs_in_use();
    other.join();
    EXPECT_EQ(writer.epochs_in_use(), (Epochs{9}));
}

/// A reader that comes while another one gives its slot back.
TEST_F(ReaderTableTest, AReturnedSlotIsNobodyElses) {
    HookedFile file(path_);
    ReaderTable first(file, Role::reader, "lock");
    const auto second = client(Role::reader);
    auto returned = first.hold(7);
    for (unsigned i = 1; i < ReaderTable::kSlots; ++i) set_word(4096 + 64 * i, 8);  // none else looks free
    ReaderTable::Slot slot;
    file.after({HookedFile::Call::unlock}, [&] { slot = second->table.hold(9); });
    returned.release();
    EXPECT_TRUE(slot);
    EXPECT_EQ(writer_->table.epochs_in_use(), (Epochs{9}));
}

TEST_F(ReaderTableTest, AStoppedReaderKeepsItsSeal) {
    const Gate ready;
    writer_->table.publish(seal(1));
    Process process([&] {
        Client reader(path_, Role::reader);
        const auto held = reader.table.hold_published();
        ready.open();
        return ::pause();
    });
    ready.pass();
    process.stop();
    for (std::uint64_t epoch = 2; epoch < 100; ++epoch) {
        writer_->table.publish(seal(epoch));
        ASSERT_EQ(writer_->table.epochs_in_use(), (Epochs{1}));
    }
    process.kill();
    EXPECT_EQ(writer_->table.epochs_in_use(), Epochs{});
}

/// A mapping keeps the file open, and so its locks: the child's copy kept a dead reader's slot.
TEST_F(ReaderTableTest, TheChildOfADeadReaderDoesNotKeepItsSlot) {
    for (const bool abandon : {true, false}) {
        const Gate ready, end;
        Process process([&] {
            Client reader(path_, Role::reader);
            auto* const slot = new ReaderTable::Slot(reader.table.hold(7));
            if (::fork() != 0) return ::pause();
            if (abandon) {
                reader.abandon();
                delete slot;
                (void)reader.table.published();
                (void)reader.table.request();
                EXPECT_FALSE(reader.table.hold_published());
            }
            ready.open();
            end.pass();
            return 0;
        });
        ready.pass();
        EXPECT_EQ(writer_->table.epochs_in_use(), (Epochs{7}));  // nor does the child take it away
        process.kill();
        EXPECT_EQ(writer_->table.epochs_in_use(), abandon ? Epochs{} : Epochs{7});
        end.open();
    }
}

TEST_F(ReaderTableTest, RequestsAreCountedAndAnswered) {
    const auto first = client(Role::reader), second = client(Role::reader);
    EXPECT_EQ(writer_->table.requests(), 0u);
    EXPECT_EQ(first->table.request(), 1u);
    EXPECT_EQ(second->table.request(), 2u);
    EXPECT_EQ(writer_->table.requests(), 2u);
    EXPECT_EQ(second->table.answered(), 0u);
    writer_->table.answer(2);
    EXPECT_EQ(first->table.answered(), 2u);
    EXPECT_EQ(client(Role::observer)->table.request(), 0u);
    EXPECT_EQ(writer_->table.requests(), 2u);
    set_word(192, UINT64_MAX);
    EXPECT_EQ(first->table.request(), 0u);
}

TEST_F(ReaderTableTest, ARequestWakesTheWriter) {
    std::mutex mutex;
    std::condition_variable changed;
    std::uint64_t seen = 0;
    const auto watch = os::FileSystem::posix().watch(path_, [&] {
        const std::lock_guard guard(mutex);
        seen = writer_->table.requests();
        writer_->table.answer(seen);
        changed.notify_all();
    });
    if (!watch) GTEST_SKIP() << "no inotify here";
    Process process([&] {
        Client reader(path_, Role::reader);
        const std::uint64_t number = reader.table.request();
        for (int i = 0; i < 20'000 && reader.table.answered() < number; ++i) ::usleep(1000);
        return reader.table.answered() < number ? 1 : 0;
    });
    std::unique_lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(20), [&] { return seen == 1; }));
    lock.unlock();
    EXPECT_EQ(process.wait(), 0);
}

TEST_F(ReaderTableTest, ObserversOnlyLook) {
    const auto observer = client(Role::observer);
    writer_->table.publish(seal(3));
    EXPECT_EQ(observer->table.published(), seal(3));
    try {
        (void)observer->table.hold_published();
        FAIL() << "held";
    } catch (const StorageError& error) {
        EXPECT_EQ(error.code(), EACCES);
    }
}

}  // namespace
}  // namespace pyrsistence::storage
