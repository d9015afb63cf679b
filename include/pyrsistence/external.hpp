// External-memory algorithms: sorting, merging, grouping and shuffling more items than memory holds, in temporary
// files of large blocks that nobody sees and that are gone when the process ends, however it ends.
//
// Cost, with N bytes of items, M of memory and blocks of B bytes: sorting moves
// Theta((N/B) log_{M/B} (N/B)) blocks, and nothing can do with fewer (Aggarwal and Vitter, The input/output complexity
// of sorting and related problems, CACM 31(9), 1988). Up to about M * M / B bytes this is each item written once and
// read once; a shuffle likewise. merge, unique and group_by read their ranges once and keep one item of each.
//
// Items: trivially copyable types, which are written as they lie in memory, and every type that has a Codec.
// Thread safety: an object belongs to one thread at a time.
// Errors: StorageError, for instance when the disk is full (the object is of no use then but to be destroyed), and
// whatever comparisons and projections throw.
#pragma once

#include <algorithm>
#include <concepts>
#include <functional>
#include <iterator>
#include <new>
#include <optional>
#include <ranges>
#include <span>
#include <tuple>

#include "pyrsistence/scratch.hpp"
#include "pyrsistence/stable_sort.hpp"
#include "pyrsistence/typed.hpp"

namespace pyrsistence {

namespace detail {

/// Written as it lies in memory.
template <class T>
inline constexpr bool kRaw = std::is_trivially_copyable_v<T> && alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__;

}  // namespace detail

/// What can be written to a temporary file and read again. Views of other memory cannot.
template <class T>
concept Spillable = std::movable<T> && (Storable<T> || (detail::kRaw<T> && !Encodable<T>));

namespace detail {

/// Bytes that a T takes on the heap, about.
template <class T>
std::uint64_t heap_bytes(const T& value) {
    constexpr std::uint64_t kNode = 48;  ///< what an allocation costs beside its content
    if constexpr (std::is_trivially_copyable_v<T>) {
        return 0;
    } else if constexpr (std::ranges::contiguous_range<const T> && std::ranges::sized_range<const T>) {
        using Element = std::ranges::range_value_t<const T>;
        std::uint64_t sum = std::ranges::size(value) * sizeof(Element) + kNode;
        if constexpr (!std::is_trivially_copyable_v<Element>) {
            for (const Element& element : value) sum += heap_bytes(element);
        }
        return sum;
    } else if constexpr (std::ranges::input_range<const T>) {
        std::uint64_t sum = kNode;
        for (const auto& element : value) sum += kNode + sizeof element + heap_bytes(element);
        return sum;
    } else if constexpr (requires { std::tuple_size<T>::value; }) {
        return std::apply([](const auto&... part) { return (std::uint64_t{0} + ... + heap_bytes(part)); }, value);
    } else {
        Buffer encoded;  // of a type that only its Codec knows
        Codec<T>::encode(encoded, value);
        return encoded.size() + kNode;
    }
}

/// Turns a class with done(), front() and pop() into an input range, of which all iterators share the position.
template <class Range, class T>
class InputIterator {
public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;

    InputIterator() = default;
    explicit InputIterator(Range& range) : range_(&range) {}
    decltype(auto) operator*() const { return range_->front(); }
    InputIterator& operator++() {
        range_->pop();
        return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const InputIterator& i, std::default_sentinel_t) { return i.range_->done(); }

private:
    Range* range_ = nullptr;
};

/// The items of a run.
template <Spillable T>
class RunSource {
public:
    RunSource(Scratch& scratch, Run run) : reader_(scratch, std::move(run)) { pop(); }

    bool done() const noexcept { return done_; }
    T& front() noexcept { return *item_; }
    void pop() {
        Bytes record;
        done_ = !reader_.next(record);
        if (!done_) item_ = decode_item<T>(record);
    }

private:
    RunReader reader_;
    std::optional<T> item_;
    bool done_ = false;
};

template <Spillable T>
    requires kRaw<T>
class RunSource<T> {
public:
    RunSource(Scratch& scratch, Run run) : reader_(scratch, std::move(run)) { refill(); }

    bool done() const noexcept { return at_ == end_; }
    T& front() noexcept { return *at_; }
    void pop() {
        if (++at_ == end_) refill();
    }

private:
    void refill() {
        const Bytes block = reader_.next_block();
        at_ = reinterpret_cast<T*>(const_cast<std::byte*>(block.data()));  // the reader's private memory
        end_ = at_ + block.size() / sizeof(T);
    }

