#!/usr/bin/env python3
"""Checks the layering of the C++ sources and that no test is left out of the build.

 - An include points to the same layer or to one above it in LAYERS; public headers include only each other.
 - Every .cpp below tests/cpp ends in _test.cpp, because only those are compiled.
 - Every src/<layer>/<name>.cpp has its tests/cpp/<layer>/<name>_test.cpp, or another test named in TESTED_BY.
"""

import re
import sys
from pathlib import Path

LAYERS = [
    "include",
    "src/os",
    "src/codec",
    "src/storage",
    "src/structures",
    "src/containers",
    "src/graph",
    "bindings",
]
SEARCH_PATHS = ["include", "src", "."]
TESTED_BY = {
    "src/os/posix_file.cpp": "tests/cpp/os/file_test.cpp",
    "src/codec/identity.cpp": "tests/cpp/codec/key_test.cpp",
}

# A public header that names one of these would make every consumer install it.
PRIVATE_DEPENDENCIES = {"xxhash.h", "gtest/gtest.h", "nanobind/nanobind.h", "Python.h"}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)


def layer_of(path):
    """Index in LAYERS of a path relative to the root, or None."""
    for index, layer in enumerate(LAYERS):
        if path.is_relative_to(layer):
            return index
    return None


def sources(root):
    for folder in ("include", "src", "bindings"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".hpp", ".cpp", ".h", ".inl"):
                yield path.relative_to(root)


def resolve(root, source, name):
    """The file that `#include "name"` in source means, relative to the root, or None."""
    for folder in (source.parent, *SEARCH_PATHS):
        candidate = (root / folder / name).resolve()
        if candidate.is_file():
            return candidate.relative_to(root)
    return None


def check_include(root, source, quoted, angled):
    """What is wrong with one include, or None."""
    if angled:
        own = (root / "include" / angled).is_file() or (root / "src" / angled).is_file()
        if own:
            return f"<{angled}> is a header of this project: write it with quotes"
        if source.is_relative_to("include") and angled in PRIVATE_DEPENDENCIES:
            return f"a public header may not need <{angled}>"
        return None
    target = resolve(root, source, quoted)
    if target is None:
        return f'"{quoted}" is not found from {source.parent}, include, src or the root'
    layer = layer_of(target)
    if layer is None:
        return f'"{quoted}" is {target}, which is in no layer'
    if layer > layer_of(source):
        return f'"{quoted}" is in {LAYERS[layer]}, below {LAYERS[layer_of(source)]}'
    return None


def include_problems(root):
    for source in sources(root):
        if layer_of(source) is None:
            yield f"{source}: in no layer; the layers are {', '.join(LAYERS)}"
            continue
        text = (root / source).read_text(encoding="utf-8")
        for match in INCLUDE.finditer(text):
            problem = check_include(root, source, match[1], match[2])
            if problem:
                yield f"{source}:{text.count(chr(10), 0, match.start()) + 1}: {problem}"


def test_problems(root):
    for path in sorted((root / "tests/cpp").rglob("*.cpp")):
        if not path.name.endswith("_test.cpp"):
            yield f"{path.relative_to(root)}: not compiled, because its name does not end in _test.cpp"
    for path in sorted((root / "src").rglob("*.cpp")):
        source = path.relative_to(root)
        mirrored = Path("tests/cpp", *source.parts[1:]).with_name(f"{source.stem}_test.cpp")
        test = Path(TESTED_BY.get(source.as_posix(), mirrored))
        if not (root / test).is_file():
            yield f"{source}: its test {test} does not exist"
    for source in TESTED_BY:
        if not (root / source).is_file():
            yield f"tools/check_layers.py: TESTED_BY names {source}, which does not exist"


def main(root):
    problems = [*include_problems(root), *test_problems(root)]
    for problem in problems:
        print(problem, file=sys.stderr)
    checked = len(list(sources(root)))
    print(f"check_layers: {len(problems)} problems" if problems else f"check_layers: {checked} files: ok")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()))
