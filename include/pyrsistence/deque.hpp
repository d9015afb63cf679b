// Deque<T>: a queue with two ends in a directory on disk; what Python's EMDeque writes, this reads, and the reverse,
// as long as Codec<T> knows the type.
//
// Thread safety: as of a Handle. An iterator belongs to one thread and must not outlive its Deque; others may change
// the deque meanwhile.
// Durability: an operation that has returned survives the death of the process; sync(), checkpoint() and close()
// survive power loss.
#pragma once

#include "pyrsistence/list.hpp"

namespace pyrsistence {

/// A List that is also cheap to change at its front, and may have a limit (Options::max_size), which belongs to the
/// stored deque: when it is full, a new item at one end pushes out the one at the other. Every operation is O(log n)
/// but clear(), reverse() and rotate(). Errors are those of List.
///
///     pyrsistence::Deque<std::uint64_t> last("last.em", {.max_size = 1000});
///     last.push_back(0x401000);
template <Storable T>
class Deque : private List<T> {
    using Items = List<T>;
    using Parameter = typename detail::Parameter<T>::Type;
    using Item = typename Items::Item;

    Deque(const Deque& live, Handle::Time time) : Items(live, time) {}

public:
    using value_type = T;
    using typename Items::const_iterator;
    using typename Items::difference_type;
    using typename Items::iterator;
    using typename Items::reference;
    using typename Items::size_type;

    /// Opens or creates the store in directory `path`. Throws FormatError if the deque has another limit.
    explicit Deque(const std::filesystem::path& path, const Options& options = {}) : Items(path, options, ListType::deque) {}
    /// Opens or creates it in a store that is open; opens it in a snapshot.
    Deque(const Handle& where, std::string_view name, std::optional<std::uint64_t> max_size = {})
        : Items(where, name, ListType::deque, max_size) {}
    /// As it is now, for reading: whatever happens to the store, it stays so. O(1).
    Deque snapshot() const { return Deque(*this, Handle::Time::now); }

    using Items::backup;
    using Items::check;
    using Items::checkpoint;
    using Items::close;
    using Items::closed;
    using Items::compact;
    using Items::delete_snapshot;
    using Items::empty;
    using Items::info;
    using Items::keep_snapshot;
    using Items::name;
    using Items::path;
    using Items::read_only;
    using Items::refresh;
    using Items::size;
    using Items::snapshots;
    using Items::sync;
    using Items::transaction;
    using Items::usage;
    using Items::verify;

    using Items::at;
    using Items::back;
    using Items::begin;
    using Items::edit;
    using Items::end;
    using Items::front;
    using Items::get;
    using Items::operator[];

    /// The most items that there may be; nothing if there is no limit.
    using Items::max_size;

    using Items::append_range;
    using Items::clear;
    using Items::erase;
    using Items::pop_back;
    using Items::push_back;
    using Items::reverse;
    /// rotate(steps) moves items one by one from the end to the front; if negative, from the front to the end. Atomic.
    /// O(min(|steps|, n) log n).
    using Items::rotate;
    using Items::set;
    void push_front(Parameter value) { RawList::prepend(Item(value)); }
    /// Removes and returns the first item.
    T pop_front() {
        Buffer item;
        if (!RawList::pop(0, item)) this->throw_no_item(0);
        return detail::decode_item<T>(item);
    }
    /// Inserts before `index`; size() appends. Throws std::length_error if the deque is full.
    void insert(size_type index, Parameter value) {
        if (index > size()) this->throw_no_item(index);
        if (!RawList::insert(index, Item(value))) throw std::length_error(path().string() + ": the deque is full");
    }
};

}  // namespace pyrsistence
