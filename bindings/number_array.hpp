// Arrays of numbers, which containers take from NumPy without making an object of each: what is stored is what its
// scalars would be stored as. REQUIRES the GIL.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "bindings/py_util.hpp"
#include "pyrsistence/buffer.hpp"

namespace pyrsistence::bindings {

/// The memory of an ndarray of numbers, which it keeps alive: little-endian and contiguous, row by row.
class NumberArray {
public:
    enum class Use {
        values,  ///< any number that is stored as it lies in memory
        keys,    ///< integers and floats that put_identity() knows
        pairs,   ///< the same, in rows of two
    };

    /// Nothing for what is no such array, among others a subclass of ndarray, which may iterate as it likes. Runs nobody's code.
    static std::optional<NumberArray> of(PyObject* object, Use use);

    std::size_t size() const noexcept { return memory_->bytes().size() / number_size_; }
    Bytes number(std::size_t i) const noexcept { return memory_->bytes().subspan(i * number_size_, number_size_); }
    /// Appends the value item of a number.
    void put_value(Buffer& out, std::size_t i) const;
    /// Appends the identity of a number that is a key, which does not give back its type. REQUIRES: Use::keys or Use::pairs.
    void put_identity(Buffer& out, std::size_t i) const;

private:
    explicit NumberArray(nb::object description);

    nb::object description_;  ///< as _numpy.scalars() returns it; it owns what the others look at
    std::string_view dtype_;
    std::size_t number_size_;
    std::unique_ptr<Memory> memory_;
};

}  // namespace pyrsistence::bindings
