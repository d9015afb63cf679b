"""Runs every example as its user would, on small real input, and checks the answers in other ways."""

import importlib.util
import json
import os
import platform
import random
import re
import shutil
import subprocess
import sys
from bisect import bisect_right
from pathlib import Path

import pytest

from pyrsistence import EMDict, EMList, Store

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name, *arguments, check=True):
    command = [sys.executable, "-W", "error::SyntaxWarning", str(EXAMPLES / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    return done


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


# ------------------------------------------------------------------------------------------ quickstart


def test_quickstart_is_found_again_by_a_second_process():
    output = run("quickstart.py").stdout.splitlines()
    assert output == [
        "Ada is 36",
        "everything: {'Ada': 36, 'Grace': 85, 'Edsger': 72, ('a', 'tuple'): [1, 2, 3, 4]}",
        "last log entry: {'answer': 42} of 3",
    ]


# --------------------------------------------------------------------------------------- shadow memory


SHADOWS = ["shadow_memory", "shadow_memory_list"]


@pytest.mark.parametrize("example", SHADOWS)
def test_shadow_memory_example_runs(tmp_path, example):
    output = run(f"{example}.py", "--limit", 300_000, "--out", tmp_path / "shadow").stdout
    assert "300,000 bytes shadowed" in output
    assert re.search(r"reopened: \d+ ranges, 300,000 bytes", output)
    again = run(f"{example}.py", "--out", tmp_path / "shadow", check=False)
    assert again.returncode == 2 and "not empty" in again.stderr


@pytest.mark.parametrize("example", SHADOWS)
def test_shadow_memory_agrees_with_a_dict_of_flags(tmp_path, example):
    shadow_memory = load(example)
    ranges = [(0x1000, 0x3000), (0x3000, 0x3001), (0x7FFF_FFFF_0000, 0x7FFF_FFFF_4000)]
    expected = {address: 0 for start, end in ranges for address in range(start, end)}
    shadow = shadow_memory.ShadowMemory(tmp_path)
    for start, end in ranges:
        shadow.add(start, end)
    with pytest.raises(ValueError, match="overlaps"):
        shadow.add(0x2FFF, 0x3001)
    choose = random.Random(7)
    for step in range(60):
        start = choose.choice([0x0F80, 0x2F00, 0x7FFF_FFFF_1000]) + choose.randrange(0x400)
        end = start + choose.randrange(0x300)
        flag = choose.choice([1, 2, 128])
        clear = choose.random() < 0.3
        (shadow.clear if clear else shadow.set)(start, end, flag)
        for address in expected.keys() & set(range(start, end)):
            expected[address] = expected[address] & ~flag if clear else expected[address] | flag
        if step == 30:
            shadow.sync()
            shadow.close()
            shadow = shadow_memory.ShadowMemory(tmp_path)
    shadow.close()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"{start:#x}-{end:#x}" for start, end in ranges}
    with shadow_memory.ShadowMemory(tmp_path, mode="r") as shadow:
        for flag in (1, 2, 128, 3):
            assert shadow.count(flag) == sum(1 for flags in expected.values() if flags & flag)
            flagged = sorted(address for address, flags in expected.items() if flags & flag)
            for origin in (0, 0x1234, 0x3000, 0x3001, 0x7FFF_FFFF_1080, 0x7FFF_FFFF_3FFF):
                assert shadow.next(origin, flag) == next((a for a in flagged if a >= origin), None)
        assert all(shadow[address] == flags for address, flags in list(expected.items())[::97])
        with pytest.raises(KeyError):
            shadow[0x9999_9999]


# ----------------------------------------------------------------------------------------- program map

CODE, HEAD, LEADER, FUNCTION = 1, 2, 4, 8
LINE = re.compile(r"^\s*([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*\t?(.*)$")
FLOW = re.compile(r"^(?:(?:bnd|notrack|repz|rep|data16) )*(call|jmp|j\w+|loop\w*|ret|hlt|ud2)q?\b ?(\S*)")


def small_program():
    if platform.machine() != "x86_64" or not (shutil.which("objdump") and shutil.which("readelf")):
        pytest.skip("needs binutils and an x86-64 program")
    # objdump itself: its compiler moved cold parts away, so that jumps between functions are found in it.
    return os.path.realpath(shutil.which("objdump"))


def disassemble(binary):
    """Address -> (size, text), the size counted from the instruction's bytes."""
    command, environment = ["objdump", "-d", "-z", "-w", binary], {**os.environ, "LC_ALL": "C"}
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment).stdout
    found = {}
    for line in output.decode("latin-1").splitlines():
        match = LINE.match(line)
        if match:
            address, content, text = match.groups()
            text = re.sub(r"\s+(#.*|<.*)$", "", text.strip())
            found[int(address, 16)] = len(content.split()), " ".join(text.split())
    return found


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """A small program, mapped by the example: (listing of our own, directory, answers)."""
    binary, directory = small_program(), tmp_path_factory.mktemp("program")
    built = run("program_map.py", binary, "--out", directory)
    assert "entry point" in built.stdout and "instructions stored" in built.stdout
    answers = json.loads(run("program_map.py", "--query-only", "--json", "--out", directory).stdout)
    return disassemble(binary), directory, answers


