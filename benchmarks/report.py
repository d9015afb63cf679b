"""Turns measured numbers into Markdown tables, and puts them between the markers of a document."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable
from pathlib import Path

import compare
import durable
import latency
from compare import OURS
from workloads import WORKLOADS

# What the project promises; a table says whether it was kept.
GOAL_BYTES_PER_ENTRY = {"dict": 26, "list": 12}
GOAL_OPEN_SECONDS = 0.002
GOAL_LARGE_VALUES = 1.4  # time to load them, of the time to write their bytes to a file
GOAL_SYNC_BYTES = 16 << 10
GOAL_DISK_RATE = 0.8  # durable operations per second, as a share of what the disk can do
WITHOUT_DISK = ("tmpfs", "ramfs")


def tables(results: dict) -> dict[str, str]:
    """Marker name -> Markdown, for what was measured."""
    made = {"environment": environment(results), "sides": sides(results)}
    for name in dict.fromkeys(workload.table for workload in WORKLOADS.values()):
        if table := speed(results, name):
            made[name] = table
    if table := space(results):
        made["space"] = table
    for name, measured in results["latency"].items():
        made[name.replace(".", "-")] = latencies(latency.ROWS[name], measured, results)
    for name, measured in results.get("durable", {}).items():
        made[name.replace(".", "-")] = durable_rates(durable.ROWS[name].title, measured, results)
    writers = {"disk.load": loading, "disk.open": opening, "disk.recovery": recovery, "disk.sync": syncing}
    writers["disk.large"] = large_values
    for name, probed in results["disk"].items():
        made[name.replace(".", "-")] = writers[name](probed) + caption(results, repeated=False)
    return {name: text for name, text in made.items() if text}


# ---------------------------------------------------------------------------------------------------- numbers


def number(value: float) -> str:
    """Three significant digits, with commas."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def count(value: int) -> str:
    if value % 1_000_000 == 0 and value:
        return f"{value // 1_000_000:,} M"
    return f"{value / 1e6:.1f} M" if value >= 1_000_000 else f"{value:,}"


def mebibytes(value: int) -> str:
    return f"{number(value / 2**20)} MiB"


def milliseconds(value: float) -> str:
    return f"{number(value * 1e3)} ms"


def kept(measured: float, goal: float) -> str:
    return "yes" if measured <= goal else "**no**"


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    head = list(head)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def caption(results: dict, repeated: bool = True) -> str:
    settings = results["settings"]
    text = f"\nn = {count(settings['n'])}"
    if repeated:
        text += f", {count(settings['ops'])} random operations, median of {settings['repeat']}"
    return text + f", {results['environment']['date']}.\n"


# ------------------------------------------------------------------------------------------------ comparisons


def environment(results: dict) -> str:
    facts = results["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory']}; Linux {facts['kernel']}, "
        f"{facts['file_system']}; Python {facts['python']}; {versions}; {facts['date']}.\n"
    )