    RunReader reader_;
    T* at_ = nullptr;
    T* end_ = nullptr;
};

template <Spillable T>
void write_item(RunWriter& writer, const T& item) {
    if constexpr (kRaw<T>) {
        writer.put_fixed(std::as_bytes(std::span(&item, 1)), 1);
    } else {
        Buffer record;
        Codec<T>::encode(record, item);
        writer.put(record);
    }
}

template <Spillable T>
Run write_run(Scratch& scratch, std::span<const T> items) {
    RunWriter writer(scratch);
    if constexpr (kRaw<T>) {
        writer.put_fixed(std::as_bytes(items), items.size());
    } else {
        for (const T& item : items) write_item(writer, item);
    }
    return writer.finish();
}

/// A function that can be assigned, as a range must be that is moved into a view; those with captures cannot.
template <class Function>
class Assignable {
public:
    explicit(false) Assignable(Function function) : function_(std::move(function)) {}
    Assignable(const Assignable&) = default;
    Assignable(Assignable&&) = default;
    Assignable& operator=(Assignable&& other) noexcept {
        if constexpr (std::is_move_assignable_v<Function>) {
            function_ = std::move(other.function_);
        } else if (this != &other) {
            static_assert(std::is_nothrow_move_constructible_v<Function>);
            std::destroy_at(&function_);
            std::construct_at(&function_, std::move(other.function_));
        }
        return *this;
    }

    template <class... Args>
    decltype(auto) operator()(Args&&... args) {
        return std::invoke(function_, std::forward<Args>(args)...);
    }

private:
    [[no_unique_address]] Function function_;
};

template <class Less, class Proj>
struct ProjectedLess {
    template <class A, class B>
    bool operator()(A&& a, B&& b) {
        return less(proj(a.front()), proj(b.front()));
    }
    [[no_unique_address]] Assignable<Less> less;
    [[no_unique_address]] Assignable<Proj> proj;
};

}  // namespace detail

/// When an ExternalSorter makes its last comparisons: while its result is read, or before, so that reading it calls no
/// function of the caller's. That takes another pass over what did not fit into memory.
enum class Comparisons { lazily, at_once };

template <Spillable T, class Less, class Proj>
class ExternalSorter;

/// What an ExternalSorter has sorted: an input range that can be gone through once. Items may be moved from.
template <Spillable T, class Less = std::ranges::less, class Proj = std::identity>
class Sorted {
    using Source = detail::RunSource<T>;
    using SourceLess = detail::ProjectedLess<Less, Proj>;

public:
    using value_type = T;

    /// Items that are still to come.
    std::uint64_t size() const noexcept { return left_; }
    bool done() const noexcept { return left_ == 0; }
    /// REQUIRES: not done().
    T& front() { return merge_ ? merge_->front() : load_[at_]; }
    void pop() {
        --left_;
        if (merge_) merge_->pop();
        else ++at_;
    }
    auto begin() { return detail::InputIterator<Sorted, T>(*this); }
    std::default_sentinel_t end() const noexcept { return {}; }

private:
    friend class ExternalSorter<T, Less, Proj>;
    explicit Sorted(std::vector<T> load) : load_(std::move(load)), left_(load_.size()) {}
    Sorted(std::unique_ptr<detail::Scratch> scratch, detail::Merge<Source, SourceLess> merge, std::uint64_t count)
        : scratch_(std::move(scratch)), merge_(std::move(merge)), left_(count) {}

    std::vector<T> load_;  ///< all items, if they fitted into memory
    std::size_t at_ = 0;
    std::unique_ptr<detail::Scratch> scratch_;
    std::optional<detail::Merge<Source, SourceLess>> merge_;
    std::uint64_t left_;
};

/// Sorts items that are pushed one by one, stably, by merging sorted runs (Knuth, TAOCP 3, 5.4). Memory is bounded by
/// the limit, whatever the number of items, but for items that are larger than a block (1 to 4 MiB): of those at least
/// two are in memory at once.
///
///     pyrsistence::ExternalSorter<Edge, ByTarget> sorter({.memory_limit = 256 << 20});
///     for (const Edge& edge : edges) sorter.push(edge);
///     for (const Edge& edge : sorter.finish()) ...
template <Spillable T, class Less = std::ranges::less, class Proj = std::identity>
class ExternalSorter {
public:
    explicit ExternalSorter(const ExternalOptions& options = {}, Less less = {}, Proj proj = {})
        : options_(options), plan_(options, detail::kRaw<T> ? sizeof(T) : 1), less_(std::move(less)), proj_(std::move(proj)) {}
    ExternalSorter(ExternalSorter&&) = default;
    ExternalSorter& operator=(ExternalSorter&&) = default;

