#!/usr/bin/env bash
# Builds and runs main.cpp as a consumer would, in the three ways that the documentation offers:
# tests/consumer/run.sh BUILD_DIR, where BUILD_DIR holds a finished build of the library.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "$1")
consumer=$PWD/tests/consumer
work=$build/consumer
prefix=$work/moved
rm -rf "$work/installed" "$prefix"
mkdir -p "$work"

step() { echo "-- consumer: $*"; }
quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }; }

# Moving the installed tree shows that nothing in it remembers where it was installed.
step "install"
quietly cmake --install "$build" --prefix "$work/installed"
mv "$work/installed" "$prefix"
if grep -rlIF -e "$PWD/src" -e "$work/installed" "$prefix"; then
    echo "the files above name the source or install folder"
    exit 1
fi

step "find_package"
rm -rf "$work/find_package"
quietly cmake -S "$consumer/find_package" -B "$work/find_package" -DCMAKE_PREFIX_PATH="$prefix"
quietly cmake --build "$work/find_package"
"$work/find_package/consumer"

step "pkg-config"
pc_dir=$(dirname "$(find "$prefix" -name pyrsistence.pc)")
read -ra flags <<<"$(PKG_CONFIG_PATH=$pc_dir pkg-config --cflags --libs pyrsistence)"
"${CXX:-g++}" -std=c++20 -Wall -Wextra -Werror "$consumer/main.cpp" "${flags[@]}" -o "$work/with_pkg_config"
"$work/with_pkg_config"

# Unoptimised, because here only the build itself is under test.
step "add_subdirectory"
quietly cmake -S "$consumer/add_subdirectory" -B "$work/add_subdirectory" -DCMAKE_BUILD_TYPE=Debug
quietly cmake --build "$work/add_subdirectory" --parallel "$(nproc)"
"$work/add_subdirectory/consumer"
echo "consumer tests: ok"
