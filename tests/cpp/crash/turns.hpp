// How a test decides when the checkpoint thread of a store goes on, so that a run follows from its random
// numbers alone. The test's thread gives turns, the checkpoint thread waits for them.
#pragma once

#include <condition_variable>
#include <mutex>

#include "storage/store.hpp"

namespace pyrsistence::test {

/// Lets the checkpoint thread make a number of calls, or go on until it ends.
class Turns {
public:
    /// Tells how many more calls the checkpoint thread makes, and returns when it has made them.
    void give(unsigned calls) {
        std::unique_lock lock(mutex_);
        if (!alive_ || free_) return;
        given_ = calls;
        changed_.notify_all();
        changed_.wait(lock, [this] { return !alive_ || (waiting_ && given_ == 0); });
        given_ = 0;
    }
    void set_free(bool free) {
        const std::lock_guard lock(mutex_);
        free_ = free;
        given_ = 0;
        changed_.notify_all();
    }
    /// Called by the checkpoint thread before each of its calls.
    void await() {
        std::unique_lock lock(mutex_);
        waiting_ = true;
        changed_.notify_all();
        changed_.wait(lock, [this] { return free_ || given_ > 0; });
        waiting_ = false;
        if (!free_) --given_;
    }
    void tell(storage::StoreOptions::Checkpoint what) {
        using Checkpoint = storage::StoreOptions::Checkpoint;
        if (what == Checkpoint::begins) return await();
        const std::lock_guard lock(mutex_);
        alive_ = what == Checkpoint::starts;
        changed_.notify_all();
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool alive_ = false, waiting_ = false, free_ = true;
    unsigned given_ = 0;
};

}  // namespace pyrsistence::test
