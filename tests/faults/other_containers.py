"""Sets are dicts without values, deques lists with a limit: what is theirs alone."""

LIST = "src/containers/list.cpp"
SALVAGE = "src/containers/salvage.cpp"

FAULTS = [
    dict(
        name="a full deque grows",
        file=LIST,
        text="    if (size >= *max_size_) commit_erase(step, id_, front ? size - 1 : 0, 1, 1);\n",
        instead="",
        tests=["DequeTest.KeepsItsLimit"],
    ),
    dict(
        name="a full deque loses the item at the wrong end",
        file=LIST,
        text="front ? size - 1 : 0, 1, 1);",
        instead="front ? 0 : size - 1, 1, 1);",
        tests=["DequeTest.KeepsItsLimit"],
    ),
    dict(
        name="the log does not tell of the limit",
        file=LIST,
        text="        step.commit(record_header(ListOp::limit, id).u64(limit));\n",
        instead="",
        tests=["DequeTest.IsAsStdDequeAfterRandomOperationsAndCrashes"],
    ),
    dict(
        name="rotation takes the longer way in the wrong direction",
        file=LIST,
        text="tree.take(backward ? 0 : size - 1)",
        instead="tree.take(size - 1)",
        tests=["DequeTest.RotatesByAnyNumber"],
    ),
    dict(
        name="a record that is moved loses its extent",
        file="src/structures/tree.cpp",
        text="    erase_slots(path, slot, 1, false);\n",
        instead="    erase_slots(path, slot, 1);\n",
        tests=["RawListTest.BehavesAsAListOfLargeItems"],
    ),
    dict(
        name="inserting before everything halves the leaf",
        file="src/structures/tree.cpp",
        text="    if (before_all) keep = 1;\n    while (!before_all && keep",
        instead="    while (keep",
        tests=["DequeTest.TakesNoMoreSpaceIfItGrewToTheLeft"],
    ),
    dict(
        name="a repaired deque has no limit",
        file=SALVAGE,
        text="is_list(type) ? ListRoot::limit(root) : std::nullopt",
        instead="std::nullopt",
        tests=["DequeTest.IsRepairedWithItsLimit"],
    ),
    dict(
        name="repair does not read the limit in the log",
        file=SALVAGE,
        text="    if (static_cast<ListOp>(op.op) == ListOp::limit) return set_limit(target, Operands(op).u64());\n",
        instead="    if (static_cast<ListOp>(op.op) == ListOp::limit) return;\n",
        tests=["DequeTest.IsRepairedWithItsLimit"],
    ),
    dict(
        name="a set is opened as a dict",
        file="src/containers/dict.cpp",
        text="    : Container(static_cast<std::uint8_t>(type), where, name) {}",
        instead="    : Container((void(type), 1), where, name) {}",
        tests=["SetTest.IsAnotherTypeThanADict"],
    ),
]
