"""What a power failure leaves is an exact prefix of what was done, at least up to the last sync."""

CHECKPOINT = "src/storage/checkpoint.cpp"
FILES = "src/storage/store_files.cpp"
LOG = "src/storage/log.cpp"
PAGER = "src/storage/pager.cpp"
RECOVERY = "src/storage/recovery.cpp"
STORE = "src/storage/store.cpp"
ALL = "PowerFailureTest.*"
SMALL = {"PYRSISTENCE_TEST_SCALE": "0.3"}

FAULTS = [
    dict(
        name="the data is not synced before the meta page",
        file=CHECKPOINT,
        text="            pager_->sync();\n            log_->sync(log_sequence);",
        instead="            log_->sync(log_sequence);",
        tests=[ALL],
        environment=SMALL,
    ),
    dict(
        name="the log is not synced before the meta page",
        file=CHECKPOINT,
        text="            pager_->sync();\n            log_->sync(log_sequence);",
        instead="            pager_->sync();\n            (void)log_sequence;",
        tests=[ALL],
        environment=SMALL,
    ),
    dict(
        name="the meta page is not synced",
        file=CHECKPOINT,
        text="if (!temporary()) data_->sync();",
        instead="",
        tests=[ALL],
        environment=SMALL,
    ),
    dict(
        name="dead pages are used again before the checkpoint is durable",
        file=CHECKPOINT,
        text="    checkpoints_.push_back(next.pages.epoch);\n",
        instead="    checkpoints_.push_back(next.pages.epoch);\n"
        "    pager_->drop(checkpoints_.front());\n",
        tests=[ALL],
        environment=SMALL,
    ),
    dict(
        name="the old pages of the space map are used again at once",
        file="src/storage/space_map.cpp",
        text="    retire(first, pages, [this](PageId page, std::uint64_t count) { recycle(page, count); });\n}\n\nExtentRef",
        instead="    retire(first, pages, [](PageId, std::uint64_t) {});\n    recycle(first, pages);\n}\n\nExtentRef",
        tests=[ALL],
        environment=SMALL,
    ),
    dict(
        name="a checkpoint leaves out a frame",
        file=PAGER,
        text="i < writing_.size(); ++i) writes.push_back(",
        instead="i < writing_.size(); ++i) if (i > 0) writes.push_back(",
        tests=[ALL],
        environment=SMALL,
    ),
    dict(
        name="all generations of the log have one salt",
        file=LOG,
        text="WindowHeader header{generation, random_salt(),",
        instead="WindowHeader header{generation, 1,",
        tests=["PowerFailureTest.RecordsOfALostGenerationStayDead"],
    ),
    dict(
        name="recovery keeps only the last window that it replayed",
        file=LOG,
        text="    needed_ = replayed;",
        instead="    needed_ = 1u << window;",
        tests=[ALL],
        environment=SMALL,
    ),
    dict(
        name="a new generation frees the windows before it",
        file=LOG,
        text="if (window_ != kNone && window_ != window) needed_ |= 1u << window_;",
        instead="needed_ = 0;",
        tests=[ALL],
        environment=SMALL,
    ),
    dict(
        name="a log is cut before its moved header is durable",
        file=LOG,
        text="        file_.write(Bytes(map_, kHeaderSize), window_base(0));\n        file_.sync();\n",
        instead="        file_.write(Bytes(map_, kHeaderSize), window_base(0));\n",
        tests=[ALL],
        environment=SMALL,
    ),
    dict(
        name="operations go on after recovery before its checkpoint is durable",
        file=FILES,
        text="    checkpoint_and_wait(lock);\n",
        instead="    start_checkpoint(lock);\n    writing_ = true;\n",
        tests=[ALL],
        environment=SMALL,
    ),
    dict(
        name="sync() does nothing",
        file=STORE,
        text="if (read_only() || temporary() || !(writing_ || dirty())) return;",
        instead="if (read_only() || temporary() || writing_) return;",
        tests=[ALL],
        environment=SMALL,
    ),
    dict(
        name="sync() leaves out the data although extents are outstanding",
        file=STORE,
        text="if (extents) pager_->sync();",
        instead="(void)extents;",
        tests=[ALL],
        environment=SMALL,
    ),
    dict(
        name="extents that the log names are free as soon as they are given back",
        file=PAGER,
        text="for (const std::uint64_t epoch : checkpoints_) space_.keep(epoch, ref.first, ref.pages());",
        instead="(void)ref;",
        tests=[ALL],
        environment=SMALL,
    ),
    dict(
        name="replay does not claim extents",
        file=RECOVERY,
        text="                pager_->claim(op.extent);\n",
        instead="",
        tests=[ALL],
        environment=SMALL,
    ),
    dict(
        name="the extents of replayed records are not verified",
        file=RECOVERY,
        text="                pager_->read_extent(op.extent);\n",
        instead="",
        tests=[ALL],
        environment=SMALL,
    ),
    dict(
        name="a batch is logged as single records",
        file="src/storage/step.cpp",
        text="        if (oversize_ || done_) return;\n",
        instead="        if (oversize_ || done_) return;\n"
        "        if (!store_.transaction_ && store_.log_->reserve(head.size() + body.size())) {\n"
        "            const Bytes single[] = {head, body};\n"
        "            return store_.log_->append(single);\n"
        "        }\n",
        tests=[ALL],
        environment=SMALL,
    ),
    dict(
        name="creation does not sync the log",
        file=FILES,
        text="        log_file->sync();\n",
        instead="",
        tests=[ALL],
        environment=SMALL,
    ),
    dict(
        name="creation renames before the directory is durable",
        file=FILES,
        text="        files.sync_directory(path);  // a durable rename must not come before the log's name\n",
        instead="",
        tests=["PowerFailureTest.Creation"],
    ),
    dict(
        name="the rename that ends a creation is not made durable",
        file=FILES,
        text="    files.rename(path / kNewData, path / kData);\n    if (durable) files.sync_directory(path);\n",
        instead="    files.rename(path / kNewData, path / kData);\n",
        tests=[ALL],
        environment=SMALL,
    ),
    dict(
        name="the old data of a store that is emptied may come back beside the new log",
        file=FILES,
        text="        if (!temporary()) files_.sync_directory(path_);  // the old data must not come back beside a new log\n",
        instead="",
        tests=["PowerFailureTest.EmptyingAStoreLeavesTheOldOneOrAnEmptyOne"],
    ),
    dict(
        name="a creation leaves the used log of an earlier one",
        file=FILES,
        text="        if (!temporary()) files_.sync_directory(path_);  // a used log must not stay behind without data.new\n",
        instead="",
        tests=["PowerFailureTest.Creation", "PowerFailureTest.EmptyingAStoreLeavesTheOldOneOrAnEmptyOne"],
    ),
    dict(
        name="both checkpoints lie in one meta page",
        file="src/storage/meta.cpp",
        text="    data.write(page, (checkpoint % kMetaPages) * kPageSize);",
        instead="    data.write(page, 0);",
        tests=["PowerFailureTest.DictOfManyPages"],
        environment=SMALL,
        equivalent="a meta page lies in one sector, and a sector is never torn",
    ),
]
