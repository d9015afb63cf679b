// The files of a store as one string of bytes, which is what a fuzzer changes. Any bytes are an image: what
// does not fit is cut off, so that no input makes a file of more than a few MiB. Values, for any thread.
#pragma once

#include <array>
#include <filesystem>
#include <vector>

#include "pyrsistence/types.hpp"

namespace pyrsistence::fuzz {

namespace fs = std::filesystem;

struct Image {
    /// The log's header and its windows, which lie far apart in the file.
    static constexpr std::size_t kLogParts = 4;

    std::vector<std::byte> data;
    std::array<std::vector<std::byte>, kLogParts> log;
    std::vector<std::byte> lock;
    std::uint64_t data_size = 0;  ///< of the file; less than data.size() cuts it
    std::uint64_t log_size = 0;

    /// A store that nobody has open.
    static Image read(const fs::path& store);
    /// Makes the directory anew.
    void write(const fs::path& store) const;

    static Image unpack(Bytes packed);
    /// Zeros take no room.
    std::vector<std::byte> pack() const;

    static std::uint64_t log_offset(std::size_t part);
};

std::vector<std::byte> read_bytes(const fs::path& file);
void write_bytes(const fs::path& file, Bytes bytes);

}  // namespace pyrsistence::fuzz
