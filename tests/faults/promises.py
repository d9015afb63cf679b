"""The other promises of docs/reliability.md, one or two faults for each."""

CHECKPOINT = "src/storage/checkpoint.cpp"
READERS = "src/storage/readers.cpp"
TABLE = "src/storage/reader_table.cpp"
RECOVERY = "src/storage/recovery.cpp"
STEP = "src/storage/step.cpp"
TRANSACTION = "src/storage/transaction.cpp"
POSIX = "src/os/posix_file.cpp"
PAGER = "src/storage/pager.cpp"

FAULTS = [
    # What has returned survives kill -9.
    dict(
        name="recovery forgets the last record",
        file=RECOVERY,
        text="if (sequence >= log.end) return false;",
        instead="if (sequence >= log.end || sequence + 1 == outcome.next_sequence) return false;",
        tests=["RawDictTest.ThrowsNothingAwayWhenKilled"],
    ),
    dict(
        name="the meta page is written before the pages",
        file=CHECKPOINT,
        text="        write_back();\n        syncing = true;\n",
        instead="        next.write(*data_);\n        write_back();\n        syncing = true;\n",
        tests=["KillTest.*"],
    ),
    dict(
        name="a transaction is logged in two records",
        file=TRANSACTION,
        text="            const Bytes parts[] = {header.view(), batch};\n            log_->append(parts);\n",
        instead="            Bytes rest = batch;\n"
        "            (void)take_op(rest);\n"
        "            const Bytes first = Bytes(batch).first(batch.size() - rest.size());\n"
        "            const Bytes parts[] = {header.view(), first}, others[] = {header.view(), rest};\n"
        "            log_->append(parts);\n"
        "            if (!rest.empty() && log_->reserve(rest.size() + RecordHeader::kMaxSize)) log_->append(others);\n",
        tests=["KillTest.AtRandomMoments*", "TransactionTest.*", "PowerFailureTest.StoreOf*"],
        environment={"PYRSISTENCE_TEST_SCALE": "0.3"},
    ),
    # Transactions and snapshots are exact.
    dict(
        name="a failed step is not undone",
        file=STEP,
        text="    store_.restore(lock_);\n",
        instead="",
        tests=["StepTest.*", "TransactionFailureTest.*"],
    ),
    dict(
        name="a failed return to the checkpoint is not tried again",
        file="src/storage/store.cpp",
        text="    if (unrestored_ && !closed_) [[unlikely]] reload();\n    require_open();\n    require_sound();",
        instead="    require_open();\n    require_sound();",
        tests=["TransactionFailureTest.*", "Errors/FaultyStoreTest.*"],
    ),
    dict(
        name="what a savepoint has logged stays when it is rolled back",
        file=TRANSACTION,
        text="    if (!transaction_->oversize) transaction_->batch.resize(level.logged);\n",
        instead="",
        tests=["TransactionTest.RandomOnes*"],
    ),
    dict(
        name="containers that a transaction made stay when it is rolled back",
        file=TRANSACTION,
        text="    catalog_ = level.catalog;\n",
        instead="",
        tests=["TransactionTest.RandomOnes*"],
    ),
    dict(
        name="rewinding leaves the groups of the space map as they are",
        file="src/storage/space_map.cpp",
        text="        Words gone = std::exchange(load(index).live, *copy);\n",
        instead="        Words gone = load(index).live;\n",
        tests=["SpaceMapRandomTest.*"],
    ),
    dict(
        name="a named snapshot is not there when its naming returns",
        file="src/storage/snapshots.cpp",
        text="    step.commit_checkpoint();\n",
        instead="    step.commit_batch();\n",
        tests=["SnapshotsTest.*"],
    ),
    # A reader sees one state; what it uses is never reused.
    dict(
        name="states that readers use are let go",
        file=READERS,
        text="epoch == published_epoch_ || std::binary_search(used.begin(), used.end(), epoch);",
        instead="epoch == published_epoch_ || (used.empty() && epoch == 0);",
        tests=["ReadersTest.*", "Events/ReadersStepTest.*"],
    ),
    dict(
        name="states that readers of a dead writer use are not held",
        file=READERS,
        text="    for (const std::uint64_t epoch : table_->epochs_in_use()) {\n",
        instead="    for (const std::uint64_t epoch : std::vector<std::uint64_t>{}) {\n",
        tests=["Scenes/WriterStepTest.*", "ReadersTest.*"],
    ),
    dict(
        name="a state is published before its pages are in the file",
        file=READERS,
        text="            const auto error = without_lock(lock, outside_, [this] { write_back(); });\n",
        instead="            const std::exception_ptr error;\n",
        tests=["ReadersTest.*", "Events/ReadersStepTest.*"],
    ),
    dict(
        name="a reader does not tell which state it uses",
        file=TABLE,
        text="    slot(index, kEpoch).store(epoch);\n    std::atomic_thread_fence",
        instead="    (void)epoch;\n    std::atomic_thread_fence",
        tests=["ReaderTableTest.*", "ReadersTest.*"],
    ),
    dict(
        name="a reader does not look again after it has told which state it uses",
        file=TABLE,
        text="        if (seal && seal->epoch == announced) return std::pair(*seal, std::move(slot));",
        instead="        if (seal) return std::pair(*seal, std::move(slot));\n        (void)announced;",
        tests=["ReaderTableRaceTest.TheWriterMayGoOnAtAnyInstructionOfAReader"],
    ),
    dict(
        name="what a dead writer published is not withdrawn",
        file=READERS,
        text="    table_->retract();\n    for",
        instead="    for",
        tests=["Scenes/WriterStepTest.*", "ReadersTest.*", "StoppedTest.*"],
    ),
    # Neither waits for the other.
    dict(
        name="a reader waits until the writer answers",
        file=READERS,
        text="while (table_->answered() < request && Clock::now() < end) {",
        instead="while (table_->answered() < request && end < Clock::time_point::max()) {",
        tests=["StoppedTest.AStoppedWriterLeavesItsLastPublishedState"],
        seconds=40,
    ),
    dict(
        name="states that no reader uses are kept",
        file=READERS,
        text="        if (!needed) let_go(epoch);\n        return !needed;\n",
        instead="        return !needed;\n",
        tests=["StoppedTest.*"],
    ),
    dict(
        name="the slots of dead readers stay taken",
        file=TABLE,
        text="        if (epoch != 0 && !free_if_dead(i)) epochs.push_back(epoch);",
        instead="        if (epoch != 0) epochs.push_back(epoch);",
        tests=["ReaderTableTest.*", "StoppedTest.*"],
    ),
    # Liveness across pid namespaces.
    dict(
        name="whether a reader lives is asked by its pid",
        file=TABLE,
        text="        if (held_[index] || !file_.try_lock(kLiveness + index, os::Lock::exclusive)) return false;\n        slot",
        instead="        const auto pid = static_cast<pid_t>(slot(index, kPid).load());\n"
        "        if (held_[index] || ::getpgid(pid) >= 0) return false;\n"
        "        slot",
        tests=["Places/NamespacesTest.*"],
    ),
    # Several threads on one handle.
    dict(
        name="named snapshots are not held while they are copied",
        file=CHECKPOINT,
        text="    for (const NamedSnapshot& one : named_) epochs.push_back(one.pages.epoch);\n",
        instead="",
        tests=["BackupTest.ASnapshotThatIsDeletedMeanwhileIsInIt", "HandleThreadsTest.*"],
    ),
    dict(
        name="two threads may write frames back at once",
        file=PAGER,
        text="    const std::scoped_lock alone(writing_back_);\n",
        instead="",
        tests=["HandleThreadsTest.*", "TransactionThreadsTest.*", "PagerThreadsTest.*", "StoreTest.*"],
    ),
    # What is used stays in memory.
    dict(
        name="a page is touched that has not been read",
        file=PAGER,
        text="if (mapped(id) != nullptr) mapping_->use(",
        instead="if (id < file_pages_) mapping_->use(",
        tests=["PagerTest.TouchesPagesOfFilesLargerThanMemory"],
    ),
    dict(
        name="faults of a mapping's twin do not count",
        file=POSIX,
        text="guard_.faults() + (twin_ ? twin_->faults() : 0)",
        instead="guard_.faults()",
        tests=["MappingGuardTest.UseIsGuardedToo"],
    ),
    dict(
        name="use is what the kernel does not count",
        file=POSIX,
        text="        look_at(twin_->data() + offset);\n",
        instead="",
        tests=["MappingGuardTest.UseReadsTheSamePageOnceMore"],
    ),
    # The file is lengthened before callers need it.
    dict(
        name="room is made when a checkpoint begins, and not again",
        file=PAGER,
        text="    ask_for_room();\n    return written_.empty();\n",
        instead="    return written_.empty();\n",
        tests=["PagerRoomTest.*"],
    ),
    dict(
        name="room that could not be made is an error",
        file=PAGER,
        text="return;  // who needs the room is told",
        instead="throw;",
        tests=["PagerRoomTest.*"],
    ),
    dict(
        name="room is made behind a tail that was cut off",
        file=PAGER,
        text="        room_asked_ = 0;\n    }\n    const PageId pages = space_.trim();",
        instead="    }\n    const PageId pages = space_.trim();",
        tests=["PagerRoomTest.*"],
    ),
    dict(
        name="the file is cut while it is lengthened",
        file=PAGER,
        text="    const std::scoped_lock alone(lengthening_);\n    PageId end;",
        instead="    PageId end;",
        tests=["PagerRoomTest.*"],
    ),
    dict(
        name="trim cuts the room off",
        file=PAGER,
        text="exact ? 0 : room(pages)",
        instead="exact ? 0 : growth_step(pages)",
        tests=["PagerRoomTest.*"],
    ),
    # Whatever call fails, nothing is lost.
    dict(
        name="a failed sync of a checkpoint is forgotten",
        file=CHECKPOINT,
        text="if (error && syncing) poison_ = error;",
        instead="(void)syncing;",
        tests=["Errors/FailingCallsTest.*", "Errors/FaultyStoreTest.*", "StoreTest.*"],
    ),
    dict(
        name="a failed sync() is forgotten",
        file="src/storage/store.cpp",
        text="    if (error) poison_ = error;\n",
        instead="",
        tests=["StoreTest.AFailedSyncPoisonsTheHandle"],
    ),
    dict(
        name="a failed backup leaves its directory",
        file="src/storage/backup.cpp",
        text="        if (made_) remove(path_);\n",
        instead="",
        tests=["BackupTest.*"],
    ),
    # Whatever allocation fails, nothing is half done.
    dict(
        name="a group of the space map counts as dirty before it is listed",
        file="src/storage/space_map.cpp",
        text="    dirty_.push_back(index);\n    groups_[index].dirty = true;\n",
        instead="    groups_[index].dirty = true;\n    dirty_.push_back(index);\n",
        tests=["Operations/FailingMemoryTest.*"],
        runner="pyrsistence_memory_tests",
    ),
    dict(
        name="frames are written back without room for remembering them",
        file=PAGER,
        text="        writing_.reserve(writing_.size() + sealed_.size());  // a frame that is in it twice would be freed twice\n",
        instead="",
        tests=["Operations/FailingMemoryTest.*"],
        runner="pyrsistence_memory_tests",
    ),
    dict(
        name="frames are handed over without room for them",
        file=PAGER,
        text="    sealed_.reserve(sealed_.size() + fresh_.size());\n",
        instead="",
        tests=["Operations/FailingMemoryTest.*"],
        runner="pyrsistence_memory_tests",
    ),
    # Short and interrupted system calls.
    dict(
        name="a short write loses its place",
        file=POSIX,
        text="            write(rest, offset);\n            offset += rest.size();\n",
        instead="            write(rest, offset);\n",
        tests=["SystemCallsTest.*"],
    ),
    dict(
        name="interrupted calls are errors",
        file=POSIX,
        text="while (result == -1 && errno == EINTR);",
        instead="while (result == -1 && errno == EAGAIN);",
        tests=["SystemCallsTest.*"],
    ),
    # A disk that is really full.
    dict(
        name="the log does not ask for room before it is written through its mapping",
        file="src/storage/log.cpp",
        text="    file_.allocate(base + zeroed_, target - zeroed_);\n"
        "    for (std::uint64_t at = zeroed_; at < target; at += kZeroes.size()) {\n"
        "        file_.write(Bytes(kZeroes).first(std::min(kZeroes.size(), target - at)), base + at);\n"
        "    }\n",
        instead="    if (file_.size() < base + target) file_.truncate(base + target);\n",
        tests=["tests/python/test_full_disk.py"],
    ),
    # A page that cannot be read is never believed.
    dict(
        name="nobody looks for lost pages after an append",
        file=STEP,
        text="        store_.log_->append(parts);\n        store_.require_sound();\n",
        instead="        store_.log_->append(parts);\n",
        tests=["LostPagesTest.*"],
    ),
    dict(
        name="nobody looks for lost pages after a read",
        file=STEP,
        text="void ReadStep::finish() const { store_.require_sound(); }",
        instead="void ReadStep::finish() const {}",
        tests=["LostPagesTest.*"],
    ),
    dict(
        name="nobody looks for lost pages after a commit",
        file=TRANSACTION,
        text="            return require_sound();\n",
        instead="            return;\n",
        tests=["LostPagesTest.*"],
    ),
    # Files are private, and no links, pipes or devices.
    dict(
        name="files are for everybody",
        file=POSIX,
        text="flags, 0600); });",
        instead="flags, 0666); });",
        tests=["FileHygieneTest.*"],
    ),
    dict(
        name="directories are for everybody",
        file=POSIX,
        text="::mkdir(path.c_str(), 0700)",
        instead="::mkdir(path.c_str(), 0777)",
        tests=["FileHygieneTest.*"],
    ),
    dict(
        name="links are followed",
        file="src/storage/store_files.cpp",
        text="        if (!os::fs::is_regular_file(status)) {\n",
        instead="        if (!os::fs::is_regular_file(status) && !os::fs::is_symlink(status)) {\n",
        tests=["FileHygieneTest.*"],
    ),
    dict(
        name="a file with two names is written",
        file="src/storage/store_files.cpp",
        text="if (error || links == 1 || read_only()) continue;",
        instead="if (error || links >= 1 || read_only()) continue;",
        tests=["FileHygieneTest.*"],
    ),
    # verify() reports all faults and invents none.
    dict(
        name="verify() stops at the first fault of a catalog page",
        file="src/storage/verification.cpp",
        text="        out_.lose_pages();\n        out_.fault(id, error);\n        return nullptr;\n    }\n    out_.disown(id);",
        instead="        throw;\n    }\n    out_.disown(id);",
        tests=["VerifyStoreTest.*"],
    ),
    dict(
        name="verify() does not compare the space map with what is reached",
        file="src/storage/verification.cpp",
        text="    out.finish(space.live);\n",
        instead="",
        tests=["VerifyTest.*"],
    ),
    dict(
        name="verify() does not look at named snapshots",
        file="src/storage/verification.cpp",
        text="        verify_stored(data, snapshot.pages, snapshot.catalog, snapshot.table, walk, then);\n",
        instead="",
        tests=["VerifyStoreTest.NamedSnapshotsAreVerified"],
    ),
    dict(
        name="verify() does not count the entries of a tree",
        file="src/structures/verify.cpp",
        text="    if (!count.fits(RootField::entries(root))) {",
        instead="    if (count.counted && !count.stated && !count.fits(*count.counted)) {",
        tests=["VerifyTest.*", "VerifyTreesTest.*"],
    ),
    # One flipped byte is an error or harmless.
    dict(
        name="a page need not have its checksum",
        file=PAGER,
        text="if (stored != expected) corrupt(id,",
        instead="if (stored != expected && expected == 0) corrupt(id,",
        tests=["RecoveryTest.DamageIsNeverAWrongAnswer"],
    ),
    dict(
        name="a log record need not have its checksum",
        file="src/storage/log.cpp",
        text="        if (!verifies(offset_, record, chain_)) return false;\n",
        instead="",
        tests=["RecoveryTest.DamageIsNeverAWrongAnswer"],
    ),
    dict(
        name="an extent need not have its checksum",
        file=PAGER,
        text="if (state == kUnread && extent_checksum(bytes) != ref.checksum) {",
        instead="if (state == kUnread && bytes.size() < ref.bytes) {",
        tests=["RecoveryTest.DamageIsNeverAWrongAnswer"],
    ),
]
