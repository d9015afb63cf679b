"""External-memory algorithms, and a list that is sorted beside itself."""

LIST = "src/containers/list.cpp"
SCRATCH = "src/storage/scratch.cpp"
TYPED_LIST = "include/pyrsistence/list.hpp"

FAULTS = [
    dict(
        name="equal items come in the order of the heap",
        file="include/pyrsistence/scratch.hpp",
        text="        const bool earlier = a < b;",
        instead="        const bool earlier = a > b;",
        tests=["ExternalTest.SortsFixedRecordsStably", "ExternalTest.MergesAnyNumberOfRanges"],
    ),
    dict(
        name="blocks that were read are not used again",
        file=SCRATCH,
        text="    scratch_->release(run_.blocks[next_block_++]);\n",
        instead="    ++next_block_;\n",
        tests=["ScratchTest.RunsOfAnyRecordsComeBack"],
    ),
    dict(
        name="a block is given up before it was written",
        file=SCRATCH,
        text="    file_->write(bytes, block * block_size_);\n    if (free_.empty()) ++blocks_;",
        instead="    if (free_.empty()) ++blocks_;\n    file_->write(bytes, block * block_size_);\n    if (blocks_ > block) return block;",
        tests=["ScratchTest.AFailedWriteCanBeRepeated"],
    ),
    dict(
        name="buckets are not shuffled",
        file=SCRATCH,
        text="        const std::uint64_t j = below(i + 1);\n",
        instead="        const std::uint64_t j = i;\n",
        tests=["ScratchTest.ShufflingIsUniform"],
    ),
    dict(
        name="a shuffle swaps with any place",
        file=SCRATCH,
        text="        const std::uint64_t j = below(i + 1);\n",
        instead="        const std::uint64_t j = below(i + 1) / 2;\n",
        tests=["ScratchTest.ShufflingIsUniform"],
    ),
    dict(
        name="a list that was changed is sorted all the same",
        file=LIST,
        text="    if (step.version() != before.version_) {",
        instead="    if (before.items() > UINT32_MAX) {",
        tests=["ListTest.ChangesThatExpectSomethingElseDoNotHappen"],
    ),
    dict(
        name="the log keeps the items from before a sort",
        file=LIST,
        text="    step.commit(record_header(ListOp::clear, id_));\n    FreshItems",
        instead="    FreshItems",
        tests=["ListTest.RearrangingIsDoneWhenItReturns"],
    ),
    dict(
        name="the items from before a sort are never given back",
        file=LIST,
        text="        Tree(step_.pager(), root, structures::TreeOrder::rank).clear();\n        std::memcpy(root, root_,",
        instead="        std::memcpy(root, root_,",
        tests=["ListTest.RearrangingIsDoneWhenItReturns"],
    ),
    dict(
        name="keys of several types are compared as if they were of one",
        file="bindings/sorter.cpp",
        text="    if (kind_ != native.kind) become_objects();\n",
        instead="",
        tests=["tests/python/test_external.py::test_kinds_that_change_on_the_way"],
    ),
    dict(
        name="a list that is sorted in C++ takes the spelling of C++",
        file=TYPED_LIST,
        text="        if (as_text(again) != as_text(item)) return std::nullopt;\n",
        instead="",
        tests=["ListSortTest.ItemsStayAsTheyWereWritten"],
    ),
    dict(
        name="functions of the caller's compare under the store's lock",
        file=TYPED_LIST,
        text="sorter.finish(detail::kOwnOrder<T, Less, Proj> ? Comparisons::lazily : Comparisons::at_once);",
        instead="sorter.finish(Comparisons::lazily);",
        tests=["ListSortTest.ProjectionsMayUseTheStore"],
        seconds=30,
    ),
    dict(
        name="a list that changed while it was sorted in C++ is said to be sorted",
        file=TYPED_LIST,
        text="        if (!as_before) detail::throw_changed_while_sorting(path().string());\n",
        instead="        (void)as_before;\n",
        tests=["ListSortTest.WhatFailsChangesNothing"],
    ),
    dict(
        name="all comparisons at once are made once more",
        file="include/pyrsistence/external.hpp",
        text="        if (when == Comparisons::at_once && runs_.size() > 1) {",
        instead="        if (when == Comparisons::at_once && runs_.size() > 2) {",
        tests=["ExternalTest.AllComparisonsAtOnce"],
    ),
]
