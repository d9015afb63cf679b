// Which SIGBUS goes to whom: to the guard, to handlers installed before or after it, or to the kernel.
#include <setjmp.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <utility>

#include "guarded_files.hpp"

namespace pyrsistence::os {
namespace {

using MappingSignalTest = MappingGuardTest;
using ::testing::ExitedWithCode;
using ::testing::KilledBySignal;

/// errno, even if the compiler believes that nothing has changed it.
volatile int& error_number() { return errno; }

void handle_with(void (*handler)(int, siginfo_t*, void*), int flags = 0) {
    struct sigaction action {};
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | flags;
    ::sigaction(SIGBUS, &action, nullptr);
}

/// A signal as the kernel would send it, to this thread.
void send(int code, const void* address = nullptr) {
    siginfo_t info{};
    info.si_signo = SIGBUS;
    info.si_code = code;
    info.si_addr = const_cast<void*>(address);
    ::syscall(SYS_rt_tgsigqueueinfo, ::getpid(), ::gettid(), SIGBUS, &info);
}

sigjmp_buf escape;
void jump(int, siginfo_t*, void*) { ::siglongjmp(escape, 1); }
bool escapes(const std::byte* at) {
    if (sigsetjmp(escape, 1) != 0) return true;
    peek(at);
    return false;
}

TEST_F(MappingSignalTest, TheHandlerOfBeforeGetsTheOtherFaults) {
    EXPECT_LIVES({
        handle_with(jump);
        const Victim cut = victim(1);
        cut.cut(0);
        std::byte* const foreign = foreign_memory(directory_);
        return escapes(foreign) && escapes(foreign) && cut.at(0) == 0 && cut.mapping->faults() == 1 &&
               escapes(foreign);
    });
}

volatile sig_atomic_t calls = 0;
siginfo_t last_info;
sigset_t last_mask;
void record(int, siginfo_t* info, void*) {
    calls = calls + 1;
    last_info = *info;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &last_mask);
}

TEST_F(MappingSignalTest, OnlyReadErrorsAreServed) {
    EXPECT_LIVES({
        handle_with(record);
        const Victim one = victim(1);
        const std::uint64_t before = mapping_faults();
        int expected = 0;
        for (const int code : std::array<int, 5>{SI_USER, SI_TKILL, SI_QUEUE, BUS_ADRALN, BUS_MCEERR_AO}) {
            send(code, one.mapping->data());
            if (calls != ++expected || last_info.si_code != code) return false;
            if (last_info.si_addr != one.mapping->data()) return false;
        }
        if (one.at(0) != 'x' || mapping_faults() != before) return false;
        send(BUS_MCEERR_AR, one.mapping->data());
        return one.at(0) == 0 && one.mapping->faults() == 1 && calls == expected;
    });
}

TEST_F(MappingSignalTest, AHandlerGetsTheMaskItAskedFor) {
    for (const bool nodefer : {false, true}) {
        EXPECT_LIVES({
            struct sigaction action {};
            action.sa_sigaction = record;
            action.sa_flags = SA_SIGINFO | (nodefer ? SA_NODEFER : 0);
            ::sigaddset(&action.sa_mask, SIGUSR1);
            ::sigaction(SIGBUS, &action, nullptr);
            const Victim one = victim(1);
            ::raise(SIGBUS);
            sigset_t after;
            ::pthread_sigmask(SIG_BLOCK, nullptr, &after);
            return ::sigismember(&last_mask, SIGUSR1) == 1 && ::sigismember(&last_mask, SIGBUS) == !nodefer &&
                   ::sigismember(&after, SIGUSR1) == 0 && ::sigismember(&after, SIGBUS) == 0;
        });
    }
}

TEST_F(MappingSignalTest, PlainHandlersAndIgnoredSignalsStayWhatTheyWere) {
    EXPECT_LIVES({
        ::signal(SIGBUS, [](int) {
            calls = calls + 1;
            errno = 5;
        });
        const Victim one = victim(1);
        error_number() = 77;
        ::raise(SIGBUS);
        return calls == 1 && error_number() == 77;
    });
    EXPECT_LIVES({
        ::signal(SIGBUS, SIG_IGN);
        const Victim one = victim(1);
        ::raise(SIGBUS);
        one.cut(0);
        return one.at(0) == 0;
    });
    EXPECT_KILLED({
        ::signal(SIGBUS, SIG_IGN);
        const Victim one = victim(1);
        peek(foreign_memory(directory_));  // the kernel does not ignore a fault either
    });
    EXPECT_KILLED({
        handle_with([](int, siginfo_t*, void*) { ::raise(SIGBUS); }, SA_RESETHAND | SA_NODEFER);
        const Victim one = victim(1);
        ::raise(SIGBUS);
    });
}

struct sigaction before_theirs;
/// Installs a handler on top of ours and remembers ours, as a library does that chains.
void handle_later(void (*handler)(int, siginfo_t*, void*)) {
    struct sigaction action {};
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    ::sigaction(SIGBUS, &action, &before_theirs);
}

TEST_F(MappingSignalTest, ALaterHandlerThatChainsServesBoth) {
    const auto chaining = [](int signal, siginfo_t* info, void* context) {
        (void)!::write(STDERR_FILENO, "theirs ", 7);
        calls = calls + 1;
        before_theirs.sa_sigaction(signal, info, context);
    };
    const auto faults = [&](bool again) {
        const Victim first = victim(1);
        handle_later(chaining);
        first.cut(0);
        if (again) const Victim second = victim(1);  // ours is in front now
        return first.at(0) == 0 && first.mapping->faults() == 1 && calls == (again ? 0 : 1);
    };
    EXPECT_LIVES({ return faults(false); });
    EXPECT_LIVES({ return faults(true); });
    for (const bool again : {false, true}) {
        const auto fault_elsewhere = [&] {
            ::alarm(60);
            faults(again);
            (void)!::write(STDERR_FILENO, "|", 1);
            peek(foreign_memory(directory_));
        };
        EXPECT_EXIT(fault_elsewhere(), KilledBySignal(SIGBUS), "\\|theirs $");
    }
}

/// As Python's faulthandler does: report, put the former handler back, raise.
void report(int, siginfo_t*, void*) {
    (void)!::write(STDERR_FILENO, "report ", 7);
    ::sigaction(SIGBUS, &before_theirs, nullptr);
    ::raise(SIGBUS);
}

TEST_F(MappingSignalTest, ALaterHandlerThatRestoresOursIsCalledOnce) {
    const Victim cut = victim(1);
    cut.cut(0);
    std::byte* const foreign = foreign_memory(directory_);
    const auto read = [&](bool ours_in_front, const std::byte* at) {
        ::alarm(60);
        handle_later(report);
        if (ours_in_front) const Victim second = victim(1);
        return peek(at);
    };
    EXPECT_EXIT(read(false, foreign), KilledBySignal(SIGBUS), "^report $");
    EXPECT_EXIT(read(true, foreign), KilledBySignal(SIGBUS), "^report $");
    EXPECT_EXIT(read(false, cut.mapping->data()), KilledBySignal(SIGBUS), "^report $");
    EXPECT_EXIT(::_exit(read(true, cut.mapping->data())), ExitedWithCode(0), "^$");
}

TEST_F(MappingSignalTest, TheSameHandlerMayComeBackAnyNumberOfTimes) {
    EXPECT_LIVES({
        const Victim cut = victim(2);
        cut.cut(0);
        for (int i = 0; i < 100; ++i) {
            handle_later(report);
            const Victim next = victim(1);
            if (i % 2 == 0) ::sigaction(SIGBUS, &before_theirs, nullptr);
        }
        return cut.at(0) == 0 && cut.at(1) == 0;
    });
}

template <int>
void distinct(int, siginfo_t* info, void* context) {
    static volatile int unique = 0;  // no two instances are folded into one
    unique = unique + 1;
    record(0, info, context);
}
using Handler = void (*)(int, siginfo_t*, void*);
template <int... i>
std::array<Handler, sizeof...(i)> distinct_handlers(std::integer_sequence<int, i...>) {
    return {distinct<i>...};
}

TEST_F(MappingSignalTest, AfterManyHandlersTheLastOneStays) {
    EXPECT_LIVES({
        Victim cut = victim(1);
        cut.cut(0);
        for (const Handler handler : distinct_handlers(std::make_integer_sequence<int, 15>())) {
            handle_later(handler);
            const Victim next = victim(1);
        }
        if (cut.at(0) != 0 || calls != 0) return false;
        for (const Handler handler : distinct_handlers(std::make_integer_sequence<int, 40>())) {
            handle_later(handler);
            const Victim next = victim(1);
        }
        ::raise(SIGBUS);
        return calls == 1;
    });
}

}  // namespace
}  // namespace pyrsistence::os
