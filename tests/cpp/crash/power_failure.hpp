// Runs a store on a simulated disk, cuts the power at its calls, and proves of each image that it opens, that
// check() finds nothing, and that the content is that of an exact prefix of the operations, not shorter than
// at the last sync. Recoveries are cut off too, and what was recovered goes on working and fails again.
#pragma once

#include "crash/simulated_disk.hpp"
#include "crash/workload.hpp"

namespace pyrsistence::test {

struct PowerCounts {
    std::uint64_t images = 0, in_recovery = 0, lost_operations = 0, beyond_sync = 0, failed_checkpoints = 0;
    std::uint64_t read_first = 0, spoilt_locks = 0, snapshots = 0;
    unsigned deepest = 0;

    PowerCounts& operator+=(const PowerCounts& other) {
        images += other.images;
        in_recovery += other.in_recovery;
        lost_operations += other.lost_operations;
        beyond_sync += other.beyond_sync;
        failed_checkpoints += other.failed_checkpoints;
        read_first += other.read_first;
        spoilt_locks += other.spoilt_locks;
        snapshots += other.snapshots;
        deepest = std::max(deepest, other.deepest);
        return *this;
    }
};

/// Sets which disk's checkpoint thread runs on while a call of the store waits for it.
class WaitForCheckpoint {
public:
    explicit WaitForCheckpoint(SimulatedDisk& disk) : outer_(current()) {
        current() = &disk;
        storage::Store::set_wait_hooks({&begin_waiting, &end_waiting});
    }
    ~WaitForCheckpoint() {
        current() = outer_;
        if (!outer_) storage::Store::set_wait_hooks({});
    }
    WaitForCheckpoint(const WaitForCheckpoint&) = delete;
    WaitForCheckpoint& operator=(const WaitForCheckpoint&) = delete;

private:
    static void* begin_waiting() {
        current()->checkpoint_thread().set_free(true);
        return current();
    }
    static void end_waiting(void* disk) {
        static_cast<SimulatedDisk*>(disk)->checkpoint_thread().set_free(false);
    }
    static SimulatedDisk*& current() {
        static SimulatedDisk* disk = nullptr;
        return disk;
    }
    SimulatedDisk* outer_;
};

/// A container on a simulated disk: the handle shares the store that is opened first.
template <class Raw>
class PoweredStore {
public:
    PoweredStore(SimulatedDisk& disk, std::uint64_t log_window, Mode mode = Mode::append)
        : disk_(disk), waits_(disk), log_window_(log_window) {
        open(mode);
    }
    ~PoweredStore() {
        try {
            close();
        } catch (const Error&) {
            // The power may be off.
        }
    }
    PoweredStore(const PoweredStore&) = delete;
    PoweredStore& operator=(const PoweredStore&) = delete;

    void open(Mode mode = Mode::append) {
        disk_.checkpoint_thread().set_free(true);
        storage::StoreOptions options;
        options.mode = mode;
        options.memory_limit = 4 << 20;
        options.index_pages = 1;  // a larger index has a delta
        options.files = &disk_;
        options.log_window = log_window_;
        options.hash_seed = 4711;
        options.on_checkpoint = [this](auto what) { disk_.checkpoint_thread().tell(what); };
        store_ = storage::Store::open(disk_.path(), options);
        if (mode == Mode::read && store_->containers().empty()) {  // the power failed before there was one
            storage::Store::release(store_);
            return open();
        }
        Options own;
        own.mode = mode;
        raw_ = std::make_unique<Raw>(disk_.path(), own);
        disk_.checkpoint_thread().set_free(false);
    }
    void close() {
        disk_.checkpoint_thread().set_free(true);
        raw_.reset();
        storage::Store::release(store_);
    }
    Raw& operator*() { return *raw_; }
    Raw* operator->() { return raw_.get(); }

private:
    SimulatedDisk& disk_;
    const WaitForCheckpoint waits_;
    const std::uint64_t log_window_;
    std::shared_ptr<storage::Store> store_;
    std::unique_ptr<Raw> raw_;
};

template <class Model>
class PowerFailures {
public:
    PowerFailures(const fs::path& directory, const Profile& profile, std::uint64_t seed, PowerCounts& counts)
        : directory_(directory), profile_(profile), random_(seed), counts_(counts) {}

    /// A new store and a chain of power failures. Every image on the way is verified, up to `most`.
    void run(unsigned failures, std::uint64_t most) {
        most_ = most;
        Scene scene{{}, std::make_shared<const Timeline>(Model(profile_), random_()), 0, 0};
        for (unsigned i = 0; i < failures && !ended(); ++i) scene = live(scene, 0);
    }

private:
    using Raw = typename Model::Raw;
    using Timeline = History<Model>;

