"""The parts of EMList that are written in Python."""

import contextlib
import reprlib

_SHOWN = 6


def describe(sequence):
    """Return the repr of an EMList: its first items, and how many there are if that is more."""
    name = type(sequence).__name__
    if sequence.closed:
        return f"<closed {name} {sequence.path!r}>"
    count = len(sequence)
    try:
        items = reprlib.repr(sequence[: _SHOWN + 1])
    except Exception:  # an item that this handle cannot or may not decode
        items = "..."
    total = f", {count} items" if count > _SHOWN or items == "..." else ""
    return f"<{name} {sequence.path!r}: {items}{total}>"


@contextlib.contextmanager
def edit(sequence, index):
    """Yield a copy of an item and store it when the block ends, unless by an exception."""
    item = sequence[index]
    yield item
    sequence[index] = item
