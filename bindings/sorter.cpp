#include "bindings/sorter.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "bindings/value_codec.hpp"
#include "pyrsistence/stable_sort.hpp"

namespace pyrsistence::bindings {

void sort_list(const nb::object& list, PyObject* key, bool reverse) {
    const nb::object method = own(PyObject_GetAttrString(list.ptr(), "sort"));
    const nb::object nothing = own(PyTuple_New(0));
    const nb::object options = own(Py_BuildValue("{s:O,s:O}", "key", key, "reverse", reverse ? Py_True : Py_False));
    own(PyObject_Call(method.ptr(), nothing.ptr(), options.ptr()));
}

namespace {

constexpr std::byte kNoKey{Tag::kSeparator};  ///< in the place of a key that has no item: it is asked for again
/// An entry, and half of one more that sorting needs.
constexpr std::uint64_t kEntryBytes = 24;
/// A rank while a load is sorted by list.sort: an int, its places in two lists, and in the room of a merge.
constexpr std::uint64_t kRankBytes = 72;
constexpr std::uint64_t kUnknownBytes = 256;

Bytes payload_of(Bytes item) {
    Reader reader(item);
    const std::uint8_t tag = reader.peek();
    if (tag == Tag::kBytes || (tag >= Tag::kShortBytes0 && tag <= Tag::kShortBytes0 + kMaxShortBytes)) return reader.read_bytes();
    return as_bytes(reader.read_text().utf8);
}

/// The first eight bytes, so that comparing them as numbers is comparing them as bytes.
std::uint64_t prefix_of(Bytes payload) {
    std::byte first[8]{};
    std::memcpy(first, payload.data(), std::min<std::size_t>(payload.size(), sizeof first));
    return __builtin_bswap64(detail::load_u64(first));
}

/// Bytes of memory of an object, about. `encoded`: of its item.
std::uint64_t object_bytes(PyObject* object, std::size_t encoded, unsigned depth = 0) {
    if (PyUnicode_CheckExact(object)) return 64 + static_cast<std::uint64_t>(PyUnicode_GET_LENGTH(object)) * PyUnicode_KIND(object);
    if (PyLong_CheckExact(object) || PyFloat_CheckExact(object) || PyBytes_CheckExact(object)) return 48 + encoded;
    if ((PyTuple_CheckExact(object) || PyList_CheckExact(object)) && depth < 3) {
        const Py_ssize_t count = PySequence_Fast_GET_SIZE(object);
        std::uint64_t sum = 80;
        for (Py_ssize_t i = 0; i < count; ++i) sum += 8 + object_bytes(PySequence_Fast_GET_ITEM(object, i), encoded / static_cast<std::size_t>(count) + 1, depth + 1);
        return sum;
    }
    return kUnknownBytes + 8 * encoded;
}

/// The ranks of the keys in sorted order, a Python list.
nb::object sorted_ranks(const nb::object& keys, bool reverse) {
    const nb::object range = own(PyObject_CallFunction(reinterpret_cast<PyObject*>(&PyRange_Type), "n", PyList_GET_SIZE(keys.ptr())));
    nb::object ranks = own(PySequence_List(range.ptr()));
    const nb::object key_of = own(PyObject_GetAttrString(keys.ptr(), "__getitem__"));
    sort_list(ranks, key_of.ptr(), reverse);
    return ranks;
}

}  // namespace

struct Sorter::NativeKey {
    KeyKind kind;
    std::uint64_t prefix;
};

/// A run while it is merged.
struct Sorter::Source {
    Source(const Sorter& sorter, detail::RunReader reader) : sorter(&sorter), reader(std::move(reader)) { pop(); }

    bool done() const noexcept { return at_end; }
    Source& front() noexcept { return *this; }
    void pop() {
        at_end = !reader.next(record);
        if (at_end) key.reset();
        else sorter->read_key(*this);
    }

