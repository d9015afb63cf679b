// The table of guarded ranges and the SIGBUS handler, which reads it. What the handler calls is atomics and
// system calls; what it reads is changed without locks, so that a fork at any moment leaves it usable.
#include "os/mapping_guard.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <utility>

namespace pyrsistence::os {

/// Goes through free, changing and live again and again; `state` counts these steps, so that a reader who
/// finds it live and unchanged has read one range and not parts of two.
struct GuardedRange {
    enum Phase : std::uint64_t { free, changing, live };

    static Phase phase(std::uint64_t state) { return static_cast<Phase>(state % 3); }
    bool claim() {
        std::uint64_t seen = state;
        return phase(seen) == free && state.compare_exchange_strong(seen, seen + 1);
    }

    std::atomic<std::uint64_t> state = free;
    std::atomic<std::uintptr_t> begin = 0, end = 0;  ///< whole pages
    std::atomic<int> protection = 0;
    std::atomic<std::uint64_t> faults = 0;
};

namespace {

static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "used by a signal handler");

constinit std::array<GuardedRange, MappingGuard::kCapacity> ranges{};

std::uintptr_t page_size() noexcept { return static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE)); }

bool map_zeros(std::uintptr_t begin, std::uintptr_t end, int protection) noexcept {
    void* const place = reinterpret_cast<void*>(begin);
    const int flags = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    return ::mmap(place, end - begin, protection, flags, -1, 0) != MAP_FAILED;
}

/// Replaces the page at `address` if it lies in a guarded range. Such a range cannot change meanwhile, as
/// this thread is using it; others can, and are passed over.
bool replace_page(std::uintptr_t address) noexcept {
    for (GuardedRange& range : ranges) {
        const std::uint64_t state = range.state;
        if (GuardedRange::phase(state) != GuardedRange::live) continue;
        const std::uintptr_t begin = range.begin, end = range.end;
        if (address < begin || address >= end || range.state != state) continue;
        // Counted first: whoever sees the zeros also sees the count.
        const bool few = ++range.faults <= MappingGuard::kSinglePages;
        ++mapping_fault_count;
        const std::uintptr_t page = address - address % page_size();
        const int protection = range.protection;
        return (few && map_zeros(page, page + page_size(), protection)) || map_zeros(begin, end, protection);
    }
    return false;
}

// Each level chains to the action that it replaced and has a handler of its own. If that action is in turn
// one that calls, or restores, an older handler of ours, the older one goes on with what it replaced: chains
// never run in circles.
struct Level {
    enum State { unused, writing, ready };
    std::atomic<State> state = unused;
    struct sigaction replaced {};
};
constexpr std::size_t kLevels = 16;
constinit std::array<Level, kLevels> levels{};

void use_default_action() noexcept {
    struct sigaction action {};
    action.sa_handler = SIG_DFL;
    ::sigaction(SIGBUS, &action, nullptr);
}

/// Whether returning from the handler raises the signal again.
bool comes_again(const siginfo_t& info) noexcept { return info.si_code > 0 && info.si_code != BUS_MCEERR_AO; }

/// What the kernel does by default. A fault ends the process when the handler returns, so that a core dump
/// shows the instruction.
void terminate(const siginfo_t& info) noexcept {
    use_default_action();
    if (!comes_again(info)) ::raise(SIGBUS);
}

/// Calls a handler with the signals blocked as it asked for; returning from ours restores them. It may leave
/// by siglongjmp.
void call(const struct sigaction& action, int signal, siginfo_t* info, void* context) {
    sigset_t blocked = action.sa_mask;
    if (!(action.sa_flags & SA_NODEFER)) ::sigaddset(&blocked, SIGBUS);
    ::pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
    if ((static_cast<unsigned>(action.sa_flags) & static_cast<unsigned>(SA_RESETHAND)) != 0) use_default_action();
    if (action.sa_flags & SA_SIGINFO) {
        action.sa_sigaction(signal, info, context);
    } else {
        action.sa_handler(signal);
    }
}