def flow_of(listing):
    """(address, kind, target or None) for every instruction that transfers control."""
    for address, (_, text) in listing.items():
        match = FLOW.match(text)
        if match:
            kind, operand = match.groups()
            direct = re.fullmatch(r"[0-9a-f]+", operand) if kind not in ("ret", "hlt", "ud2") else None
            yield address, kind, int(operand, 16) if direct else None


def graph_of(listing, functions):
    """(edges between functions, leaders), computed from the whole listing at once."""
    starts = sorted(functions)

    def owner(address):
        return starts[bisect_right(starts, address) - 1]

    edges, leaders = set(), set(functions)
    ends = {start + size for start, (_, size, _) in functions.items()}
    for address, kind, target in flow_of(listing):
        following = address + listing[address][0]
        if kind != "call" and following in listing and following not in ends:
            leaders.add(following)
        if target is not None and target in listing:
            if kind == "call":
                edges.add((owner(address), target))
            else:
                leaders.add(target)
                if owner(target) != owner(address):
                    edges.add((owner(address), owner(target)))
    return edges, leaders


def test_program_map_stores_the_whole_listing(mapped):
    listing, directory, answers = mapped
    assert len(listing) > 1000
    with EMDict(directory / "instructions", mode="r") as stored:
        assert list(stored.keys()) == list(listing)
        for address, (size, mnemonic, operands) in stored.items():
            assert size == listing[address][0], hex(address)
            assert listing[address][1].startswith(f"{mnemonic} {operands}".strip()), hex(address)
    assert answers["instructions"] == len(listing)


def test_program_map_flags_every_byte(mapped):
    listing, directory, answers = mapped
    with (
        EMDict(directory / "about", mode="r") as about,
        EMDict(directory / "functions", mode="r") as functions,
        EMList(directory / "shadow", mode="r") as shadow,
    ):
        base, flags = about["base"], list(shadow)
        functions = dict(functions.items())
    heads = {base + offset for offset, value in enumerate(flags) if value & HEAD}
    assert heads == set(listing)
    code = {base + offset for offset, value in enumerate(flags) if value & CODE}
    assert code == {address + i for address, (size, _) in listing.items() for i in range(size)}
    assert answers["code_bytes"] == len(code)
    assert {base + offset for offset, value in enumerate(flags) if value & FUNCTION} >= {
        target for _, kind, target in flow_of(listing) if kind == "call" and target in listing
    }
    leaders = {base + offset for offset, value in enumerate(flags) if value & LEADER}
    assert leaders == graph_of(listing, functions)[1]
    assert sum(count for _, _, count in functions.values()) == len(listing)


