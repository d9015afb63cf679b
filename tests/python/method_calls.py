"""Calls of every public method of every container, with and without success: what test_leaks.py repeats.

Each line is a statement. Names in it: `c` the container, `k` a key that is there, `m` one that is not, `v` a value,
`items` some of these; `kind` makes a container of the same type from a path; `fail` is a function that raises,
`broken()` an iterator that does so after its second item, `bad` an object whose every special method raises; `fresh()`
is a path where nothing is, `done` exhausts an iterator.
"""


def each(names, calls, title="NAME"):
    """The same calls of several methods; NAME stands for each."""
    return {title.replace("NAME", name): calls.replace("NAME", name) for name in names.split()}


HANDLE = {
    "__class_getitem__": "type(c)[int, str]",
    "__copy__": "copy.copy(c)",
    "__deepcopy__": "copy.deepcopy(c)",
    "__enter__": "c.__enter__()",
    "__exit__": "c.snapshot().__exit__(None, None, None)",
    "__getstate__": "c.__getstate__()\npickle.dumps(c)",
    "__setstate__": "pickle.loads(pickle.dumps(c))\nc.__setstate__(5)\n"
    "type(c).__new__(type(c)).__setstate__({'mode': 'r'})",
    "__hash__": "hash(c)",
    "__repr__": "repr(c)",
    "__new__": "type(c).__new__(type(c))",
    "__init__": "kind(None)\nkind(fresh())\nc.__init__()\nc.__init__(None)\nkind(bad)\nkind(None, mode='z')\n"
    "kind(None, memory_limit=1)\n"
    "kind('/nowhere/store')\nkind(None, at='')",
    "open": "x = kind(fresh()); x.close(); x.open(x.path); x.close()\nc.open(None)\n"
    "type(c).__new__(type(c)).open(fresh())\ntype(c).__new__(type(c)).open(bad)",
    "close": "c.snapshot().close()\ntype(c).__new__(type(c)).close()",
    "sync": "c.sync()",
    "checkpoint": "c.checkpoint()",
    "compact": "c.compact()\nc.compact(progress=fine)\nc.compact(progress=fail)\nc.compact(progress=5)\nc.compact(5)",
    "check": "c.check()",
    "verify": "c.verify()\nc.verify(progress=fine)\nc.verify(progress=fail)\nc.verify(repair=bad)",
    "backup": "c.backup(fresh())\nc.backup(fresh(), progress=fine)\nc.backup(fresh(), progress=fail)\n"
    "c.backup(bad)\nc.backup('/nowhere/backup')",
    "refresh": "c.refresh()",
    "transaction": "with c.transaction(): pass\nwith c.transaction(durable=False): fail()\n"
    "c.transaction(durable=bad)\nc.transaction().__exit__()\n"
    "with c.transaction(), c.transaction(): fail()",
    "snapshot": "c.snapshot()",
    "closed": "c.closed\nc.closed = 1",
    "path": "c.path\nc.path = 1",
    "mode": "c.mode\nc.mode = 1",
    "name": "c.name\nc.name = 1",
    "info": "c.info",
    "snapshots": "c.snapshots.create('kept'); done(c.snapshots.items()); del c.snapshots['kept']\n"
    "c.snapshots['none']\ndel c.snapshots['none']\n"
    "c.snapshots.create(5)\nlen(c.snapshots), repr(c.snapshots)",
    "_repr_html_": "c._repr_html_()",
}
CONTAINER = HANDLE | {
    "usage": "c.usage()",
    "__len__": "len(c)",
    "__iter__": "done(iter(c))\nnext(iter(c))",
    "clear": "c.clear()",
    "copy": "c.copy()\nc.copy(fresh())\nc.copy(bad)\nc.copy(c.path)",
}
COMPARED = {
    f"__{name}__": f"c.__{name}__(same)\nc {sign} same\nc {sign} 5\nc {sign} bad"
    for name, sign in {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}.items()
}
ITEM = {
    "__contains__": "k in c\nm in c\nbad in c",
    "__getitem__": "c[k]\nc[m]\nc[bad]",
    "__delitem__": "del c[k]\ndel c[m]\ndel c[bad]",
    "__setitem__": "c[k] = v\nc[m] = v\nc[bad] = v\nc[k] = bad",
    "__reversed__": "done(reversed(c))\nnext(reversed(c))",
}
DICT = CONTAINER | COMPARED | ITEM | {
    "__or__": "c | {k: v}\nc | 5\nc | {k: bad}",
    "__ror__": "{k: v} | c\n{m: bad} | c",
    "__ior__": "c |= {m: v}\nc |= [(m, v)]\nc |= broken()\nc |= 5\nc |= {m: bad}",
    "fromkeys": "type(c).fromkeys([k, m], v)\ntype(c).fromkeys(broken())\ntype(c).fromkeys([bad])",
    "get": "c.get(k)\nc.get(m, v)\nc.get(bad)\nc.get()",
    "keys": "done(c.keys())\nc.keys() & {k}\nrepr(c.keys())\nnext(reversed(c.keys()))\nc.keys().mapping[k]",
    "values": "done(c.values())\nv in c.values()\nbad in c.values()\nnext(reversed(c.values()))\nrepr(c.values())",
    "items": "done(c.items())\n(k, v) in c.items()\n(bad, v) in c.items()\nnext(reversed(c.items()))\n"
    "repr(c.items())\nnext(iter(c.items()))",
    "pop": "c.pop(k)\nc.pop(m)\nc.pop(m, v)\nc.pop(bad)\nc.pop()",
    "popitem": "c.popitem()\nc.clear(); c.popitem()",
    "setdefault": "c.setdefault(k, v)\nc.setdefault(m, v)\nc.setdefault(m, bad)\nc.setdefault(bad)",
    "update": "c.update({m: v}, x=v)\nc.update([(m, v)])\nc.update(((m, v),))\nc.update(iter([(m, v)]))\n"
    "c.update(same)\nc.update(broken())\nc.update({m: bad})\nc.update(numpy.ones((2, 2)))\n"
    "c.update([(m, bad)])\nc.update([(m, v, v)])\nc.update(5)\nc.update([5])",
    "edit": "with c.edit(k): pass\nwith c.edit(m, default=[]) as x: x.append(5)\nwith c.edit(m): pass\n"
    "with c.edit(k): fail()",
}
HASHED = {
    "get_many": "c.get_many([k, m, k])\nc.get_many([k, m], v)\nc.get_many([bad])\nc.get_many(broken())\nc.get_many(5)\n"
    "c.get_many(numpy.ones(2))",
}
SEQUENCE = CONTAINER | COMPARED | {
    "__contains__": "v in c\nm in c\nbad in c",
    "__getitem__": "c[0]\nc[-1]\nc[99]\nc['x']\nc[bad]\nc[0:2]",
    "__setitem__": "c[0] = v\nc[99] = v\nc[bad] = v\nc[0] = bad\nc[0:1] = [v, v]",
    "__delitem__": "del c[0]\ndel c[99]\ndel c[bad]\ndel c[0:2]",
    "__reversed__": "done(reversed(c))\nnext(reversed(c))",
    "__add__": "c + same\nc + 5\nc + [bad]",
    "__iadd__": "c += [v]\nc += broken()\nc += 5\nc += [bad]\nc += c",
    "__mul__": "c * 2\nc * -1\nc * 'x'",
    "__rmul__": "2 * c\n'x' * c",
    "__imul__": "c *= 2\nc *= 0\nc *= 'x'",
    "append": "c.append(v)\nc.append(bad)\nc.append()",
    "extend": "c.extend([v, v])\nc.extend((v,))\nc.extend(iter([v]))\nc.extend(c)\nc.extend(broken())\n"
    "c.extend([v, bad])\nc.extend(5)",
    "insert": "c.insert(1, v)\nc.insert(bad, v)\nc.insert(1, bad)\nc.insert(1)",
    "pop": "c.pop()\nc.clear(); c.pop()",
    "index": "c.index(v)\nc.index(m)\nc.index(bad)\nc.index(v, 0, 1)\nc.index(v, bad)",
    "count": "c.count(v)\nc.count(bad)",
    "remove": "c.remove(v)\nc.remove(m)\nc.remove(bad)",
    "reverse": "c.reverse()",
    "edit": "with c.edit(0): pass\nwith c.edit(99): pass\nwith c.edit(0): fail()",
}
LIST = SEQUENCE | {
    "__getitem__": SEQUENCE["__getitem__"] + "\nc[::2]\nc[::0]",
    "__setitem__": SEQUENCE["__setitem__"] + "\nc[1:] = broken()\nc[:] = [v, bad]\nc[::2] = [v, v]\nc[::2] = [v]\n"
    "c[1:2] = 5\nc[:] = c",
    "__delitem__": SEQUENCE["__delitem__"] + "\ndel c[::2]",
    "__radd__": "[v] + c\n[bad] + c",
    "pop": SEQUENCE["pop"] + "\nc.pop(0)\nc.pop(99)\nc.pop(bad)",
    "sort": "c.sort(key=repr)\nc.sort(key=repr, reverse=True, memory_limit=1000)\nc.sort(key=fail)\n"
    "c.sort(key=lambda _: bad)\nc.sort(progress=fail, key=repr)\n"
    "c.sort(memory_limit=0)\nc.sort(5)",
}
DEQUE = SEQUENCE | {
    "appendleft": "c.appendleft(v)\nc.appendleft(bad)",
    "extendleft": "c.extendleft([v, v])\nc.extendleft(broken())\nc.extendleft(5)\nc.extendleft([bad])",
    "popleft": "c.popleft()\nc.clear(); c.popleft()",
    "rotate": "c.rotate()\nc.rotate(-2)\nc.rotate(bad)",
    "maxlen": "c.maxlen\nc.maxlen = 1",
}
_ALGEBRA = "union intersection difference symmetric_difference"
_WITH_ITERABLES = "c.NAME(same)\nc.NAME([m])\nc.NAME(broken())\nc.NAME([bad])\nc.NAME(5)"
SET = CONTAINER | COMPARED | {
    "__contains__": ITEM["__contains__"],
    "add": "c.add(k)\nc.add(m)\nc.add(bad)\nc.add()",
    "discard": "c.discard(k)\nc.discard(m)\nc.discard(bad)",
    "remove": "c.remove(k)\nc.remove(m)\nc.remove(bad)",
    "pop": "c.pop()\nc.clear(); c.pop()",
    "update": "c.update([m], same)\nc.update(broken())\nc.update([bad])\nc.update(5)\nc.update(numpy.ones(2))",
    **each(f"{_ALGEBRA} isdisjoint issubset issuperset", _WITH_ITERABLES),
    **each("intersection_update difference_update symmetric_difference_update", _WITH_ITERABLES),
    **each("__or__ __and__ __sub__ __xor__", "c.NAME({k, m})\nc.NAME(same)\nc.NAME([m])\nc.NAME()"),
    **each("__ror__ __rand__ __rsub__ __rxor__", "c.NAME({k, m})\nc.NAME(same)\nc.NAME()"),
    **each("__ior__ __iand__ __isub__ __ixor__", "c.NAME({k, m})\nc.NAME([m])\nc.NAME({bad_member})"),
}
COUNTER = DICT | HASHED | {
    **each(
        "__add__ __sub__ __or__ __and__ __radd__ __rsub__ __ror__ __rand__ __iadd__ __isub__ __ior__ __iand__",
        "c.NAME(same)\nc.NAME(collections.Counter({m: 2}))\nc.NAME(5)\nc.NAME(collections.Counter({bad_member: 2}))",
    ),
    "__missing__": "c.__missing__(m)\nc[m]\nc.__missing__()",
    "__pos__": "+c",
    "__neg__": "-c",
    "elements": "done(c.elements())\nnext(c.elements())",
    "most_common": "c.most_common()\nc.most_common(1)\nc.most_common(bad)",
    "subtract": "c.subtract([k])\nc.subtract({k: 1}, x=1)\nc.subtract(broken())\nc.subtract([bad])\nc.subtract(5)",
    "update": "c.update([k, m])\nc.update({k: 1}, x=1)\nc.update(broken())\nc.update([bad])\nc.update(5)",
    "total": "c.total()\nc[k] = 'x'; c.total()",
}
DEFAULT_DICT = DICT | HASHED | {
    "__missing__": "c.__missing__(m)\nc[m]\nc.default_factory = fail; c[m]\nc.default_factory = None; c[m]",
    "default_factory": "c.default_factory\nc.default_factory = int\nc.default_factory = list\nc.default_factory = 5",
}
RANGES = {
    **each("bisect bisect_left bisect_right", "c.NAME(k)\nc.NAME(bad)\nc.NAME()"),
    "index": "c.index(k)\nc.index(m)\nc.index(bad)\nc.index(k, 0, 1)\nc.index(k, bad)",
    "irange": "done(c.irange(k))\ndone(c.irange(None, k, (True, False), True))\nnext(c.irange())\nc.irange(bad)\n"
    "c.irange(k, k, 5)",
    "islice": "done(c.islice(1))\ndone(c.islice(-2, None, True))\nnext(c.islice())\nc.islice(bad)",
    "delete_range": "c.delete_range(k, k)\nc.delete_range()\nc.delete_range(bad)",
}
SORTED_DICT = DICT | RANGES | {
    "keys": DICT["keys"] + "\nc.keys()[0]\nc.keys()[99]\nc.keys()[::2]\nc.keys().index(k)",
    "values": DICT["values"] + "\nc.values()[0]\nc.values()[:2]",
    "items": DICT["items"] + "\nc.items()[-1]\nc.items()[::-1]",
    "peekitem": "c.peekitem()\nc.peekitem(0)\nc.peekitem(99)\nc.peekitem(bad)",
    "popitem": DICT["popitem"] + "\nc.popitem(0)\nc.popitem(99)\nc.popitem(bad)",
    "__setitem__": ITEM["__setitem__"] + "\nc[k] = v; c[unordered] = v",
}
SORTED_SET = SET | RANGES | {
    "__getitem__": "c[0]\nc[99]\nc[bad]\nc[0:2]\nc[::-1]\nc[::2]",
    "__setitem__": "c[0] = k",
    "__delitem__": "del c[0]\ndel c[99]\ndel c[bad]\ndel c[:2]\ndel c[::-2]",
    "__reversed__": ITEM["__reversed__"],
    "count": "c.count(k)\nc.count(m)\nc.count(bad)",
    "pop": SET["pop"] + "\nc.pop(0)\nc.pop(99)\nc.pop(bad)",
    "add": SET["add"] + "\nc.add(unordered)",
}
QUEUE = CONTAINER | {
    "push": "c.push(m)\nc.push(v, k)\nc.push(v, bad)\nc.push(bad, k)\nc.push()\nc.push(v, unordered)",
    "pushpop": "c.pushpop(m)\nc.pushpop(v, k)\nc.pushpop(v, bad)\nc.pushpop(bad, k)",
    "replace": "c.replace(m)\nc.replace(v, k)\nc.replace(v, bad)\nc.replace(bad, k)\nc.clear(); c.replace(m)",
    **each("pop popitem peek peekitem get get_nowait", "c.NAME()\nc.clear(); c.NAME()"),
    **each("put put_nowait", "c.NAME(m)\nc.NAME(bad)"),
    "update": "c.update([k, m])\nc.update(broken())\nc.update([bad])\nc.update(5)",
    "qsize": "c.qsize()",
    "empty": "c.empty()",
    "items": "done(c.items())\nnext(c.items())",
}
MULTI_DICT = CONTAINER | ITEM | {
    **COMPARED,
    "__setitem__": "c[k] = [v, v]\nc[m] = [v]\nc[bad] = [v]\nc[k] = [bad]\nc[k] = broken()\nc[k] = 5",
    "add": "c.add(k, v)\nc.add(bad, v)\nc.add(k, bad)\nc.add(k)\nc.add(unordered, v)",
    "get": "c.get(k)\nc.get(m, v)\nc.get(bad)",
    **each("getall count popall bisect_left bisect_right", "c.NAME(k)\nc.NAME(m)\nc.NAME(bad)\nc.NAME()"),
    "discard": "c.discard(k, v)\nc.discard(k, m)\nc.discard(k, bad)\nc.discard(bad, v)",
    "remove": "c.remove(k, v)\nc.remove(k, m)\nc.remove(k, bad)\nc.remove(bad, v)",
    "update": "c.update({m: v}, x=v)\nc.update([(m, v)])\nc.update(same)\nc.update(broken())\n"
    "c.update([(m, bad)])\nc.update([(m, v, v)])\nc.update(5)",
    "extend": "c.extend(k, [v, v])\nc.extend(k, broken())\nc.extend(bad, [v])\nc.extend(k, [bad])\nc.extend(k, 5)",
    **each("keys values items groups", "done(c.NAME())\nnext(iter(c.NAME()))"),
    "irange": RANGES["irange"],
}
ARRAY = CONTAINER | {
    **{name: f"{lines}\nc.{name}(2)\nc.{name}(numpy.ones(2))" for name, lines in COMPARED.items()},
    **each(
        "add sub mul truediv floordiv mod pow and or xor lshift rshift",
        "c.__iNAME__(2)\nc.__iNAME__(same)\nc.__iNAME__(numpy.ones(2))\nc.__iNAME__(bad)",
        title="__iNAME__",
    ),
    "__array__": "numpy.asarray(c)\nc.__array__(copy=False)\nc.__array__('f4')\nc.__array__(bad)",
    "__contains__": "k in c\nm in c\nbad in c",
    "__getitem__": "c[0]\nc[-1]\nc[99]\nc[bad]\nc[:]\nc[::2]\nc[[0, 2, 1]]\nc[[99]]\nc[c[:] > 1]\nc[[True]]\n"
    "c[0, 0]\nc['x']\nc[...]\nc[None]",
    "__setitem__": "c[0] = 5\nc[99] = 5\nc[0] = bad\nc[bad] = 5\nc[:] = 7\nc[:] = same\nc[::2] = 1\n"
    "c[[0, 0]] = 5\nc[c[:] > 1] = 0\nc[:] = numpy.ones(2)\nc['x'] = 5",
    "__delitem__": "del c[0]",
    "append": "c.append(5)\nc.append(bad)\nc.append('x')\nc.append()\nc.append(numpy.float64(2))",
    "extend": "c.extend([5, 6])\nc.extend(iter([5, 6]))\nc.extend(same)\nc.extend(numpy.ones(3))\n"
    "c.extend(b'abcd')\nc.extend(broken())\nc.extend(numpy.ones((2, 2)))\nc.extend(bad)",
    "pop": "c.pop()\nc.clear(); c.pop()",
    "resize": "c.resize(9)\nc.resize(1)\nc.resize(-1)\nc.resize(bad)",
    "truncate": "c.truncate(1)\nc.truncate(99)\nc.truncate(bad)",
    "fill": "c.fill(5)\nc.fill(bad)",
    "blocks": "done(c.blocks())\ndone(c.blocks(2))\nnext(c.blocks())\nc.blocks(0)\nc.blocks(bad)",
    "view": "done(c.view())\nc.checkpoint(); done(c.view(1, 3))\nnext(c.view())\nc.view(bad)",
    "tolist": "c.tolist()",
    **each("dtype shape ndim itemsize nbytes size", "c.NAME\nc.NAME = 1"),
    "__init__": HANDLE["__init__"] + "\nEMArray(None, 'O')\nEMArray(None, bad)\nEMArray(None, 'i4', bad)\n"
    "EMArray(fresh())\nEMArray(None, [('x', 'i4'), ('y', 'f8', 2)], 2)",
    "usage": "c.usage()",
    "copy": "c.copy()\nc.copy(fresh())\nc.copy(bad)\nc.copy(c.path)",
}
_OPENERS = "dict list set deque sorted_dict sorted_set priority_queue multi_dict counter defaultdict"
STORE = HANDLE | {
    **each(_OPENERS, "c.NAME('new'); del c['new']\nc.NAME('array')\nc.NAME(bad)"),
    "array": "c.array('new', 'i4', 2); del c['new']\nc.array('none')\nc.array('a dict')\nc.array('new', bad)\n"
    "c.array(bad)",
    "deque": "c.deque('new', maxlen=3); del c['new']\nc.deque('new', maxlen=-1)\nc.deque('array')",
    "defaultdict": "c.defaultdict('new', int); del c['new']\nc.defaultdict('new', list)\nc.defaultdict('new', 5)",
    "__getitem__": "c['a dict']\nc['array']\nc['none']\nc[bad]\nc['\\ud800']",
    "__delitem__": "c.dict('new'); del c['new']\ndel c['none']\ndel c[bad]",
    "__contains__": "'array' in c\nbad in c\n'none' in c",
    "__iter__": "done(iter(c))",
    "__len__": "len(c)",
    "keys": "done(c.keys())",
    "values": "done(c.values())",
    "items": "done(c.items())",
    "get": "c.get('array')\nc.get('none', v)\nc.get(bad)",
    "rename": "c.rename('array', 'b'); c.rename('b', 'array')\nc.rename('none', 'b')\n"
    "c.rename('array', 'a dict')\nc.rename('array', bad)",
}
SNAPSHOTS = {
    "__contains__": "'kept' in c\nbad in c",
    "__delitem__": "del c['kept']\ndel c['none']\ndel c[bad]",
    "__eq__": "c == {}\nc == 5",
    "__getitem__": "c['kept']\nc['none']\nc[bad]",
    "__init__": "type(c)(5).create('x')\ntype(c)()\ntype(c)(5)",
    "__iter__": "done(iter(c))",
    "__len__": "len(c)",
    "__repr__": "repr(c)",
    "__hash__": "hash(c)",
    "__class_getitem__": "type(c)[int]",
    "create": "c.create('new')\nc.create('kept')\nc.create('')\nc.create(bad)",
    "get": "c.get('kept')\nc.get('none')\nc.get(bad)",
    "items": "done(c.items())",
    "keys": "done(c.keys())",
    "values": "done(c.values())",
}
_SORTING = """\
NAME(items)
done(NAME(items))
next(NAME(items))
NAME(broken())
NAME([bad])
NAME(5)
with NAME(items) as x: next(x); fail()
done(NAME(items, memory_limit=200))
NAME([], memory_limit=0)
NAME(items, directory='/nowhere')
NAME(items, directory=bad)
done(NAME(items, progress=fine))
NAME(items, progress=fail)
x = NAME(items); x.close(); next(x)
x = NAME(items); x.__length_hint__()
done(NAME(range(300), memory_limit=500))
"""
FUNCTIONS = {
    "external_sort": _SORTING.replace("NAME", "external_sort") + """\
done(external_sort(items, key=repr, reverse=True))
external_sort(items, key=fail)
done(external_sort(items, key=lambda _: bad))
done(external_sort(items, key=functools.cmp_to_key(lambda a, b: 0), memory_limit=200))
done(external_sort(items, key=functools.cmp_to_key(fail), memory_limit=200))
done(external_sort(map(str, range(300)), memory_limit=500))
done(external_sort([v, v] * 50, memory_limit=500))
done(external_sort([1, 'x']))
external_sort(key=5)
external_sort([1], reverse=bad)""",
    "shuffle": _SORTING.replace("NAME", "shuffle") + "shuffle([], seed=-1)\nshuffle([], seed=bad)",
    "group_by": """\
done(group_by(items, key=repr))
for key, some in group_by(items, repr): done(some)
next(group_by(items, repr))
group_by(items, fail)
group_by(broken(), repr)
group_by([bad], type)
group_by([], repr, memory_limit=0)
done(group_by(items, lambda _: bad))
with group_by(items, repr) as x: next(x); fail()
group_by(items, repr, progress=fail)""",
    "merge": """\
done(merge([k], [k], []))
done(merge([1, 3], [2], reverse=True))
next(merge([k], [k]))
merge([k], 5)
done(merge([1, 'x'], ['y']))
done(merge(broken(), [1]))
done(merge([1], [2], key=fail))
done(merge([1], [2], key=lambda _: bad))
merge([1], reverse=bad)
with merge([1, 2]) as x: next(x); fail()
x = merge([1]); x.close(); next(x)
x = merge([1]); x.__length_hint__()""",
    "unique": "done(unique([k, k, m]))\nnext(unique([k]))\ndone(unique(broken()))\n"
    "done(unique([1, 2], key=fail))\ndone(unique([1, bad]))\nunique(5)",
    "verify": """\
x = kind(fresh()); x.close(); verify(x.path); verify(x.path, progress=fine); verify(x.path, progress=fail)
verify(c.path)
verify('/nowhere')
verify(bad)
verify(c.path, repair=bad)""",
    "register_key": "register_key(Registered, Registered.identity)\nregister_key(5, fine)\n"
    "register_key(Registered, 5)",
}
CALLS = {
    "EMDict": DICT | HASHED,
    "EMList": LIST,
    "EMSet": SET,
    "EMDeque": DEQUE,
    "EMCounter": COUNTER,
    "EMDefaultDict": DEFAULT_DICT,
    "EMSortedDict": SORTED_DICT,
    "EMSortedSet": SORTED_SET,
    "EMPriorityQueue": QUEUE,
    "EMMultiDict": MULTI_DICT,
    "EMArray": ARRAY,
    "Store": STORE,
    "Snapshots": SNAPSHOTS,
    "functions": FUNCTIONS,
}
# Methods that nothing makes raise, or that always do.
NEVER_RAISE = {"__class_getitem__", "__new__", "__repr__", "_repr_html_"}
ALWAYS_RAISE = {"__copy__", "__deepcopy__", "__hash__"}
