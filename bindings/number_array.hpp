// Arrays of numbers, which containers take from NumPy without making an object of each: what is stored is what its
// scalars would be stored as. REQUIRES the GIL.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string_view>

#include "bindings/serializer.hpp"
#include "pyrsistence/encoding.hpp"

namespace pyrsistence::bindings {

/// The memory of an ndarray of numbers, which it keeps alive: little-endian and contiguous, in rows of one or two.
class NumberArray {
public:
    enum class Use {
        values,  ///< any number that is stored as it lies in memory
        keys,    ///< integers and floats that put_identity() knows
        pairs,   ///< the same, in rows of two
    };

    /// What is stored or looked up; nothing if objects of Python's are needed for it: because it is no such array (of a
    /// subclass, for instance, which may iterate as it likes), or because there are picklers. Runs nobody's code.
    static std::optional<NumberArray> of(PyObject* source, Use use, const Serializer& serializer);

    std::size_t rows() const noexcept { return memory_->bytes().size() / (width_ * number_size_); }
    /// Appends the item of the first number of a row.
    void put_item(Buffer& out, std::size_t row) const { put_number(out, row * width_); }
    /// The first number of a row as a key, read once: another thread, or another process, may change the array meanwhile.
    class Key {
    public:
        /// Appends its item.
        void put_item(Buffer& out) const { put_numpy_scalar(out, dtype_, view()); }
        /// Appends its identity, which does not give back its type.
        void put_identity(Buffer& out) const;

    private:
        friend NumberArray;
        Key(std::string_view dtype, Bytes number);
        Bytes view() const noexcept { return Bytes(bytes_).first(size_); }

        std::string_view dtype_;
        std::size_t size_;
        std::array<std::byte, 8> bytes_{};
    };
    /// REQUIRES: not Use::values.
    Key key(std::size_t row) const { return Key(dtype_, number(row * width_)); }
    /// Appends the item of what is stored under that number: the other one of the row, or None if there is none.
    void put_value(Buffer& out, std::size_t row) const;

private:
    NumberArray(nb::object description, std::size_t width);

    Bytes number(std::size_t i) const noexcept { return memory_->bytes().subspan(i * number_size_, number_size_); }
    void put_number(Buffer& out, std::size_t i) const { put_numpy_scalar(out, dtype_, number(i)); }

    nb::object description_;  ///< as _numpy.scalars() returns it; it owns what the others look at
    std::string_view dtype_;
    std::size_t number_size_, width_;
    std::unique_ptr<Memory> memory_;
};

}  // namespace pyrsistence::bindings
