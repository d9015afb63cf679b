#!/usr/bin/env python3
"""Every instruction, basic block and call of a large x86-64 program, on disk, and questions about them.

The listing of `objdump` is streamed, never held in memory, into stores under one directory:

    instructions  address -> (size, mnemonic, operands)
    shadow        one byte of flags for each byte of the program's code
    functions     start -> (name, size in bytes, number of instructions)
    calls         function -> list of the functions it calls or jumps to
    callers       function -> list of the functions that call or jump to it

A second process then opens them read-only and answers. Without a BINARY, the compiler proper (`cc1plus`) or
the largest other program found is mapped: millions of instructions.

Needs binutils (objdump, readelf); shows a progress bar if `rich` is installed.
"""

import argparse
import contextlib
import heapq
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from operator import sub
from pathlib import Path
from typing import NamedTuple

from pyrsistence import EMDict, EMList

# Flags of a byte: part of an instruction, the first of one, the first of a basic block, of a function.
CODE, HEAD, LEADER, FUNCTION = 1, 2, 4, 8

CHUNK = 1 << 20  # elements of the shadow moved at a time
PENDING_CALLERS = 200_000  # edges held in memory before the callers' lists on disk are extended

CALL, JUMP, BRANCH, STOP = 1, 2, 3, 4
CONDITIONS = "a ae b be c cxz e ecxz g ge l le nc ne no np ns nz o p pe po rcxz s z".split()
KINDS = {
    **dict.fromkeys(("call", "callq"), CALL),
    **dict.fromkeys(("jmp", "jmpq"), JUMP),
    **dict.fromkeys([f"j{condition}" for condition in CONDITIONS] + ["loop", "loope", "loopne"], BRANCH),
    **dict.fromkeys(("ret", "retq", "hlt", "ud2"), STOP),
}
PREFIXES = frozenset(
    "rep repz repnz lock notrack bnd data16 addr32 cs ds es fs gs ss xacquire xrelease".split()
)


class Function(NamedTuple):
    """A run of instructions from one function start to the next."""

    name: str
    start: int
    end: int
    addresses: list[int]
    texts: list[tuple[str, str]]  # mnemonic, operands


# ---------------------------------------------------------------------------------- reading the program


def run_lines(*command: str) -> Iterator[str]:
    """The output of a command, line by line; the command ends early if the iterator is closed."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="latin-1",
        env={**os.environ, "LC_ALL": "C"},
    )
    finished = False
    try:
        yield from process.stdout
        finished = True
    finally:
        process.stdout.close()
        if process.wait() != 0 and finished:
            raise SystemExit(f"{command[0]} failed on {command[-1]}: is it a program for this machine?")


def listing(binary: str) -> Iterator[str]:
    """The disassembly; an instruction's size is the distance to the next, so zeros are not skipped (-z)."""
    return run_lines("objdump", "-d", "-z", "-w", "--no-show-raw-insn", binary)


def code_sections(binary: str) -> dict[str, tuple[int, int]]:
    """Name -> (start, end) of every section that is executed."""
    sections = {}
    for line in run_lines("readelf", "-SW", binary):
        fields = line.partition("]")[2].split()
        if len(fields) > 7 and "X" in fields[6]:
            start = int(fields[2], 16)
            sections[fields[0]] = start, start + int(fields[4], 16)
    return sections


def entry_point(binary: str) -> int:
    for line in run_lines("readelf", "-hW", binary):
        if "Entry point" in line:
            return int(line.split()[-1], 16)
    raise SystemExit(f"{binary} has no ELF header: name an executable or a shared library")


def unwind_starts(binary: str) -> Iterator[int]:
    """Function starts from .eh_frame: a stripped program keeps almost all of them there."""
    for line in run_lines("readelf", "--debug-dump=frames", binary):
        if " FDE " in line:
            yield int(line.rpartition("pc=")[2].partition("..")[0], 16)


def first_pass(binary: str, limit: int) -> tuple[set[int], int]:
    """The starts of all functions, and the number of instructions up to `limit`."""
    starts = {entry_point(binary), *unwind_starts(binary)}
    count = 0
    for line in listing(binary):
        head, colon, text = line.partition(":\t")
        if not colon:
            if line.endswith(">:\n"):
                starts.add(int(head.split()[0], 16))
            continue
        count += 1
        if text.startswith("call"):
            target = text.split(None, 2)[1]
            if not target.startswith("*"):
                starts.add(int(target, 16))
        if count == limit:
            break
    return starts, count