def test_program_map_answers_agree_with_a_recomputation(mapped):
    listing, directory, answers = mapped
    with (
        EMDict(directory / "functions", mode="r") as functions,
        EMDict(directory / "calls", mode="r") as calls,
        EMDict(directory / "callers", mode="r") as callers,
    ):
        functions = dict(functions.items())
        forward = {(caller, callee) for caller, callees in calls.items() for callee in callees}
        backward = {(caller, callee) for callee, some in callers.items() for caller in some}
    edges, _ = graph_of(listing, functions)
    assert forward == backward == edges
    assert answers["edges"] == len(edges)
    degree = {}
    for _, callee in edges:
        degree[callee] = degree.get(callee, 0) + 1
    ranked = sorted(degree.items(), key=lambda item: (-item[1], item[0]))
    assert [tuple(item) for item in answers["most_called"]] == ranked[:10]
    seen, size = set(answers["roots"]), -1
    while len(seen) != size:
        size = len(seen)
        seen |= {callee for caller, callee in edges if caller in seen}
    assert answers["unreachable"] == len(functions) - len(seen)
    assert answers["entry"] in seen and len(answers["roots"]) > 1


def reached(graph, root, without=None):
    seen, todo = {root} - {without}, [root] if root != without else []
    while todo:
        for successor in graph[todo.pop()]:
            if successor != without and successor not in seen:
                seen.add(successor)
                todo.append(successor)
    return seen


def test_program_map_dominators_agree_with_their_definition(mapped):
    listing, directory, answers = mapped
    root = answers["dominators"]["function"]
    with EMDict(directory / "functions", mode="r") as stored:
        functions = dict(stored.items())
    end = root + functions[root][1]
    leaders = {leader for leader in graph_of(listing, functions)[1] if root <= leader < end}
    flow = {address: (kind, target) for address, kind, target in flow_of(listing)}
    graph, block = {leader: set() for leader in leaders}, root
    for address in sorted(address for address in listing if root <= address < end):
        block = address if address in leaders else block
        kind, target = flow.get(address, ("", None))
        following = address + listing[address][0]
        if kind not in ("jmp", "ret", "hlt", "ud2") and following in leaders:
            graph[block].add(following)
        if kind != "call" and target in leaders:
            graph[block].add(target)
    everything = reached(graph, root)
    dominated = {node: everything - reached(graph, root, node) for node in everything}
    immediate = {int(node): above for node, above in answers["dominators"]["immediate"].items()}
    assert immediate.keys() == everything and len(everything) > 10
    for node in everything - {root}:
        strict = [other for other in everything - {node} if node in dominated[other]]
        assert immediate[node] == min(strict, key=lambda other: len(dominated[other]))


def test_program_map_limit_and_rebuilding(mapped, tmp_path):
    binary = small_program()
    for limit in (777, 1500):
        output = run("program_map.py", binary, "--out", tmp_path, "--limit", limit).stdout
        assert f"{limit:,} instructions stored" in output
        with EMDict(tmp_path / "instructions", mode="r") as stored:
            assert list(stored.keys()) == list(mapped[0])[:limit]
    with EMDict(tmp_path / "about") as about:
        del about["complete"]
    refused = run("program_map.py", "--query-only", "--out", tmp_path, check=False)
    assert refused.returncode == 1 and "no complete map" in refused.stderr


# --------------------------------------------------------------------------------------- NetworkX graph


@pytest.fixture(params=["EMDiGraph", "CompressedDiGraph"])
def graph_class(request):
    pytest.importorskip("networkx")
    return getattr(load("em_graph"), request.param)


def test_em_graph_example_agrees_on_the_standard_library():
    pytest.importorskip("networkx")
    output = run("em_graph.py", "--limit", 150).stdout.splitlines()
    assert len(output) == 2 and all(line.endswith("agree") for line in output)


def adjacency(view):
    return {node: {other: dict(edge) for other, edge in row.items()} for node, row in view.items()}


def assert_same_graph(stored, plain):
    assert dict(stored.nodes(data=True)) == dict(plain.nodes(data=True))
    assert list(stored) == list(plain)
    assert adjacency(stored.succ) == adjacency(plain.succ)
    assert adjacency(stored.pred) == adjacency(plain.pred)