    /// O(log n) comparisons, amortised.
    void push(T item) {
        const std::uint64_t bytes = kItemBytes + detail::heap_bytes(item);
        if (used_ + bytes > budget() && !load_.empty()) spill();
        detail::make_room(load_, 1, budget() / kItemBytes + 1);
        load_.push_back(std::move(item));
        used_ += bytes;
        ++count_;
    }
    std::uint64_t size() const noexcept { return count_; }

    /// The items in order. The sorter is empty afterwards, and can be used again.
    Sorted<T, Less, Proj> finish(Comparisons when = Comparisons::lazily) {
        if (runs_.empty()) {
            sort_load();
            clear();
            return Sorted<T, Less, Proj>(std::exchange(load_, {}));
        }
        spill();
        load_ = {};
        detail::merge_down(runs_, plan_, [this](std::vector<detail::Run> runs) { return merge_to_run(std::move(runs)); });
        if (when == Comparisons::at_once && runs_.size() > 1) {
            detail::Run merged = merge_to_run(std::exchange(runs_, {}));
            runs_.push_back(std::move(merged));
        }
        auto merge = merge_of(std::exchange(runs_, {}));
        return Sorted<T, Less, Proj>(std::move(scratch_), std::move(merge), clear());
    }

private:
    using Source = detail::RunSource<T>;
    using SourceLess = detail::ProjectedLess<Less, Proj>;
    /// A stable sort needs room for half of the items.
    static constexpr std::uint64_t kItemBytes = sizeof(T) + (sizeof(T) + 1) / 2;

    std::uint64_t budget() const { return plan_.memory - (detail::kRaw<T> ? 0 : std::min<std::uint64_t>(plan_.block, plan_.memory / 2)); }
    std::uint64_t clear() {
        used_ = 0;
        return std::exchange(count_, 0);
    }
    void sort_load() {
        if constexpr (std::is_trivially_copyable_v<T>) {
            detail::stable_sort(std::span(load_), [this](const T& a, const T& b) -> bool {
                return std::invoke(less_, std::invoke(proj_, a), std::invoke(proj_, b));
            });
        } else {
            std::ranges::stable_sort(load_, std::ref(less_), std::ref(proj_));
        }
    }
    void spill() {
        if (!scratch_) scratch_ = std::make_unique<detail::Scratch>(options_, plan_.block);
        sort_load();
        runs_.push_back(detail::write_run<T>(*scratch_, load_));
        load_.clear();
        used_ = 0;
    }
    auto merge_of(std::vector<detail::Run> runs) {
        std::vector<Source> sources;
        sources.reserve(runs.size());
        for (detail::Run& run : runs) sources.emplace_back(*scratch_, std::move(run));
        return detail::Merge<Source, SourceLess>(std::move(sources), {less_, proj_});
    }
    detail::Run merge_to_run(std::vector<detail::Run> runs) {
        detail::RunWriter writer(*scratch_);
        for (auto merge = merge_of(std::move(runs)); !merge.done(); merge.pop()) detail::write_item(writer, merge.front());
        return writer.finish();
    }

    ExternalOptions options_;
    detail::MemoryPlan plan_;
    [[no_unique_address]] Less less_;
    [[no_unique_address]] Proj proj_;
    std::vector<T> load_;
    std::uint64_t used_ = 0;  ///< bytes of memory of the load
    std::uint64_t count_ = 0;
    std::unique_ptr<detail::Scratch> scratch_;
    std::vector<detail::Run> runs_;
};

/// Sorts the elements of any input range, stably, by std::invoke(less, std::invoke(proj, a), std::invoke(proj, b)), and
/// returns them as an input range; the range is read to its end before that. See ExternalSorter.
///
///     for (const std::string& line : pyrsistence::external_sort(lines)) ...
template <std::ranges::input_range Range, class Less = std::ranges::less, class Proj = std::identity>
    requires Spillable<std::ranges::range_value_t<Range>> &&
             std::strict_weak_order<Less&, std::invoke_result_t<Proj&, std::ranges::range_value_t<Range>&>,
                                    std::invoke_result_t<Proj&, std::ranges::range_value_t<Range>&>>
auto external_sort(Range&& range, Less less = {}, Proj proj = {}, const ExternalOptions& options = {}) {
    ExternalSorter<std::ranges::range_value_t<Range>, Less, Proj> sorter(options, std::move(less), std::move(proj));
    for (auto&& item : range) sorter.push(std::forward<decltype(item)>(item));
    return sorter.finish();
}
template <std::ranges::input_range Range, class Less = std::ranges::less>
auto external_sort(Range&& range, Less less, const ExternalOptions& options) {
    return external_sort(std::forward<Range>(range), std::move(less), std::identity{}, options);
}

// ---- Sorted ranges ----

namespace detail {

/// A range that is being gone through.
template <std::ranges::view View>
class RangeSource {
public:
    explicit RangeSource(View view) : view_(std::move(view)) {}
    /// To be called when the object has come to its place.
    void start() { at_.emplace(std::ranges::begin(view_)); }

