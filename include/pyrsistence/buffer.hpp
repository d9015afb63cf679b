// A growable byte buffer whose first bytes lie inside the object, so that encoding a small key or
// value allocates nothing. Not thread-safe; moving or copying is not needed and not offered.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>

#include "pyrsistence/types.hpp"

namespace pyrsistence {

class Buffer {
public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    const std::byte* data() const noexcept { return data_; }
    std::byte* data() noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    Bytes view() const noexcept { return {data_, size_}; }
    operator Bytes() const noexcept { return view(); }

    void clear() noexcept { size_ = 0; }
    /// Shortens to `size` bytes. REQUIRES: size <= this->size().
    void truncate(std::size_t size) noexcept { size_ = size; }

    /// Appends `count` uninitialised bytes and returns the first of them.
    std::byte* extend(std::size_t count) {
        if (count > capacity_ - size_) grow(count);
        std::byte* place = data_ + size_;
        size_ += count;
        return place;
    }
    void append(Bytes bytes) {
        if (!bytes.empty()) std::memcpy(extend(bytes.size()), bytes.data(), bytes.size());
    }
    void push_back(std::byte value) { *extend(1) = value; }
    void assign(Bytes bytes) {
        clear();
        append(bytes);
    }

private:
    static constexpr std::size_t kInline = 240;

    [[gnu::noinline, gnu::cold]] void grow(std::size_t count) {
        const std::size_t capacity = std::max(2 * capacity_, size_ + count);
        auto larger = std::make_unique_for_overwrite<std::byte[]>(capacity);
        std::memcpy(larger.get(), data_, size_);
        heap_ = std::move(larger);
        data_ = heap_.get();
        capacity_ = capacity;
    }

    std::byte* data_ = inline_;
    std::size_t size_ = 0;
    std::size_t capacity_ = kInline;
    std::unique_ptr<std::byte[]> heap_;
    std::byte inline_[kInline];
};

}  // namespace pyrsistence