    const Sorter* sorter;
    detail::RunReader reader;
    Bytes record;
    std::uint64_t prefix = 0;
    nb::object key;  ///< null where keys are compared natively
    bool at_end = false;
};

struct Sorter::SourceLess {
    bool operator()(const Source& first, const Source& second) const {
        const Source& a = sorter->reverse_ ? second : first;
        const Source& b = sorter->reverse_ ? first : second;
        if (sorter->kind_ != KeyKind::object) return sorter->precedes(a.prefix, a.record, b.prefix, b.record);
        return checked(PyObject_RichCompareBool(a.key.ptr(), b.key.ptr(), Py_LT)) != 0;
    }
    const Sorter* sorter;
};

Sorter::Sorter(const ExternalOptions& options, PyObject* key, bool reverse, const Serializer& serializer)
    : options_(options), plan_(options), key_function_(key == Py_None ? nb::object() : nb::borrow(key)),
      reverse_(reverse), serializer_(serializer) {}

Sorter::~Sorter() = default;

// ---- Keys and records ----

Sorter::NativeKey Sorter::native_key(Bytes item) {
    Reader reader(item);
    const std::uint8_t tag = reader.peek();
    constexpr std::uint64_t kSign = std::uint64_t{1} << 63;
    if (tag >= Tag::kSmallInt0 || (tag >= Tag::kInt0 && tag <= Tag::kNegative0 + 8)) {
        if (tag == Tag::kBigInt) return {KeyKind::object, 0};
        const Integer number = reader.read_integer();
        if (!number.fits_int64()) return {KeyKind::object, 0};
        return {KeyKind::integer, static_cast<std::uint64_t>(number.int64()) ^ kSign};
    }
    if (tag == Tag::kFloat) {
        const double number = reader.read_float() + 0.0;  // -0.0 is 0.0
        if (std::isnan(number)) return {KeyKind::object, 0};
        const auto bits = std::bit_cast<std::uint64_t>(number);
        return {KeyKind::real, (bits & kSign) != 0 ? ~bits : bits | kSign};
    }
    // UTF-8, with lone surrogates too, is in the order of its code points.
    if (tag == Tag::kText || tag == Tag::kSurrogateText || (tag >= Tag::kShortText0 && tag <= Tag::kShortText0 + kMaxShortText)) {
        return {KeyKind::text, prefix_of(payload_of(item))};
    }
    if (tag == Tag::kBytes || (tag >= Tag::kShortBytes0 && tag <= Tag::kShortBytes0 + kMaxShortBytes)) {
        return {KeyKind::binary, prefix_of(payload_of(item))};
    }
    return {KeyKind::object, 0};
}

/// `<` of native keys in records.
bool Sorter::precedes(std::uint64_t a_prefix, Bytes a, std::uint64_t b_prefix, Bytes b) const {
    if (a_prefix != b_prefix) return a_prefix < b_prefix;
    if (kind_ != KeyKind::text && kind_ != KeyKind::binary) return false;
    return as_text(payload_of(key_item(a))) < as_text(payload_of(key_item(b)));
}

Bytes Sorter::record_at(const Entry& entry) const {
    Reader reader(Bytes(bytes_).subspan(entry.begin));
    return reader.take(reader.read_varint());
}

/// Empty if it has none.
Bytes Sorter::key_item(Bytes record) const {
    if (!key_function_.is_valid()) return record;
    return record[0] == kNoKey ? Bytes() : record.first(item_size(record));
}

Bytes Sorter::value_item(Bytes record) const {
    if (!key_function_.is_valid()) return record;
    return record.subspan(record[0] == kNoKey ? 1 : item_size(record));
}

nb::object Sorter::decode_key(Bytes record) const {
    if (!key_function_.is_valid()) return serializer_.decode_value(record);
    const Bytes item = key_item(record);
    if (!item.empty()) return decode_native(item, Grammar::value);
    const nb::object value = serializer_.decode_value(value_item(record));
    return own(PyObject_CallOneArg(key_function_.ptr(), value.ptr()));
}

void Sorter::read_key(Source& source) const {
    if (kind_ == KeyKind::object) source.key = decode_key(source.record);
    else source.prefix = native_key(key_item(source.record)).prefix;
}

// ---- Loads ----

void Sorter::add(Bytes item, PyObject* value) {
    nb::object key = value == nullptr ? nb::object() : nb::borrow(value);
    record_.clear();
    NativeKey native{KeyKind::object, 0};
    if (key_function_.is_valid()) {
        Buffer copy;  // decoding may run user code
        copy.assign(item);
        if (!key.is_valid()) key = serializer_.decode_value(copy);
        key = own(PyObject_CallOneArg(key_function_.ptr(), key.ptr()));
        Obstacle obstacle;
        if (encode_native(key.ptr(), record_, obstacle)) {
            native = native_key(record_);
        } else {
            record_.clear();
            record_.push_back(kNoKey);
        }
        record_.append(copy);
    } else {
        record_.append(item);
        native = native_key(item);
    }
    if (kind_ == KeyKind::none) kind_ = native.kind;
    if (kind_ != native.kind) become_objects();
    std::uint64_t cost = record_.size() + detail::kMaxVarint + kEntryBytes;
    if (kind_ == KeyKind::object) {
        if (!key.is_valid()) key = serializer_.decode_value(record_);
        cost += object_bytes(key.ptr(), record_.size()) + kRankBytes;
    }
    const std::uint64_t budget = plan_.memory - std::min<std::uint64_t>(plan_.block, plan_.memory / 2);
    if (used_ + cost > budget && !entries_.empty()) spill();
    if (kind_ == KeyKind::object) {
        if (!keys_.is_valid()) keys_ = own(PyList_New(0));
        checked(PyList_Append(keys_.ptr(), key.ptr()));
    }
    std::byte head[detail::kMaxVarint];
    const std::size_t n = detail::store_varint(head, record_.size());
    detail::make_room(bytes_, n + record_.size(), budget);
    detail::make_room(entries_, 1, budget / kEntryBytes);
    entries_.push_back({native.prefix, bytes_.size()});
    bytes_.insert(bytes_.end(), head, head + n);
    bytes_.insert(bytes_.end(), record_.data(), record_.data() + record_.size());
    used_ += cost;
    ++count_;
}

/// From here on keys are objects: of a small load all of them, a large one is written as it is.
void Sorter::become_objects() {
    if (kind_ == KeyKind::object) return;
    if (used_ > plan_.memory / 8) spill();
    kind_ = KeyKind::object;
    keys_ = own(PyList_New(0));
    for (const Entry& entry : entries_) {
        const nb::object key = decode_key(record_at(entry));
        checked(PyList_Append(keys_.ptr(), key.ptr()));
        used_ += object_bytes(key.ptr(), record_at(entry).size()) + kRankBytes;
    }
}

void Sorter::sort_load() {
    if (kind_ != KeyKind::object) {
        const WithoutGil released;
        detail::stable_sort(std::span(entries_), [this](const Entry& first, const Entry& second) {
            const Entry& a = reverse_ ? second : first;
            const Entry& b = reverse_ ? first : second;
            if (a.prefix != b.prefix || kind_ == KeyKind::integer || kind_ == KeyKind::real) return a.prefix < b.prefix;
            return precedes(a.prefix, record_at(a), b.prefix, record_at(b));
        });
        return;
    }
    if (!keys_.is_valid()) return;
    const nb::object ranks = sorted_ranks(std::exchange(keys_, nb::object()), reverse_);
    std::vector<Entry> sorted;
    sorted.reserve(entries_.size());
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        sorted.push_back(entries_[PyLong_AsSize_t(PyList_GET_ITEM(ranks.ptr(), static_cast<Py_ssize_t>(i)))]);
    }
    entries_ = std::move(sorted);
}

