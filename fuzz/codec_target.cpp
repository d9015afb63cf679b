#include <map>
#include <optional>
#include <set>
#include <string>

#include "codec/hash.hpp"
#include "codec/item.hpp"
#include "fuzz/targets.hpp"
#include "fuzz/walk.hpp"
#include "pyrsistence/codec.hpp"
#include "pyrsistence/sort_key.hpp"

namespace pyrsistence::fuzz {

/// A type that nests as deeply as its bytes say.
struct Nested {
    std::vector<Nested> inner;
};

}  // namespace pyrsistence::fuzz

template <>
struct pyrsistence::Codec<pyrsistence::fuzz::Nested> {
    using Inner = std::vector<fuzz::Nested>;
    static void encode(Buffer& out, const fuzz::Nested& value) { Codec<Inner>::encode(out, value.inner); }
    static fuzz::Nested decode(Reader& in) { return {Codec<Inner>::decode(in)}; }
};

namespace pyrsistence::fuzz {

namespace {

constexpr int kMostItems = 20;  ///< of one input: each is tried as every type

template <class Action>
void attempt(Action&& action) {
    try {
        action();
    } catch (const Error&) {
        // Damage that is recognised.
    }
}

void require(bool holds, const char* what) {
    if (!holds) throw Violation(what);
}

/// What decodes is encoded again, and decodes to the same bytes.
template <class T>
void decode(Bytes input) {
    attempt([&] {
        Reader reader(input);
        const T value = Codec<T>::decode(reader);
        require(reader.position() == item_size(input), "a decoder reads another item than item_size() measures");
        Buffer first, second;
        attempt([&] {
            Codec<T>::encode(first, value);
            Reader again(first);
            Codec<T>::encode(second, Codec<T>::decode(again));
        });
        require(second.empty() || as_text(first) == as_text(second), "a value changes when it is stored again");
    });
}

void read_one(Reader& reader) {
    const std::size_t before = reader.position();
    attempt([&] { (void)reader.read_integer(); });
    attempt([&] { (void)reader.read_text(); });
    attempt([&] { (void)reader.read_bytes(); });
    attempt([&] { (void)reader.read_numpy_scalar(); });
    attempt([&] { (void)reader.read_float(); });
    attempt([&] { (void)reader.read_complex(); });
    attempt([&] { (void)reader.read_bool(); });
    for (const std::uint8_t tag : {Tag::kPickle, Tag::kByteArray, Tag::kCustom}) {
        attempt([&] { (void)reader.read_counted(tag); });
    }
    for (const std::uint8_t tag : {Tag::kTuple, Tag::kList, Tag::kDict, Tag::kSet, Tag::kFrozenSet}) {
        attempt([&] { (void)reader.read_count(tag); });
    }
    if (reader.position() == before) reader.skip();
}

void identify(Bytes input) {
    Buffer identity, again;
    put_identity(identity, input);
    require(item_size(identity) == identity.size(), "an identity is not one item");
    (void)codec::key_hash(identity, 1);
    attempt([&] {
        put_identity(again, identity);
        require(as_text(again) == as_text(identity), "the identity of an identity differs");
    });
}

void split(Bytes input) {
    const codec::EntryView parts = codec::split_entry(input);
    require(as_text(parts.identity) == as_text(codec::entry_identity(input)), "two identities of one entry");
    require(parts.value.data() + parts.value.size() == input.data() + input.size(), "an entry goes on behind its value");
    Buffer entry;
    codec::put_entry(entry, parts.identity, parts.key, parts.value);
    require(entry.size() <= input.size(), "an entry becomes longer");
}

/// A sort key gives the identity back, if it says so; or what is equal to one that no encoder writes.
void sort(Bytes identity) {
    Buffer sort_key, back, again;
    const bool exact = put_sort_key(sort_key, identity);
    require(comparable(sort_key, sort_key), "a key cannot be compared with itself");
    put_sort_key_identity(back, sort_key);
    put_sort_key(again, back);
    require(!exact || as_text(again) == as_text(sort_key), "the identity of a sort key has another sort key");
}

void sort_key(Bytes input) {
    (void)comparable(input.first(input.size() / 2), input.subspan(input.size() / 2));
    Buffer identity;
    put_sort_key_identity(identity, input);
    require(item_size(identity) == identity.size(), "the identity of a sort key is not one item");
    Buffer again;
    put_sort_key(again, identity);
}

void split_sorted(Bytes input) {
    const SortedEntryView parts = split_sorted_entry(input);
    const std::byte* end = input.data() + input.size();
    require(parts.value.empty() || parts.value.data() + parts.value.size() == end, "an entry goes on behind its value");
    (void)has_own_sort_key(parts);
}

}  // namespace

void run_codec(Bytes input) {
    attempt([&] {
        const std::size_t size = item_size(input);
        require(size > 0 && size <= input.size(), "an item ends behind its bytes");
        Reader reader(input);
        require(reader.read_item().size() == size && reader.position() == size, "read_item() and item_size() differ");
    });
    attempt([&] {
        Reader reader(input);
        for (int items = 0; !reader.at_end() && items < kMostItems; ++items) read_one(reader);
    });
    attempt([&] { split(input); });
    attempt([&] { identify(input); });
    attempt([&] { split_sorted(input); });
    attempt([&] { sort_key(input); });
    attempt([&] {
        Buffer identity;
        put_identity(identity, input);
        sort(identity);
    });
    decode<bool>(input);
    decode<std::int8_t>(input);
    decode<std::uint64_t>(input);
    decode<double>(input);
    decode<float>(input);
    decode<std::complex<double>>(input);
    decode<std::string>(input);
    decode<std::vector<std::byte>>(input);
    decode<std::optional<std::int64_t>>(input);
    decode<std::vector<std::string>>(input);
    decode<std::map<std::string, std::vector<double>>>(input);
    decode<std::set<std::int64_t>>(input);
    decode<std::tuple<std::int64_t, std::string>>(input);
    decode<std::vector<std::tuple<>>>(input);
    decode<Nested>(input);
}

}  // namespace pyrsistence::fuzz

PYRSISTENCE_FUZZ_TARGET(pyrsistence::fuzz::run_codec)
