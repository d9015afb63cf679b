// Little-endian loads and stores at any address; everything on disk goes through these.
#pragma once

#include <bit>
#include <cstring>

#include "pyrsistence/types.hpp"

namespace pyrsistence::codec {

template <class T>
inline T load(const std::byte* place) noexcept {
    T value;
    std::memcpy(&value, place, sizeof value);
    if constexpr (std::endian::native == std::endian::big && sizeof(T) > 1) {
        T swapped = 0;
        for (std::size_t i = 0; i < sizeof(T); ++i) swapped = T(swapped << 8) | T(place[sizeof(T) - 1 - i]);
        value = swapped;
    }
    return value;
}

template <class T>
inline void store(std::byte* place, T value) noexcept {
    if constexpr (std::endian::native == std::endian::big && sizeof(T) > 1) {
        for (std::size_t i = 0; i < sizeof(T); ++i) place[i] = std::byte(value >> (8 * i));
    } else {
        std::memcpy(place, &value, sizeof value);
    }
}

/// Eight bytes as a number, so that numbers are in the order of the bytes.
inline std::uint64_t load_big_endian(const std::byte* place) noexcept {
    return __builtin_bswap64(load<std::uint64_t>(place));
}

/// 48-bit loads and stores touch exactly six bytes.
inline std::uint64_t load48(const std::byte* place) noexcept {
    return load<std::uint32_t>(place) | std::uint64_t{load<std::uint16_t>(place + 4)} << 32;
}
inline void store48(std::byte* place, std::uint64_t value) noexcept {
    store<std::uint32_t>(place, static_cast<std::uint32_t>(value));
    store<std::uint16_t>(place + 4, static_cast<std::uint16_t>(value >> 32));
}

}  // namespace pyrsistence::codec