def label_name(line: str) -> str:
    """The symbol of a listing's `0000000000401000 <symbol>:`; "" if that is a section or a neighbour."""
    name = line.partition("<")[2].rpartition(">")[0].partition("@@")[0]
    return "" if name.startswith(".") or re.search(r"[-+]0x[0-9a-f]+$", name) else name


def split_text(text: str) -> tuple[str, str]:
    """Mnemonic (with its prefixes) and operands, without objdump's annotations."""
    fields = text.split()
    last = 0
    while fields[last] in PREFIXES and last + 1 < len(fields):
        last += 1
    return " ".join(fields[: last + 1]), fields[last + 1] if len(fields) > last + 1 else ""


def read_functions(binary: str, starts: set[int], limit: int) -> Iterator[Function]:
    """The program's functions in the order of their addresses, each with its instructions."""
    sections = code_sections(binary)
    name, label, section_end, left = "", "", 0, limit or -1
    addresses: list[int] = []
    texts: list[tuple[str, str]] = []
    for line in listing(binary):
        head, colon, text = line.partition(":\t")
        if not colon:
            if line.endswith(">:\n"):
                label = label_name(line)
            elif line.startswith("Disassembly of section ") and line[23:-2] in sections:
                if addresses:
                    yield Function(name, addresses[0], section_end, addresses, texts)
                    name, addresses, texts = "", [], []
                section_end = sections[line[23:-2]][1]
            continue
        address = int(head, 16)
        if left == 0:
            section_end = address
            break
        left -= 1
        if address in starts:
            if addresses:
                yield Function(name, addresses[0], address, addresses, texts)
                addresses, texts = [], []
            name = label
        label = ""
        addresses.append(address)
        fields = text.split()
        if fields[0] in PREFIXES:
            texts.append(split_text(text))
        else:
            texts.append((fields[0], fields[1] if len(fields) > 1 else ""))
    if addresses:
        yield Function(name, addresses[0], section_end, addresses, texts)


def direct_flow(function: Function) -> Iterator[tuple[int, int, int | None]]:
    """(index, kind, target) of every instruction that does not simply continue; indirect targets are None."""
    kinds = KINDS
    for index, (mnemonic, operands) in enumerate(function.texts):
        kind = kinds.get(mnemonic) or ((" " in mnemonic) and kinds.get(mnemonic.rpartition(" ")[2]))
        if kind:
            direct = kind != STOP and operands and not operands.startswith("*")
            yield index, kind, int(operands, 16) if direct else None


# ------------------------------------------------------------------------------------------ building


class Map:
    """The stores of one program; a context manager that closes them all."""

    def __init__(self, directory: Path, mode: str) -> None:
        self.directory = directory
        if mode == "w":
            directory.mkdir(parents=True, exist_ok=True)
        self._open = contextlib.ExitStack()
        self.about = self._store(EMDict, "about", mode)
        self.instructions = self._store(EMDict, "instructions", mode)
        self.shadow = self._store(EMList, "shadow", mode)
        self.functions = self._store(EMDict, "functions", mode)
        self.calls = self._store(EMDict, "calls", mode)
        self.callers = self._store(EMDict, "callers", mode)

    def _store(self, kind: type, name: str, mode: str):
        return self._open.enter_context(kind(self.directory / name, mode=mode))

    def sync(self) -> None:
        for store in (self.instructions, self.shadow, self.functions, self.calls, self.callers, self.about):
            store.sync()

    def __enter__(self) -> "Map":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()