def sides(results: dict) -> str:
    """How each side was configured, and what it promises."""
    rows, seen = [], set()
    for measured in results["workloads"].values():
        for side, entry in measured.items():
            if side not in seen and side != "builtin":
                facts = (entry["configuration"], entry["after_kill"], entry["after_power_loss"])
                rows.append((side, *facts))
                seen.add(side)
    skipped = "".join(f"\nNot measured: {side}: {why}.\n" for side, why in results["skipped"].items())
    if not rows:
        return skipped
    lines = [("side", "configuration", "left after kill -9", "left after power loss"), ("---",) * 4, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n" + skipped


def medians(workloads: dict, table: str, wanted: list[str]) -> dict[str, dict[str, dict]]:
    """Row -> side -> median ns, fewest operations and spread over the repetitions."""
    found: dict[str, dict[str, dict]] = {}
    for name, measured in workloads.items():
        for row in WORKLOADS[name].rows if WORKLOADS[name].table == table else ():
            for side, entry in measured.items():
                samples = [run["rows"][row.name] for run in entry["runs"] if row.name in run["rows"]]
                if samples and row.name in wanted:
                    found.setdefault(row.name, {})[side] = summary(samples)
    return found


def summary(samples: list[dict]) -> dict:
    times = [sample["ns"] for sample in samples]
    median = statistics.median(times)
    operations = min(sample["operations"] for sample in samples)
    spread = (max(times) - min(times)) / median
    return {"ns": median, "spread": spread, "operations": operations, "wanted": samples[0].get("wanted")}


def speed(results: dict, table: str) -> str:
    """ns per operation of each side; in brackets the time ours takes divided by theirs."""
    rows = medians(results["workloads"], table, results["settings"]["rows"])
    if not rows:
        return ""
    titles = row_titles()
    columns = headings(results["workloads"], table)
    lines = [[titles[name], *(cell(side, measured) for side in columns)] for name, measured in rows.items()]
    text = markdown(["ns per operation", *columns.values()], lines)
    return text + verdict(rows, columns, titles) + caption(results)


def row_titles() -> dict[str, str]:
    return {row.name: row.title for workload in WORKLOADS.values() for row in workload.rows}


def headings(workloads: dict, table: str) -> dict[str, str]:
    """Side -> column, of the sides that were measured."""
    found: dict[str, str] = {}
    container = "dict"
    for name, measured in workloads.items():
        if WORKLOADS[name].table == table:
            container = WORKLOADS[name].container
            found |= {side: entry["column"] for side, entry in measured.items()}
    return {side: found[side] for side in compare.adapters(container) if side in found}


def cell(side: str, measured: dict[str, dict]) -> str:
    if side not in measured:
        return "-"
    entry = measured[side]
    text = number(entry["ns"])
    if entry["operations"] < entry["wanted"]:
        text += f" at {count(entry['operations'])}"
    if side != OURS and OURS in measured:
        text += f" ({measured[OURS]['ns'] / entry['ns']:.2f})"
    return text


def verdict(rows: dict, columns: dict[str, str], titles: dict[str, str]) -> str:
    """Which rows are lost against which side that keeps its data, and how far the repetitions lay apart."""
    lost = [
        f"{titles[name]} ({columns[side]})"
        for name, measured in rows.items()
        for side, theirs in measured.items()
        if side not in (OURS, "builtin") and OURS in measured and theirs["ns"] < measured[OURS]["ns"]
    ]
    rivals = [columns[side] for side in columns if side not in (OURS, "builtin")]
    text = "\nIn brackets: our time divided by theirs."
    if lost:
        text += f" Behind in: {'; '.join(lost)}."
    elif OURS in columns and rivals:
        text += f" Ahead of {', '.join(rivals)} in every row."
    spread = max(side["spread"] for measured in rows.values() for side in measured.values())
    return f"{text} Largest spread of a row: {spread:.0%} of its median.\n"


def space(results: dict) -> str:
    """Bytes on disk, memory, and time to open, after loading in bulk and closing."""
    lines = []
    for name, measured in results["workloads"].items():
        if WORKLOADS[name].reopened:
            stored = WORKLOADS[name].title
            lines += [[stored, entry["column"], *space_of(entry["runs"])] for entry in measured.values()]
    if not lines:
        return ""
    head = ["loaded in bulk", "into", "entries", "bytes on disk per entry", "private memory after it"]
    head += ["peak resident", "open and first answer"]
    return markdown(head, lines) + caption(results)


def space_of(runs: list[dict]) -> list[str]:
    run = runs[-1]
    disk, opened = "-", "-"
    if run["disk"] is not None:
        disk = f"{run['disk'] / run['reached']:.1f}"
        opened = milliseconds(statistics.median(each["open"] for each in runs))
    memory = [mebibytes(run["memory"][kind]) for kind in ("RssAnon", "VmHWM")]
    return [count(run["reached"]), disk, *memory, opened]


def images(drawn: dict[str, Path], directory: Path) -> str:
    """What shows the plots in a document in directory."""
    lines = (f"![{title}]({path.relative_to(directory)})\n" for title, path in drawn.items())
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------------- latency


def latencies(row: latency.Row, measured: dict, results: dict) -> str:
    """Percentiles of the time that a single operation takes."""
    lines = []
    for entry in measured.values():
        cells = [number(entry["ns"][name] / 1e3) for name in latency.PERCENTILES]
        stored = count(entry["operations"])
        lines.append([entry["column"], stored, *cells])
    head = [f"{row.title}, µs", "entries", *latency.PERCENTILES]
    return markdown(head, lines) + caption(results, repeated=False)


# ------------------------------------------------------------------------------------------------- beyond RAM


def beyond_ram(results: dict) -> str:
    """Rates of the sides under a memory limit, and of the disk in the same run."""
    limit = results["settings"]["limit"]
    lines = []
    for factor in map(str, results["settings"]["factors"]):
        for entry in results["sides"].values():
            if rows := entry["factors"].get(factor):
                data = f"{factor} × {mebibytes(limit)}"
                lines.append([data, entry["column"], count(rows["n"]), *rates(rows)])
    head = ["data", "side", "entries", "insertions per second", "gets per second", "disk reads for each"]
    head += ["KiB read for each", "gets of many per second", "scanned per second"]
    text = "".join(f"\nNot measured: {side}: {why}.\n" for side, why in results["skipped"].items())
    date = f"\n{results['environment']['date']}.\n"
    return markdown(head, lines) + disk_figures(results["disk"]) + text + date


def rates(rows: dict) -> list[str]:
    get = rows["get"]
    reads = "-" if get.get("reads") is None else f"{get['reads']:.2f}"
    kibibytes = "-" if get.get("bytes") is None else number(get["bytes"] / 1024)
    return [per_second(rows, "insert"), per_second(rows, "get"), reads, kibibytes] + [
        per_second(rows, name) for name in ("get_many", "scan")
    ]


def per_second(rows: dict, name: str) -> str:
    if name not in rows:
        return "-"
    return rows[name].get("failure") or number(rows[name]["per_second"])


def disk_figures(probes: list[dict | None]) -> str:
    """Of all probes of the run, between which the sides were measured."""
    known = [probe for probe in probes if probe is not None]
    if not known:
        return "\nWhat the disk itself can do was not measured.\n"
    median = {name: statistics.median(probe[name] for probe in known) for name in known[0]}
    one, many = (number(median[f"random_read_depth_{depth}"]) for depth in (1, 32))
    read, written = (mebibytes(median[f"sequential_{way}"]) for way in ("read", "write"))
    return (
        f"\nThe disk itself, median of {len(known)}: {one} random reads of 4 KiB per second one by one, "
        f"{many} with 32 at once; reads {read} and writes {written} per second.\n"
    )


# ----------------------------------------------------------------------------------------- durable operations


def durable_rates(title: str, measured: dict, results: dict) -> str:
    """Rates of the sides and of the disk; shares are medians over rounds in which all met the same disk."""
    rounds, sides = measured["rounds"], measured["sides"]
    lines = [["the disk: `pwrite` of 4 KiB, `fdatasync`", number(rate(rounds, durable.DISK)), "", ""]]
    for side, description in sides.items():
        share = f"{ratio(rounds, side, durable.DISK):.2f} ({between(rounds, side, durable.DISK)})"
        ours = "" if side == OURS else f"{ratio(rounds, OURS, side):.2f} ({between(rounds, OURS, side)})"
        lines.append([description, number(rate(rounds, side)), share, ours])
    head = [title, "per second", "share of the disk's rate", "ours divided by theirs"]
    text = f"\nMedians of {len(rounds)} rounds of {measured['steps']:,}, in brackets the least and the most. "
    text += f"{count(measured['entries'])} entries before, {results['environment']['date']}.\n"
    return markdown(head, lines) + durable_verdict(rounds, list(sides), results["environment"]) + text


def durable_verdict(rounds: list[dict], sides: list[str], facts: dict) -> str:
    if facts["file_system"] in WITHOUT_DISK:
        return f"\n**Measured on {facts['file_system']}, where a sync costs nothing: not rates of a disk.**\n"
    share = ratio(rounds, OURS, durable.DISK)
    goal = "yes" if share >= GOAL_DISK_RATE else "**no**"
    ahead = {side: ratio(rounds, OURS, side) > 1 for side in sides if side != OURS}
    rivals = "; ".join(f"ahead of {side}: {'yes' if won else '**no**'}" for side, won in ahead.items())
    text = f"\nGoal of {GOAL_DISK_RATE} of the disk's rate, kept: {goal}"
    return f"{text}; {rivals}.\n" if rivals else f"{text}.\n"


def rate(rounds: list[dict], side: str) -> float:
    return statistics.median(measured[side] for measured in rounds)


def ratio(rounds: list[dict], ours: str, theirs: str) -> float:
    return statistics.median(measured[ours] / measured[theirs] for measured in rounds)


def between(rounds: list[dict], ours: str, theirs: str) -> str:
    ratios = [measured[ours] / measured[theirs] for measured in rounds]
    return f"{min(ratios):.2f} to {max(ratios):.2f}"


# ----------------------------------------------------------------------------------------------------- probes


def loading(probed: dict) -> str:
    lines = []
    for name, entry in probed.items():
        goal = GOAL_BYTES_PER_ENTRY[name.split(",")[0]]
        lines.append(
            [
                name,
                number(entry["ns"]),
                milliseconds(entry["close_seconds"]),
                f"{entry['bytes_per_entry']:.1f}",
                f"{goal}, {kept(entry['bytes_per_entry'], goal)}",
                mebibytes(entry["peak_anonymous"]),
                mebibytes(entry["peak_resident"]),
            ]
        )
    head = ["container, `memory_limit`", "ns per insertion", "`close()`", "bytes on disk per entry"]
    head += ["goal, kept", "peak private memory", "peak resident with mapped files"]
    return markdown(head, lines)


def opening(probed: dict) -> str:
    lines = [
        [
            label if label == "warm" else f"{label} ({probed['cold_by']})",
            milliseconds(probed[label]["open"]),
            milliseconds(probed[label]["first"]),
            f"{milliseconds(GOAL_OPEN_SECONDS)}, {kept(probed[label]['open'], GOAL_OPEN_SECONDS)}",
        ]
        for label in ("warm", "cold")
    ]
    return markdown(["files", "open", "open and first answer", "goal for opening, kept"], lines)


def recovery(probed: dict) -> str:
    line = [
        count(probed["operations"]),
        count(probed["replayed"]),
        mebibytes(probed["log_bytes"]),
        milliseconds(probed["open"]),
        number(probed["per_second"]),
        milliseconds(probed["open_again"]),
    ]
    head = ["operations before kill -9", "since the last checkpoint", "log", "open", "records per second"]
    return markdown([*head, "open again"], [line])


def syncing(probed: dict) -> str:
    lines = []
    for label, entry in probed["conditions"].items():
        measured = [entry["process"], entry["device"]]
        known = [value for value in measured if value is not None]
        cells = ["not available" if value is None else f"{number(value)} B" for value in measured]
        goal = f"{number(GOAL_SYNC_BYTES)} B, {kept(max(known), GOAL_SYNC_BYTES) if known else 'unknown'}"
        lines.append([label, *cells, milliseconds(entry["seconds"]), goal])
    head = ["files before", "written by the process", "written by the device", "time", "goal, kept"]
    text = f"\n{count(probed['n'])} entries of 100 bytes, {count(probed['operations'])} random overwrites, "
    return markdown(head, lines) + text + f"each followed by `sync()`; made cold by {probed['cold_by']}.\n"


def large_values(probed: dict) -> str:
    ratio, ratios = probed["ratio"], probed["ratios"]
    line = [
        count(probed["values"]),
        milliseconds(probed["seconds"]),
        milliseconds(probed["file_seconds"]),
        f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        f"{GOAL_LARGE_VALUES}, {kept(ratio, GOAL_LARGE_VALUES)}",
    ]
    head = ["values of 1 MiB", "stored and synced", "the same bytes to a file", "ours divided by it", "goal, kept"]
    return markdown(head, [line])


# --------------------------------------------------------------------------------------------------- document


def marked(name: str) -> re.Pattern[str]:
    begin, end = (f"<!-- benchmark:{edge} {re.escape(name)} -->" for edge in ("begin", "end"))
    return re.compile(f"({begin}\n).*?({end})", re.DOTALL)


def fill(document: str, made: dict[str, str]) -> str:
    """The document with each table between its markers; what was not measured stays as it is."""
    for name, text in made.items():
        found = list(marked(name).finditer(document))
        if len(found) != 1:
            raise ValueError(
                f"{len(found)} pairs of markers <!-- benchmark:begin {name} --> and end, expected one"
            )
        before, after = document[: found[0].end(1)], document[found[0].start(2) :]
        if name in ("sides", "cpp-sides"):
            text = joined(text, document[len(before) : found[0].start(2)])
        document = before + text + after
    return document


def joined(sides_now: str, sides_before: str) -> str:
    """The table of sides with the rows of those that other runs measured: their tables are in the document, too."""
    now, before = sides_now.splitlines(), sides_before.splitlines()
    rows = [line for line in now if line.startswith("|")]
    named = {row.split("|")[1] for row in rows}
    rows += [line for line in before if line.startswith("|") and line.split("|")[1] not in named]
    return "".join(f"{line}\n" for line in rows + [line for line in now if not line.startswith("|")])


def write(path: Path, made: dict[str, str]) -> None:
    path.write_text(fill(path.read_text(), made))
