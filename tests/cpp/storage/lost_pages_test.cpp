// A file of an open store that another program cuts short, which is what an unreadable sector is to a mapping: in
// a reader, a writer, a transaction, the log, and in the middle of a bulk read. Whoever touches what is gone gets
// an error; no zeros are returned or believed, everything that follows is a StorageError, and the process lives.

#include "containers/world.hpp"

namespace pyrsistence::test {
namespace {

class LostPagesTest : public ::testing::Test {
protected:
    static constexpr std::uint64_t kItems = 4000;

    LostPagesTest() {
        RawList list(path_);
        for (std::uint64_t i = 0; i < kItems; ++i) list.append(as_bytes(item(i)));
    }
    static std::string item(std::uint64_t i) { return content(i, 300); }
    void cut(const char* file, std::uintmax_t size) const { fs::resize_file(path_ / file, size); }
    /// At the end of a page: what a cut leaves of one reads as zeros, and its checksum tells.
    void cut_data() const { cut("data", fs::file_size(path_ / "data") / 2 / 4096 * 4096); }

    /// Everything raises EIO from now on, closing too.
    template <class Raw>
    static void expect_given_up(Raw& raw) {
        const auto expect = [](const std::function<void()>& call) {
            try {
                call();
                ADD_FAILURE() << "no error";
            } catch (const StorageError& error) {
                EXPECT_EQ(error.code(), EIO);
                const std::string text = error.what();
                EXPECT_NE(text.find("the disk failed to deliver"), std::string::npos) << text;
            }
        };
        expect([&] { (void)raw.size(); });
        expect([&] { raw.check(); });
        if (!raw.read_only()) expect([&] { raw.sync(); });
    }
    /// False if it could not be read. What was read is right.
    static bool read_all(const RawList& list) {
        Chunk chunk;
        std::uint64_t rank = 0;
        try {
            do {
                list.read(rank, 500, chunk);
                for (std::size_t i = 0; i < chunk.items.size(); ++i, ++rank) {
                    EXPECT_EQ(as_text(chunk.entry(i)), item(rank)) << "a wrong item is returned";
                }
            } while (chunk.more);
            return true;
        } catch (const StorageError& error) {
            EXPECT_EQ(error.code(), EIO) << error.what();
        } catch (const CorruptionError&) {
            // A page of zeros makes no sense where it was read before.
        }
        return false;
    }

