// Keeps the process alive when a page of a mapped file cannot be read: a medium error, a file cut short by
// somebody else or a file system without room raise SIGBUS, and the handler in here puts a page of zeros in
// that place and counts the fault. Whoever reads through mappings asks for those counts before it believes
// what it read (see mapping_faults() in os/file.hpp).
//
// Thread safety: everything may be called from any thread, and in the child of a fork; nothing waits.
//
// The handler is installed with the first guard and stays for the rest of the process. A signal that is not
// about a guarded range goes to the handler that was there before, or ends the process as it would have.
// If somebody installs another handler later, that one gets the signals, and a fault in a guarded range ends
// as it decides (Python's faulthandler prints its tracebacks and kills the process) until the next guard puts
// this handler in front again. A thread that blocks SIGBUS is killed by the kernel at its first fault.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/file.hpp"

namespace pyrsistence::os {

struct GuardedRange;

/// Guards [data, data + size) while it lives. If the table of ranges is full, the range is not guarded.
class MappingGuard {
public:
    /// REQUIRES: the range was mapped as a whole, with the given access.
    MappingGuard(const std::byte* data, std::size_t size, Access access) noexcept;
    ~MappingGuard() { release(); }
    MappingGuard(const MappingGuard&) = delete;
    MappingGuard& operator=(const MappingGuard&) = delete;

    /// To be called before the range is unmapped, when no thread touches it any more.
    void release() noexcept;
    /// How many times a page of the range, or at last all of it, was replaced by zeros.
    std::uint64_t faults() const noexcept;

    /// How many ranges can be guarded at a time.
    static constexpr std::size_t kCapacity = 4096;
    /// So many faults replace a page each; the next one replaces the whole range, because each page splits it
    /// further, and a process may have some 65,000 mappings only.
    static constexpr std::uint64_t kSinglePages = 256;

private:
    GuardedRange* range_;
};

}  // namespace pyrsistence::os
