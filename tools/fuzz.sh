#!/usr/bin/env bash
# Runs the libFuzzer programs in build-fuzz one after the other: tools/fuzz.sh SECONDS [target...]
# Each begins with its corpus in fuzz/corpus and what earlier runs have added to build-fuzz/corpus. An input that ends
# a program is kept, with the command that runs it again, and makes this script fail when all have run.
set -uo pipefail
cd "$(dirname "$0")/.."
seconds=$1
shift
[ $# -gt 0 ] || set -- store replay codec lock
export ASAN_OPTIONS=handle_sigbus=0:detect_leaks=0:allocator_may_return_null=1
export TMPDIR=${TMPDIR:-/dev/shm}
failed=0
for target in "$@"; do
    program=build-fuzz/fuzz/fuzz_$target
    mkdir -p "build-fuzz/corpus/$target" "build-fuzz/crashes/$target"
    echo "==== $target, $seconds s"
    if ! "$program" -max_total_time="$seconds" -timeout=30 -rss_limit_mb=3000 -handle_bus=0 -print_final_stats=1 \
        -artifact_prefix="build-fuzz/crashes/$target/" "build-fuzz/corpus/$target" "fuzz/corpus/$target" \
        >"build-fuzz/$target.log" 2>&1; then
        failed=1
        tail -n 30 "build-fuzz/$target.log"
        for input in "build-fuzz/crashes/$target"/*; do echo "run it again: $program $input"; done
    fi
    grep -E "stat::number_of_executed_units|stat::peak_rss_mb|DONE" "build-fuzz/$target.log"
    grep -E "cov: [0-9]+" "build-fuzz/$target.log" | tail -n 1
done
exit $failed
