// The shapes of the stores that lose power.
#pragma once

#include "crash/workload.hpp"

namespace pyrsistence::test {

constexpr std::uint64_t kSmall = 64 << 10;

/// One container.
inline constexpr Profile kEqualRecords{"equal records", 300, 24, 24, 0, true, 300, kSmall, 150, 0.15};
inline constexpr Profile kFullLogs{"full logs", 60, 1000, 1000, 0, true, 60, kSmall, 120, 0.15};
inline constexpr Profile kMixed{"mixed sizes", 150, 60, 20'000, 60, false, 200, kSmall, 200, 0.15};
inline constexpr Profile kExtents{"extents", 40, 3000, 200 << 10, 200, false, 20, 256 << 10, 80, 0.1};
inline constexpr Profile kBatches{"batches", 1000, 100, 4000, 10, false, 1500, kSmall, 60, 0.1};
inline constexpr Profile kManyPages{"many pages", 9000, 700, 700, 0, false, 1500, 1 << 20, 300, 0.06};
inline constexpr Profile kDivided{"divided index", 3000, 12, 12, 0, true, 10, kSmall, 4000, 0.06};  ///< a delta and a filter
inline constexpr Profile kCreation{"creation", 20, 100, 2000, 100, false, 20, kSmall, 3, 0.4};

/// Several, and transactions.
inline constexpr Profile kSmallChanges{"small changes", 60, 24, 24, 0, true, 40, kSmall, 150, 0.35, 4, 30};
inline constexpr Profile kMixedStore{"mixed sizes", 60, 60, 20'000, 60, false, 60, kSmall, 150, 0.35, 5, 60};
inline constexpr Profile kLongOnes{"long transactions", 150, 200, 4000, 20, false, 300, kSmall, 50, 0.35, 3, 400};
inline constexpr Profile kBigValues{"extents", 12, 3000, 200 << 10, 200, false, 10, 256 << 10, 80, 0.35, 3, 20};
inline constexpr Profile kManyNames{"many names", 10, 40, 3000, 30, false, 10, kSmall, 150, 0.35, 40, 40};
inline constexpr Profile kMuchStore{"many pages", 3000, 700, 700, 0, false, 1000, 1 << 20, 60, 0.05, 3, 300};

}  // namespace pyrsistence::test
