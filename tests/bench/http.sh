#!/bin/sh
# How fast the service is, beside the engine that it serves: http.sh BUILD WEIGHTS
#
# The real server on loopback, wrk asking /classify with one 28x28 PNG from 1,
# 8, 64 and 256 connections, and in the same run the same network without HTTP.
# wrk works on the same processors as the server: what it used is shown, and is
# missing from the server's share.
set -eu
build=$1 weights=$2
seconds=${BENCH_SECONDS:-10}
folder=$(mktemp -d)
server=
# The server is the only process that this starts and leaves to itself.
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM

cat > "$folder/post.lua" << 'LUA'
local file = assert(io.open(os.getenv("BENCH_PNG"), "rb"))
wrk.method, wrk.body = "POST", file:read("*a")
wrk.headers["Content-Type"] = "image/png"
LUA
export BENCH_PNG="${BENCH_PNG:-tests/digits/digit-7.png}"

echo "== the engine alone ($(nproc) CPUs)"
"$build/tests/bench/engine" "$weights"

"$build/capsnetd" --listen 127.0.0.1:0 --weights "$weights" --log-level error > "$folder/line" &
server=$!
for _ in $(seq 300); do
    grep -q http:// "$folder/line" && break
    kill -0 "$server" || exit 1
    sleep 0.1
done
url=$(grep -o 'http://[0-9.:]*' "$folder/line")

# Processor time in seconds of the server so far.
server_cpu() {
    awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) / hz }' \
        "/proc/$server/stat"
}

echo "== over HTTP: wrk, $seconds s each, one thread, $BENCH_PNG"
printf '%11s %11s %9s %9s %9s %11s %10s\n' connections requests/s 'p50 ms' 'p99 ms' 'not 200' \
    'server CPU' 'wrk CPU'
for connections in 1 8 64 256; do
    before=$(server_cpu)
    # time -p of a subshell counts wrk alone: the server is not its child.
    { time -p wrk -t1 -c"$connections" -d"${seconds}s" --latency -s "$folder/post.lua" \
        "$url/classify" > "$folder/wrk"; } 2> "$folder/time"
    awk -v connections="$connections" -v cpu="$(server_cpu)" -v before="$before" \
        -v seconds="$seconds" '
        function ms(text) {
            return text ~ /us$/ ? text / 1000 : text ~ /ms$/ ? text + 0 : text * 1000
        }
        FILENAME ~ /time$/ { if ($1 == "user" || $1 == "sys") wrk += $2; next }
        $1 == "50%" { p50 = ms($2) }
        $1 == "99%" { p99 = ms($2) }
        /Requests\/sec/ { rate = $2 }
        /Non-2xx/ { bad = $NF }
        END { printf "%11d %11.0f %9.2f %9.2f %9d %10.2fx %9.2fx\n", connections, rate, p50, p99,
                     bad, (cpu - before) / seconds, wrk / seconds }' "$folder/wrk" "$folder/time"
done
