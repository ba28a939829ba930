#!/bin/sh
# qemu.sh EMULATOR BUILD PROGRAM...: runs test programs, and then the programs
# of BUILD themselves, under an emulator of an older or another CPU, as many at
# once as there are processors.  WEIGHTS is the weights file to serve.
#
# First the emulator must stop a program that uses what its CPU does not have:
# else a pass would say nothing.
set -u
cd "$(dirname "$0")/.." || exit 1
emulator=$1 build=$2
shift 2
scratch=$(mktemp -d) server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$scratch"' EXIT
export SEED="${SEED:-1}"
unset CAPSNETD_CPU_LEVEL OPENBLAS_CORETYPE

# Tests that start capsnet-train find it in BUILD, emulated too.
mkdir "$scratch/bin"
for program in capsnetd capsnet-train; do
    printf '#!/bin/sh\nexec %s "%s" "$@"\n' "$emulator" "$PWD/$build/$program" \
        >"$scratch/bin/$program"
    chmod +x "$scratch/bin/$program"
done
export BUILD="$scratch/bin"
export TRAINER_TIMEOUT_S=3600 # an emulator takes ten times as long

fail() {
    echo "$1"
    exit 1
}

# ---- Does the emulator refuse what it should? --------------------------------
case $emulator in
*x86_64*)
    for flag in -msse4.1 -mavx2 -mavx512f; do
        printf '%s\n' 'typedef double v __attribute__((vector_size(64)));' \
            'int main(int n, char **a) { (void)a; v x; double s = 0;' \
            'for (int i = 0; i < 8; i++) x[i] = __builtin_floor(n + i / 4.0);' \
            'x *= x; for (int i = 0; i < 8; i++) s += x[i]; return s < 0; }' >"$scratch/new.c"
        ${CC:-cc} -O3 $flag -o "$scratch/new" "$scratch/new.c" || exit 1
        ! $emulator "$scratch/new" 2>/dev/null || fail "$emulator runs code for $flag: this test is none"
    done
    echo "$emulator stops code for SSE4.1, AVX2 and AVX-512" ;;
esac

# ---- Unit tests --------------------------------------------------------------
# One line each; all of what a failed one said.
cat >"$scratch/one.sh" <<'END'
log=$1/$(basename "$3").log
start=$(date +%s)
if $2 "$3" >"$log" 2>&1; then result=passed; else result=FAILED; fi
echo "$result $3 $(($(date +%s) - start)) s" | tee -a "$1/results"
[ $result = passed ] || sed 's/^/    /' "$log"
END
printf '%s\n' "$@" | xargs -P "$(nproc)" -I PROGRAM \
    sh "$scratch/one.sh" "$scratch" "$emulator" PROGRAM
passed=$(grep -c '^passed' "$scratch/results")
failed=$(grep -c '^FAILED' "$scratch/results")

# ---- The programs ------------------------------------------------------------
# A digit through the real server, and the trainer's reading of the same file.
check() {
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
        echo "passed $1"
    else
        failed=$((failed + 1))
        echo "FAILED $1: \"$2\", not \"$3\""
    fi
}
: >"$scratch/server.log"
"$BUILD/capsnetd" --listen 127.0.0.1:0 --weights "$WEIGHTS" >"$scratch/server.log" 2>&1 &
server=$!
port='' tries=0
while [ -z "$port" ] && [ $tries -lt 6000 ] && kill -0 $server 2>/dev/null; do
    sleep 0.1
    tries=$((tries + 1))
    port=$(sed -n 's/.*127\.0\.0\.1:\([0-9]*\).*/\1/p' "$scratch/server.log" | head -n 1)
done
for digit in 3 8; do
    answer=$(curl -s -m 60 --data-binary "@tests/digits/digit-$digit.png" \
        "http://127.0.0.1:$port/classify" | sed -n 's/.*"class": \([0-9]*\).*/\1/p')
    check "capsnetd reads a $digit" "$answer" $digit
done
level=$(curl -s -m 60 "http://127.0.0.1:$port/model" | sed -n 's/.*"cpu_level": *"\([a-z0-9]*\)".*/\1/p')
case $emulator in # level openblas, unless OpenBLAS has no kernels for the CPU but its oldest
*x86_64*) expected=ref ;;
*) expected=openblas ;;
esac
check "capsnetd's CPU level" "$level" $expected
kill -TERM $server
wait $server
check "capsnetd's exit status after SIGTERM" $? 0
server=
"$BUILD/capsnet-train" info "$WEIGHTS" >"$scratch/info" 2>&1
check "capsnet-train info" $? 0

echo
echo "under $emulator: $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 5 ]
