// A place in a sequence, counted from either end. A plain value.
#pragma once

#include <cstdint>

namespace pyrsistence {

/// A place in a list or an order, counted from the front, or from the end as it is when the operation happens.
struct Rank {
    std::uint64_t number;
    bool from_end = false;

    constexpr Rank(std::uint64_t number) : number(number) {}
    /// 1 is the last item.
    static constexpr Rank end_minus(std::uint64_t number) {
        Rank rank(number);
        rank.from_end = true;
        return rank;
    }
    /// From the front of a list of `size` items; `otherwise` if it lies before the first one.
    constexpr std::uint64_t in(std::uint64_t size, std::uint64_t otherwise = UINT64_MAX) const {
        if (!from_end) return number;
        return number <= size ? size - number : otherwise;
    }
};

}  // namespace pyrsistence
