"""Draws time per operation and bytes per entry against n, on logarithmic scales, as SVG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import report
from workloads import WORKLOADS

COLUMNS = 3
INCHES = (4.2, 3.2)  # of one plot
# Ours is drawn on top; the others keep their colour in every plot.
OURS_STYLE = {"color": "black", "linewidth": 2.2, "zorder": 10}

# side -> [(n, value)]
Lines = dict[str, list[tuple[int, float]]]


def draw(results: dict, directory: Path, announce: Callable[[str], None]) -> dict[str, Path]:
    """Title -> file, one for each table. Without matplotlib there are none."""
    try:
        import matplotlib
    except ImportError as error:
        announce(f"SKIPPED plots: {error} (pip install matplotlib)")
        return {}
    matplotlib.use("svg")
    # The same numbers give the same bytes.
    matplotlib.rcParams["svg.hashsalt"] = "pyrsistence"
    matplotlib.rcParams["svg.fonttype"] = "none"
    directory.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for table in dict.fromkeys(workload.table for workload in WORKLOADS.values()):
        if panels := panels_of(results, table):
            title = f"{table}: time per operation and bytes per entry against n"
            drawn[title] = directory / f"{table}.svg"
            draw_table(panels, report.headings(results["workloads"], table), drawn[title])
    return drawn


def panels_of(results: dict, table: str) -> dict[str, tuple[str, Lines]]:
    """Title -> (unit, lines)."""
    titles = report.row_titles()
    panels: dict[str, tuple[str, Lines]] = {}
    for n, workloads in results["series"].items():
        for row, measured in report.medians(workloads, table, results["settings"]["rows"]).items():
            _, lines = panels.setdefault(row, (titles[row], {}))
            for side, entry in measured.items():
                if entry["operations"] == entry["wanted"]:  # the others did not get as far as n
                    lines.setdefault(side, []).append((int(n), entry["ns"]))
    named = {name: (f"{title}\nns", lines) for name, (title, lines) in panels.items() if "-sync" not in name}
    space = bytes_per_entry(results["series"], table)
    return named | ({"bytes": ("bytes on disk per entry", space)} if space else {})


def bytes_per_entry(series: dict, table: str) -> Lines:
    lines: Lines = {}
    for n, workloads in series.items():
        for name, measured in workloads.items():
            if WORKLOADS[name].table != table or not WORKLOADS[name].reopened:
                continue
            for side, entry in measured.items():
                run = entry["runs"][-1]
                if run["disk"] is not None and run["reached"] == int(n):
                    lines.setdefault(side, []).append((int(n), run["disk"] / run["reached"]))
    return lines


def draw_table(panels: dict[str, tuple[str, Lines]], columns: dict[str, str], path: Path) -> None:
    from matplotlib.figure import Figure

    height = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(INCHES[0] * COLUMNS, INCHES[1] * height + 0.6), layout="constrained")
    axes = figure.subplots(height, COLUMNS, squeeze=False).flatten()
    handles: dict[str, Any] = {}
    for axis, (title, lines) in zip(axes, panels.values()):
        for position, side in enumerate(columns):
            if side in lines:
                style = OURS_STYLE if position == 0 else {"color": f"C{position - 1}"}
                (handles[side],) = axis.loglog(*zip(*lines[side]), marker="o", markersize=3, **style)
        axis.set_title(title.replace("`", ""), fontsize=9)
        axis.xaxis.set_minor_formatter("")
        axis.grid(alpha=0.3)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    labels = [columns[side] for side in handles]
    figure.legend(handles.values(), labels, loc="outside lower center", ncols=6, frameon=False)
    figure.savefig(path, metadata={"Date": None})
