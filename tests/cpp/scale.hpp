// How much work a randomised test does: its own number times the environment variable
// PYRSISTENCE_TEST_SCALE, 1 if unset. Safe to call from any thread that nobody races with setenv.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>

namespace pyrsistence::test {

inline double test_scale() {
    const char* text = std::getenv("PYRSISTENCE_TEST_SCALE");
    const double scale = text ? std::strtod(text, nullptr) : 1.0;
    return scale > 0 ? scale : 1.0;
}

/// `count` operations at scale 1; never fewer than one.
inline std::size_t scaled(std::size_t count) {
    return std::max<std::size_t>(1, static_cast<std::size_t>(static_cast<double>(count) * test_scale()));
}

}  // namespace pyrsistence::test