    TempDir dir_{true};
    const fs::path path_ = dir_ / "store";
};

/// Whoever ran into a lost page where its checksum or its kind was looked at was told to restore a backup, call
/// after call, and the handle went on.
TEST_F(LostPagesTest, InTheMiddleOfABulkRead) {
    for (const Mode mode : {Mode::read, Mode::append}) {
        SCOPED_TRACE(mode == Mode::read ? "reader" : "writer");
        const fs::path aside = dir_.next();
        copy_store(path_, aside);
        Options options;
        options.mode = mode;
        RawList list(path_, options);
        Chunk chunk;
        list.read(0, 100, chunk);
        cut_data();
        EXPECT_FALSE(read_all(list));
        expect_given_up(list);
        EXPECT_THROW(list.close(), StorageError);
        fs::copy(aside, path_, fs::copy_options::overwrite_existing | fs::copy_options::recursive);
        EXPECT_TRUE(read_all(RawList(path_)));
    }
}

/// Its checksum is looked at once; what is lost afterwards must not pass for its content.
TEST_F(LostPagesTest, OfALargeValueThatWasReadBefore) {
    const std::string large = content(1, 4 << 20);
    RawList(path_).clear();  // pages before the value, for all that is not the value
    RawList(path_).append(as_bytes(large));
    const fs::path aside = dir_.next();
    copy_store(path_, aside);
    for (const Mode mode : {Mode::read, Mode::append}) {
        Options options;
        options.mode = mode;
        RawList list(path_, options);
        Buffer found;
        ASSERT_TRUE(list.get(0, found));
        ASSERT_EQ(as_text(found), large);
        cut("data", fs::file_size(path_ / "data") - (1 << 20));
        EXPECT_THROW(list.get(0, found), StorageError);
        expect_given_up(list);
        EXPECT_THROW(list.close(), StorageError);
        fs::copy(aside, path_, fs::copy_options::overwrite_existing | fs::copy_options::recursive);
    }
}

TEST_F(LostPagesTest, WhenAWriterChangesOne) {
    const fs::path aside = dir_.next();
    copy_store(path_, aside);
    RawList list(path_);
    list.set(0, as_bytes("lengthens the file"));  // not later, which would fill with zeros what is lost
    cut_data();
    bool failed = false;
    for (std::uint64_t i = 0; i < kItems && !failed; i += 50) {
        try {
            list.set(i, as_bytes("other"));
        } catch (const StorageError& error) {
            EXPECT_EQ(error.code(), EIO);
            failed = true;
        } catch (const CorruptionError&) {
            failed = true;
        }
    }
    EXPECT_TRUE(failed);
    expect_given_up(list);
    EXPECT_THROW(list.checkpoint(), StorageError) << "zeros would become durable under a fresh checksum";
    EXPECT_THROW(list.close(), StorageError);
    fs::copy_file(aside / "data", path_ / "data", fs::copy_options::overwrite_existing);
    RawList again(path_);  // with what had returned in the log
    again.check();
    EXPECT_EQ(again.size(), kItems);
}

TEST_F(LostPagesTest, WithinATransaction) {
    const fs::path aside = dir_.next();
    copy_store(path_, aside);
    RawList list(path_);
    {
        Transaction transaction(list);
        for (std::uint64_t i = 0; i < 100; ++i) list.append(as_bytes("inside"));
        cut_data();
        EXPECT_FALSE(read_all(list));
        EXPECT_THROW(list.append(as_bytes("more")), StorageError);
        EXPECT_THROW(transaction.commit(), StorageError);
    }
    expect_given_up(list);
    EXPECT_THROW(list.close(), StorageError);
    EXPECT_EQ(storage::Store::open_transactions(), 0u);
    fs::copy_file(aside / "data", path_ / "data", fs::copy_options::overwrite_existing);
    const RawList again(path_);
    EXPECT_EQ(again.size(), kItems) << "a part of the transaction came through";
    EXPECT_TRUE(read_all(again));
}

/// A record that goes into a lost page of the log has not been logged: the operation must not return.
TEST_F(LostPagesTest, InTheLog) {
    for (const bool within : {false, true}) {
        SCOPED_TRACE(within ? "a transaction" : "single operations");
        RawList list(path_);
        const std::uint64_t before = list.size();
        list.append(as_bytes("makes a log"));
        list.sync();
        std::uint64_t returned = 0;
        bool failed = false;
        try {
            std::optional<Transaction> transaction;
            if (within) transaction.emplace(list, false);
            cut("log", 8192);  // its headers stay
            for (int i = 0; i < 1000; ++i, ++returned) list.append(as_bytes("lost"));
            if (within) transaction->commit();
        } catch (const StorageError& error) {
            EXPECT_EQ(error.code(), EIO) << error.what();
            failed = true;
        }
        EXPECT_TRUE(failed);
        if (!within) {
            EXPECT_EQ(returned, 0u) << "an operation returned that no log holds";
        }
        expect_given_up(list);
        EXPECT_THROW(list.close(), StorageError);
        // Whoever cut the log has cut off what was in it, but nothing half done is left.
        RawList again(path_);
        again.check();
        EXPECT_LE(again.size(), before + 1);
    }
}

TEST_F(LostPagesTest, OneStoreThatIsLostLeavesOthersAlone) {
    const fs::path other = dir_.next();
    RawList sound(other);
    for (std::uint64_t i = 0; i < kItems; ++i) sound.append(as_bytes(item(i)));
    RawList list(path_);
    cut_data();
    EXPECT_FALSE(read_all(list));
    EXPECT_TRUE(read_all(sound));
    sound.append(as_bytes("x"));
    sound.check();
    sound.close();
    expect_given_up(list);
    EXPECT_THROW(list.close(), StorageError);
    EXPECT_EQ(RawList(other).size(), kItems + 1);
}

}  // namespace
}  // namespace pyrsistence::test
