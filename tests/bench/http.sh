#!/bin/bash
# How fast the service is, beside the engine that it serves: http.sh BUILD WEIGHTS
#
# The real server on loopback, wrk asking /classify with one 28x28 PNG from 1, 2, 4,
# 8, 64 and 256 connections; right before and after each, half as long, the same network
# without HTTP.  BENCH_ROUNDS times, BENCH_SECONDS each; medians are shown: of many short
# rounds rather than of a few long ones, as a machine's speed changes from second to second.  wrk
# works on the same processors as the server: what it used is shown, and is
# missing from the server's share.  Then 1 and 64 connections again with the last
# processor for wrk, and the others for server and engine: clients are mostly
# other machines.  What anybody else used is missing too: on a machine that does
# other things the figures are worth nothing.
set -eu
build=$1 weights=$2
seconds=${BENCH_SECONDS:-1} rounds=${BENCH_ROUNDS:-9} precision=${BENCH_PRECISION:-f32}
beside=$(awk "BEGIN { print $seconds / 2 }") # for so long the engine, before and after
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

last=$(($(nproc) - 1))
server_cpus=0-$last wrk_cpus=0-$last

start_server() {
    # shellcheck disable=SC2086 # BENCH_FLAGS are words
    taskset -c "$server_cpus" "$build/capsnetd" --listen 127.0.0.1:0 --weights "$weights" \
        --precision "$precision" --log-level error ${BENCH_FLAGS-} > "$folder/line" &
    server=$!
    for _ in $(seq 300); do
        grep -q http:// "$folder/line" && break
        kill -0 "$server" || exit 1
        sleep 0.1
    done
    url=$(grep -o 'http://[0-9.:]*' "$folder/line")
}

# The server's processor time so far in us, by kind of thread: network, workers
# (decode, normalise, JSON), engine.
server_cpu() {
    for task in "/proc/$server/task"/*; do
        echo "$(cat "$task/comm") $(cat "$task/schedstat")"
    done | awk '{ at = $1 ~ /^MHD/ ? 1 : $1 == "worker" ? 2 : 3; us[at] += $2 / 1000 }
                END { print us[1] + 0, us[2] + 0, us[3] + 0 }'
}
# Busy time of the whole machine so far, in us.
machine_cpu() {
    awk -v hz="$(getconf CLK_TCK)" '/^cpu /{ print ($2 + $3 + $4 + $7 + $8) / hz * 1e6 }' /proc/stat
}
# The engine in batches of $1: images/s, and those of its median pass (engine.c).
engine() {
    taskset -c "$server_cpus" "$build/tests/bench/engine" "$weights" "$precision" "$1" "${2-$beside}"
}

# One line for the table: a round at $1 connections.
measure() {
    local connections=$1 batch=$(($1 < 64 ? $1 : 64)) before after
    before=$(engine $batch)
    local cpu_before cpu_after machine_before machine_after
    cpu_before=$(server_cpu) machine_before=$(machine_cpu)
    # time -p of a subshell counts wrk alone: the server is not its child.
    { time -p taskset -c "$wrk_cpus" wrk -t1 -c"$connections" -d"${seconds}s" --latency \
        -s "$folder/post.lua" "$url/classify" > "$folder/wrk"; } 2> "$folder/time"
    cpu_after=$(server_cpu) machine_after=$(machine_cpu)
    after=$(engine $batch)
    echo "$cpu_before $cpu_after $machine_before $machine_after $before $after" > "$folder/cpu"
    awk -v connections="$connections" '
        function ms(text) {
            return text ~ /us$/ ? text / 1000 : text ~ /ms$/ ? text + 0 : text * 1000
        }
        FILENAME ~ /time$/ {
            if ($1 == "real") wall = $2 * 1e6
            if ($1 == "user" || $1 == "sys") wrk += $2 * 1e6
            next
        }
        FILENAME ~ /cpu$/ {
            n = requests
            all = $4 - $1 + $5 - $2 + $6 - $3
            engine = ($9 + $11) / 2
            pass = 1000 * (1 / $10 + 1 / $12) / 2
            printf "%d %.0f %.0f %.1f %.2f %.2f %d %.1f %.1f %.1f %.1f %.2f %.3f\n", connections,
                rate, engine, 100 * rate / engine, p50, p99, bad + 0, ($4 - $1) / n, ($5 - $2) / n,
                ($6 - $3) / n, wrk / n, ($8 - $7 - all - wrk) / wall, p50 - pass
        }
        $1 == "50%" { p50 = ms($2) }
        $1 == "99%" { p99 = ms($2) }
        / requests in / { requests = $1 }
        /Requests\/sec/ { rate = $2 }
        /Non-2xx/ { bad = $NF }' "$folder/wrk" "$folder/time" "$folder/cpu"
}

# Rounds at each of these numbers of connections, and the table of their medians.
table() {
    for _ in $(seq "$rounds"); do
        for connections in "$@"; do
            measure "$connections"
        done
    done > "$folder/rounds"
    awk -v order="$*" '
        function median(c, k,    v, i, j, n, t) {
            n = count[c]
            for (i = 1; i <= n; i++) v[i] = value[c, k, i]
            for (i = 1; i <= n; i++)
                for (j = i + 1; j <= n; j++)
                    if (v[j] < v[i]) { t = v[i]; v[i] = v[j]; v[j] = t }
            return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
        }
        { c = $1; i = ++count[c]; for (k = 2; k <= NF; k++) value[c, k, i] = $k }
        END {
            printf "%11s %10s %7s %6s %7s %7s %7s | %7s %7s %7s %6s | %6s\n", "connections",
                "requests/s", "engine", "share", "p50 ms", "p99 ms", "not 200", "network",
                "workers", "engine", "wrk", "others"
            n = split(order, all)
            for (o = 1; o <= n; o++) {
                c = all[o]
                printf "%11d %10.0f %7.0f %5.0f%% %7.2f %7.2f %7d | %7.1f %7.1f %7.0f %6.1f | %6.2f\n",
                    c, median(c, 2), median(c, 3), median(c, 4), median(c, 5), median(c, 6),
                    median(c, 7), median(c, 8), median(c, 9), median(c, 10), median(c, 11),
                    median(c, 12)
            }
            printf "at 1 connection the service adds %.2f ms to the engine'\''s median pass of 1\n",
                median(1, 13)
        }' "$folder/rounds"
}

echo "== the engine alone ($(nproc) CPUs)"
"$build/tests/bench/engine" "$weights" "$precision"
for batch in 1 8 16 32 64; do
    echo "batch $batch: $(engine $batch 2 | cut -d' ' -f1) images/s"
done
echo "== over HTTP: wrk, one thread, $rounds rounds of $seconds s, medians; $BENCH_PNG"
echo "   engine: images/s right before and after, in batches of as many images as connections (64 at most)"
echo "   CPU: us a request; network: the passes, too, where batches of many are no faster; workers: decode, normalise, JSON; others: CPUs used by other programs"
start_server
table 1 2 4 8 64 256
[ "$last" -gt 0 ] || exit 0
kill "$server" && wait "$server" || exit 1
server_cpus=0-$((last - 1)) wrk_cpus=$last
echo "== the same, server and engine on CPU $server_cpus, wrk on CPU $wrk_cpus"
start_server
table 1 64
