// The objects that one encoding has met, by address: a flat table that starts inside the object and grows by
// doubling. Not thread-safe; addresses are only compared, never followed.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

namespace pyrsistence::bindings {

class AddressTable {
public:
    /// Where in the output the object's item lies; empty for objects that may be met only once.
    struct Range {
        std::size_t begin = 0;
        std::size_t end = 0;
    };

    const Range* find(const void* address) const noexcept {
        const Slot& slot = *place_of(address);
        return slot.address == address ? &slot.range : nullptr;
    }

    /// False if the address is there already.
    bool insert(const void* address, Range range) {
        if (2 * (count_ + 1) > slots_.size()) grow();
        Slot& slot = *place_of(address);
        if (slot.address == address) return false;
        slot = {address, range};
        ++count_;
        return true;
    }

private:
    struct Slot {
        const void* address = nullptr;
        Range range;
    };

    /// The slot that holds the address, or the empty one where it belongs.
    Slot* place_of(const void* address) const noexcept {
        const std::size_t mask = slots_.size() - 1;
        const std::uint64_t mixed = reinterpret_cast<std::uintptr_t>(address) * 0x9E37'79B9'7F4A'7C15;
        std::size_t i = static_cast<std::size_t>(mixed >> 32) & mask;
        while (slots_[i].address != nullptr && slots_[i].address != address) i = (i + 1) & mask;
        return &slots_[i];
    }

    void grow() {
        const std::size_t size = 4 * slots_.size();
        auto larger = std::make_unique<Slot[]>(size);
        const std::span<Slot> old = slots_;
        slots_ = {larger.get(), size};
        for (const Slot& slot : old) {
            if (slot.address != nullptr) *place_of(slot.address) = slot;
        }
        heap_ = std::move(larger);
    }

    std::array<Slot, 8> inline_{};
    std::unique_ptr<Slot[]> heap_;
    std::span<Slot> slots_{inline_};
    std::size_t count_ = 0;
};

}  // namespace pyrsistence::bindings
