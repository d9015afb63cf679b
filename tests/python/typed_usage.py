"""What a type checker must accept and infer; run by test_types.py through mypy --strict, never executed."""

from pyrsistence import (
    EMCounter,
    EMDefaultDict,
    EMDeque,
    EMDict,
    EMList,
    EMMultiDict,
    EMPriorityQueue,
    EMSet,
    EMSortedDict,
    EMSortedSet,
    Info,
    Store,
    verify,
)
from typing_extensions import assert_type

calls: EMDict[str, list[str]] = EMDict("calls", mode="a", memory_limit=1 << 28)
assert_type(calls["main"], list[str])
assert_type(calls.get("main"), list[str] | None)
assert_type(calls.get_many(["main"]), list[list[str] | None])
with calls.edit("main", default=[]) as callees:
    callees.append("run")
with calls.transaction(), calls.snapshot() as before:
    assert_type(before, EMDict[str, list[str]])
for name, targets in calls.items():
    assert_type(name, str)
    assert_type(targets, list[str])
assert_type(calls.info, Info)

trace: EMList[int] = EMList(None)
assert_type(trace[0], int)
assert_type(trace[1:3], list[int])
trace[1:3] = [4, 5, 6]
trace.sort(key=lambda item: -item, reverse=True)

seen: EMSet[str] = EMSet(None)
assert_type(seen | {"a"}, EMSet[str])
last: EMDeque[int] = EMDeque(None, maxlen=3)
assert_type(last.popleft(), int)
count: EMCounter[str] = EMCounter(None)
assert_type(count.most_common(3), list[tuple[str, int]])
sizes: EMDefaultDict[str, int] = EMDefaultDict(int, None)
sizes["a"] += 1

symbols: EMSortedDict[int, str] = EMSortedDict(None)
assert_type(symbols.peekitem(0), tuple[int, str])
assert_type(list(symbols.irange(1, 2)), list[int])
assert_type(symbols.keys()[0], int)
assert_type(symbols.items()[:2], list[tuple[int, str]])
ordered: EMSortedSet[int] = EMSortedSet(None)
assert_type(ordered[0], int)
assert_type(ordered[1:], list[int])
tasks: EMPriorityQueue[str] = EMPriorityQueue(None)
tasks.push("sync", 2.5)
assert_type(tasks.pop(), str)
callers: EMMultiDict[str, int] = EMMultiDict(None)
callers.add("main", 0x401000)
assert_type(callers["main"], list[int])

with Store("program") as store:
    store.sorted_dict("symbols")[1] = "main"
    if "calls" in store:
        del store["calls"]
assert_type(verify("calls", repair=True).faults, tuple[str, ...])
