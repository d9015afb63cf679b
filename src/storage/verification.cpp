#include "storage/verification.hpp"

#include <algorithm>
#include <iterator>
#include <unordered_set>
#include <utility>

namespace pyrsistence::storage {

namespace {

constexpr std::uint64_t kPollsPerReport = 256;

/// The next step that the message of a thrown fault names.
const char* advice(Part part) {
    switch (part) {
        case Part::index: return "; verify(repair=True) makes a new store with a sound one";
        case Part::space: return "; run compact()";
        default: return "; restore a backup, or save what can be read by verify(repair=True)";
    }
}

std::string name(PageId page) { return "page " + std::to_string(page); }

std::string runs(PageId first, std::uint64_t pages) {
    return pages == 1 ? name(first) : "pages " + std::to_string(first) + " to " + std::to_string(first + pages - 1);
}

}  // namespace

Verification::Verification(PageId page_count, Options options)
    : page_count_(page_count), options_(std::move(options)), reached_(page_count), total_(page_count) {}

bool Verification::reach(PageId first, std::uint64_t pages, PageId from) {
    poll();
    if (first < kMetaPages || first >= page_count_ || pages == 0 || pages > page_count_ - first) {
        bad_reference(from, std::to_string(pages) + " pages from " + std::to_string(first) +
                                " on, but the store has " + std::to_string(page_count_));
        return false;
    }
    const std::uint64_t before = done_;
    mark(first, pages, from);
    if (options_.on_reach) options_.on_reach(first, pages);
    return done_ - before == pages;
}

/// Goes on behind pages that were reached before, as long as that has not happened to as many as there are.
void Verification::mark(PageId first, std::uint64_t pages, PageId from) {
    PageId twice = 0;
    for (PageId id = first; id < first + pages; ++id) {
        if (!reached_[id]) {
            reached_[id] = true;
            ++done_;
            continue;
        }
        if (twice == 0) twice = id;
        if (++repeats_ > page_count_) break;
    }
    if (twice != 0) bad_reference(from, name(twice) + ", which is reached from elsewhere, too");
}

/// What the reference should have led to remains unreached.
void Verification::bad_reference(PageId from, const std::string& what) {
    lost_ = true;
    const char* const who = from != 0 ? "it" : part_ == Part::space ? "the space map" : "a root";
    fault(from, who + std::string(" refers to ") + what);
}

void Verification::disown(PageId page) {
    reached_[page] = false;
    --done_;
    lost_ = true;
}

void Verification::fault(PageId page, const std::string& what) {
    std::string text = page == 0 ? what : name(page) + " of data: " + what;
    if (options_.throw_first) throw CorruptionError(text + advice(part_));
    keep(page, std::move(text));
}

void Verification::fault(PageId page, const CorruptionError& error, const std::string& owner) {
    if (options_.throw_first) throw error;
    const std::string text = error.what();
    const std::string finding = text.substr(0, text.find("; "));  // without the next step
    keep(page, owner.empty() ? finding : finding + ", in " + owner);
}

void Verification::keep(PageId page, std::string text) {
    ++count_;
    if (faults_.size() >= options_.most_faults) return;
    if (!name_.empty()) text = "container '" + name_ + "', " + text;
    faults_.push_back({page, container_, part_, std::move(text)});
}

void Verification::add_findings(const Verification& other, std::string_view state) {
    std::set<std::string_view> known;
    for (const Fault& fault : faults_) known.insert(fault.text);
    std::vector<Fault> more;
    for (const Fault& fault : other.faults_) {
        if (known.contains(fault.text)) continue;
        more.push_back(fault);
        more.back().text = std::string(state) + ", " + fault.text;
    }
    const std::size_t kept = std::min(more.size(), options_.most_faults - faults_.size());
    count_ += other.count_ - other.faults_.size() + more.size();
    std::move(more.begin(), more.begin() + static_cast<std::ptrdiff_t>(kept), std::back_inserter(faults_));
}

void Verification::poll() {
    if (options_.progress && ++polls_ % kPollsPerReport == 0) options_.progress(done_, std::max(done_, total_));
}

void Verification::compare(const Live& live, const std::function<void(PageId, std::uint64_t, bool)>& visit) {
    PageId known = kMetaPages;  // pages before are in a group whose bits cannot be read
    PageId first = 0;
    bool reached = false;
    const auto differs = [&](PageId id) {
        if (id < known) return false;
        try {
            return live(id) != reached_[id];
        } catch (const CorruptionError& error) {
            fault(0, error);
            known = (id / SpaceMap::kGroupPages + 1) * SpaceMap::kGroupPages;
            return false;
        }
    };
    for (PageId id = kMetaPages; id < page_count_; ++id) {
        const bool other = differs(id);
        if (first != 0 && (!other || reached_[id] != reached)) visit(std::exchange(first, 0), id - first, reached);
        if (!other || first != 0) continue;
        first = id;
        reached = reached_[id];
    }
    if (first != 0) visit(first, page_count_ - first, reached);
}

void Verification::finish(const Live& live) {
    enter(Part::space, std::nullopt);
    compare(live, [this](PageId first, std::uint64_t pages, bool reached) {
        if (reached) return fault(first, runs(first, pages) + " can be reached, but may be given away as free");
        unreached_ += pages;
        if (complete()) fault(first, runs(first, pages) + " cannot be reached, but may not be used");
    });
}

namespace {

/// Goes down the catalog. Its height is bounded by what a container id can need.
class CatalogWalk {
public:
    CatalogWalk(Pager& pager, const ContainerWalk& walk, Verification& out) : pager_(pager), walk_(walk), out_(out) {}

