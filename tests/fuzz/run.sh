#!/bin/sh
# Runs fuzz targets one after the other: run.sh FOLDER SECONDS NAME...
# Starts from tests/fuzz/corpus/NAME and what earlier runs found, which is kept
# under build/fuzz/NAME.  An input that crashes is written to the corpus, where
# `make check` replays it for ever.
set -u
folder=$1 seconds=$2
shift 2
failed=
for name in "$@"; do
    corpus=tests/fuzz/corpus/$name
    found=build/fuzz/$name
    mkdir -p "$found" "$corpus"
    echo "== $name: $seconds s"
    if ! "$folder/fuzz_$name.fuzzer" -max_total_time="$seconds" -max_len=4096 -timeout=10 \
        -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="$corpus/" "$found" "$corpus" 2> "$found.log"; then
        failed="$failed $name"
        tail -n 40 "$found.log"
    fi
    grep -E 'number_of_executed_units|average_exec|new_units|peak_rss' "$found.log"
done
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
