"""How containers and stores show themselves in notebooks."""

import html
import reprlib

from ._errors import Error

_MOST_CONTAINERS = 100


def _size(count):
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"


def _table(title, head, rows):
    def line(tag, cells):
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line("td", row) for row in rows)
    return f"<table><caption>{html.escape(title)}</caption>{line('th', head) if head else ''}{body}</table>"


def container(self):
    """A table of the container's figures and its first entries."""
    try:
        info = self.info
        rows = [("entries", f"{info.entries:,}"), ("data file of the store", _size(info.data_bytes))]
        rows.append(("log since the last checkpoint", _size(info.log_bytes)))
    except Error as error:  # closed by another thread, or unreadable
        rows = [("state", "closed" if self.closed else error)]
    rows += [("container", self.name)] if self.name else []
    return _table(f"{type(self).__name__} {self.path}", (), [*rows, ("content", repr(self))])


def store(self):
    """A table of the store's containers, with their types, numbers of entries, and what they take."""
    title = f"{type(self).__name__} {self.path}"
    if self.closed:
        return _table(title, (), [("state", "closed")])
    names = self._containers()
    rows = []
    for name, kind in list(names.items())[:_MOST_CONTAINERS]:
        rows.append((reprlib.repr(name), kind, *(_usage(self[name]) if name in self else ("deleted meanwhile", "", "", ""))))
    if len(names) > len(rows):
        rows.append((f"... {len(names)} containers", "", "", "", "", ""))
    return _table(title, ("name", "type", "entries", "size", "depth", "fill"), rows)


def _usage(container):
    usage = container.usage()
    return f"{usage.entries:,}", _size(usage.bytes), usage.depth, f"{usage.fill:.0%}"