    bool done() { return *at_ == std::ranges::end(view_); }
    decltype(auto) front() { return **at_; }
    void pop() { ++*at_; }

private:
    View view_;
    std::optional<std::ranges::iterator_t<View>> at_;
};

}  // namespace detail

/// Several sorted ranges as one, an input range that can be gone through once.
template <std::ranges::view View, class Less, class Proj>
class Merged {
    using Source = detail::RangeSource<View>;
    using SourceLess = detail::ProjectedLess<Less, Proj>;

public:
    using value_type = std::ranges::range_value_t<View>;

    Merged(std::vector<View> views, Less less, Proj proj) : merge_(started(std::move(views)), {std::move(less), std::move(proj)}) {}

    bool done() { return merge_.done(); }
    decltype(auto) front() { return merge_.front(); }
    void pop() { merge_.pop(); }
    auto begin() { return detail::InputIterator<Merged, value_type>(*this); }
    std::default_sentinel_t end() const noexcept { return {}; }

private:
    static std::vector<Source> started(std::vector<View> views) {
        std::vector<Source> sources;
        sources.reserve(views.size());
        for (View& view : views) sources.emplace_back(std::move(view));
        for (Source& source : sources) source.start();
        return sources;
    }

    detail::Merge<Source, SourceLess> merge_;
};

/// Merges any number of sorted ranges of one type lazily; what is equal comes in the order of the ranges. ceil(log2 k)
/// comparisons per item for k ranges. The ranges are moved in unless they are views: std::views::all(range).
template <std::ranges::input_range Range, class Less = std::ranges::less, class Proj = std::identity>
auto merge(std::vector<Range> ranges, Less less = {}, Proj proj = {}) {
    using View = std::views::all_t<Range>;
    std::vector<View> views;
    views.reserve(ranges.size());
    for (Range& range : ranges) views.push_back(std::views::all(std::move(range)));
    return Merged<View, Less, Proj>(std::move(views), std::move(less), std::move(proj));
}

/// One item of each group of equal neighbours, the first; an input range that can be gone through once.
template <std::ranges::view View, class Equal>
class Unique {
public:
    using value_type = std::ranges::range_value_t<View>;

    Unique(View view, Equal equal) : view_(std::move(view)), equal_(std::move(equal)) {}

    bool done() { return !item_; }
    value_type& front() { return *item_; }
    /// Finds the item after the next one, too, so that front() may be moved from.
    void pop() {
        item_ = std::move(following_);
        find_following();
    }
    auto begin() {
        if (!at_) {
            at_.emplace(std::ranges::begin(view_));
            read();
            pop();
        }
        return detail::InputIterator<Unique, value_type>(*this);
    }
    std::default_sentinel_t end() const noexcept { return {}; }

private:
    void read() {
        if (*at_ == std::ranges::end(view_)) return following_.reset();
        following_.emplace(**at_);
        ++*at_;
    }
    void find_following() {
        if (!item_) return;
        do read();
        while (following_ && equal_(std::as_const(*item_), std::as_const(*following_)));
    }

    View view_;
    [[no_unique_address]] detail::Assignable<Equal> equal_;
    std::optional<std::ranges::iterator_t<View>> at_;
    std::optional<value_type> item_, following_;
};

/// The first of each group of equal neighbours of a range, lazily: of a sorted range, what is in it. Holds two items.
template <std::ranges::input_range Range, class Equal = std::ranges::equal_to>
auto unique(Range&& range, Equal equal = {}) {
    return Unique<std::views::all_t<Range>, Equal>(std::views::all(std::forward<Range>(range)), std::move(equal));
}

/// Neighbours of equal keys, group by group; an input range that can be gone through once.
template <std::ranges::view View, class Proj>
class GroupBy {
    using Key = std::decay_t<std::invoke_result_t<Proj&, std::ranges::range_reference_t<View>>>;

public:
    /// A key and the items that have it; both until the next group is asked for.
    class Group {
    public:
        using value_type = std::ranges::range_value_t<View>;

