#!/usr/bin/env bash
# Makes this machine ready: tools/setup.sh build|test|fuzz|bench
#   build  what compiling the engine and the Python package needs
#   test   that, and what the tests need
#   fuzz   that, and clang with libFuzzer: FUZZ_CXX, or clang++-16
#   bench  build, Google Benchmark, and those rivals of the C++ benchmarks that this system has packages of
# Missing system packages are installed by apt-get if this user may do so, otherwise named in one line.
# Python packages go into .venv only. A second run changes nothing and takes about a second.
set -euo pipefail
cd "$(dirname "$0")/.."
purpose=${1:-build}

fail() {
    echo "setup: $*" >&2
    exit 1
}

has_header() { echo "#include <$1>" | g++ -std=c++20 -fsyntax-only -x c++ - 2>/dev/null; }

has_fuzzer() { echo | "${FUZZ_CXX:-clang++-16}" -fsanitize=fuzzer,address -shared -fPIC -x c++ - -o /dev/null 2>/dev/null; }

# A version manager's shim may exist for a program that is not installed: only running it tells.
runs() { "$@" >/dev/null 2>&1; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10}; do
        if runs "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
            echo "$candidate"
            return
        fi
    done
}

# Debian's own interpreter comes without headers and without ensurepip; others bring both.
lacks_headers() {
    ! runs "$1" -c 'import os, sysconfig; os.stat(os.path.join(sysconfig.get_path("include"), "Python.h"))'
}

missing_packages() {
    local python
    runs g++ --version || { echo g++; echo libxxhash-dev; }
    ! runs g++ --version || has_header xxhash.h || echo libxxhash-dev
    runs ar --version || echo binutils
    python=$(find_python)
    if [ -z "$python" ]; then
        printf '%s\n' python3 python3-venv python3-dev
    else
        runs "$python" -c 'import ensurepip, venv' || echo python3-venv
        ! lacks_headers "$python" || echo python3-dev
    fi
    if [ "$purpose" = fuzz ]; then
        has_fuzzer || printf '%s\n' clang-16 libclang-rt-16-dev
    fi
    if [ "$purpose" = bench ]; then
        has_header benchmark/benchmark.h || echo libbenchmark-dev
        missing_rivals
    elif [ "$purpose" != build ]; then
        has_header gtest/gtest.h || echo libgtest-dev
        runs pkg-config --version || echo pkg-config
    fi
}

# header:package of what the C++ benchmarks compare with. They leave out what is not there and say so; hence a package
# that this system does not know is no failure.
missing_rivals() {
    local rival
    for rival in lmdb.h:liblmdb-dev tkrzw_dbm_hash.h:libtkrzw-dev rocksdb/db.h:librocksdb-dev \
        stxxl/bits/version.h:libstxxl-dev boost/unordered/unordered_flat_map.hpp:libboost1.81-dev \
        absl/container/btree_map.h:libabsl-dev; do
        has_header "${rival%:*}" || ! apt-cache show "${rival#*:}" >/dev/null 2>&1 || echo "${rival#*:}"
    done
}

install_system_packages() {
    local packages output as_root=()
    packages=$(missing_packages | sort -u | tr '\n' ' ')
    [ -n "$packages" ] || return 0
    if [ "$(id -u)" != 0 ]; then as_root=(sudo -n); fi
    if ! runs apt-get --version || ! runs "${as_root[@]}" true; then
        fail "missing system packages: ${packages}(as root: apt-get install ${packages% })"
    fi
    "${as_root[@]}" apt-get update -qq >/dev/null ||
        echo "setup: apt-get update failed, using the old lists" >&2
    packages=$(missing_packages | sort -u | tr '\n' ' ')
    echo "setup: installing $packages"
    # shellcheck disable=SC2086  # one word per package
    output=$("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $packages 2>&1) ||
        fail "apt-get could not install: $packages"$'\n'"$output"
    packages=$(missing_packages | sort -u | tr '\n' ' ')
    [ -z "$packages" ] || fail "still missing after apt-get install: $packages"
}

# The .venv of a folder that was moved or copied still points to the old place.
venv_is_usable() {
    runs .venv/bin/python -c 'import os, sys; sys.exit(not os.path.samefile(sys.prefix, ".venv"))'
}

make_venv() {
    if venv_is_usable; then return; fi
    echo "setup: creating .venv"
    rm -rf .venv
    "$(find_python)" -m venv .venv
}

new_enough_cmake() {
    runs cmake --version &&
        cmake --version | sed -n 's/^cmake version //p' | { printf '3.25\n'; cat; } | sort -VC
}

install_python_packages() {
    local wanted=('scikit-build-core>=0.10' 'nanobind>=2.4')
    new_enough_cmake || wanted+=('cmake>=3.25')
    case $purpose in test | fuzz) wanted+=('pytest>=7' hypothesis numpy networkx sortedcontainers mypy) ;; esac
    local stamp=.venv/.setup-$purpose
    if [ "$(cat "$stamp" 2>/dev/null)" = "${wanted[*]}" ]; then return; fi
    echo "setup: installing into .venv: ${wanted[*]}"
    .venv/bin/python -m pip install -qq --disable-pip-version-check "${wanted[@]}" ||
        fail "pip could not install: ${wanted[*]}"
    echo "${wanted[*]}" >"$stamp"
}

case $purpose in
build | test | fuzz | bench) ;;
*) fail "unknown purpose '$purpose': use build, test, fuzz or bench" ;;
esac
install_system_packages
make_venv
PATH=$PWD/.venv/bin:$PATH
install_python_packages