def change(graph, choose):
    """One random change, of every kind that NetworkX makes to the dicts of a graph."""
    u, v, value = choose.randrange(12), choose.randrange(12), choose.random()
    edge, node = graph.has_edge(u, v), u in graph
    match choose.randrange(17):
        case 0 | 1 | 2 | 3:
            graph.add_edge(u, v, w=value)
        case 4:
            graph.add_node(u, color=value)
        case 5 if edge:
            graph.remove_edge(u, v)
        case 6 if node and value < 0.3:
            graph.remove_node(u)
        case 7 if edge:
            graph[u][v]["x"] = value
        case 8 if edge:
            graph.pred[v][u].update(y=value)
        case 9 if node:
            graph.nodes[u]["z"] = value
        case 10 if edge:
            graph.edges[u, v].pop("x", None)
        case 11 if value < 0.1:
            graph.clear_edges()
        case 12 if node:
            graph.nodes[u].clear()
        case 13:
            graph.add_edges_from([(u, v), (v, u)], q=value)
        case 14 if edge:
            graph[u][v].setdefault("t", [value])
            attributes = graph[u][v]
            attributes |= {"s": 1}
        case 15 if edge and value < 0.5:
            graph[u][v].popitem() if graph[u][v] else graph.pred[v][u].clear()
        case 15 if edge:
            del graph[u][v]["w" if "w" in graph[u][v] else next(iter(graph[u][v]), "w")]
        case 16 if node:
            graph.remove_nodes_from([n for n in list(graph) if graph.degree(n) == 0])


def attempt(graph, seed):
    try:
        change(graph, random.Random(seed))
    except KeyError as error:
        return repr(error)
    return None


def test_em_graph_follows_a_plain_graph_through_random_changes(graph_class):
    import networkx

    stored, plain = graph_class(), networkx.DiGraph()
    for seed in range(600):
        assert attempt(stored, seed) == attempt(plain, seed)
        if seed % 20 == 0:
            assert_same_graph(stored, plain)
    assert_same_graph(stored, plain)
    stored.close()


def test_em_graph_writes_attributes_through_to_both_ends(graph_class):
    graph = graph_class([(1, 2), (2, 3), (3, 3)], name="small")
    graph[1][2]["w"] = 9
    assert graph.succ[1][2] == graph.pred[2][1] == {"w": 9}
    graph.pred[3][3]["loop"] = True
    assert graph.edges[3, 3] == {"loop": True}
    stale = graph.edges[2, 3]
    graph.remove_edge(2, 3)
    stale["w"] = 1
    assert not graph.has_edge(2, 3) and list(graph.pred[3]) == [3]
    attributes = graph.nodes[1]
    graph.remove_node(1)
    attributes["color"] = "red"
    assert 1 not in graph and graph.graph == {"name": "small"}
    graph.close()


def test_em_graph_views_and_copies(graph_class):
    import networkx

    plain = networkx.gnp_random_graph(25, 0.15, seed=3, directed=True)
    networkx.set_edge_attributes(plain, {edge: sum(edge) for edge in plain.edges}, "w")
    stored = graph_class(plain)
    assert_same_graph(stored, plain)
    half = range(0, 25, 2)
    assert_same_graph(stored.subgraph(half), plain.subgraph(half))
    copied = stored.subgraph(half).copy()
    copied.add_edge(0, "new")
    assert type(copied) is graph_class and "new" not in stored
    assert_same_graph(stored.reverse(copy=False), plain.reverse(copy=False))
    names = {0: "zero"}
    assert_same_graph(networkx.relabel_nodes(stored, names), networkx.relabel_nodes(plain, names))
    assert networkx.to_dict_of_dicts(stored) == networkx.to_dict_of_dicts(plain)


def test_em_graph_dominators_of_a_call_graph(graph_class, mapped):
    import networkx

    _, directory, answers = mapped
    with EMDict(directory / "calls", mode="r") as calls:
        edges = [(caller, callee) for caller, callees in calls.items() for callee in callees]
    root = answers["roots"][-1] if answers["roots"][-1] != answers["entry"] else answers["roots"][0]
    stored, plain = graph_class(edges), networkx.DiGraph(edges)
    assert networkx.immediate_dominators(stored, root) == networkx.immediate_dominators(plain, root)
    stored.close()


