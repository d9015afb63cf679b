#!/usr/bin/env bash
# Runs a command, and all that it starts, with its memory at fixed addresses: tools/fixed_addresses.sh command...
# ThreadSanitizer needs that where the kernel scatters mappings further than its shadow memory knows (g++ 12 with
# more than 28 random bits, the default of newer kernels): its programs then end at once, but only now and then.
set -euo pipefail

bits=$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo unknown)
fixed=(setarch "$(uname -m)" --addr-no-randomize)
if "${fixed[@]}" true 2>/dev/null; then exec "${fixed[@]}" "$@"; fi
if [ "$bits" != unknown ] && [ "$bits" -le 28 ]; then exec "$@"; fi
echo "*** ThreadSanitizer cannot run here: setarch may not fix addresses (a container forbids personality()), and" \
    "vm.mmap_rnd_bits is $bits. Allow the one, or run 'sysctl -w vm.mmap_rnd_bits=28' as root." >&2
exit 1