class Builder:
    """Fills the stores, one function at a time; holds only function starts and a bounded number of edges."""

    def __init__(self, program: Map, starts: set[int], base: int, end: int) -> None:
        self._map = program
        self._starts = sorted(starts)
        self._is_start = starts
        self._base, self._end = base, end
        self._callers: dict[int, list[int]] = {}
        self._pending = 0

    def add(self, function: Function) -> None:
        start, end, addresses = function.start, function.end, function.addresses
        sizes = map(sub, [*addresses[1:], end], addresses)
        self._map.instructions.update(
            zip(addresses, [(size, *text) for size, text in zip(sizes, function.texts)])
        )
        flags = bytearray(bytes([CODE])) * (end - start)
        for address in addresses:
            flags[address - start] = CODE | HEAD
        flags[0] |= LEADER | FUNCTION if start in self._is_start else LEADER
        callees, outside = self._follow(function, flags)
        self._mark(start, flags)
        for target in outside:
            self._mark(target, bytes([LEADER]))
        self._map.functions[start] = function.name, end - start, len(addresses)
        self._connect(start, sorted(callees))

    def flush_callers(self) -> None:
        """Extends the lists on disk by the edges gathered in memory: a long list is rewritten only rarely."""
        callers = self._map.callers
        callers.update({callee: callers.get(callee, []) + new for callee, new in self._callers.items()})
        self._callers.clear()
        self._pending = 0

    def _follow(self, function: Function, flags: bytearray) -> tuple[set[int], set[int]]:
        """Marks the leaders inside a function; returns the functions it reaches and leaders elsewhere."""
        start, end, addresses = function.start, function.end, function.addresses
        callees, outside = set(), set()
        for index, kind, target in direct_flow(function):
            if kind != CALL and index + 1 < len(addresses):
                flags[addresses[index + 1] - start] |= LEADER
            if target is None or not self._base <= target < self._end:
                continue
            if kind != CALL and start <= target < end:
                flags[target - start] |= LEADER
                continue
            callees.add(target if kind == CALL else self._function_of(target))
            if target not in self._is_start:
                outside.add(target)
        return callees, outside

    def _function_of(self, address: int) -> int:
        """A jump out of a function is a tail call, or goes to a cold part the compiler moved away."""
        return self._starts[max(bisect_right(self._starts, address) - 1, 0)]

    def _mark(self, address: int, flags: bytes) -> None:
        """Adds flags to those that jumps from earlier functions have left; lengthens the shadow as needed."""
        shadow, first = self._map.shadow, address - self._base
        last = first + len(flags)
        while len(shadow) < last:
            shadow.extend(bytes(min(CHUNK, self._end - self._base - len(shadow))))
        old = bytes(shadow[first:last])
        merged = int.from_bytes(old, "little") | int.from_bytes(flags, "little")
        shadow[first:last] = merged.to_bytes(len(flags), "little")

    def _connect(self, caller: int, callees: list[int]) -> None:
        if not callees:
            return
        self._map.calls[caller] = callees
        for callee in callees:
            self._callers.setdefault(callee, []).append(caller)
        self._pending += len(callees)
        if self._pending > PENDING_CALLERS:
            self.flush_callers()


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[int], object]]:
    """A function to call with the number of instructions done; draws a bar on a terminal that has `rich`."""
    try:
        from rich.progress import Progress
    except ImportError:
        yield lambda count: None
        return
    with Progress(disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("instructions", total=total)
        yield lambda count: bar.advance(task, count)


def build(binary: str, directory: Path, limit: int) -> None:
    began = time.perf_counter()
    starts, total = first_pass(binary, limit)
    bounds = code_sections(binary).values()
    base, end = min(low for low, _ in bounds), max(high for _, high in bounds)
    starts = {start for start in starts if base <= start < end}
    with Map(directory, "w") as program, progress(total) as advance:
        builder = Builder(program, starts, base, end)
        filling = time.perf_counter()
        for function in read_functions(binary, starts, limit):
            builder.add(function)
            advance(len(function.addresses))
        builder.flush_callers()
        program.about.update(binary=binary, base=base, entry=entry_point(binary), limit=limit)
        program.sync()
        program.about["complete"] = True  # last: a map that was interrupted is not mistaken for a whole one
    seconds = time.perf_counter() - filling
    print(f"{binary}: {total:,} instructions stored in {seconds:.1f} s, {total / seconds:,.0f} a second")
    print(f"({filling - began:.1f} s before that to find {len(starts):,} function starts)")


def print_sizes(directory: Path) -> None:
    for store in sorted(path for path in directory.iterdir() if path.is_dir()):
        size = sum(file.stat().st_blocks * 512 for file in store.rglob("*") if file.is_file())
        print(f"  {store.name:13}{size / 1e6:10.1f} MB on disk")


# ----------------------------------------------------------------------------------------- questions


def scan(shadow: EMList, start: int, end: int) -> Iterator[bytes]:
    for low in range(start, end, CHUNK):
        yield bytes(shadow[low : min(low + CHUNK, end)])


def count_flags(shadow: EMList, flag: int) -> int:
    table = bytes(1 if value & flag else 0 for value in range(256))
    return sum(piece.translate(table).count(1) for piece in scan(shadow, 0, len(shadow)))


def most_called(program: Map, count: int) -> list[tuple[int, int]]:
    """(function, number of functions that call it), the most called first."""
    sizes = ((function, len(callers)) for function, callers in program.callers.items())
    return heapq.nlargest(count, sizes, key=lambda item: (item[1], -item[0]))


def addresses_taken(program: Map, function: int) -> set[int]:
    """Functions whose address a function computes: how `_start` passes `main` to the C library."""
    _, size, _ = program.functions[function]
    taken = set()
    for address, (length, _, operands) in instructions_of(program, function, size):
        for pattern, origin in ((r"\$0x([0-9a-f]+)", 0), (r"(-?0x[0-9a-f]+)\(%rip\)", address + length)):
            taken.update(origin + int(text, 16) for text in re.findall(pattern, operands))
    return {target for target in taken if target in program.functions}


def reachable(program: Map, roots: set[int]) -> set[int]:
    """The functions that the roots reach by direct calls and jumps."""
    seen, todo = set(roots), list(roots)
    while todo:
        for callee in program.calls.get(todo.pop(), ()):
            if callee not in seen:
                seen.add(callee)
                todo.append(callee)
    return seen


def instructions_of(program: Map, start: int, size: int) -> Iterator[tuple[int, tuple[int, str, str]]]:
    address = start
    while address < start + size and address in program.instructions:
        instruction = program.instructions[address]
        yield address, instruction
        address += instruction[0]


def basic_blocks(program: Map, function: int) -> dict[int, list[int]]:
    """The control flow graph: block -> its successors in the function, by direct jumps and fall-through."""
    _, size, _ = program.functions[function]
    base = program.about["base"]
    flags = b"".join(scan(program.shadow, function - base, function - base + size))
    blocks: dict[int, list[int]] = {}
    block, falls_through = function, False
    for address, (_, mnemonic, operands) in instructions_of(program, function, size):
        if flags[address - function] & LEADER:
            if falls_through:
                blocks[block].append(address)
            block = address
            blocks[block] = []
        kind = KINDS.get(mnemonic.rpartition(" ")[2])
        falls_through = kind not in (JUMP, STOP)
        if kind in (JUMP, BRANCH) and operands and not operands.startswith("*"):
            target = int(operands, 16)
            if function <= target < function + size and flags[target - function] & HEAD:
                blocks[block].append(target)
    return blocks


def reverse_postorder(graph: dict[int, list[int]], root: int) -> list[int]:
    order, seen, stack = [], {root}, [(root, iter(graph[root]))]
    while stack:
        node, successors = stack[-1]
        for successor in successors:
            if successor not in seen:
                seen.add(successor)
                stack.append((successor, iter(graph[successor])))
                break
        else:
            order.append(node)
            stack.pop()
    return order[::-1]


def immediate_dominators(graph: dict[int, list[int]], root: int) -> dict[int, int]:
    """Node -> its immediate dominator, for the nodes the root reaches.

    Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm" (2001).
    """
    order = reverse_postorder(graph, root)
    rank = {node: number for number, node in enumerate(order)}
    predecessors: dict[int, list[int]] = {node: [] for node in order}
    for node in order:
        for successor in graph[node]:
            predecessors[successor].append(node)
    dominator = {root: root}
    changed = True
    while changed:
        changed = False
        for node in order[1:]:
            done = [p for p in predecessors[node] if p in dominator]
            nearest = done[0]
            for other in done[1:]:
                while other != nearest:
                    if rank[other] > rank[nearest]:
                        other = dominator[other]
                    else:
                        nearest = dominator[nearest]
            if dominator.get(node) != nearest:
                dominator[node] = nearest
                changed = True
    return dominator


def dominated_counts(dominator: dict[int, int], order: list[int]) -> dict[int, int]:
    """Node -> the number of nodes it dominates, itself included."""
    counts = dict.fromkeys(order, 1)
    for node in reversed(order[1:]):
        counts[dominator[node]] += counts[node]
    return counts


def branchiest_function(program: Map) -> int:
    """Of the functions with most instructions, the one whose direct jumps reach most blocks."""
    largest = heapq.nlargest(8, program.functions.items(), key=lambda item: (item[1][2], -item[0]))
    return max(
        (function for function, _ in largest),
        key=lambda function: len(reverse_postorder(basic_blocks(program, function), function)),
    )


def dominators(program: Map, function: int) -> dict:
    graph = basic_blocks(program, function)
    immediate = immediate_dominators(graph, function)
    counts = dominated_counts(immediate, reverse_postorder(graph, function))
    del counts[function]
    top = heapq.nlargest(5, counts.items(), key=lambda item: (item[1], -item[0]))
    return {"function": function, "blocks": len(graph), "immediate": immediate, "top": top}


def ask(directory: Path, function: int | None) -> dict:
    """Answers all questions from the stores, opened read-only."""
    with Map(directory, "r") as program:
        if not program.about.get("complete"):
            raise SystemExit(f"{directory} holds no complete map: run again without --query-only")
        entry = program.about["entry"]
        roots = {entry} & set(program.functions.keys())
        for root in tuple(roots):
            roots |= addresses_taken(program, root)
        seen = reachable(program, roots)
        apart = [item for item in program.functions.items() if item[0] not in seen]
        largest = [start for start, _ in heapq.nlargest(5, apart, key=lambda item: (item[1][2], -item[0]))]
        called = most_called(program, 10)
        chosen = function if function is not None else branchiest_function(program)
        flow = dominators(program, chosen)
        shown = [chosen, *(start for start, _ in called), *largest]
        names = {start: program.functions.get(start, ("",))[0] for start in shown}
        return {
            "binary": program.about["binary"],
            "entry": entry,
            "instructions": len(program.instructions),
            "functions": len(program.functions),
            "code_bytes": count_flags(program.shadow, CODE),
            "blocks": count_flags(program.shadow, LEADER),
            "edges": sum(len(callees) for callees in program.calls.values()),
            "most_called": called,
            "roots": sorted(roots),
            "unreachable": len(apart),
            "unreachable_examples": largest,
            "dominators": flow,
            "names": names,
        }


def readable_names(names: dict[int, str]) -> dict[int, str]:
    """Names as a reader of C++ wants them, through c++filt if there is one."""
    shown = {start: name or f"sub_{start:x}" for start, name in names.items()}
    if not shutil.which("c++filt"):
        return shown
    mangled = "\n".join(shown.values()) + "\n"
    plain = subprocess.run(["c++filt"], input=mangled, capture_output=True, text=True, check=True).stdout
    return dict(zip(shown, plain.splitlines()))


def print_answers(answers: dict) -> None:
    names = readable_names(answers["names"])
    flow = answers["dominators"]
    print(f"{answers['binary']}, entry point {answers['entry']:#x}")
    for key in ("instructions", "functions", "blocks", "edges", "code_bytes"):
        print(f"  {key.replace('_', ' '):13}{answers[key]:>12,}")
    print("called by the most functions:")
    for function, count in answers["most_called"]:
        print(f"  {count:>8,}  {names[function]}")
    share = answers["unreachable"] / max(answers["functions"], 1)
    passed = len(answers["roots"]) - 1
    print(f"not reached from the entry point and {passed} functions it passes on by address:")
    print(f"  {answers['unreachable']:,} functions ({share:.0%}), the largest:")
    for function in answers["unreachable_examples"]:
        print(f"      {names[function]}")
    print("  by direct calls and jumps, that is: virtual functions and callbacks are called indirectly")
    print(f"dominators in {names[flow['function']]}:")
    direct = len(flow["immediate"])
    print(f"  {flow['blocks']:,} blocks, {direct:,} reached by direct jumps (not through tables)")
    for block, count in flow["top"]:
        above = flow["immediate"][block]
        print(f"  every path to {count:,} of them passes {block:#x}, whose immediate dominator is {above:#x}")


def default_binary() -> str:
    """The largest of the compiler proper, the debugger and this interpreter."""
    found = [sys.executable, *filter(None, (shutil.which("gdb"), shutil.which("objdump")))]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        found.append(subprocess.check_output(["g++", "-print-prog-name=cc1plus"], text=True).strip())
    candidates = [Path(path).resolve() for path in found]
    return str(max((path for path in candidates if path.is_file()), key=lambda path: path.stat().st_size))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", nargs="?", help="an x86-64 ELF file; without it, a large one is found")
    parser.add_argument("--out", type=Path, help="where the stores go; without it, a temporary directory")
    parser.add_argument("--limit", type=int, default=0, help="stop after so many instructions")
    parser.add_argument("--query-only", action="store_true", help="answer from the stores in --out")
    parser.add_argument("--function", type=lambda text: int(text, 0), help="whose dominators to compute")
    parser.add_argument("--json", action="store_true", help="print the answers as JSON")
    arguments = parser.parse_args()
    if arguments.query_only:
        if not arguments.out:
            parser.error("--query-only needs --out")
        answers = ask(arguments.out, arguments.function)
        if arguments.json:
            print(json.dumps(answers))
        else:
            print_answers(answers)
        return
    with tempfile.TemporaryDirectory() as temporary:
        directory = arguments.out or Path(temporary) / "map"
        build(arguments.binary or default_binary(), directory, arguments.limit)
        print_sizes(directory)
        # Another process: nothing that the builder still remembers can help it.
        again = [sys.executable, __file__, "--query-only", "--out", str(directory)]
        again += ["--json"] if arguments.json else []
        again += ["--function", hex(arguments.function)] if arguments.function is not None else []
        raise SystemExit(subprocess.run(again).returncode)


if __name__ == "__main__":
    main()
