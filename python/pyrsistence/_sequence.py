"""The parts of EMList that gain nothing from being native."""

from ._core import EMList
from ._errors import ClosedError
from ._mapping import _SHOWN, _short


def describe(self):
    """A repr that reads a few items at most, and never raises on their account."""
    head = f"{type(self).__name__}({self.path!r}, "
    if self.closed:
        return head + "closed)"
    count = "?"
    try:
        count = EMList.__len__(self)
        shown = [_short(item) for item in EMList.__getitem__(self, slice(_SHOWN))]
    except ClosedError:  # by another thread, or by a fork
        return head + "closed)"
    except Exception:
        return head + f"{count} items)"
    if count > len(shown):
        shown.append(f"... {count} items")
    return head + "[" + ", ".join(shown) + "])"
