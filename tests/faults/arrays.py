"""Arrays: pages full of items, found by arithmetic."""

ARRAY = "src/containers/array.cpp"
TREE = "src/structures/byte_tree.cpp"
RANDOM = "ArrayTest.IsAsAVectorAfterRandomOperationsAndCrashes"

FAULTS = [
    dict(
        name="items straddle pages",
        file="src/structures/byte_tree.hpp",
        text="static_cast<std::size_t>(kMostBytes / item_size * item_size)",
        instead="kMostBytes",
        tests=["ByteTreeTest.HoldsWholeItemsInItsLeaves"],
    ),
    dict(
        name="the last leaf is not filled before another begins",
        file=TREE,
        text="const bool full = filled == leaf_bytes_;",
        instead="const bool full = filled + 8 >= leaf_bytes_;",
        tests=[RANDOM],
    ),
    dict(
        name="bytes that were cut off come back",
        file=TREE,
        text="        storage::set_page_count(leaf, n - gone);\n        return;\n",
        instead="        return;\n",
        tests=["ByteTreeTest.GrowsOverSeveralLevelsAndShrinksAgain"],
    ),
    dict(
        name="the log does not tell of a part of a scattered change",
        file=ARRAY,
        text="            step.commit(record_header(ArrayOp::write, id_).u64(some[i] * item), run);\n",
        instead="            if (i > 0) step.commit(record_header(ArrayOp::write, id_).u64(some[i] * item), run);\n",
        tests=[RANDOM],
    ),
    dict(
        name="the log does not tell of the type",
        file=ARRAY,
        text="        step.commit(record_header(ArrayOp::type, id), encoded);\n",
        instead="",
        tests=[RANDOM],
    ),
    dict(
        name="an array is emptied without being told its type",
        file=ARRAY,
        text="if (options.mode == Mode::truncate || options.mode == Mode::exclusive) {",
        instead="if (options.mode == Mode::exclusive) {",
        tests=["ArrayTest.WithoutATypeNothingIsCreatedOrEmptied"],
    ),
    dict(
        name="a repair closes the gap of lost items",
        file="src/containers/salvage.cpp",
        text="            target->array->append(part);\n",
        instead="            if (lost == 0) target->array->append(part);\n",
        tests=["ArrayTest.IsRepairedWithZerosForWhatIsLost"],
    ),
    dict(
        name="compaction leaves arrays where they are",
        file="src/containers/relocate.cpp",
        text="return relocate_array(store, id, limit, progress);",
        instead="return;",
        tests=["ArrayTest.CompactsWhatLiesBehindOthers"],
    ),
]
