// The table in the file `lock` through which the writer of a store and its readers in other processes
// cooperate: the writer publishes seals, readers announce which one they use, and neither ever waits for the
// other, whether it lives, stands still or dies. docs/format.md, "The directory", has the bytes.
//
// Thread safety: publish(), retract(), epochs_in_use() and answer() are the writer's, for one thread at a
// time; everything else is for any thread. In the child of a fork only abandon() and destructors are called.
//
// A reader that finds a published seal cannot know whether the writer has gone on meanwhile and reuses its
// pages. Hence both sides first say what they do, then look at what the other said:
//
//     reader   R1 slot = epoch         writer   W1 publish a newer seal
//              R2 fence                         W2 fence
//              R3 look again                    W3 look at the slots, reuse what nobody uses
//
// All fences happen in one order. If R2 comes before W2, W3 sees the slot; if not, R3 sees the newer seal,
// and the reader begins again with that one. So what a reader found at R3 is seen by every W3 that follows
// the publication of something newer; until then it is the published seal, which the writer keeps anyway.
//
// A writer that opens a store withdraws what a dead writer may have published before it looks at the slots
// for the first time. It then finds the epochs of all readers that go on reading. Of states that were lost
// with the dead writer it cannot know the pages: it must reuse none that were free before those readers are
// gone, and name its own seals by higher epochs than theirs.
#pragma once

#include <bitset>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "os/file.hpp"
#include "storage/meta.hpp"

namespace pyrsistence::storage {

/// What a reader needs to read a sealed state.
struct Published {
    std::uint64_t epoch = 0;  ///< names the seal; never 0
    PageId page_count = 0;
    CatalogRoot catalog;
    std::uint64_t version = 0;     ///< operations so far
    std::uint64_t checkpoint = 0;  ///< the newest that is durable

    bool operator==(const Published&) const = default;
};

class ReaderTable {
public:
    static constexpr unsigned kSlots = 1024;
    static constexpr std::size_t kPidSize = 64;  ///< bytes in front of the table, which hold the writer's pid
    /// Of the file, which must never become shorter again.
    static constexpr std::size_t kSize = 4096 + 64 * std::size_t{kSlots};

    enum class Role {
        writer,   ///< holds the exclusive lock on byte 0; makes a missing or damaged table anew
        reader,   ///< makes a missing table; finds nothing published in a damaged one
        observer  ///< may only read the file, and so cannot use a seal
    };
    /// `path` is for messages. The file must be open for writing unless the role is observer, and must
    /// outlive the table. Throws StorageError (no space), LockedError (readers of another layout are alive).
    ReaderTable(os::File& lock_file, Role role, std::string path);
    ReaderTable(const ReaderTable&) = delete;
    ReaderTable& operator=(const ReaderTable&) = delete;

    // --- for the writer

    void publish(const Published& seal) noexcept;
    /// Nothing is published any more.
    void retract() noexcept;
    /// Epochs of the seals that readers use, ascending; slots of dead readers become free. What is neither
    /// among them nor the published seal may be reused, if the call came after publish(). Throws
    /// CorruptionError when the table was destroyed: then nothing may be reused until it is made anew.
    std::vector<std::uint64_t> epochs_in_use();
    /// All pages of the seals that readers use lie below; kMaxPages if some reader does not tell. The same holds for
    /// it as for epochs_in_use(), which goes first.
    PageId pages_in_use() const;
    /// Number of the last request. A seal made after this call answers it.
    std::uint64_t requests() const noexcept;
    void answer(std::uint64_t request) noexcept;

    // --- for readers

    /// The newest published seal. What was published before the machine started, or in another file of which
    /// this one is a copy, does not count. Its pages may be reused at any moment: to read them, hold it.
    std::optional<Published> published() const noexcept;
    /// Asks for a fresh seal; the file's watchers are woken. It is there as soon as answered() is not below
    /// the number that is returned, or never if the writer stands still. 0 if there is no table.
    std::uint64_t request() noexcept;
    std::uint64_t answered() const noexcept;

    /// Announces that this process uses a seal, until the object or the process dies.
    class Slot {
    public:
        Slot() = default;
        ~Slot() { release(); }
        Slot(Slot&& other) noexcept { *this = std::move(other); }
        Slot& operator=(Slot&& other) noexcept {
            release();
            table_ = std::exchange(other.table_, nullptr);
            index_ = other.index_;
            return *this;
        }
        void release() noexcept {
            if (table_ != nullptr) std::exchange(table_, nullptr)->give_back(index_);
        }
        explicit operator bool() const noexcept { return table_ != nullptr; }

    private:
        friend class ReaderTable;
        Slot(ReaderTable& table, unsigned index) : table_(&table), index_(index) {}

        ReaderTable* table_ = nullptr;  ///< must outlive the slot
        unsigned index_ = 0;
    };
    /// Announces an epoch, which by itself protects nothing: the caller must look again, after this, whether
    /// the seal is still the newest. Its pages lie below `pages`; 0: unknown. REQUIRES: epoch != 0. Throws
    /// StorageError (all slots are taken, an observer), CorruptionError (no valid table).
    Slot hold(std::uint64_t epoch, PageId pages = 0);
    /// The newest published seal, safe to read as long as the slot lives. Nothing if none is published.
    std::optional<std::pair<Published, Slot>> hold_published();

    // --- for everybody

    struct Reader {
        std::uint64_t epoch, pid;
        std::uint64_t since;  ///< microseconds of Unix time
    };
    /// The living readers.
    std::vector<Reader> readers();
    /// In the child of a fork: lets go of the file without touching it. Slots of the parent stay as they are.
    void abandon() noexcept;

private:
    class Word;

    Word word(std::size_t offset) const noexcept;
    Word slot(unsigned index, std::size_t field) const noexcept;
    bool sound() const noexcept;
    void require_sound() const;
    void make(Role role);
    std::uint64_t checksum(const std::uint64_t* words) const noexcept;
    void write_record(const Published& seal) noexcept;
    std::optional<Published> decode(const std::uint64_t* words, std::uint64_t number) const noexcept;
    unsigned take_slot();
    bool take_slot(unsigned index);
    void announce(unsigned index, std::uint64_t epoch, PageId pages) noexcept;
    void give_back(unsigned index) noexcept;
    bool free_if_dead(unsigned index) noexcept;

    os::File& file_;
    const Role role_;
    const std::string path_;
    std::uint64_t seed_ = 0;                ///< of the checksums of records; 0: unknown
    std::unique_ptr<os::Mapping> mapping_;  ///< null: no table, or it is the parent's
    std::mutex mutex_;                      ///< guards held_ and the locks that belong to it
    std::bitset<kSlots> held_;              ///< by this object
};

}  // namespace pyrsistence::storage
