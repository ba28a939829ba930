#!/bin/sh
# Runs every test program named on the command line, one after the other, and
# closes with a count.  Each is a cmocka program: it prints its own results.
# BUILD is the folder with the binaries; MNIST_DIR the folder with MNIST (data/).
#
# A test may be left out because of the machine (tests/common/cannot_run.h): one line
# at the end says which and why.  Left out for another reason, it has failed.
set -u
# One seed, so that a change is judged by what it changed; a test program run by
# itself draws another each time.
export SEED="${SEED:-1}" MNIST_DIR="${MNIST_DIR:-data}"
cd "$(dirname "$0")/.." || exit 1
log=$(mktemp) status=$(mktemp) reasons=$(mktemp) || exit 1
trap 'rm -f "$log" "$status" "$reasons"' EXIT
trap 'exit 1' HUP INT TERM
passed=0 failed=0 names=
for program in "$@"; do
    echo "== ${program#"$BUILD"/}"
    { "$program"; echo $? >"$status"; } 2>&1 | tee "$log"
    skipped=$(grep -c '^\[ *SKIPPED \] [a-z]' "$log") # cmocka says each twice
    sed -n 's/^cannot run here, since //p' "$log" >>"$reasons"
    known=$(grep -c '^cannot run here, since ' "$log")
    if [ "$(cat "$status")" = 0 ] && [ "$skipped" = $((2 * known)) ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1)) names="$names ${program#"$BUILD"/}"
    fi
done
echo
[ -z "$names" ] || echo "failed:$names"
sort "$reasons" | uniq -c | awk '{ n = $1; sub(/^ *[0-9]+ /, ""); text = text sep n " since " $0; sep = "; " }
    END { if (text) print "tests that this machine cannot run: " text }'
echo "programs: $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
