// What the containers are filled with: pure functions from an index to a key and from a key to a value, so
// that no array of keys competes with a container for memory, and any answer can be checked.
// Safe to use from any thread.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace bench {

/// Stafford's mix13, the last step of splitmix64: a bijection, so different indices give different keys.
constexpr std::uint64_t mix(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

/// Visits 0 ... n-1 in a random order that needs no memory: a Feistel network over the smallest even number
/// of bits, applied again as long as it leads outside.
class Shuffle {
public:
    Shuffle(std::uint64_t n, std::uint64_t seed)
        : n_(n), half_((static_cast<unsigned>(std::bit_width(n)) + 1) / 2), seed_(seed) {}

    /// REQUIRES: i < n
    std::uint64_t operator()(std::uint64_t i) const {
        do {
            i = permute(i);
        } while (i >= n_);
        return i;
    }

private:
    static constexpr unsigned kRounds = 4;

    std::uint64_t permute(std::uint64_t i) const {
        const std::uint64_t mask = (std::uint64_t{1} << half_) - 1;
        std::uint64_t left = i >> half_, right = i & mask;
        for (unsigned round = 0; round < kRounds; ++round) {
            const std::uint64_t next = left ^ (mix(right ^ mix(seed_ + round)) & mask);
            left = right;
            right = next;
        }
        return left << half_ | right;
    }

    std::uint64_t n_;
    unsigned half_;
    std::uint64_t seed_;
};

/// What is added up over all values that a row reads, to be compared with what it should have read.
inline std::uint64_t digest(std::uint64_t value) { return value; }
/// Of a stored value: both of its ends, so that all of it must be there.
inline std::uint64_t digest(std::string_view bytes) {
    std::uint64_t first, last;
    std::memcpy(&first, bytes.data(), sizeof first);
    std::memcpy(&last, bytes.data() + bytes.size() - sizeof last, sizeof last);
    return bytes.size() == sizeof first ? first : first ^ (last << 1);
}
template <std::size_t N>
std::uint64_t digest(const std::array<char, N>& value) {
    return digest(std::string_view(value.data(), N));
}

/// uint64 to uint64; version tells the values of one key apart.
struct Numbers {
    using Key = std::uint64_t;
    using Value = std::uint64_t;
    static constexpr bool kAscending = false;
    static Key key(std::uint64_t i) { return mix(i); }
    static Value value(Key key, std::uint64_t version) { return mix(key + version); }
};

/// The same with keys 0, 1, 2, ...
struct Ascending : Numbers {
    static constexpr bool kAscending = true;
    static Key key(std::uint64_t i) { return i; }
};

/// Of a set: a member stands for its own value, so that what is read can be checked.
struct Members : Numbers {
    static Value value(Key key, std::uint64_t) { return key; }
};

/// 24 random bytes to 150 random bytes.
struct Blobs {
    using Key = std::array<char, 24>;
    using Value = std::array<char, 150>;
    static constexpr bool kAscending = false;
    static Key key(std::uint64_t i) { return expanded<Key>(mix(i)); }
    static Value value(const Key& key, std::uint64_t version) {
        return expanded<Value>(digest(std::string_view(key.data(), 8)) + version);
    }

private:
    /// The first eight bytes are the seed itself: different seeds, different bytes.
    template <class Bytes>
    static Bytes expanded(std::uint64_t seed) {
        Bytes bytes;
        std::uint64_t word = seed;
        for (std::size_t at = 0; at < bytes.size(); at += sizeof word) {
            std::memcpy(bytes.data() + at, &word, std::min(sizeof word, bytes.size() - at));
            word = mix(word + seed);
        }
        return bytes;
    }
};

/// How libraries that store bytes see a key or a value.
inline std::string_view as_view(const std::uint64_t& number) {
    return {reinterpret_cast<const char*>(&number), sizeof number};
}
template <std::size_t N>
std::string_view as_view(const std::array<char, N>& bytes) {
    return {bytes.data(), N};
}
/// REQUIRES: bytes has the size of a T
template <class T>
T from_view(std::string_view bytes) {
    T value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

/// For libraries that order keys by memcmp: ascending numbers must be ascending bytes. Its own inverse.
inline std::uint64_t ordered(std::uint64_t number) { return __builtin_bswap64(number); }
template <std::size_t N>
const std::array<char, N>& ordered(const std::array<char, N>& bytes) {
    return bytes;
}

}  // namespace bench
