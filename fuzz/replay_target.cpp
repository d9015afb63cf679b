#include "fuzz/samples.hpp"
#include "fuzz/targets.hpp"
#include "fuzz/walk.hpp"
#include "storage/log.hpp"
#include "storage/meta.hpp"

namespace pyrsistence::fuzz {

namespace {

using storage::Log;

/// The record with its header, but for the checksum, which is made when the log is complete.
void append_record(std::vector<std::byte>& window, std::uint64_t sequence, Bytes payload) {
    std::byte header[Log::kRecordHeader]{};
    codec::store(header + 8, static_cast<std::uint32_t>(payload.size()));
    codec::store(header + 12, ~std::uint32_t{0});
    codec::store(header + 16, sequence);
    window.insert(window.end(), header, header + sizeof header);
    window.insert(window.end(), payload.begin(), payload.end());
}

}  // namespace

void run_replay(Bytes input) {
    Image image = small_store();
    std::vector<std::byte>& window = image.log[1];
    window.resize(Log::kHeaderSize);
    // The window was shrunk to its header, and its meta page names it: its first record comes next.
    auto sequence = codec::load<std::uint64_t>(window.data() + 32);
    while (input.size() > 2) {
        const auto wanted = codec::load<std::uint16_t>(input.data());
        input = input.subspan(2);
        const Bytes payload = input.first(std::min<std::size_t>(wanted, input.size()));
        input = input.subspan(payload.size());
        if (!payload.empty()) append_record(window, sequence++, payload);
    }
    image.log_size = Image::log_offset(1) + window.size() + 2 * Log::kRecordHeader;
    mend_checksums(image, {});
    image.write(scratch_directory() / "store");
    walk_store(scratch_directory() / "store", scratch_directory() / "copy");
}

}  // namespace pyrsistence::fuzz

PYRSISTENCE_FUZZ_TARGET(pyrsistence::fuzz::run_replay)