    /// An image, and after how many operations of which timeline it may be.
    struct Scene {
        DiskImage image;
        std::shared_ptr<const Timeline> timeline;
        std::uint64_t least, most;
    };
    /// One store between the power's coming and its failing.
    struct Life {
        SimulatedDisk disk;
        std::shared_ptr<Timeline> timeline;  ///< null while the store is being opened
        std::vector<Scene> images;           ///< not yet verified
        unsigned depth;
        unsigned images_left;                ///< a chance above 1 of going deeper would never end
        bool in_operation = false;
        unsigned failures_left = 0;          ///< writes of checkpoints that will find no space
    };

    /// Cuts the power at so many calls of 100.
    void watch(Life& life, unsigned percent) {
        life.disk.on_call = [this, &life, percent] {
            if (random_.chance(percent)) take_image(life);
        };
    }
    void take_image(Life& life) {
        if (life.images_left == 0) return;
        --life.images_left;
        const auto& timeline = life.timeline;
        const std::uint64_t least = timeline ? timeline->durable() : 0;
        const std::uint64_t most = (timeline ? timeline->done() : 0) + (life.in_operation ? 1 : 0);
        life.images.push_back({life.disk.power_cut(random_), nullptr, least, most});
        if (random_.chance(30)) spoil_lock(life.images.back().image);
    }
    /// Nothing in the lock file survives a power failure for certain, so nothing in it may matter.
    void spoil_lock(DiskImage& image) {
        const auto lock = image.files.find("lock");
        if (lock == image.files.end()) return;
        ++counts_.spoilt_locks;
        const auto dice = random_.below(10);
        if (dice == 0) image.files.erase(lock);
        else if (dice < 4 && stale_lock_) lock->second = *stale_lock_;
        else if (dice < 6) stale_lock_ = lock->second;
        else if (dice == 6) lock->second.cut(random_.below(lock->second.size + 1));
        else scribble(lock->second);
    }
    /// Spares what says that there is a table of readers: without it, they wait for a writer.
    void scribble(DiskImage::File& file) {
        constexpr std::size_t kMagic = 64, kMagicEnd = 80;
        for (auto& [number, page] : file.pages) {
            const auto changed = std::make_shared<DiskImage::Page>(*page);
            for (auto left = random_.below(40); left > 0; --left) {
                const auto at = random_.below(DiskImage::kPage);
                if (number > 0 || at < kMagic || at >= kMagicEnd) (*changed)[at] = std::byte(random_());
            }
            page = changed;
        }
    }
    bool ended() const { return counts_.images >= most_ || ::testing::Test::HasFailure(); }
    void verify_images(Life& life) {
        const auto images = std::move(life.images);
        life.images.clear();
        for (const Scene& scene : images) {
            if (ended()) return;
            live({scene.image, life.timeline, scene.least, scene.most}, life.depth + 1);
        }
    }

    /// Opens an image, proves that it is one of the states that it may be, works on it if chance wills, and
    /// returns how it fails in the end.
    Scene live(const Scene& begin, unsigned depth) {
        ++counts_.images;
        counts_.deepest = std::max(counts_.deepest, depth);
        SCOPED_TRACE("image " + std::to_string(counts_.images) + ", depth " + std::to_string(depth));
        const unsigned images = depth == 0 ? 60 : 3;
        Life life{SimulatedDisk(directory_ / std::to_string(depth), begin.image), nullptr, {}, depth, images};
        const bool goes_on = depth == 0 || (depth < kDeepest && random_.chance(12));
        watch(life, depth == 0 ? 30 : goes_on ? 8 : random_.chance(15) ? 10 : 0);
        try {
            const bool by_reader = depth > 0 && begin.image.files.contains("data") && random_.chance(10);
            PoweredStore<Raw> store(life.disk, profile_.log_window, by_reader ? Mode::read : Mode::append);
            if (!recognise(life, begin, *store)) return begin;
            if (by_reader && !open_again_for_writing(life, store)) return begin;
            counts_.in_recovery += life.images.size();
            if (!goes_on) life.disk.turn_off();
            verify_images(life);
            if (!goes_on) return begin;
            work(life, store);
            const Scene end = fail(life, store);
            if (depth > 0 && !ended()) live(end, depth + 1);
            return end;
        } catch (const std::exception& error) {
            ADD_FAILURE() << error.what();
            return begin;
        }
    }