    void run(const CatalogRoot& root);

private:
    const std::byte* read(PageId id, PageKind kind, unsigned level, PageId from);
    void descend(PageId id, unsigned level, std::uint64_t first, PageId from);
    void container(PageId id, ContainerId number, PageId from);

    Pager& pager_;
    const ContainerWalk& walk_;
    Verification& out_;
    std::uint64_t containers_ = 0;  ///< behind the last one found
    std::unordered_set<std::string> names_;
};

void CatalogWalk::run(const CatalogRoot& root) {
    out_.enter(Part::catalog, std::nullopt);
    if (root.page == 0) {
        if (root.containers != 0) {
            out_.fault(0, "the catalog is missing, but " + std::to_string(root.containers) + " containers were made");
        }
        return;
    }
    if (root.level > Catalog::kMaxLevel) {
        out_.lose_pages();
        return out_.fault(root.page, "a catalog of " + std::to_string(root.level) + " levels");
    }
    descend(root.page, root.level, 0, 0);
    out_.enter(Part::catalog, std::nullopt);
    if (containers_ > root.containers) {
        out_.fault(root.page, "the catalog has " + std::to_string(containers_) + " containers, but " +
                                  std::to_string(root.containers) + " were made");
    }
}

/// A page that can be read and is what belongs there, else null.
const std::byte* CatalogWalk::read(PageId id, PageKind kind, unsigned level, PageId from) {
    if (!out_.reach(id, 1, from)) return nullptr;
    try {
        const std::byte* page = pager_.read(id);
        if (page_kind(page) == kind && (kind == PageKind::root || page_level(page) == level)) return page;
    } catch (const CorruptionError& error) {
        out_.lose_pages();
        out_.fault(id, error);
        return nullptr;
    }
    out_.disown(id);
    out_.fault(from, name(id) + " is not the page of the catalog that belongs there");
    return nullptr;
}

void CatalogWalk::descend(PageId id, unsigned level, std::uint64_t first, PageId from) {
    const std::byte* page = read(id, PageKind::catalog, level, from);
    if (page == nullptr) return;
    const unsigned n = page_count(page);
    for (unsigned i = 0; i < n; ++i) {
        const PageId below = Catalog::id_at(page, i);
        if (below == 0) continue;  // removed
        const std::uint64_t number = first + i * Catalog::span(level);
        if (level > 0) {
            descend(below, level - 1, number, id);
        } else {
            container(below, static_cast<ContainerId>(number), id);
        }
    }
}

void CatalogWalk::container(PageId id, ContainerId number, PageId from) {
    containers_ = number + std::uint64_t{1};
    out_.enter(Part::catalog, number);
    if (const std::byte* root = read(id, PageKind::root, 0, from)) {
        const std::string_view name = RootPage::name(root);
        out_.enter(Part::catalog, number, name);
        if (!names_.emplace(name).second) out_.fault(id, "another container has this name");
        try {
            walk_(pager_, root, out_);
        } catch (const CorruptionError& error) {
            out_.lose_pages();
            out_.fault(id, error);
        }
    }
    out_.enter(Part::catalog, std::nullopt);
}

}  // namespace

void verify_containers(Pager& pager, const CatalogRoot& catalog, const ContainerWalk& walk, Verification& out) {
    CatalogWalk(pager, walk, out).run(catalog);
}

void verify_state(Pager& pager, const CatalogRoot& catalog, const SpaceAccount& space, const ContainerWalk& walk,
                  Verification& out) {
    out.expect_pages(space.live_pages);
    verify_containers(pager, catalog, walk, out);
    out.enter(Part::space, std::nullopt);
    space.own_pages([&out](PageId first, std::uint64_t pages) { out.reach(first, pages, 0); });
    out.finish(space.live);
}

SpaceAccount account_of(const SpaceMap& space) {
    return {[&space](PageId page) { return space.live(page); },
            [&space](const std::function<void(PageId, std::uint64_t)>& visit) { space.own_pages(visit); },
            space.live_pages()};
}

std::unique_ptr<Pager> open_to_read(os::File& data, const PagerState& state) {
    return std::make_unique<Pager>(data, state, Pager::Options{.frame_memory = 0, .access = Pager::Access::read});
}

SpaceMap open_space_map(os::File& data, const PagerState& state) {
    const auto read = [&data](PageId first, MutableBytes bytes) {
        if (data.read(bytes, first * kPageSize) == bytes.size()) return;
        throw CorruptionError(name(first) + " of data: the file ends within the space map");
    };
    if (state.page_count <= kMetaPages && state.space_map.bytes == 0) return SpaceMap(read);
    if (state.space_map.bytes > data.size()) {
        throw CorruptionError(name(state.space_map.first) + " of data: the space map is longer than the file");
    }
    return SpaceMap(read, state.space_map, state.page_count);
}

namespace {

/// Pages in use behind the end of the file, of which the account of pages knows nothing.
void refuse_pages_behind(const SpaceMap& space, Verification& out) {
    if (space.page_count() <= out.page_count()) return;
    out.enter(Part::space, std::nullopt);
    const auto visit = [&out](PageId first, std::uint64_t pages) {
        const PageId behind = std::max(first, out.page_count());
        if (behind >= first + pages) return;
        out.fault(behind, runs(behind, first + pages - behind) + " may not be used, but the file ends before");
    };
    try {
        space.for_each_busy(visit);
    } catch (const CorruptionError& error) {
        out.fault(0, error);
    }
}

/// One state; `table` is where its named snapshots are listed.
void verify_stored(os::File& data, const PagerState& state, const CatalogRoot& catalog, const ExtentRef& table,
                   const ContainerWalk& walk, Verification& out) {
    const auto pager = open_to_read(data, state);
    std::optional<SpaceMap> space;
    try {
        space.emplace(open_space_map(data, state));
    } catch (const CorruptionError& error) {
        out.enter(Part::space, std::nullopt);
        out.fault(state.space_map.first, error);
    }
    if (!space) return verify_containers(*pager, catalog, walk, out);
    refuse_pages_behind(*space, out);
    SpaceAccount account = account_of(*space);
    account.own_pages = [&](const std::function<void(PageId, std::uint64_t)>& visit) {
        space->own_pages(visit);
        if (table.bytes > 0) visit(table.first, table.pages());
    };
    verify_state(*pager, catalog, account, walk, out);
}

}  // namespace

void verify_checkpoint(os::File& data, const Meta& meta, const ContainerWalk& walk, Verification& out) {
    verify_stored(data, meta.pages, meta.catalog, meta.snapshots, walk, out);
    SnapshotTable snapshots;
    try {
        snapshots = read_snapshots(data, meta);
    } catch (const CorruptionError& error) {
        out.enter(Part::catalog, std::nullopt);
        out.fault(meta.snapshots.first, error);
    }
    for (const NamedSnapshot& snapshot : snapshots) {
        Verification then(existing_pages(data, snapshot.pages.page_count), out.options());
        verify_stored(data, snapshot.pages, snapshot.catalog, snapshot.table, walk, then);
        out.add_findings(then, "snapshot '" + snapshot.name + "'");
    }
}

void verify_meta_pages(os::File& data, Verification& out) {
    out.enter(Part::catalog, std::nullopt);
    for (PageId id = 0; id < kMetaPages; ++id) {
        std::array<std::byte, Meta::kSize> page{};
        data.read(page, id * kPageSize);
        const bool used = std::ranges::any_of(page, [](std::byte byte) { return byte != std::byte{0}; });
        try {
            if (used && !Meta::decode(page)) out.fault(id, CorruptionError(name(id) + " of data: the meta page is damaged"));
        } catch (const FormatError& error) {
            out.fault(id, error.what());
        }
    }
}

}  // namespace pyrsistence::storage
