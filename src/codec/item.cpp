#include "codec/item.hpp"

namespace pyrsistence::codec {

EntryView split_entry(Bytes entry) {
    Reader reader(entry);
    EntryView view;
    view.identity = reader.read_item();
    view.key = view.identity;
    if (reader.peek() == Tag::kSeparator) {
        reader.take(1);
        view.key = reader.read_item();
    }
    view.value = reader.read_item();
    if (!reader.at_end()) detail::throw_malformed(reader.position(), "bytes after the value of a dict entry");
    return view;
}

void put_entry_key(Buffer& out, Bytes identity, Bytes key) {
    out.append(identity);
    if (as_text(identity) == as_text(key)) return;
    out.push_back(std::byte{Tag::kSeparator});
    out.append(key);
}

}  // namespace pyrsistence::codec
