// Interpolation search in a sorted array of integers, for keys that are spread evenly: hashes,
// dense ids, cumulated counts.
#pragma once

#include <algorithm>
#include <cstdint>

namespace pyrsistence::structures {

/// How many of the `n` values get(0) <= get(1) <= ... are not above `key`. Expected O(log log n)
/// on even data, O(log n) at worst. Source: Perl, Itai, Avni, "Interpolation search", CACM 1978.
template <class Get>
inline unsigned count_not_above(unsigned n, std::uint64_t key, const Get& get) {
    if (n == 0) return 0;
    const std::uint64_t first = get(0);
    if (key < first) return 0;
    const std::uint64_t last = get(n - 1);
    if (key >= last) return n;
    unsigned low = static_cast<unsigned>((key - first) * (n - 1) / (last - first));
    unsigned high = low + 1;
    unsigned step = 1;
    if (get(low) <= key) {
        while (get(high) <= key) {
            low = high;
            high = std::min(n - 1, high + step);
            step *= 2;
        }
    } else {
        do {
            high = low;
            low = low > step ? low - step : 0;
            step *= 2;
        } while (get(low) > key);
    }
    while (high - low > 1) {
        const unsigned middle = low + (high - low) / 2;
        (get(middle) <= key ? low : high) = middle;
    }
    return high;
}

}  // namespace pyrsistence::structures