    /// What a reader has found, a writer finds.
    bool open_again_for_writing(Life& life, PoweredStore<Raw>& store) {
        ++counts_.read_first;
        store.close();
        const auto timeline = life.timeline;
        life.timeline = nullptr;
        store.open();
        return recognise(life, {{}, timeline, 0, 0}, *store);
    }
    bool recognise(Life& life, const Scene& begin, const Raw& raw) {
        raw.check();
        const auto found = begin.timeline->find(Model::digest(raw), begin.least, begin.most);
        if (!found) {
            const auto elsewhere = begin.timeline->find(Model::digest(raw), 0, begin.timeline->done());
            const std::string found_at =
                elsewhere ? "but after " + std::to_string(*elsewhere) : "or any other number";
            ADD_FAILURE() << raw.size() << " entries are not the state after " << begin.least << " to "
                          << begin.most << " operations, " << found_at;
            return false;
        }
        counts_.lost_operations += *found < begin.most;
        counts_.beyond_sync += *found > begin.least;
        life.timeline = std::make_shared<Timeline>(begin.timeline->at(*found), random_());
        if constexpr (requires { raw.pause; }) counts_.snapshots += life.timeline->now().snapshots();
        return true;
    }

    /// Operations, with what makes them durable in between; every image is verified before more becomes so.
    void work(Life& life, PoweredStore<Raw>& store) {
        Turns& turns = life.disk.checkpoint_thread();
        life.disk.in_sync = [&] { turns.give(unsigned(random_.below(4))); };
        life.failures_left = random_.chance(30) ? 4 : 0;
        life.disk.fails = [this, &life] {
            return life.failures_left > 0 && random_.chance(10) && life.failures_left-- > 0;
        };
        for (auto left = random_.below(life.depth == 0 ? 2 * profile_.operations : 60); left > 0; --left) {
            step(life, *store);
            look_around(life, *store);
            if (random_.chance(25)) turns.give(1 + unsigned(random_.below(3)));
            if (random_.below(100) < (life.depth == 0 ? 2 : 1)) take_image(life);
            verify_images(life);
            if (ended()) return;
            const auto dice = random_.below(1000);
            if (dice < 20) make_durable(life, [&] { store->sync(); });
            else if (dice < 28) make_durable(life, [&] { store->checkpoint(); });
            else if (dice < 31) make_durable(life, [&] { store->compact(); });
            else if (dice < 34) {
                make_durable(life, [&] { store.close(); });
                life.failures_left = 0;
                store.open();
            }
        }
    }
    /// The next operation. It may learn of a checkpoint that failed; then it has changed nothing.
    void step(Life& life, Raw& raw) {
        if constexpr (requires { raw.pause; }) raw.pause = [&] { pause(life); };
        bool durable = false;
        for (life.in_operation = true; life.in_operation;) {
            try {
                durable = life.timeline->step(raw);
                life.in_operation = false;
            } catch (const StorageError& error) {
                if (error.code() != ENOSPC) throw;
                ++counts_.failed_checkpoints;
            }
        }
        if (!durable) return;
        verify_images(life);
        life.timeline->set_durable();
    }
    /// In the middle of an operation.
    void pause(Life& life) {
        if (random_.chance(5)) life.disk.checkpoint_thread().give(unsigned(random_.below(4)));
        if (random_.chance(2)) take_image(life);
    }
    /// What programs do beside changing a store.
    void look_around(Life& life, Raw& raw) {
        if constexpr (requires { raw.pause; }) {
            if (random_.chance(5)) raw.look_around(random_, life.timeline->now().contents());
        }
    }
    template <class Call>
    void make_durable(Life& life, Call&& call) {
        try {
            call();
        } catch (const StorageError& error) {
            if (error.code() != ENOSPC) throw;
            ++counts_.failed_checkpoints;
            return verify_images(life);
        }
        verify_images(life);
        life.timeline->set_durable();
        if (random_.chance(20)) take_image(life);
        verify_images(life);
    }

    /// Cuts the power for good, sometimes after the store was closed.
    Scene fail(Life& life, PoweredStore<Raw>& store) {
        life.failures_left = 0;
        if (random_.chance(20)) {
            store.close();
            verify_images(life);
            life.timeline->set_durable();
        }
        life.images_left = 1;
        take_image(life);
        Scene end = std::move(life.images.back());
        life.images.pop_back();
        end.timeline = life.timeline;
        life.disk.turn_off();
        return end;
    }

    static constexpr unsigned kDeepest = 6;
    const fs::path directory_;
    const Profile& profile_;
    Random random_;
    PowerCounts& counts_;
    std::uint64_t most_ = 0;
    std::optional<DiskImage::File> stale_lock_;  ///< of an image taken earlier
};

}  // namespace pyrsistence::test
