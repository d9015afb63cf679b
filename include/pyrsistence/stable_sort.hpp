// A stable sort in memory for records that can be copied as bytes: a merge sort without unpredictable branches, about
// twice as fast as std::stable_sort where the order is random.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>

namespace pyrsistence::detail {

/// Merges src[0, half) and src[half, n) into dst from both ends at once, so that two chains of comparisons run side by
/// side (as in quadsort by Scandum, 2021). Neither chain can leave its halves, as these differ by one at most and each
/// chain takes no more than the smaller one has. REQUIRES: half == n / 2, half > 0.
template <class T, class Less>
void merge_both_ends(const T* src, std::size_t n, T* dst, Less& less) {
    const std::size_t half = n / 2;
    const T *left = src, *right = src + half, *left_end = right - 1, *right_end = src + n - 1;
    if (!less(*right, *left_end)) {
        std::copy(src, src + n, dst);
        return;
    }
    T* out_end = dst + n - 1;
    for (std::size_t i = 0; i < half; ++i) {
        const bool take_right = less(*right, *left);
        *dst++ = *(take_right ? right : left);
        right += take_right;
        left += !take_right;
        const bool take_left = less(*right_end, *left_end);
        *out_end-- = *(take_left ? left_end : right_end);
        left_end -= take_left;
        right_end -= !take_left;
    }
    if (n % 2 != 0) *dst = *(left <= left_end ? left : right);
}

/// Sorts n items; the result is in `other`, which has room for as many, if `to_other`.
template <class T, class Less>
void merge_sort(T* items, T* other, std::size_t n, bool to_other, Less& less) {
    constexpr std::size_t kFew = 8;
    if (n <= kFew) {
        for (std::size_t i = 1; i < n; ++i) {
            const T item = items[i];
            std::size_t at = i;
            for (; at > 0 && less(item, items[at - 1]); --at) items[at] = items[at - 1];
            items[at] = item;
        }
        if (to_other) std::copy(items, items + n, other);
        return;
    }
    merge_sort(items, other, n / 2, !to_other, less);
    merge_sort(items + n / 2, other + n / 2, n - n / 2, !to_other, less);
    merge_both_ends(to_other ? items : other, n, to_other ? other : items, less);
}

/// Sorts stably with room for half of the items. O(n log n). If `less` throws, items may be lost and others doubled; the
/// same if it is no strict weak order.
template <class T, class Less>
    requires std::is_trivially_copyable_v<T>
void stable_sort(std::span<T> items, Less less) {
    const std::size_t half = items.size() / 2;
    if (half == 0) return;
    const auto room = std::make_unique_for_overwrite<std::byte[]>((items.size() - half) * sizeof(T));
    T* const other = reinterpret_cast<T*>(room.get());
    T* const middle = items.data() + half;
    merge_sort(items.data(), other, half, false, less);
    merge_sort(middle, other, items.size() - half, false, less);
    if (!less(*middle, middle[-1])) return;
    std::copy(items.data(), middle, other);
    const T *left = other, *right = middle;
    const T *const left_end = other + half, *const right_end = items.data() + items.size();
    T* out = items.data();
    while (left != left_end && right != right_end) {
        const bool take_right = less(*right, *left);
        *out++ = *(take_right ? right : left);
        right += take_right;
        left += !take_right;
    }
    std::copy(left, left_end, out);
}

}  // namespace pyrsistence::detail
