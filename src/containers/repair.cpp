// verify() of a handle and of a store that is closed and may not open, each with the repair that can follow.

#include "containers/salvage.hpp"
#include "containers/verify.hpp"
#include "storage/store.hpp"

namespace pyrsistence {

namespace {

using containers::Salvage;

Report report_of(const storage::Verification& found) {
    Report report{.pages = found.pages_reached(), .entries = found.entries(), .fault_count = found.fault_count()};
    for (const storage::Fault& fault : found.faults()) report.faults.push_back(fault.text);
    return report;
}

storage::Verification verification(PageId pages, const Progress& progress) {
    storage::Verification::Options options;
    options.progress = progress;
    return storage::Verification(pages, std::move(options));
}

void leave_out_snapshots(Salvage& salvage, os::File& data, const storage::Meta& meta) {
    try {
        for (const auto& one : storage::read_snapshots(data, meta)) salvage.leave_out("snapshot '" + one.name + "'");
    } catch (const CorruptionError&) {
        salvage.leave_out("the named snapshots");
    }
}

}  // namespace

Report Handle::verify(const Progress& progress, const std::filesystem::path& repair_to) const {
    Report report;
    const std::uint64_t memory_limit = store().info().memory_limit;
    store().with_checkpoint([&](os::File& data, const storage::Meta& meta) {
        storage::Verification found = verification(storage::existing_pages(data, meta.pages.page_count), progress);
        storage::verify_checkpoint(data, meta, containers::container_walk(meta.hash_seed), found);
        report = report_of(found);
        if (progress) progress(report.pages, report.pages);
        if (report.fault_count == 0 || repair_to.empty()) return;
        Salvage salvage({.to = repair_to, .memory_limit = memory_limit, .progress = progress});
        leave_out_snapshots(salvage, data, meta);
        salvage.copy(*storage::open_to_read(data, meta.pages), meta.catalog);
        salvage.finish(report);
    });
    return report;
}

Report verify(const std::filesystem::path& store, const Progress& progress, const std::filesystem::path& repair_to) {
    const storage::Wreck wreck(os::FileSystem::posix(), store);
    const auto& meta = wreck.meta();
    storage::PagerState whole{UINT64_MAX / 2, std::max(wreck.file_pages(), storage::kMetaPages), {}};
    const PageId pages = meta ? storage::existing_pages(wreck.data(), meta->pages.page_count) : whole.page_count;
    storage::Verification found = verification(pages, progress);
    wreck.report(found);
    bool logged = false;
    if (meta) {
        storage::verify_checkpoint(wreck.data(), *meta, containers::container_walk(meta->hash_seed), found);
        wreck.read_log(found, [&](const storage::LoggedOp&) { logged = true; });
        whole.epoch = meta->pages.epoch;
    }
    Report report = report_of(found);
    if (report.fault_count == 0 || repair_to.empty()) return report;
    const auto pager = storage::open_to_read(wreck.data(), whole);
    Salvage salvage({.to = repair_to, .hash_seed = meta ? meta->hash_seed : 0, .progress = progress});
    if (!meta) {
        salvage.find(*pager);
    } else {
        leave_out_snapshots(salvage, wreck.data(), *meta);
        salvage.copy(*pager, meta->catalog);
        if (logged) salvage.replay(wreck, *pager);
    }
    salvage.finish(report);
    return report;
}

}  // namespace pyrsistence
