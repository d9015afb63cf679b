// Dict entries as bytes: the key's identity, the key itself if its identity does not give it back, and the
// value (docs/format.md, "Dict entries"). Reading allocates nothing and never looks beyond the entry, whose
// bytes the views point into. Pure functions, safe from any thread.
#pragma once

#include "pyrsistence/encoding.hpp"

namespace pyrsistence::codec {

struct EntryView {
    Bytes identity;  ///< as hashed and compared
    Bytes key;       ///< the item to decode as the key; the identity itself where that is enough
    Bytes value;
};

/// Splits an entry, which must end with its value. Throws CorruptionError.
EntryView split_entry(Bytes entry);

/// The identity alone, which is all that a lookup compares.
inline Bytes entry_identity(Bytes entry) { return entry.first(item_size(entry)); }

/// Appends what stands before the value in an entry. REQUIRES: `identity` is a stored identity, `key` the
/// item of the key; the key is left out where the two are the same bytes.
void put_entry_key(Buffer& out, Bytes identity, Bytes key);

inline void put_entry(Buffer& out, Bytes identity, Bytes key, Bytes value) {
    put_entry_key(out, identity, key);
    out.append(value);
}

}  // namespace pyrsistence::codec
