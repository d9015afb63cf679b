// Scratch space of the external-memory algorithms (external.hpp): one nameless temporary file of large blocks, the
// sequences of records that are written to it and read from it from front to back, and the selection tree that
// merges them.
//
// Thread safety: a Scratch and what reads and writes it belong to one thread at a time.
// Durability: none; nothing is left of it when the process ends, however it ends.
// Errors: StorageError with errno, for instance when the disk is full; what was written before can still be read.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "pyrsistence/buffer.hpp"
#include "pyrsistence/types.hpp"

namespace pyrsistence {

namespace os {
class File;
class FileSystem;
}  // namespace os

/// What an external-memory algorithm may use.
struct ExternalOptions {
    std::uint64_t memory_limit = 0;        ///< bytes; 0: a quarter of the memory the process may use
    std::filesystem::path directory = {};  ///< for temporary files, never seen there; empty: the system's
    os::FileSystem* files = nullptr;       ///< null: the operating system's; tests pass their own
};

namespace detail {

/// How a memory limit is divided: bytes of a block, and how many sequences can be read or written at once, each
/// through a block of its own. Blocks are of 1 to 4 MiB where the limit allows it: large enough that seeking does not
/// count, and small enough that one merge is enough for most inputs.
struct MemoryPlan {
    explicit MemoryPlan(const ExternalOptions& options, std::size_t record_size = 1);

    std::uint64_t memory;  ///< the limit itself
    std::size_t block;     ///< a multiple of the record size
    std::size_t fan;       ///< at least 2
};

/// Makes room for `more` elements in a vector that shall hold `most` of them. Beside those that there are, copying them
/// to their new place never takes room for more than a quarter of `most`.
template <class T>
void make_room(std::vector<T>& vector, std::size_t more, std::uint64_t most) {
    if (vector.size() + more <= vector.capacity()) return;
    std::uint64_t capacity = std::max<std::uint64_t>(2 * vector.capacity(), 4096);
    if (capacity > most / 4) capacity = most;
    vector.reserve(static_cast<std::size_t>(std::max<std::uint64_t>(capacity, vector.size() + more)));
}

/// A temporary file of blocks, made when the first block is written. Blocks given back are used again.
class Scratch {
public:
    Scratch(const ExternalOptions& options, std::size_t block_size);
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    std::size_t block_size() const noexcept { return block_size_; }
    /// Bytes of disk that it occupies: the most that it ever needed.
    std::uint64_t disk_bytes() const noexcept { return blocks_ * block_size_; }
    /// Writes a new block and returns its number. REQUIRES: bytes.size() <= block_size().
    std::uint64_t write(Bytes bytes);
    /// Reads the beginning of a block.
    void read(std::uint64_t block, MutableBytes bytes);
    /// Starts reading a block, so that read() need not wait for it.
    void will_need(std::uint64_t block) const noexcept;
    void release(std::uint64_t block);

private:
    ExternalOptions options_;
    std::size_t block_size_;
    std::unique_ptr<os::File> file_;
    std::uint64_t blocks_ = 0;
    std::vector<std::uint64_t> free_;
};

/// Records written one after the other, complete and waiting to be read.
struct Run {
    std::vector<std::uint64_t> blocks = {};  ///< all of them full but the last
    std::uint64_t bytes = 0;
    std::uint64_t records = 0;
    std::size_t largest = 0;  ///< bytes of the largest record
};

/// Writes a run through one block of memory.
class RunWriter {
public:
    explicit RunWriter(Scratch& scratch) : scratch_(&scratch) {}

    /// A record of any length, told from the next one.
    void put(Bytes record);
    /// `count` records of fixed length, to be read as blocks.
    void put_fixed(Bytes records, std::size_t count);
    /// The writer is as new afterwards.
    Run finish();
    std::uint64_t records() const noexcept { return run_.records; }

private:
    void append(Bytes bytes);

    Scratch* scratch_;
    std::unique_ptr<std::byte[]> block_;
    std::size_t used_ = 0;
    Run run_;
};

/// Reads a run once, a block at a time and the next one ahead, and gives its blocks back meanwhile.
class RunReader {
public:
    RunReader(Scratch& scratch, Run run) : scratch_(&scratch), run_(std::move(run)) {}
    RunReader(RunReader&&) noexcept = default;
    RunReader& operator=(RunReader&&) noexcept = default;

    /// The next record of any length, valid until the next call; false at the end.
    bool next(Bytes& record);
    /// The next block of records of fixed length; empty at the end. Valid until the next call.
    Bytes next_block();

private:
    bool refill();
    Bytes take(std::size_t size);
    std::size_t take_size();