void Sorter::spill() {
    sort_load();
    const WithoutGil released;
    if (!scratch_) scratch_ = std::make_unique<detail::Scratch>(options_, plan_.block);
    detail::RunWriter writer(*scratch_);
    for (const Entry& entry : entries_) writer.put(record_at(entry));
    runs_.push_back(writer.finish());
    entries_.clear();
    bytes_.clear();
    used_ = 0;
}

// ---- Merging ----

std::vector<Sorter::Source> Sorter::sources_of(std::vector<detail::Run> runs) {
    std::vector<Source> sources;
    sources.reserve(runs.size());
    for (detail::Run& run : runs) sources.emplace_back(*this, detail::RunReader(*scratch_, std::move(run)));
    return sources;
}

detail::Run Sorter::merge_to_run(std::vector<detail::Run> runs, const std::function<void()>& tick) {
    detail::RunWriter writer(*scratch_);
    SignalPoll poll;
    for (detail::Merge<Source, SourceLess> merge(sources_of(std::move(runs)), {this}); !merge.done(); merge.pop()) {
        writer.put(merge.front().record);
        poll.step();
        if (tick) tick();
    }
    return writer.finish();
}

void Sorter::finish(const std::function<void()>& tick) {
    if (runs_.empty()) return sort_load();
    if (!entries_.empty()) spill();
    entries_ = {};
    bytes_ = {};
    detail::merge_down(runs_, plan_, [&](std::vector<detail::Run> runs) { return merge_to_run(std::move(runs), tick); });
    merge_ = std::make_unique<detail::Merge<Source, SourceLess>>(sources_of(std::exchange(runs_, {})), SourceLess{this});
}

bool Sorter::next() {
    if (reader_) {
        ++at_;
        return reader_->next(read_);
    }
    if (merge_ && at_ > 0 && at_ <= count_) merge_->pop();  // not before: it may run user code
    return at_++ < count_;
}

Bytes Sorter::record() const { return merge_ ? merge_->front().record : record_at(entries_[at_ - 1]); }

Bytes Sorter::item() const { return reader_ ? read_ : value_item(record()); }

nb::object Sorter::value() const {
    if (merge_ && kind_ == KeyKind::object && !key_function_.is_valid()) return merge_->front().key;
    return serializer_.decode_value(item());
}

nb::object Sorter::key() const {
    if (merge_ && kind_ == KeyKind::object) return merge_->front().key;
    return decode_key(record());
}

void Sorter::make_native(const std::function<void()>& tick) {
    if (!merge_ || kind_ != KeyKind::object) return;
    detail::RunWriter writer(*scratch_);
    SignalPoll poll;
    while (next()) {
        writer.put(item());
        poll.step();
        if (tick) tick();
    }
    merge_.reset();
    reader_.emplace(*scratch_, writer.finish());
    at_ = 0;
}

int Sorter::traverse(visitproc visit, void* arg) const {
    Py_VISIT(key_function_.ptr());
    Py_VISIT(keys_.ptr());
    if (!merge_) return 0;
    for (const Source& source : merge_->sources()) Py_VISIT(source.key.ptr());
    return 0;
}

}  // namespace pyrsistence::bindings
