"""The parts of a hash index beyond memory hold every slot once, and damage to one of them stops only who needs it."""

INDEX = "src/structures/hash_index.cpp"
FILTER = "src/structures/tag_filter.cpp"
VERIFY = "src/structures/verify.cpp"

FAULTS = [
    dict(
        name="a tag that is added to a page of the filter is only counted",
        file=FILTER,
        text="    put(page, tag);\n    const unsigned count",
        instead="    const unsigned count",
        tests=["TagFilterTest.NeverDeniesWhatItWasTold"],
    ),
    dict(
        name="a page that is cut off another one knows nothing",
        file=FILTER,
        text="    std::memcpy(page + kBlock, old + kBlock, kBlock * kBlocks);\n",
        instead="",
        tests=["TagFilterTest.HoldsEverythingUntilItIsDefined"],
    ),
    dict(
        name="pages of the filter that become one keep what the right one knew",
        file=FILTER,
        text="left[i] |= right[i];",
        instead="left[i] = right[i];",
        tests=["TagFilterTest.NeverDeniesWhatItWasTold"],
    ),
    dict(
        name="a sweep leaves in the delta what it moved",
        file=INDEX,
        text="        delta_.erase_range(first, end);\n",
        instead="",
        tests=["HashIndexTest.BehavesAsAMultimapBeyondTheFrames"],
    ),
    dict(
        name="the filter is not told what a sweep moved",
        file=INDEX,
        text="        for (; next != slots.end() && next->tag < tag; ++next) tags.push_back(next->tag);\n",
        instead="        for (; next != slots.end() && next->tag < tag; ++next) continue;\n",
        tests=["HashIndexTest.BehavesAsAMultimapBeyondTheFrames"],
    ),
    dict(
        name="a delta that is full is not swept",
        file=INDEX,
        text="delta_.size() > delta_limit() ||",
        instead="",
        tests=["DividedIndexTest.SweepsGoOnBehindADamagedPageOfTheFilter"],
    ),
    dict(
        name="what is in the delta is not found",
        file="src/structures/hash_index.hpp",
        text="        return delta_.find(hash, accept, place);\n",
        instead="        return place.known ? delta_.find(hash, accept, place) : std::nullopt;\n",
        tests=["HashIndexTest.BehavesAsAMultimapBeyondTheFrames"],
    ),
    dict(
        name="clearing an index leaves the cursor of its sweeps",
        file=INDEX,
        text="    std::memset(sweep_field(), 0, kFilterSize - RootField::kSize);\n",
        instead="",
        tests=["HashIndexTest.IsOneTreeAgainOnceItWasEmpty"],
    ),
    dict(
        name="compacting leaves the filter where it is",
        file=INDEX,
        text="    if (part == 2) return std::nullopt;\n",
        instead="    if (part == 1) return std::nullopt;\n",
        tests=["HashIndexTest.EveryPartCanBeMovedToTheFront"],
    ),
    dict(
        name="the pages of the delta are not accounted for",
        file=VERIFY,
        text="    const Verified delta = verify_buckets(pager, roots.delta, out,",
        instead="    Verification aside(pager.page_count(), {});\n"
        "    const Verified delta = verify_buckets(pager, roots.delta, aside,",
        tests=["HashIndexTest.BehavesAsAMultimapBeyondTheFrames"],
    ),
    dict(
        name="verify() does not ask the filter",
        file=VERIFY,
        text="if (readable && !filter.may_hold(tag)) ++unknown;",
        instead="if (!readable && !filter.may_hold(tag)) ++unknown;",
        tests=["VerifyTest.NamesWhatIsWrongInADividedIndex"],
    ),
    dict(
        name="verify() does not look for keys of the delta in the base",
        file="src/containers/verify.cpp",
        text="    if (part == IndexPart::base) return;\n",
        instead="    if (part == IndexPart::base || tag == tag) return;\n",
        tests=["VerifyTest.FindsAKeyThatIsInBaseAndDelta"],
    ),
    dict(
        name="a cursor behind all tags is not named",
        file=INDEX,
        text="    return Sweep::cursor(roots.filter + RootField::kSize) < kEndOfTags;\n",
        instead="    return Sweep::cursor(roots.filter + RootField::kSize) <= kEndOfTags;\n",
        tests=["DividedIndexTest.ASweepThatBeginsBehindAllTagsIsNamedAndLosesNothing"],
    ),
    dict(
        name="replaying fails where a range that is being written has a damaged bucket",
        file=INDEX,
        text="    } catch (const CorruptionError&) {\n        return false;\n",
        instead="    } catch (const StorageError&) {\n        return false;\n",
        tests=["DividedIndexTest.WhatTheDeltaTookIsReplayedBesideADamagedBucket"],
    ),
    dict(
        name="a damaged bucket of the delta takes over what is swept beside it",
        file=INDEX,
        text="        delta_.require_readable_beside(first, end);\n",
        instead="",
        tests=["DividedIndexTest.ADamagedBucketOfTheDeltaStopsNoMoreKeysAsTimeGoesBy"],
    ),
    dict(
        name="a damaged bucket ends the sweep of its page of the filter",
        file=INDEX,
        text="return std::min(end, base_.bucket_end(first));",
        instead="return end;",
        tests=["DividedIndexTest.TheFirstSweepGoesOnBehindADamagedBucket"],
    ),
    dict(
        name="a damaged page of the filter ends all sweeps",
        file=INDEX,
        text="        end = filter_.range(first).tags.high;\n",
        instead="",
        tests=["DividedIndexTest.SweepsGoOnBehindADamagedPageOfTheFilter"],
    ),
    dict(
        name="looking ahead fails where a page is damaged",
        file="src/containers/dict.cpp",
        text="        } catch (const CorruptionError&) {\n",
        instead="        } catch (const StorageError&) {\n",
        tests=["DividedIndexTest.LookingAheadDoesNotFailWhereAPageIsDamaged"],
    ),
    dict(
        name="a scan goes on through buckets that are out of order",
        file="src/structures/bucket_tree.hpp",
        text="        if (i == n && behind) out_of_order(path.leaf);\n",
        instead="        if (n > kCapacity && behind) out_of_order(path.leaf);\n",
        tests=["BucketTreeTest.AScanEndsWhereBucketsAreOutOfOrder"],
    ),
    dict(
        name="the first separator of a node stays above keys that came later",
        file="src/structures/inner_node.hpp",
        text="        if (key < separator(node, 0)) set_separator(node, 0, key);\n",
        instead="",
        tests=["BucketTreeTest.FindsWhatComesAfterTheFirstInnerNodeIsGone"],
    ),
]
