// The directory of a store: creating, recognising, locking and sharing it.

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <map>
#include <random>

#include "storage/store.hpp"

namespace pyrsistence::storage {

/// The stores that this process has open, by the identity of their data files.
struct Registry {
    std::mutex mutex;
    std::map<os::File::Identity, std::weak_ptr<Store>> stores;

    static Registry& get() {
        static Registry* registry = new Registry;  // outlives every store, also at exit
        return *registry;
    }
    Registry() {
        pthread_atfork([] { get().mutex.lock(); }, [] { get().mutex.unlock(); },
                       [] {
                           for (auto& [identity, store] : get().stores) {
                               if (const auto alive = store.lock()) get().forget(alive);
                           }
                           get().stores.clear();
                           get().mutex.unlock();
                       });
    }
    /// The child of a fork keeps the object, but none of its files. It is never destroyed: threads
    /// of the parent may have been waiting for its condition variable, or held its lock.
    void forget(const std::shared_ptr<Store>& store) {
        store->forget_after_fork();
        orphans.push_back(store);
    }
    std::vector<std::shared_ptr<Store>> orphans;
};

namespace {

constexpr const char* kData = "data";
constexpr const char* kNewData = "data.new";
constexpr const char* kLog = "log";
constexpr const char* kLock = "lock";
constexpr const char* kRecovering = "recovers\n";  ///< in the lock file, behind the pid

bool contains(const std::vector<std::string>& names, const char* name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

/// Nothing, or what a process that died while creating a store leaves behind.
bool creatable(const std::vector<std::string>& names) {
    return std::all_of(names.begin(), names.end(),
                       [](const std::string& name) { return name == kLock || name == kLog || name == kNewData; });
}

std::uint64_t random64() {
    std::random_device device;
    return std::uint64_t{device()} << 32 | device();
}

}  // namespace

Store::Store(os::fs::path path, const StoreOptions& options)
    : path_(std::move(path)), options_(options), files_(options.files ? *options.files : os::FileSystem::posix()) {
    if (options_.memory_limit == 0) options_.memory_limit = os::available_memory() / 4;
    constexpr std::uint64_t kLeast = std::uint64_t{4} << 20;
    options_.memory_limit = std::max(options_.memory_limit, kLeast);
}

Store::~Store() {
    try {
        close();
    } catch (...) {
        // Whoever wants to know calls release(); the log keeps everything.
    }
}

std::shared_ptr<Store> Store::open(const os::fs::path& path, const StoreOptions& options) {
    Registry& registry = Registry::get();
    const std::lock_guard guard(registry.mutex);
    os::FileSystem& files = options.files ? *options.files : os::FileSystem::posix();
    std::error_code ignored;
    if (os::fs::is_regular_file(os::fs::symlink_status(path / kData, ignored))) {
        const auto identity = files.open(path / kData, os::Access::read_only)->identity();
        const auto found = registry.stores.find(identity);
        const auto shared = found == registry.stores.end() ? nullptr : found->second.lock();
        if (shared) {
            if (options.mode == Mode::exclusive) throw ExistsError(path.string() + " exists already");
            if (options.mode == Mode::truncate) {
                throw LockedError(path.string() + " is open in this process; close it before emptying it");
            }
            if (!shared->read_only() || options.mode == Mode::read) return shared;
            throw LockedError(path.string() + " is open read-only in this process; close it before writing");
        }
    }
    std::shared_ptr<Store> store(new Store(path, options));
    store->open_files();
    registry.stores[store->data_->identity()] = store;
    store->in_registry_ = false;
    return store;
}

void Store::release(std::shared_ptr<Store>& handle) {
    if (!handle) return;
    Registry& registry = Registry::get();
    const std::lock_guard guard(registry.mutex);
    const std::shared_ptr<Store> store = std::move(handle);
    if (store.use_count() > 1 || store->forked_ || store->closed_) return;
    registry.stores.erase(store->data_->identity());
    store->close();
}

void Store::open_files() {
    prepare_directory();
    faults_seen_ = os::mapping_faults();
    if (read_only()) return open_reader();
    open_writer();
    if (!table_) return;
    const Guard lock(mutex_);
    announce({meta_.pages.epoch, meta_.catalog, version_});
    watch_ = files_.watch(path_ / kLock, [this] { publish(); });
}

/// Afterwards the directory exists, and holds a store or may be made one.
void Store::prepare_directory() {
    const bool may_create = options_.mode != Mode::read && options_.mode != Mode::read_write;
    const auto status = os::fs::status(path_);
    if (os::fs::exists(status) && !os::fs::is_directory(status)) {
        throw FormatError(path_.string() + " is a file; a store is a directory");
    }
    if (!os::fs::exists(status)) {
        if (!may_create) throw NotFoundError(path_.string() + " does not exist; mode 'a' creates it");
        files_.create_directory(path_);
        if (!temporary()) files_.sync_directory(os::fs::absolute(path_).parent_path());
    }
    const auto names = files_.list(path_);
    require_files(names);
    if (contains(names, kData)) {
        // Before the lock is asked for: that another process holds it does not matter.
        if (options_.mode == Mode::exclusive) throw ExistsError(path_.string() + " holds a store already");
        return;
    }
    if (contains(names, "index.bin")) {
        throw FormatError(path_.string() + " holds files of the original pyrsistence 1.x (index.bin); read them with "
                          "that version and write them into a new directory");
    }
    if (!creatable(names)) {
        throw FormatError(path_.string() + " is not a pyrsistence store: it holds other files (" + names.front() +
                          "); choose a new or empty directory");
    }
    if (!may_create && names.empty()) throw NotFoundError(path_.string() + " is empty; mode 'a' creates a store in it");
    if (!may_create) throw NotFoundError(path_.string() + " has no file 'data', so that there is no store in it; restore a backup");
    require_new(names);
}

/// A link would lead writes to another place, and a file with two names could be written by two processes that
/// each hold a lock of its own.
void Store::require_files(const std::vector<std::string>& names) const {
    for (const char* name : {kData, kNewData, kLog, kLock}) {
        if (!contains(names, name)) continue;
        std::error_code error;
        const auto status = os::fs::symlink_status(path_ / name, error);
        if (error || !os::fs::exists(status)) continue;  // another process is at it
        if (!os::fs::is_regular_file(status)) {
            const char* const kind = os::fs::is_symlink(status) ? " is a symbolic link" : " is no file";
            throw FormatError((path_ / name).string() + kind + "; the files of a store are regular files in its "
                              "directory, put its own back");
        }
        const auto links = os::fs::hard_link_count(path_ / name, error);
        if (error || links == 1 || read_only()) continue;
        throw FormatError((path_ / name).string() + " has " + std::to_string(links) + " names (hard links); "
                          "writing would change the others, too: copy the store, or remove them");
    }
}

void Store::open_writer() {
    take_lock();
    const bool exists = contains(files_.list(path_), kData);  // another process may have created it meanwhile
    if (exists && options_.mode == Mode::exclusive) throw ExistsError(path_.string() + " holds a store already");
    if (!exists) {
        created_ = true;
        create_files();
    } else if (options_.mode == Mode::truncate) {
        Meta::read(*files_.open(path_ / kData, os::Access::read_only), path_.string());
        files_.rename(path_ / kData, path_ / kNewData);  // from here on it counts as a store to be created
        if (!temporary()) files_.sync_directory(path_);  // the old data must not come back beside a new log
        create_files();
    }
    data_ = files_.open(path_ / kData, os::Access::read_write);
    if (data_->locked_elsewhere(0)) refuse_for_readers();
    Meta::read(*data_, path_.string());
    log_file_ = files_.open(path_ / kLog, os::Access::read_write);
    open_table();
    load();
    hash_seed_ = meta_.hash_seed;
    // Records that were replayed must be durable in a new generation before anything new happens.
    if (!dirty()) return;
    Guard lock(mutex_);
    checkpoint_and_wait(lock);
}

/// A log that was used, without a data file being made, belongs to a data file that was lost.
void Store::require_new(const std::vector<std::string>& names) const {
    if (!contains(names, kLog) || contains(names, kNewData)) return;
    if (Log::unused(*files_.open(path_ / kLog, os::Access::read_only))) return;
    throw FormatError(path_.string() + " has lost its file 'data': its log belongs to an older store; put 'data' "
                      "back, or remove the directory to start anew");
}

void Store::create_files() {
    const auto names = files_.list(path_);
    for (const char* name : {kLog, kNewData}) {
        if (!contains(names, name)) continue;
        files_.remove(path_ / name);
        if (!temporary()) files_.sync_directory(path_);  // a used log must not stay behind without data.new
    }
    Meta meta;
    meta.checkpoint = 2;  // page 0
    meta.pages.epoch = 1;
    meta.log = {0, 0, 1};
    meta.hash_seed = options_.hash_seed != 0 ? options_.hash_seed : random64();
    make_files(files_, path_, meta, !temporary(), [](os::File& data) { data.allocate(0, kMetaPages * kPageSize); });
}

/// The data file appears by a rename, when everything in it is durable: then the store exists.
void Store::make_files(os::FileSystem& files, const os::fs::path& path, Meta meta, bool durable,
                       const std::function<void(os::File& data)>& fill) {
    const auto log_file = files.create(path / kLog);
    Log::format(*log_file);
    Log log(*log_file, false);
    const auto data = files.create(path / kNewData);
    fill(*data);
    meta.log = log.start(meta.log.generation + 1, meta.log.sequence, kSmallestWindow, 0);
    codec::store<std::uint64_t>(meta.store_id.data(), random64());
    codec::store<std::uint64_t>(meta.store_id.data() + 8, random64());
    meta.write(*data);
    log.confirm(meta.checkpoint);
    log.shrink();
    if (durable) {
        log_file->sync();
        data->sync();
        files.sync_directory(path);  // a durable rename must not come before the log's name
    }
    files.rename(path / kNewData, path / kData);
    if (durable) files.sync_directory(path);
}

void Store::remove_files() {
    for (const char* name : {kData, kNewData, kLog, kLock}) {
        try {
            files_.remove(path_ / name);
        } catch (...) {
            // Somebody removed the directory already.
        }
    }
    std::error_code ignored;
    os::fs::remove(path_, ignored);
}

/// True if readers can announce themselves in the lock file. If a copy of a store lacks it and none can be made,
/// the data file stands in for it: writers look there, too.
bool Store::open_lock_file() {
    const auto names = files_.list(path_);
    const bool exists = contains(names, kLock);
    try {
        lock_file_ = exists ? files_.open(path_ / kLock, os::Access::read_write) : files_.create(path_ / kLock);
        created_ = !exists && !contains(names, kData);
        return true;
    } catch (const StorageError& error) {
        if (error.code() == EEXIST || error.code() == ENOENT) return open_lock_file();  // made or removed meanwhile
        if (!read_only() || !forbidden(error)) throw;
    }
    lock_file_ = files_.open(path_ / (exists ? kLock : kData), os::Access::read_only);
    return false;
}

/// What the last writer wrote into the lock file: its pid, and whether it is a reader that recovers the store.
std::string Store::lock_text() const {
    std::array<std::byte, ReaderTable::kPidSize> text;
    return std::string(as_text(Bytes(text).first(lock_file_->read(text, 0))));
}

std::string Store::holder() const {
    const std::string text = lock_text();
    return text.substr(0, text.find('\n'));
}

/// Waits for holders that give the lock back soon: a reader that recovers the store, and the child of a writer
/// that died just after a fork, until it has run its fork handlers. Several readers may recover it by turns, so that
/// the lock is held at each try and nobody seems to write just after it.
bool Store::lock_in_time(os::Lock kind) {
    constexpr auto kPause = std::chrono::milliseconds(5);
    constexpr int kRecovery = 2000, kFork = 200, kTurns = 20;
    for (int tries = 0;; ++tries) {
        if (lock_file_->try_lock(0, kind)) return true;
        const std::string text = lock_text();
        const int pid = std::atoi(text.c_str());
        const bool recovers = text.find(kRecovering) != std::string::npos;
        const bool dead = pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH;
        if (tries >= (!writer_lives() ? kTurns : recovers ? kRecovery : dead ? kFork : 0)) return false;
        std::this_thread::sleep_for(kPause);
    }
}

void Store::refuse_for_readers() const {
    throw LockedError(path_.string() + " is open for reading in another process, which may not write its file "
                      "'lock'; close it there first");
}

void Store::take_lock() {
    open_lock_file();
    if (!lock_in_time(os::Lock::exclusive)) {
        if (!writer_lives()) refuse_for_readers();
        throw LockedError(path_.string() + " is open for writing in process " + holder() + "; close it there first");
    }
    std::array<char, ReaderTable::kPidSize> text{};
    const std::string pid = std::to_string(::getpid()) + "\n" + (recovering_ ? kRecovering : "");
    std::ranges::copy(pid, text.begin());
    lock_file_->write(as_bytes({text.data(), text.size()}), 0);
}

void Store::forget_after_fork() noexcept {
    forked_ = true;
    transactions_ = 0;  // those of the parent never end here
    if (table_) table_->abandon();
    for (auto* file : {lock_file_.get(), data_.get(), log_file_.get()}) {
        if (file) file->abandon();
    }
    // The thread exists in the parent only; a joinable std::thread must not be destroyed.
    (void)checkpointer_.release();
}

}  // namespace pyrsistence::storage
