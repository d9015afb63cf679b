// The hash and the digest of key identities: XXH3, which gives the same on every machine (docs/format.md,
// "Keys"). Pure functions, safe from any thread.
#pragma once

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include <algorithm>

#include "codec/endian.hpp"
#include "pyrsistence/encoding.hpp"

namespace pyrsistence::codec {

/// A longer identity is stored, hashed and compared as its digest.
inline constexpr std::size_t kMaxIdentity = 64 * 1024;

/// Runs of this many neighbouring integers have neighbouring hashes.
inline constexpr unsigned kHashRunBits = 12;

/// Equal for the integers of a run, whose hashes differ behind this only.
inline std::uint64_t hash_run(std::uint64_t hash) noexcept { return hash >> 36; }

/// Keeps integers that are close together close in hash order, as counters and addresses often come:
/// 28 hashed bits tell the runs apart, the next 12 count within the run, from a hashed start on. An index
/// in hash order is then filled and read like a sorted one, and stays as even as before for other keys.
inline std::uint64_t integer_hash(std::uint64_t value, std::uint64_t seed) noexcept {
    std::byte run[8];
    store<std::uint64_t>(run, value >> kHashRunBits);
    const std::uint64_t hash = XXH3_64bits_withSeed(run, sizeof run, seed);
    constexpr std::uint64_t kWithin = (std::uint64_t{1} << kHashRunBits) - 1;
    return (hash_run(hash) << 36) | ((value + hash) & kWithin) << 24 | (hash >> kHashRunBits & 0xff'ffff);
}

/// REQUIRES: `key` is a stored identity (see stored_identity); `seed` is the store's.
inline std::uint64_t key_hash(Bytes key, std::uint64_t seed) noexcept {
    const auto tag = static_cast<std::uint8_t>(key[0]);
    if (tag >= Tag::kSmallInt0) return integer_hash(tag - Tag::kSmallInt0, seed);
    if (tag >= Tag::kInt0 && tag <= Tag::kNegative0 + 8 && (tag & 0xf) <= 8) {
        std::byte payload[8]{};
        std::memcpy(payload, key.data() + 1, std::min<std::size_t>(key.size() - 1, sizeof payload));
        const auto value = load<std::uint64_t>(payload);
        return integer_hash(tag >= Tag::kNegative0 ? ~value : value, seed);
    }
    return XXH3_64bits_withSeed(key.data(), key.size(), seed);
}

/// Appends the digest item that stands for `identity`.
inline void digest_key(Buffer& out, Bytes identity) {
    const XXH128_hash_t digest = XXH3_128bits(identity.data(), identity.size());
    std::byte* place = out.extend(17);
    place[0] = std::byte{Tag::kDigest};
    store<std::uint64_t>(place + 1, digest.low64);
    store<std::uint64_t>(place + 9, digest.high64);
}

/// `identity` itself, or if it is too long its digest item, made in `scratch`.
inline Bytes stored_identity(Bytes identity, Buffer& scratch) {
    if (identity.size() <= kMaxIdentity) return identity;
    scratch.clear();
    digest_key(scratch, identity);
    return scratch;
}

}  // namespace pyrsistence::codec
