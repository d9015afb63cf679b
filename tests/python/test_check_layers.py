"""tools/check_layers.py accepts a well-layered tree and names each fault in a badly layered one."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECKER = Path(__file__).resolve().parents[2] / "tools" / "check_layers.py"
SOUND = {
    "include/pyrsistence/types.hpp": "#include <cstddef>\n",
    "src/os/file.hpp": '#include "pyrsistence/types.hpp"\n',
    "src/os/posix_file.cpp": '#include "os/file.hpp"\n',
    "src/codec/identity.cpp": "",
    "src/codec/hash.cpp": '#include "os/file.hpp"\n#include <xxhash.h>\n',
    "bindings/core.cpp": '#include "bindings/errors.hpp"\n#include "codec/hash.hpp"\n',
    "bindings/errors.hpp": "",
    "src/codec/hash.hpp": "",
    "tests/cpp/os/file_test.cpp": "",
    "tests/cpp/codec/hash_test.cpp": "",
    "tests/cpp/codec/key_test.cpp": "",
}


def check(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return subprocess.run([sys.executable, CHECKER, root], capture_output=True, text=True, timeout=60)


def test_sound_tree_passes(tmp_path):
    done = check(tmp_path, SOUND)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(": ok\n")


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("src/os/file.hpp", '#include "codec/hash.hpp"\n', 'src/os/file.hpp:1: "codec/hash.hpp" is in src'),
        ("src/os/file.hpp", '\n#include "../codec/hash.hpp"\n', "src/os/file.hpp:2: "),
        ("include/pyrsistence/types.hpp", '#include "os/file.hpp"\n', "below include"),
        ("include/pyrsistence/types.hpp", "#include <xxhash.h>\n", "may not need <xxhash.h>"),
        ("src/codec/hash.hpp", "#include <os/file.hpp>\n", "write it with quotes"),
        ("src/codec/hash.hpp", '#include "codec/gone.hpp"\n', '"codec/gone.hpp" is not found'),
        ("src/utils/misc.hpp", "", "src/utils/misc.hpp: in no layer"),
        ("tests/cpp/codec/more.cpp", "", "does not end in _test.cpp"),
        ("src/codec/item.cpp", "", "tests/cpp/codec/item_test.cpp does not exist"),
    ],
)
def test_fault_is_named(tmp_path, name, text, complaint):
    done = check(tmp_path, {**SOUND, name: text})
    assert done.returncode == 1
    assert complaint in done.stderr
