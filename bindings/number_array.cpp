#include "bindings/number_array.hpp"

#include <bit>
#include <cstring>

#include "codec/endian.hpp"
#include "pyrsistence/encoding.hpp"

namespace pyrsistence::bindings {

namespace {

LazyAttribute describe_values{"pyrsistence._numpy", "scalars"};
LazyAttribute describe_keys{"pyrsistence._numpy", "keys"};
LazyAttribute describe_pairs{"pyrsistence._numpy", "pairs"};

std::uint64_t load_unsigned(Bytes number) {
    switch (number.size()) {
        case 1: return std::to_integer<std::uint64_t>(number[0]);
        case 2: return codec::load<std::uint16_t>(number.data());
        case 4: return codec::load<std::uint32_t>(number.data());
        default: return codec::load<std::uint64_t>(number.data());
    }
}

std::int64_t load_signed(Bytes number) {
    const auto unused = static_cast<unsigned>(64 - 8 * number.size());
    return static_cast<std::int64_t>(load_unsigned(number) << unused) >> unused;
}

double load_float(Bytes number) {
    if (number.size() == 4) return std::bit_cast<float>(codec::load<std::uint32_t>(number.data()));
    return std::bit_cast<double>(codec::load<std::uint64_t>(number.data()));
}

}  // namespace

std::optional<NumberArray> NumberArray::of(PyObject* object, Use use) {
    if (std::strcmp(Py_TYPE(object)->tp_name, "numpy.ndarray") != 0) return std::nullopt;
    LazyAttribute& describe = use == Use::values ? describe_values : use == Use::keys ? describe_keys : describe_pairs;
    nb::object description = describe(nb::handle(object));
    if (description.is_none()) return std::nullopt;
    return NumberArray(std::move(description));
}

NumberArray::NumberArray(nb::object description)
    : description_(std::move(description)),
      dtype_(as_text(bytes_of(PyTuple_GET_ITEM(description_.ptr(), 0)))),
      number_size_(nb::cast<std::size_t>(nb::handle(PyTuple_GET_ITEM(description_.ptr(), 1)))),
      memory_(std::make_unique<Memory>(PyTuple_GET_ITEM(description_.ptr(), 2), PyBUF_SIMPLE)) {}

void NumberArray::put_value(Buffer& out, std::size_t i) const { put_numpy_scalar(out, dtype_, number(i)); }

void NumberArray::put_identity(Buffer& out, std::size_t i) const {
    switch (dtype_[0]) {
        case 'i': return put_int(out, load_signed(number(i)));
        case 'u': return put_uint(out, load_unsigned(number(i)));
        default: return put_float_identity(out, load_float(number(i)));
    }
}

}  // namespace pyrsistence::bindings
