"""An endless, repeatable stream of operations: number n is a function of the seed and n alone.

Places are fractions of the length, so that the stream needs to know nothing about the container, and the parent
of a killed process can repeat it on a model. An operation is a list of steps, each of them atomic.
"""

import mmap
import random

# What the parent reads while the process runs, each 8 bytes that are stored at once.
DONE, PHASE, CHECKPOINT = range(3)
REPORT_SIZE = 24
STARTED, OPENED, SYNCING, CHECKPOINTING = range(4)


def value(rng):
    size = rng.choice([0, 8, 8, 30, 100, 400, 4090, 10_000, 16_000, 16_380, 16_400, 40_000])
    if rng.random() < 0.3:
        return rng.randrange(1 << 64)
    return rng.randbytes(rng.randrange(size + 1))


def _place(rng, size):
    return min(int(rng.random() * size), size - 1)


def _set(rng):
    key, item = rng.choice([rng.randrange(600), f"key {rng.randrange(600)}"]), value(rng)
    return [lambda d: d.__setitem__(key, item)]


def _delete(rng):
    chosen, item = rng.randrange(600), rng.randrange(99)
    return [lambda d: d.pop(chosen, item)]


def _pop_item(rng):
    return [lambda d: d.popitem() if d else None]


def _set_default(rng):
    key, item = rng.randrange(600), value(rng)
    return [lambda d: d.setdefault(key, item)]


def _update(rng):
    new = {rng.randrange(600): value(rng) for _ in range(rng.randrange(12))}
    return [lambda d, key=key, item=item: d.__setitem__(key, item) for key, item in new.items()], (
        lambda d: d.update(new)
    )


def _clear(rng):
    return [lambda c: c.clear()] if rng.random() < 0.02 else []


def _append(rng):
    item = value(rng)
    return [lambda c: c.append(item)]


def _extend(rng):
    items = [value(rng) for _ in range(rng.randrange(12))]
    return [lambda c, item=item: c.append(item) for item in items], lambda c: c.extend(items)


def _insert(rng):
    where, item = rng.random(), value(rng)
    return [lambda c: c.insert(int(where * len(c)), item)]


def _pop(rng):
    where = rng.random()
    return [lambda c: c.pop(min(int(where * len(c)), len(c) - 1)) if len(c) else None]


def _set_at(rng):
    where, item = rng.random(), value(rng)
    return [lambda c: c.__setitem__(min(int(where * len(c)), len(c) - 1), item) if len(c) else None]


def _slice(rng, size, first, width, step):
    begin = int(first * size)
    return slice(begin, begin + int(width * size), step)


def _delete_slice(rng):
    first, width, step = rng.random(), rng.random() * 0.2, rng.choice([1, 1, 2, 3, -1])
    return [lambda c: c.__delitem__(_slice(rng, len(c), first, width, step))]


def _set_slice(rng):
    first, width = rng.random(), rng.random() * 0.2
    items = [value(rng) for _ in range(rng.randrange(30))]
    return [lambda c: c.__setitem__(_slice(rng, len(c), first, width, 1), items)]


def _stride(rng):
    count = rng.randrange(20)
    items = [value(rng) for _ in range(count)]
    return [lambda c: c.__setitem__(slice(0, 3 * count, 3), items) if len(c) >= 3 * count else None]


def _reverse(rng):
    return [lambda c: c.reverse()] if rng.random() < 0.2 else []


def _sort(rng):
    return [lambda c: c.sort(key=repr)] if rng.random() < 0.1 else []


def _shorten(rng):
    """Keeps the list at a few hundred items."""
    return [lambda c: c.__delitem__(slice(300, None)) if len(c) > 600 else None]


def _set_small(rng):
    key, item = rng.randrange(100_000), rng.randrange(1 << 30)
    return [lambda d: d.__setitem__(key, item)]


def _delete_small(rng):
    key = rng.randrange(100_000)
    return [lambda d: d.pop(key, None)]


def _update_small(rng):
    first = rng.randrange(100_000)
    new = {key: -key for key in range(first, first + 1000)}
    return [lambda d, key=key, item=item: d.__setitem__(key, item) for key, item in new.items()], (
        lambda d: d.update(new)
    )


SMALL = [_set_small] * 600 + [_delete_small] * 300 + [_update_small] * 6
DICT = [_set] * 12 + [_delete] * 5 + [_pop_item, _set_default, _update, _clear]
LIST = [_append] * 5 + [_extend, _pop, _pop, _reverse, _sort, _shorten, _clear, _stride, _delete_slice]
LIST += [_insert, _set_at, _set_slice] * 2
OPERATIONS = {"dict": DICT, "list": LIST, "small": SMALL}


def operation(kind, seed, number):
    """(steps, function): the function does all the steps; functions take a container or its model."""
    rng = random.Random(seed << 40 | number)
    made = rng.choice(OPERATIONS[kind])(rng)
    if isinstance(made, tuple):
        return made
    return made, lambda container: [step(container) for step in made]


def between(number):
    """What a process does after operation `number`, besides the next one."""
    if number % 400 == 399:
        return CHECKPOINTING
    return SYNCING if number % 100 == 99 else OPENED


def run(kind, path, seed, first, report, busy, options):
    """Endless. The report goes through a shared mapping, which outlives the process as the log does.

    A busy process neither syncs nor makes checkpoints, so that its log fills up and is switched.
    """
    import support

    shared = map_report(report)
    container = support.TYPES["list" if kind == "list" else "dict"](path, **options)
    number = first
    while True:
        shared[CHECKPOINT] = container.info.checkpoint
        shared[PHASE] = OPENED
        operation(kind, seed, number)[1](container)
        number += 1
        shared[DONE] = number
        if busy:
            continue
        shared[PHASE] = phase = between(number)
        if phase == CHECKPOINTING:
            container.checkpoint()
        elif phase == SYNCING:
            container.sync()


def map_report(path):
    """The fields of the report as numbers that can be assigned."""
    with open(path, "r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), REPORT_SIZE)).cast("Q")
