#!/bin/sh
# Runs every test program named on the command line, one after the other, and
# closes with a count.  Each is a cmocka program: it prints its own results.
# BUILD is the folder with the binaries; MNIST_DIR the folder with MNIST.
set -u
# One seed, so that a change is judged by what it changed; a test program run by
# itself draws another each time.
export SEED="${SEED:-1}"
cd "$(dirname "$0")/.." || exit 1
passed=0 failed=0 names=
for program in "$@"; do
    echo "== ${program#"$BUILD"/}"
    if "$program"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1)) names="$names ${program#"$BUILD"/}"
    fi
done
echo
[ -z "$names" ] || echo "failed:$names"
echo "programs: $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