        explicit Group(GroupBy& groups) : groups_(&groups) {}
        const Key& key() const { return *groups_->key_; }
        bool done() { return groups_->at_end_of_group(); }
        decltype(auto) front() { return **groups_->at_; }
        void pop() { ++*groups_->at_; }
        auto begin() { return detail::InputIterator<Group, value_type>(*this); }
        std::default_sentinel_t end() const noexcept { return {}; }

    private:
        GroupBy* groups_;
    };
    using value_type = Group;

    GroupBy(View view, Proj proj) : view_(std::move(view)), proj_(std::move(proj)) {}

    bool done() const { return !key_; }
    Group front() { return Group(*this); }
    /// Passes over what is left of the group.
    void pop() {
        while (!at_end_of_group()) ++*at_;
        open();
    }
    auto begin() {
        if (!at_) {
            at_.emplace(std::ranges::begin(view_));
            open();
        }
        return detail::InputIterator<GroupBy, Group>(*this);
    }
    std::default_sentinel_t end() const noexcept { return {}; }

private:
    bool at_end() { return *at_ == std::ranges::end(view_); }
    bool at_end_of_group() { return at_end() || !(proj_(**at_) == *key_); }
    void open() {
        key_.reset();
        if (!at_end()) key_.emplace(proj_(**at_));
    }

    View view_;
    [[no_unique_address]] detail::Assignable<Proj> proj_;
    std::optional<std::ranges::iterator_t<View>> at_;
    std::optional<Key> key_;
};

/// Groups neighbours of a range whose projections are equal, lazily; sort by the projection first to have each key
/// once. A group is gone when the next one is asked for.
///
///     for (auto group : pyrsistence::group_by(sorted, &Edge::target)) {
///         for (const Edge& edge : group) use(group.key(), edge);
///     }
template <std::ranges::input_range Range, class Proj = std::identity>
auto group_by(Range&& range, Proj proj = {}) {
    return GroupBy<std::views::all_t<Range>, Proj>(std::views::all(std::forward<Range>(range)), std::move(proj));
}

// ---- Shuffling ----

/// Items in an order in which each of the n! permutations is equally likely, in bounded memory; an input range that can
/// be gone through once. The order follows from the seed, the items and the memory limit.
template <Spillable T>
class ExternalShuffler {
public:
    using value_type = T;

    explicit ExternalShuffler(std::uint64_t seed, const ExternalOptions& options = {}) : shuffler_(options, seed) {}

    /// REQUIRES: begin() has not been called.
    void push(const T& item) {
        if constexpr (detail::kRaw<T>) {
            shuffler_.push(std::as_bytes(std::span(&item, 1)));
        } else {
            Buffer encoded;
            Codec<T>::encode(encoded, item);
            shuffler_.push(encoded);
        }
    }
    std::uint64_t size() const noexcept { return shuffler_.size(); }

    bool done() const noexcept { return done_; }
    T& front() { return *item_; }
    void pop() {
        Bytes record;
        done_ = !shuffler_.next(record);
        if (done_) return;
        if constexpr (detail::kRaw<T>) {
            alignas(T) std::byte bytes[sizeof(T)];
            std::memcpy(bytes, record.data(), sizeof(T));
            item_ = *std::launder(reinterpret_cast<T*>(bytes));
        } else {
            item_ = detail::decode_item<T>(record);
        }
    }
    auto begin() {
        if (!started_) {
            started_ = true;
            shuffler_.finish();
            pop();
        }
        return detail::InputIterator<ExternalShuffler, T>(*this);
    }
    std::default_sentinel_t end() const noexcept { return {}; }

private:
    detail::Shuffler shuffler_;
    std::optional<T> item_;
    bool started_ = false;
    bool done_ = false;
};

/// The elements of any input range in random order; the range is read to its end first. See ExternalShuffler.
template <std::ranges::input_range Range>
    requires Spillable<std::ranges::range_value_t<Range>>
auto external_shuffle(Range&& range, std::uint64_t seed, const ExternalOptions& options = {}) {
    ExternalShuffler<std::ranges::range_value_t<Range>> shuffler(seed, options);
    for (auto&& item : range) shuffler.push(item);
    return shuffler;
}

}  // namespace pyrsistence
