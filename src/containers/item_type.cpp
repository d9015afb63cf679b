#include "containers/item_type.hpp"

#include "codec/endian.hpp"

namespace pyrsistence::containers {

namespace {

// u48 bytes of an item, u8 number of dimensions, u48 each, u8 length of the dtype, its text.
constexpr std::size_t kDimensions = 6;
constexpr std::size_t kShape = 7;
constexpr std::size_t kDimension = 6;

[[noreturn]] void bad_type() {
    throw CorruptionError("the description of an array's items is damaged; restore a backup");
}

Bytes take(Bytes& rest, std::size_t count) {
    if (rest.size() < count) bad_type();
    const Bytes taken = rest.first(count);
    rest = rest.subspan(count);
    return taken;
}

}  // namespace

std::vector<std::byte> encode(const ItemType& type) {
    if (type.size == 0 || type.size > kMostItemSize) {
        throw FormatError("items of " + std::to_string(type.size) + " bytes; from 1 to " + std::to_string(kMostItemSize) +
                          " are possible in an array");
    }
    const std::size_t size = kShape + kDimension * type.shape.size() + 1 + type.dtype.size();
    if (type.dtype.empty() || size > kMostTypeBytes) {
        throw FormatError("a dtype that takes " + std::to_string(size) + " bytes to describe, at most " +
                          std::to_string(kMostTypeBytes) + " are possible; give its fields shorter names: " + type.dtype);
    }
    std::vector<std::byte> bytes(size);
    codec::store48(bytes.data(), type.size);
    bytes[kDimensions] = std::byte(type.shape.size());
    std::byte* place = bytes.data() + kShape;
    for (const std::uint64_t dimension : type.shape) {
        codec::store48(place, dimension);
        place += kDimension;
    }
    *place++ = std::byte(type.dtype.size());
    std::memcpy(place, type.dtype.data(), type.dtype.size());
    return bytes;
}

std::uint64_t decode_item_size(Bytes bytes) {
    const std::uint64_t size = codec::load48(take(bytes, kDimensions).data());
    if (size == 0 || size > kMostItemSize) bad_type();
    return size;
}

ItemType decode_item_type(Bytes bytes) {
    ItemType type{.size = decode_item_size(bytes)};
    (void)take(bytes, kDimensions);
    const auto dimensions = static_cast<std::size_t>(take(bytes, 1)[0]);
    for (std::size_t i = 0; i < dimensions; ++i) type.shape.push_back(codec::load48(take(bytes, kDimension).data()));
    const auto length = static_cast<std::size_t>(take(bytes, 1)[0]);
    type.dtype = as_text(take(bytes, length));
    if (length == 0) bad_type();
    return type;
}

std::string describe(const ItemType& type) {
    if (type.shape.empty()) return type.dtype;
    std::string shape;
    for (const std::uint64_t dimension : type.shape) shape += (shape.empty() ? "" : ", ") + std::to_string(dimension);
    return type.dtype + " of shape (" + shape + (type.shape.size() == 1 ? ",)" : ")");
}

}  // namespace pyrsistence::containers
