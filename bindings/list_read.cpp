// Reading in a row and searching.
#include "bindings/list.hpp"
#include "bindings/value_codec.hpp"

namespace pyrsistence::bindings::list {

namespace {

constexpr std::size_t kMostAhead = 1024;

/// Types whose items are equal if and only if their bytes are, and that are never equal to a value of
/// another family. Floats, bools and NumPy scalars may equal ints, so they have none.
std::uint8_t family_of(std::uint8_t tag) noexcept {
    enum : std::uint8_t { none, integer, text, bytes, nothing };
    const auto within = [tag](std::uint8_t first, std::uint8_t last) { return first <= tag && tag <= last; };
    if (tag >= Tag::kSmallInt0 || within(Tag::kInt0, Tag::kBigInt)) return integer;
    if (within(Tag::kNegative0, Tag::kBigNegative)) return integer;
    if (within(Tag::kShortText0, Tag::kShortText0 + kMaxShortText)) return text;
    if (tag == Tag::kText || tag == Tag::kSurrogateText) return text;
    if (within(Tag::kShortBytes0, Tag::kShortBytes0 + kMaxShortBytes) || tag == Tag::kBytes) return bytes;
    return tag == Tag::kNone ? nothing : none;
}

bool has_family(PyObject* value) noexcept {
    return PyLong_CheckExact(value) || PyUnicode_CheckExact(value) || PyBytes_CheckExact(value) ||
           value == Py_None;
}

std::uint8_t tag_of(Bytes item) noexcept { return item.empty() ? 0 : static_cast<std::uint8_t>(item[0]); }

}  // namespace

nb::object decode(PyObject* self, Bytes item) { return collection_of(self).serializer().decode_value(item); }

/// Another thread that uses this cursor, too, may go on with it while this one waits for the store.
bool Cursor::refill(const ListUse& use, bool fresh) {
    // Each change makes the items read ahead worthless: begin with few of them again.
    if (!fresh && serial_ != 0) ahead_ = 0;
    ahead_ = std::clamp<std::size_t>(2 * ahead_, 1, kMostAhead);
    const bool forward = direction_ == Direction::forward;
    while (remaining() > 0) {
        const std::size_t count = std::min<std::uint64_t>(ahead_, remaining());
        const std::uint64_t place = position(), wanted = forward ? place : place - 1;
        if (forward) use->read(place, count, chunk_);
        else use->read_back(place, count, chunk_);
        at_ = 0;
        serial_ = use.serial();
        if (position() != place) continue;
        if (!chunk_.items.empty() && chunk_.items[0].key == wanted) return true;
        finish();  // the list has become shorter
    }
    return false;
}

Search::Search(PyObject* self, PyObject* value, std::uint64_t first, std::uint64_t end)
    : self_(self), value_(value), cursor_(first, end) {
    if (!has_family(value)) return;
    Obstacle obstacle;
    if (encode_native(value, needle_, obstacle)) family_ = family_of(tag_of(needle_));
}

std::optional<std::uint64_t> Search::next(Buffer* found) {
    Bytes item;
    while (cursor_.next(collection_of(self_), item)) {
        if (found != nullptr) found->assign(item);
        poll_.step();
        if (matches(item)) return cursor_.position() - 1;
    }
    return std::nullopt;
}

bool Search::matches(Bytes item) const {
    if (const std::uint8_t family = family_of(tag_of(item)); family != 0 && family_ != 0) {
        return as_text(item) == as_text(needle_);
    }
    Buffer copy;
    copy.assign(item);
    const nb::object candidate = decode(self_, copy);
    return checked(PyObject_RichCompareBool(candidate.ptr(), value_, Py_EQ)) != 0;
}

std::vector<Bytes> ItemPool::views() const {
    std::vector<Bytes> views;
    views.reserve(size());
    for (std::size_t i = 0; i < size(); ++i) views.push_back((*this)[i]);
    return views;
}

}  // namespace pyrsistence::bindings::list
