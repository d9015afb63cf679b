#include "bindings/number_array.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "codec/endian.hpp"

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

std::optional<NumberArray> NumberArray::of(PyObject* source, Use use, const Serializer& serializer) {
    if (std::strcmp(Py_TYPE(source)->tp_name, "numpy.ndarray") != 0 || !serializer.plain_keys()) return std::nullopt;
    LazyAttribute& describe = use == Use::values ? describe_values : use == Use::keys ? describe_keys : describe_pairs;
    nb::object description = describe(nb::handle(source));
    if (description.is_none()) return std::nullopt;
    return NumberArray(std::move(description), use == Use::pairs ? 2 : 1);
}

NumberArray::NumberArray(nb::object description, std::size_t width)
    : description_(std::move(description)),
      dtype_(as_text(bytes_of(PyTuple_GET_ITEM(description_.ptr(), 0)))),
      number_size_(nb::cast<std::size_t>(nb::handle(PyTuple_GET_ITEM(description_.ptr(), 1)))),
      width_(width),
      memory_(std::make_unique<Memory>(PyTuple_GET_ITEM(description_.ptr(), 2), PyBUF_SIMPLE)) {}

NumberArray::Key::Key(std::string_view dtype, Bytes number) : dtype_(dtype), size_(number.size()) {
    std::memcpy(bytes_.data(), number.data(), std::min(size_, bytes_.size()));
}

void NumberArray::Key::put_identity(Buffer& out) const {
    switch (dtype_[0]) {
        case 'i': return put_int(out, load_signed(view()));
        case 'u': return put_uint(out, load_unsigned(view()));
        default: return put_float_identity(out, load_float(view()));
    }
}

void NumberArray::put_value(Buffer& out, std::size_t row) const {
    if (width_ == 1) put_none(out);
    else put_number(out, row * width_ + 1);
}

}  // namespace pyrsistence::bindings