def test_em_graph_leaves_no_directories(graph_class):
    graph = graph_class([(1, 2)])
    directories = [Path(store.directory) for store in graph._stores]
    assert all(path.is_dir() for path in directories)
    graph.close()
    assert not any(path.exists() for path in directories)


# ------------------------------------------------------------------------------------------------ crawl


@pytest.fixture
def site(tmp_path):
    """A site of files: (URL, file name -> names that it links to)."""
    choose, directory = random.Random(3), tmp_path / "site"
    directory.mkdir()
    names = ["index.html", *(f"page{i}.html" for i in range(60))]
    linked = {name: [names[choose.randrange(len(names))] for _ in range(4)] for name in names}
    linked["index.html"] += ["page0.html#part", "missing.html", "notes.txt"]
    for name, targets in linked.items():
        anchors = "".join(f'<p><a href="{target}">x</a>' for target in [*targets, "https://elsewhere.example/"])
        (directory / name).write_text(f"<html><title>Title of {name}</title><body>{anchors}</body></html>")
    (directory / "notes.txt").write_text("no page")
    return directory.as_uri() + "/", linked


def expected_crawl(linked):
    """The pages in the order of a breadth-first search, and their links."""
    order, links = ["index.html"], {}
    for name in order:
        links[name] = list(dict.fromkeys(target.partition("#")[0] for target in linked.get(name, [])))
        order += [target for target in links[name] if target not in order]
    return order, links


def assert_crawled(store, base, linked, complete):
    order, links = expected_crawl(linked)
    with Store(store) as opened:
        pages, found, queue = opened["pages"], opened["links"], list(opened["queue"])
        fetched = [base + name for name in order[: len(found)]]
        assert list(found.keys()) == fetched
        assert found == {base + name: [base + target for target in links[name]] for name in order[: len(found)]}
        assert queue == [url for url, page in pages.items() if page is None] == list(pages.keys())[len(fetched) :]
        assert pages[base + "index.html"][0] == "Title of index.html"
        if complete:
            assert not queue and pages[base + "notes.txt"] == ("text/plain", 0)
            assert pages[base + "missing.html"][0].startswith("error: ")
        opened.check()
        return len(found)


def test_crawl_goes_on_after_kill(site, tmp_path):
    base, linked = site
    command = [sys.executable, str(EXAMPLES / "crawl.py"), base + "index.html", "--out", str(tmp_path / "crawl")]
    done = 0
    for limit in (1, 7, 8, 30):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if int(line.split()[0]) >= limit:
                    process.kill()
                    break
        found = assert_crawled(tmp_path / "crawl", base, linked, complete=False)
        assert found >= max(limit, done)
        done = found
    last = subprocess.run([*command, "--limit", "1000"], capture_output=True, text=True, check=True).stdout
    count = assert_crawled(tmp_path / "crawl", base, linked, complete=True)
    assert f"{count} pages fetched, 0 in the queue" in last and "Title of page" in last


# ------------------------------------------------------------------------------------------- word count


def word_count():
    """The C++ example, where a build left it."""
    named = os.environ.get("PYRSISTENCE_WORD_COUNT")
    found = [Path(named)] if named else sorted(EXAMPLES.parent.glob("build*/**/word_count"))
    for path in found:
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    pytest.skip("word_count is not built: set PYRSISTENCE_WORD_COUNT to its path")


def test_word_count_counts_across_runs_and_python_reads_its_store(tmp_path):
    program, source = word_count(), EXAMPLES / "program_map.py"
    expected = {}
    for word in re.findall(rb"[A-Za-z0-9_'\x80-\xff]+", source.read_bytes()):
        word = word.decode().lower()
        expected[word] = expected.get(word, 0) + 2
    store = tmp_path / "words"
    subprocess.run([program, store, source], check=True, capture_output=True)
    with open(source, "rb") as text:
        again = subprocess.run([program, store], stdin=text, check=True, capture_output=True, text=True)
    ranked = sorted(expected.items(), key=lambda item: (-item[1], item[0]))[:20]
    printed = [tuple(line.split()) for line in again.stdout.splitlines()[-20:]]
    assert printed == [(str(count), word) for word, count in ranked]
    with EMDict(store, mode="r") as counts:
        assert dict(counts.items()) == expected
