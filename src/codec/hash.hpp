// The hash and the digest of key identities: XXH3, which gives the same on every machine (docs/format.md,
// "Keys"). Pure functions, safe from any thread.
#pragma once

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include "codec/endian.hpp"
#include "pyrsistence/encoding.hpp"

namespace pyrsistence::codec {

/// A longer identity is stored, hashed and compared as its digest.
inline constexpr std::size_t kMaxIdentity = 64 * 1024;

/// REQUIRES: `key` is a stored identity (see stored_identity); `seed` is the store's.
inline std::uint64_t key_hash(Bytes key, std::uint64_t seed) noexcept {
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