void chain(const struct sigaction& action, int signal, siginfo_t* info, void* context) {
    const bool plain = !(action.sa_flags & SA_SIGINFO);
    if (plain && action.sa_handler == SIG_DFL) {
        terminate(*info);
    } else if (plain && action.sa_handler == SIG_IGN) {
        if (comes_again(*info)) terminate(*info);  // faults cannot be ignored
    } else {
        call(action, signal, info, context);
    }
}

/// Whether the signal says that a page could not be read or written, and where. An early warning of a memory
/// error (BUS_MCEERR_AO) is not of this kind: it comes at any time, and again when the page is used.
bool is_page_fault(const siginfo_t& info) noexcept {
    return info.si_code == BUS_ADRERR || info.si_code == BUS_OBJERR || info.si_code == BUS_MCEERR_AR;
}

template <std::size_t level>
void on_sigbus(int signal, siginfo_t* info, void* context) {
    const int saved = errno;
    if (!is_page_fault(*info) || !replace_page(reinterpret_cast<std::uintptr_t>(info->si_addr))) {
        chain(levels[level].replaced, signal, info, context);
    }
    errno = saved;
}

using Handler = void (*)(int, siginfo_t*, void*);
constexpr std::array<Handler, kLevels> handlers = []<std::size_t... level>(std::index_sequence<level...>) {
    return std::array<Handler, kLevels>{on_sigbus<level>...};
}(std::make_index_sequence<kLevels>());

bool is_ours(const struct sigaction& action) noexcept {
    if (!(action.sa_flags & SA_SIGINFO)) return false;
    for (const Handler handler : handlers) {
        if (action.sa_sigaction == handler) return true;
    }
    return false;
}

bool same(const struct sigaction& a, const struct sigaction& b) noexcept {
    if (a.sa_flags != b.sa_flags) return false;
    return a.sa_flags & SA_SIGINFO ? a.sa_sigaction == b.sa_sigaction : a.sa_handler == b.sa_handler;
}

/// The level that chains to `action`; kLevels if there is none left for it.
std::size_t level_above(const struct sigaction& action) noexcept {
    for (std::size_t i = 0; i < kLevels; ++i) {
        auto state = Level::unused;
        if (levels[i].state.compare_exchange_strong(state, Level::writing)) {
            levels[i].replaced = action;
            levels[i].state = Level::ready;
            return i;
        }
        if (state == Level::ready && same(levels[i].replaced, action)) return i;
    }
    return kLevels;
}

/// Puts our handler in front of whatever handles SIGBUS now.
void install() noexcept {
    struct sigaction current {};
    ::sigaction(SIGBUS, nullptr, &current);
    while (!is_ours(current)) {
        const std::size_t level = level_above(current);
        if (level == kLevels) return;
        struct sigaction ours {}, replaced {};
        ours.sa_sigaction = handlers[level];
        ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART;
        ::sigaction(SIGBUS, &ours, &replaced);
        if (same(replaced, current)) return;
        current = replaced;  // another thread was faster
    }
}

GuardedRange* claim_range() noexcept {
    for (GuardedRange& range : ranges) {
        if (range.claim()) return &range;
    }
    return nullptr;
}

}  // namespace

MappingGuard::MappingGuard(const std::byte* data, std::size_t size, Access access) noexcept
    : range_(claim_range()) {
    if (range_ == nullptr) return;
    const auto begin = reinterpret_cast<std::uintptr_t>(data);
    range_->begin = begin;
    range_->end = begin + (size + page_size() - 1) / page_size() * page_size();
    range_->protection = access == Access::read_write ? PROT_READ | PROT_WRITE : PROT_READ;
    range_->faults = 0;
    ++range_->state;
    install();
}

void MappingGuard::release() noexcept {
    if (range_ != nullptr) ++range_->state;
    range_ = nullptr;
}

std::uint64_t MappingGuard::faults() const noexcept { return range_ == nullptr ? 0 : range_->faults.load(); }

}  // namespace pyrsistence::os
