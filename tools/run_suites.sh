#!/usr/bin/env bash
# Runs the named make targets one after the other, all of them even if one fails, and ends with what
# each runner said. Exits non-zero if any failed.
set -uo pipefail
cd "$(dirname "$0")/.."

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
failed=()

for suite in "$@"; do
    echo "==== $suite"
    started=$SECONDS
    if ! "${MAKE:-make}" --no-print-directory "$suite" 2>&1 | tee "$logs/$suite"; then
        failed+=("$suite")
    fi
    echo "$((SECONDS - started))" >"$logs/$suite.seconds"
done

# The last line by which ctest, pytest and the scripts say how it went.
verdict() {
    grep -E 'tests passed|tests failed out of|(passed|failed|error).* in [0-9.]+|: ok|\*\*\*' "$1" | tail -n 1
}

printf '\n==== summary\n'
for suite in "$@"; do
    outcome=passed
    case " ${failed[*]-} " in *" $suite "*) outcome=FAILED ;; esac
    printf '%-15s %s  %4s s  %s\n' \
        "$suite" "$outcome" "$(cat "$logs/$suite.seconds")" "$(verdict "$logs/$suite")"
done
[ "${#failed[@]}" = 0 ]
