"""Pools of processes, and children that are forked at any moment."""

FILES = "src/storage/store_files.cpp"
COLLECTION = "bindings/collection.cpp"
FORK = "tests/python/test_fork.py"
PROCESSES = "tests/python/test_processes.py"

FAULTS = [
    dict(
        name="a child takes its parent's store for its own",
        file=FILES,
        text="    forked_ = true;\n",
        instead="",
        tests=[f"{FORK}::test_every_use_in_a_forked_child_raises"],
    ),
    dict(
        name="a child closes its parent's store",
        file="src/storage/store.cpp",
        text="    if (forked_) return;\n",
        instead="",
        also=[
            (
                FILES,
                "if (store.use_count() > 1 || store->forked_ || store->closed_) return;",
                "if (store.use_count() > (store->forked_ ? 2 : 1) || store->closed_) return;",
            )
        ],
        tests=[f"{FORK}::test_close_and_destructors_in_a_child_harm_nothing"],
    ),
    dict(
        name="a child destroys a store for which its parent's threads wait",
        file=FILES,
        text="        orphans.push_back(store);\n",
        instead="",
        tests=[f"{FORK}::test_forks_while_other_threads_write_and_checkpoints_run"],
        seconds=60,
    ),
    dict(
        name="a child keeps its parent's lock",
        file=FILES,
        text="for (auto* file : {lock_file_.get(), data_.get(), log_file_.get()}) {",
        instead="for (auto* file : {data_.get(), log_file_.get()}) {",
        tests=[f"{PROCESSES}::test_a_child_goes_on_where_its_killed_parent_stopped"],
    ),
    dict(
        name="a child keeps what its dead parent read",
        file=FILES,
        text="if (table_) table_->abandon();",
        instead="",
        tests=[f"{PROCESSES}::test_a_killed_reader_is_gone_although_its_child_lives"],
    ),
    dict(
        name="a child finds its parent's stores among its own",
        file=FILES,
        text="                           get().stores.clear();\n",
        instead="",
        tests=[f"{PROCESSES}::test_workers_read_while_their_parent_writes"],
    ),
    dict(
        name="a child inherits a lock that another thread held when it was forked",
        file=FILES,
        text="pthread_atfork([] { get().mutex.lock(); }, [] { get().mutex.unlock(); },",
        instead="pthread_atfork([] {}, [] {},",
        also=[(FILES, "                           get().mutex.unlock();\n", "")],
        tests=["StoreFilesTest.AForkBesideBusyThreadsDoesNotHang"],
        seconds=60,
    ),
    dict(
        name="a child waits for calls of its parent's threads",
        file=COLLECTION,
        text="while (session->users > 0 && session->process == ::getpid()) {",
        instead="while (session->users > 0) {",
        tests=[f"{FORK}::test_forks_while_other_threads_write_and_checkpoints_run"],
        seconds=60,
    ),
    dict(
        name="a child is told to close what its parent left open",
        file=COLLECTION,
        text="if (options_.temporary || dependent_ || session_->process != ::getpid()) return;",
        instead="if (options_.temporary || dependent_) return;",
        tests=[f"{PROCESSES}::test_what_a_child_drops_within_a_transaction_leaves_the_files_alone"],
    ),
    dict(
        name="a child waits for its parent's thread that watches for readers",
        file="src/os/watch.cpp",
        text="::pthread_atfork(nullptr, nullptr, [] { Hub::forget(); });",
        instead="::pthread_atfork(nullptr, nullptr, nullptr);",
        tests=["WatchTest.AChildOfAForkStartsAfresh"],
    ),
    dict(
        name="a handle that is sent wants to write",
        file=COLLECTION,
        text="options_.mode = here && mode != Mode::read ? Mode::read_write : Mode::read;",
        instead="options_.mode = mode != Mode::read ? Mode::read_write : Mode::read;",
        tests=[f"{FORK}::test_a_handle_pickled_to_a_spawned_process_is_opened_there_read_only"],
    ),
    dict(
        name="a handle that is sent forgets of which snapshot it is",
        file=COLLECTION,
        text="""put(state, "at", options_.at.empty() ? nb::none() : to_text(options_.at));""",
        instead="""put(state, "at", nb::none());""",
        tests=["tests/python/test_store.py::test_pickled_handles_open_in_other_processes"],
    ),
    dict(
        name="a handle that is sent forgets its memory limit",
        file=COLLECTION,
        text="set_memory_limit(PyObject_IsTrue(limit.ptr()) == 1 ? limit.ptr() : Py_None);",
        instead="set_memory_limit(Py_None);",
        tests=[f"{PROCESSES}::test_workers_read_while_their_parent_writes"],
    ),
    dict(
        name="a closed handle that is sent opens its store",
        file=COLLECTION,
        text="""if (item(state, "open").is(Py_True)) open_at(""",
        instead="""if (!path.is_none()) open_at(""",
        tests=[f"{FORK}::test_a_handle_pickled_to_a_spawned_process_is_opened_there_read_only"],
    ),
    dict(
        name="a worker need not see what the sender of its handle had done",
        file=COLLECTION,
        text="if (session_) Use<Handle>(*this).without_gil([](Handle& engine) { engine.publish(); });",
        instead="",
        tests=[f"{PROCESSES}::test_a_sent_handle_shows_what_its_sender_had_done_although_that_has_stopped"],
    ),
    dict(
        name="a successor does not wait for the child of a dead writer",
        file=FILES,
        text="recovers ? kRecovery : dead ? kFork : 0",
        instead="recovers ? kRecovery : 0",
        tests=["StoreFilesTest.TheLockOfADeadWriterIsAwaited"],
    ),
]
