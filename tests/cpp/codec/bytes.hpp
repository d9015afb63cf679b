// What the codec tests share: bytes as hexadecimal text, and items that between them have every tag.
#pragma once

#include <string>
#include <vector>

#include "pyrsistence/encoding.hpp"

namespace codec_test {

using namespace pyrsistence;

inline std::string hex(Bytes bytes) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (const std::byte b : bytes) {
        text += kDigits[std::to_integer<unsigned>(b) >> 4];
        text += kDigits[std::to_integer<unsigned>(b) & 15];
    }
    return text;
}

/// On the heap and of exact length, so that AddressSanitizer sees a read of one byte too many.
inline std::vector<std::byte> unhex(std::string_view text) {
    std::vector<std::byte> bytes;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
        bytes.push_back(static_cast<std::byte>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
    }
    bytes.shrink_to_fit();
    return bytes;
}

template <class Put>
std::string encoded(Put put) {
    Buffer out;
    put(out);
    return hex(out);
}

inline std::string repeat(std::string_view text, std::size_t count) {
    std::string result;
    for (std::size_t i = 0; i < count; ++i) result += text;
    return result;
}

/// Valid items, one at least of every tag or range of tags.
inline std::vector<std::string> sample_items() {
    return {
        "01", "02", "03", "04182d4454fb210940", "05000000000000f03f00000000000000c0",
        "0620" + repeat("61", 32), "06c801" + repeat("61", 200), "0703eda080", "0810" + repeat("00", 16),
        "0902ffff", "0a00", "0a03818283", "0b020b010181", "0c01416181", "0c0281824301020384", "0d0181",
        "0e028182", "0f03800495", "1180", "12ff01", "18ffffffffffffffff", "1909000000000000000001", "20",
        "2180", "28ffffffffffffffff", "2909000000000000000001", "300269340401000000", "310161", "40", "4161",
        "5f" + repeat("61", 31), "60", "6100", "6f" + repeat("00", 15), "708183", "718120", "72028182",
        "73010203040506", "740102030405060708", "750102030405060708", "760102030405060708",
        "770102030405060708", "780102030405060708", "79000102030405060708090a0b0c0d0e0f", "7a412f",
        "7b4163", "7c41614162", "7d41610a0181", "7e41614162", "7f000102030405060708090a0b0c0d0e0f", "80",
        "ff", "0a010b010c01800d010e0181",
    };
}

}  // namespace codec_test
