// Sort keys: bytes whose order, as of memcmp, is the order that Python gives to the keys. What sorted containers
// search by (docs/format.md, "Sort keys"). Pure functions of their arguments, safe from any thread.
#pragma once

#include <optional>
#include <string_view>
#include <utility>

#include "pyrsistence/encoding.hpp"

namespace pyrsistence {

/// Longer ones are refused: the separators in a tree's inner nodes are parts of them.
inline constexpr std::size_t kMaxSortKey = 1000;

/// Appends the sort key of a key, given by its identity. Numbers of all types are ordered by their exact values, text by
/// code points, tuples element by element. Throws OrderError for what has no order (complex numbers, frozensets, NaN,
/// ...), for rational numbers whose denominator has more than 127 bits, and if the sort key would be longer than
/// kMaxSortKey; CorruptionError if `identity` is none. False if put_sort_key_identity() would not give the identity back:
/// there is a fraction in it that no float equals.
bool put_sort_key(Buffer& out, Bytes identity);

/// Appends the identity that belongs to a sort key; CorruptionError if there is none.
void put_sort_key_identity(Buffer& out, Bytes sort_key);

/// The parts of a sorted container's entry; they point into the entry.
struct SortedEntryView {
    Bytes sort_key;
    Bytes key;    ///< the item to decode as the key; empty if the identity that belongs to the sort key is enough
    bool key_is_identity = false;  ///< that item is the identity itself, which the sort key does not give back
    Bytes value;  ///< empty only in a priority queue: the key is the item
};

/// Throws CorruptionError.
SortedEntryView split_sorted_entry(Bytes entry);
/// Whether the sort key is that of the entry's key, as far as that can be told without unpickling. Throws CorruptionError.
bool has_own_sort_key(const SortedEntryView& entry);
/// Appends what stands before the value in an entry. `key` is the item of the key, empty if its identity is enough.
/// Throws what put_sort_key() throws; returns the sort key, which lies in `out`.
Bytes put_sorted_entry_key(Buffer& out, Bytes identity, Bytes key);

/// Whether Python can compare two keys: 1 and 2.5, ("a", 1) and ("b", None), but not 1 and "a", nor ("a", 1) and ("a", "b").
/// All keys of a container are comparable if each is so with its neighbours. Throws CorruptionError.
bool comparable(Bytes sort_key, Bytes other);

/// What keeps Python from comparing two keys: the kinds of both, as in {"str", "number"}; of tuples those of their
/// first elements that differ. Nothing if they are comparable. Throws CorruptionError.
std::optional<std::pair<std::string_view, std::string_view>> incomparable_kinds(Bytes sort_key, Bytes other);

}  // namespace pyrsistence
