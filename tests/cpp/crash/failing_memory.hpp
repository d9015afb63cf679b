// Memory that runs out: the operator new of this program, which fails as a test wants, in the threads that have
// been armed and in no other. Everything may be called from any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace pyrsistence::test {

class FailingMemory {
public:
    /// Of the armed threads together, the allocation with this number, counted from 1, fails; if `lasting`, so do
    /// those that follow it.
    static void fail_at(std::uint64_t number, bool lasting) noexcept {
        count_ = 0;
        failed_ = 0;
        at_ = number;
        lasting_ = lasting;
    }
    static void fail_at_none() noexcept { at_ = UINT64_MAX, lasting_ = false; }
    /// Has the present thread take part.
    static void arm(bool on) noexcept { armed_ = on; }
    static bool armed() noexcept { return armed_; }
    /// Allocations that have failed since fail_at().
    static std::uint64_t failed() noexcept { return failed_; }
    static std::uint64_t count() noexcept { return count_; }

    /// For operator new.
    static bool fails() noexcept {
        if (!armed_) [[likely]] return false;
        const std::uint64_t now = ++count_;
        if (now != at_ && !(lasting_ && now > at_)) return false;
        ++failed_;
        return true;
    }

    /// Arms the present thread.
    class Scope {
    public:
        Scope() noexcept { arm(true); }
        ~Scope() { arm(false); }
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;
    };

private:
    static inline thread_local bool armed_ = false;
    static inline std::atomic<std::uint64_t> count_ = 0, failed_ = 0, at_ = UINT64_MAX;
    static inline std::atomic<bool> lasting_ = false;
};

}  // namespace pyrsistence::test
