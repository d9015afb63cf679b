// What is fuzzed: each target takes any bytes and returns, or throws a Violation. Each is one source file, which
// is a libFuzzer target when it is compiled with PYRSISTENCE_LIBFUZZER. One thread at a time.
#pragma once

#include <vector>

#include "fuzz/image.hpp"
#include "fuzz/mutate.hpp"

namespace pyrsistence::fuzz {

/// A packed store (image.hpp), with everything that can be done to it.
void run_store(Bytes input);
/// Records, each a u16 length and a payload, that a sound store finds in its log.
void run_replay(Bytes input);
/// One item, entry or key.
void run_codec(Bytes input);
/// A byte of switches, then the file `lock` of a sound store.
void run_lock(Bytes input);

struct Target {
    const char* name;
    void (*run)(Bytes input);
    std::vector<std::byte> (*mutate)(Bytes input, Random& random);
};
inline constexpr Target kTargets[] = {
    {"store", run_store, mutate_store},
    {"replay", run_replay, mutate_bytes},
    {"codec", run_codec, mutate_bytes},
    {"lock", run_lock, mutate_bytes},
};

}  // namespace pyrsistence::fuzz

#ifdef PYRSISTENCE_LIBFUZZER
/// Defines what libFuzzer calls. A Violation ends the process, which is what it looks for.
#define PYRSISTENCE_FUZZ_TARGET(run)                                                    \
    extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) { \
        run({reinterpret_cast<const std::byte*>(data), size});                          \
        return 0;                                                                       \
    }
#else
#define PYRSISTENCE_FUZZ_TARGET(run)
#endif