    Scratch* scratch_;
    Run run_;
    std::size_t next_block_ = 0;
    std::uint64_t read_ = 0;  ///< bytes of the run that were read into the block so far
    std::unique_ptr<std::byte[]> block_;
    std::size_t at_ = 0, end_ = 0;  ///< what is left of the block
    std::vector<std::byte> joined_;  ///< a record that lies in several blocks
};

/// A tree of losers over k numbered players (Knuth, TAOCP 3, 5.4.1): tells which one comes first, and after that one
/// has changed finds the next with ceil(log2 k) matches. `beats(a, b)` says whether a comes before b.
class LoserTree {
public:
    template <class Beats>
    void build(std::size_t players, Beats&& beats) {
        nodes_.assign(std::max<std::size_t>(players, 1), 0);
        if (players > 1) nodes_[0] = play(1, players, beats);
    }
    std::size_t winner() const noexcept { return nodes_[0]; }
    /// After the winner has changed.
    template <class Beats>
    void replay(Beats&& beats) {
        std::size_t winner = nodes_[0];
        for (std::size_t node = (winner + nodes_.size()) / 2; node > 0; node /= 2) {
            // Without a branch: who wins cannot be predicted.
            const std::size_t loser = nodes_[node];
            const bool wins = beats(loser, winner);
            nodes_[node] = wins ? winner : loser;
            winner = wins ? loser : winner;
        }
        nodes_[0] = winner;
    }

private:
    template <class Beats>
    std::size_t play(std::size_t node, std::size_t players, Beats& beats) {
        if (node >= players) return node - players;
        const std::size_t left = play(2 * node, players, beats), right = play(2 * node + 1, players, beats);
        const bool right_wins = beats(right, left);
        nodes_[node] = right_wins ? left : right;
        return right_wins ? right : left;
    }

    std::vector<std::size_t> nodes_;  ///< the winner, then the loser at each inner node
};

/// Merges sorted sources, stably: what is equal comes in the order of the sources. A Source has done(), front() and
/// pop(); less(a, b) is called once per match, with sources.
template <class Source, class Less>
class Merge {
public:
    Merge(std::vector<Source> sources, Less less) : sources_(std::move(sources)), less_(std::move(less)) {
        tree_.build(sources_.size(), [this](std::size_t a, std::size_t b) { return beats(a, b); });
    }

    bool done() { return sources_.empty() || sources_[tree_.winner()].done(); }
    decltype(auto) front() { return sources_[tree_.winner()].front(); }
    Source& source() { return sources_[tree_.winner()]; }
    void pop() {
        sources_[tree_.winner()].pop();
        tree_.replay([this](std::size_t a, std::size_t b) { return beats(a, b); });
    }
    const std::vector<Source>& sources() const noexcept { return sources_; }

private:
    bool beats(std::size_t a, std::size_t b) {
        if (sources_[a].done()) return false;
        if (sources_[b].done()) return true;
        const bool earlier = a < b;  // then it also wins if neither is less
        return less_(sources_[earlier ? b : a], sources_[earlier ? a : b]) != earlier;
    }

    std::vector<Source> sources_;
    [[no_unique_address]] Less less_;
    LoserTree tree_;
};

/// Merges neighbouring runs until one merge of at most `plan.fan` is left: merge(runs) -> Run. No more are merged than
/// that takes. Fewer at once where records are so large that one of each run would not fit into memory.
template <class MergeRuns>
void merge_down(std::vector<Run>& runs, const MemoryPlan& plan, MergeRuns&& merge) {
    std::size_t largest = 0;
    for (const Run& run : runs) largest = std::max(largest, run.largest);
    const std::uint64_t per_run = plan.block + (largest > plan.block ? largest : 0);
    const auto fan = static_cast<std::size_t>(std::clamp<std::uint64_t>(plan.memory / per_run, 2, plan.fan));
    while (runs.size() > fan) {
        std::vector<Run> fewer;
        for (std::size_t i = 0; i < runs.size();) {
            const std::size_t left = runs.size() - i, all = fewer.size() + left;
            const std::size_t count = all <= fan ? 1 : std::min({fan, all - fan + 1, left});
            if (count == 1) {
                fewer.push_back(std::move(runs[i]));
            } else {
                const auto first = std::make_move_iterator(runs.begin() + static_cast<std::ptrdiff_t>(i));
                fewer.push_back(merge(std::vector<Run>(first, first + static_cast<std::ptrdiff_t>(count))));
            }
            i += count;
        }
        runs = std::move(fewer);
    }
}

/// A uniformly random permutation of records of any length in bounded memory: each is put into a bucket chosen at
/// random, a bucket that fits into memory is shuffled there, a larger one is divided likewise.
/// Source: Rao (1961) and Sandelius (1962); Fisher and Yates within a bucket.
class Shuffler {
public:
    Shuffler(const ExternalOptions& options, std::uint64_t seed);
    Shuffler(Shuffler&&) = default;
    Shuffler& operator=(Shuffler&&) = default;

    void push(Bytes record);
    std::uint64_t size() const noexcept { return size_; }
    /// REQUIRES: no push() follows.
    void finish();
    /// The next record, valid until the next call; false at the end.
    bool next(Bytes& record);

private:
    /// Records side by side in memory.
    struct Load {
        std::vector<std::byte> bytes;
        std::vector<std::uint64_t> ends;
    };
    std::uint64_t below(std::uint64_t bound);
    std::uint64_t footprint(std::uint64_t bytes, std::uint64_t records) const;
    Bytes record(std::uint64_t i) const;
    void open_buckets();
    void spill();
    void divide();
    void close_buckets();
    void shuffle_load();
    bool next_bucket();

    ExternalOptions options_;
    MemoryPlan plan_;
    std::mt19937_64 random_;
    std::unique_ptr<Scratch> scratch_;
    std::vector<RunWriter> writers_;  ///< of the buckets while records are distributed
    std::vector<Run> buckets_;        ///< still to be read, the next one last
    Load load_;
    std::vector<std::uint64_t> order_;  ///< of the load, shuffled; the next one last
    std::uint64_t size_ = 0;
};

}  // namespace detail

}  // namespace pyrsistence
