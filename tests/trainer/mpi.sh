#!/bin/sh
# tests/trainer/mpi.sh PLAIN MPI: the trainer as one process (PLAIN, built without MPI)
# and as several (MPI): the same losses, the same stop, the same complaints.
# Small networks on made-up digits, all on this machine.
set -u
cd "$(dirname "$0")/../.." || exit 1
plain=$1 mpi=$2
work=$(mktemp -d) || exit 1
runner=
trap '[ -z "$runner" ] || kill "$runner" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
checks=0 failed=0

check() { # WORDS CONDITION...: one line, and a count
    words=$1
    shift
    checks=$((checks + 1))
    if "$@"; then echo "ok: $words"; else
        echo "FAILED: $words"
        failed=$((failed + 1))
        sed 's/^/    /' "$work/output" 2>/dev/null | tail -15
    fi
}

# IDX files of 53 images of 18 x 18 in 3 classes: a bright bar, its place the
# class, on noise.  Octal escapes, because awk cannot print a zero byte.
make_data() { # FOLDER
    mkdir -p "$1"
    printf '\000\000\010\003\000\000\000\065\000\000\000\022\000\000\000\022' >"$1/train-images-idx3-ubyte"
    printf '\000\000\010\001\000\000\000\065' >"$1/train-labels-idx1-ubyte"
    awk 'BEGIN {
        seed = 1
        for (i = 0; i < 53; i++) {
            line = ""
            for (p = 0; p < 324; p++) {
                seed = (seed * 16807) % 2147483647
                bar = int(int(p / 18) / 6) == i % 3 && p % 18 > 3 && p % 18 < 14
                line = line sprintf("\\%03o", seed % 60 + 180 * bar)
            }
            printf "%s \\%03o\n", line, i % 3
        }
    }' | while read -r pixels label; do
        printf "$pixels" >>"$1/train-images-idx3-ubyte"
        printf "$label" >>"$1/train-labels-idx1-ubyte"
    done
}

# Several of these run on one core each, whatever this machine has; nothing
# leaves it.
ranks="mpirun --oversubscribe --bind-to none --mca btl self,vader 
       --mca oob_tcp_if_include lo"
[ "$(id -u)" != 0 ] || ranks="$ranks --allow-run-as-root"
shape="--conv1 16 --types 4 --dims 4 --pose 8 --hidden1 32 --hidden2 32"
# In bf16 the last bits of a sum decide which way a weight is rounded.
recipe="--step-precision f32 --data $work/data $shape --batch 17 --warmup 10 --threads 1 --rate 0.003"
train() { # NAME COMMAND...: what it says goes to output, its losses to NAME.log
    name=$1
    shift
    timeout 120 "$@" --out "$work/$name.safetensors" --log "$work/$name.log" >"$work/output" 2>&1
}

# worst A B: the largest relative difference of their losses, to standard
# output; fails above 1e-4 or when an epoch lacks on either side.
worst() {
    awk '{ match($0, /"loss": [0-9.]+/); x = substr($0, RSTART + 8, RLENGTH - 8) + 0 }
         FILENAME == ARGV[1] { a[++n] = x; next }
         { d = x - a[++m]; if (d < 0) d = -d; d = a[m] > 0 ? d / a[m] : 1; if (d > top) top = d }
         END { printf "%.1e", top; exit !(n > 0 && n == m && top <= 1e-4) }' \
        "$work/$1.log" "$work/$2.log" >"$work/worst"
}

make_data "$work/data"
# shellcheck disable=SC2086 # options are meant to be split
{
train one $plain train $recipe --epochs 6
check "one process trains and writes a file" test -s "$work/one.safetensors"
# 53 images in batches of 17 leave one of 2: with 3 ranks, one has none of it.
for n in 2 3; do
    train "of$n" $ranks -np $n "$mpi" train $recipe --epochs 6
    check "$n processes train and write a file" test -s "$work/of$n.safetensors"
    worst one "of$n"
    status=$?
    check "$n processes have the losses of one; worst difference $(cat "$work/worst")" \
        test $status -eq 0
    check "$n processes print each epoch once" test "$(grep -c '^epoch' "$work/output")" -eq 6
done

# Pairs are made from the seed on whatever rank.
train paired $plain train $recipe --epochs 6 --pairs --holdout 9
train pairs2 $ranks -np 2 "$mpi" train $recipe --epochs 6 --pairs --holdout 9
check "2 processes train pairs and write a file" test -s "$work/pairs2.safetensors"
worst paired pairs2
status=$?
check "and have the losses of one; worst difference $(cat "$work/worst")" test $status -eq 0

# A signal to the last rank alone stops all, and the run goes on from there.
# mpirun kills one second after it has told its processes to end; the other
# rank may take longer to come round.
long="$recipe --epochs 40"
train whole $plain train $long
train half $ranks --mca odls_base_sigkill_timeout 30 -np 2 "$mpi" train $long &
runner=$!
tries=0
until [ "$(wc -l 2>/dev/null <"$work/half.log")" -ge 3 ] 2>/dev/null || [ $tries -gt 300 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
rank=$(pgrep -f "^$mpi train .*$work/half.safetensors" | tail -1)
check "the run of 2 is under way" test -n "$rank"
[ -n "$rank" ] && kill -TERM "$rank"
wait $runner
status=$?
runner=
check "a signal to one of 2 stops both, with a checkpoint (exit status $status)" \
    test $status -eq 130 -a -s "$work/half.safetensors.checkpoint"
check "and before the end" test "$(wc -l <"$work/half.log")" -lt 40
train half $ranks -np 2 "$mpi" train $long --resume
check "2 processes resume and write a file" test -s "$work/half.safetensors"
worst whole half
status=$?
check "and end with the losses of an unbroken run of one; worst difference $(cat "$work/worst")" \
    test $status -eq 0

# Ranks that cannot train together say so and end.
one="$mpi train $recipe --epochs 6 --out $work/bad.safetensors"
timeout 60 $ranks -np 1 $one : -np 1 $one --data "$work/nowhere" >"$work/output" 2>&1
status=$?
check "a process without its data ends the run (exit status $status)" test $status -ne 0 -a $status -ne 124
check "and says which" grep -q 'capsnet-train: process 2 of 2: .*nowhere' "$work/output"
timeout 60 $ranks -np 1 $one : -np 1 $one --seed 2 >"$work/output" 2>&1
status=$?
check "processes of other options end (exit status $status)" test $status -ne 0 -a $status -ne 124
check "and say why" grep -q 'the processes do not agree' "$work/output"
check "neither wrote a file" test ! -e "$work/bad.safetensors"
}

echo "tests/trainer/mpi.sh: $((checks - failed)) of $checks checks passed"
[ $failed -eq 0 ]
