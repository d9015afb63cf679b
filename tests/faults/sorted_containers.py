"""Trees by key, sort keys, and the containers made of them."""

TREE = "src/structures/tree.cpp"
NODE = "src/structures/key_node.hpp"
KEYS = "src/codec/sort_key.cpp"
SORTED = "src/containers/sorted.cpp"

FAULTS = [
    dict(
        name="separators are cut one byte too short",
        file=NODE,
        text="return right.first(std::min(right.size(), common + 1));",
        instead="return right.first(common);",
        tests=["KeyTreeTest.BehavesAsAMultimap"],
    ),
    dict(
        name="a key that equals a separator is looked for on its left",
        file=NODE,
        text="        return count_below<true>(n - 1, key, [node](unsigned i) { return separator(node, i + 1); });",
        instead="        return count_below<false>(n - 1, key, [node](unsigned i) { return separator(node, i + 1); });",
        tests=["KeyTreeTest.BehavesAsAMultimap"],
    ),
    dict(
        name="equal keys that are left in an earlier leaf are not found",
        file=TREE,
        text="        if (rank < place.rank) return {path, static_cast<unsigned>(slot), rank, true};\n",
        instead="        (void)path;\n",
        tests=["KeyTreeTest.BehavesAsAMultimap"],
    ),
    dict(
        name="a node of long separators splits by their number",
        file=NODE,
        text="while (keep + 1 < n && Slots::begin(node, keep) + Slots::kSlot * keep < half) ++keep;",
        instead="keep = n / 2 + (half > 0 ? 0 : 1);",
        tests=["KeyTreeTest.BehavesAsAMultimap"],
    ),
    dict(
        name="kinds of neighbours are not compared",
        file=SORTED,
        text="        if (neighbour && !comparable(KeyedRecord::key_of(*neighbour), sort_key)) not_comparable();\n",
        instead="        if (!neighbour && sort_key.empty()) not_comparable();\n",
        tests=["SortedTest.KeysOfOneContainerAreComparable"],
    ),
    dict(
        name="a neighbour in the leaf before is not looked at",
        file=TREE,
        text="    else if (place.rank > 0) both.first = at(place.rank - 1);\n",
        instead="",
        tests=["SortedTest.NeighboursBeyondOldSeparatorsAreCompared"],
    ),
    dict(
        name="an equal key goes before those that are there",
        file=SORTED,
        text="    KeyTree::Place place = tree.behind(entry.sort_key);",
        instead="    KeyTree::Place place = tree.find(entry.sort_key);",
        tests=["SortedTest.EqualKeysComeOutInTheOrderOfTheirComing"],
    ),
    dict(
        name="a replaced entry takes the new spelling of its key",
        file=SORTED,
        text="    if (!std::ranges::equal(kept, bytes.first(entry.key_size))) {",
        instead="    if (kept.empty()) {",
        tests=["RawSortedTest.BehavesAsAMapOfSmallEntries"],
    ),
    dict(
        name="replay forgets the key in front of an extent",
        file="src/containers/payload.hpp",
        text="        constexpr bool has_head = kReferenceSize > storage::ExtentRef::kEncodedSize;",
        instead="        constexpr bool has_head = kReferenceSize == 0;",
        tests=["RawSortedTest.ThrowsNothingAwayWhenKilled"],
    ),
    dict(
        name="every term of a continued fraction counts the same way",
        file=KEYS,
        text="    for (; numerator != 0; inverted = !inverted) {",
        instead="    for (; numerator != 0;) {",
        tests=["SortKeyTest.FractionsThatBeginAlikeAreInOrder"],
    ),
    dict(
        name="small negative numbers are in reverse",
        file=KEYS,
        text="        if (value < 0) invert(out, begin);\n        return;\n    }\n    const double floor",
        instead="        (void)begin;\n        return;\n    }\n    const double floor",
        tests=["SortKeyTest.FloatsAreInOrder"],
    ),
    dict(
        name="a zero within the text of a tuple ends it",
        file=KEYS,
        text="        if (byte == std::byte{0}) out.push_back(kEscaped);\n",
        instead="",
        tests=["SortKeyTest.TuplesAreInOrder"],
    ),
    dict(
        name="verification does not compare keys with those before",
        file="src/structures/verify.cpp",
        text="        sound &= !key_less(key, before);\n",
        instead="",
        tests=["SortedTest.VerificationKnowsTheOrder"],
    ),
    dict(
        name="verification lets an extent have another key",
        file="src/structures/verify.cpp",
        text="        out_.fault(id, entry(key) + \": its extent begins with another key\");\n",
        instead="",
        tests=["SortedTest.VerificationKnowsTheOrder"],
    ),
    dict(
        name="a repaired queue has each key once",
        file="src/containers/salvage.cpp",
        text="    if (repeats_keys(target.type)) target.sorted->push(entry);\n    else target",
        instead="    target",
        tests=["SortedTest.RepairsKeepTheOrder"],
    ),
    dict(
        name="a repair does not say that a container is missing",
        file="src/containers/salvage.cpp",
        text="        leave_out(\"containers to which only a damaged page leads (\" + fault.text + \"), unless they are named here\");\n",
        instead="        (void)fault;\n",
        tests=["SalvageTest.SaysThatAContainerWithADamagedRootPageIsMissing"],
    ),
]
