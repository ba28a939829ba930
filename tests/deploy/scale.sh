#!/bin/bash
# scale.sh BUILD WEIGHTS - `make bench-scale`: the figures of deploy/README.md's
# table of sizes.  The server on one CPU, wrk and the balancer on another, loopback.
#
# What one CPU delivers by precision and memory plan, with its memory; what TLS
# costs; what the balancer of deploy/haproxy can pass on.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$1 weights=$2 seconds=${BENCH_SECONDS:-5}
folder=$(mktemp -d)
pids=()
trap '[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null; rm -rf "$folder"' EXIT
[ "$(nproc)" -ge 2 ] || { echo "bench-scale: SKIPPED: it needs two CPUs" >&2; exit 0; }

cat >"$folder/one.lua" <<'LUA'
local file = assert(io.open("tests/digits/digit-7.png", "rb"))
wrk.method, wrk.body = "POST", file:read("*a")
LUA
cat >"$folder/many.lua" <<'LUA'
local file = assert(io.open("tests/digits/digit-7.png", "rb"))
local part = "--x\r\nContent-Disposition: form-data; name=i; filename=i.png\r\n\r\n" .. file:read("*a") .. "\r\n"
wrk.method, wrk.body = "POST", string.rep(part, 64) .. "--x--\r\n"
wrk.headers["Content-Type"] = "multipart/form-data; boundary=x"
LUA
cat >"$folder/close.lua" <<'LUA'
wrk.headers["Connection"] = "close"
LUA

start() { # OPTION...: sets pid and url
    taskset -c 0 "$build/capsnetd" --listen 127.0.0.1:0 --weights "$weights" --log-level error "$@" \
        >"$folder/line" &
    pid=$!
    pids+=("$pid")
    for _ in $(seq 100); do
        grep -q '://' "$folder/line" && break
        sleep 0.1
    done
    url=$(grep -o 'https\?://[0-9.:]*' "$folder/line")
}
stop() {
    kill "$pid"
    wait "$pid" 2>/dev/null || true
    unset 'pids[-1]'
}
run_wrk() { # CONNECTIONS SCRIPT PATH: prints requests/s, p99 and refusals
    taskset -c 1 wrk -t1 -c"$1" -d"${seconds}s" --latency ${2:+-s "$folder/$2"} "$url$3" >"$folder/wrk"
    awk '/Requests\/sec/ {rate = $2} $1 == "99%" {p99 = $2} /Non-2xx/ {bad = $NF}
         END {printf "%8.1f %10s %9d", rate, p99, bad}' "$folder/wrk"
}
peak_mib() { awk '/VmHWM/ {printf "%d", $2 / 1024}' "/proc/$pid/status"; }

echo "== one CPU, $seconds s each: $(awk -F': ' '/model name/ {print $2; exit}' /proc/cpuinfo)"
printf '%-28s %8s %10s %9s %12s %9s\n' options req/s p99 'not 200' 'images/s' 'peak MiB'
for options in "" "--memory low" "--precision bf16" "--precision bf16 --memory low" "--precision int8"; do
    # shellcheck disable=SC2086 # several words
    start $options
    printf '%-28s %s\n' "${options:-(none)}, 1 image" "$(run_wrk 64 one.lua /classify)"
    many=$(run_wrk 2 many.lua /classify)
    printf '%-28s %s %12d %9d\n' "${options:-(none)}, 64 images" "$many" \
        "$(awk '{printf "%.0f", 64 * $1}' <<<"$many")" "$(peak_mib)"
    stop
done

echo "== TLS and the balancer, GET /healthz"
printf '%-28s %8s %10s %9s\n' '' req/s p99 'not 200'
start
printf '%-28s %s\n' "HTTP" "$(run_wrk 64 "" /healthz)"
printf '%-28s %s\n' "HTTP, new connections" "$(run_wrk 16 close.lua /healthz)"
backend=${url#http://}
if command -v haproxy >/dev/null; then
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    sed "s/bind :8080/bind 127.0.0.1:$port/; /^frontend metrics/,\$d; s/server-template.*/server a $backend/
         s/ resolvers compose init-addr none//; /init-state/d" deploy/haproxy/haproxy.cfg >"$folder/haproxy.cfg"
    taskset -c 1 haproxy -db -f "$folder/haproxy.cfg" >"$folder/haproxy.log" 2>&1 &
    pids+=($!)
    sleep 1.5
    url=http://127.0.0.1:$port
    printf '%-28s %s\n' "HAProxy, wrk on its CPU" "$(run_wrk 64 "" /healthz)"
    kill "${pids[-1]}" && unset 'pids[-1]'
else
    echo "HAProxy: SKIPPED: it is not installed"
fi
stop
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -keyout "$folder/key.pem" -out "$folder/cert.pem" 2>/dev/null
start --tls-cert "$folder/cert.pem" --tls-key "$folder/key.pem"
printf '%-28s %s\n' "TLS" "$(run_wrk 64 "" /healthz)"
printf '%-28s %s\n' "TLS, new connections" "$(run_wrk 16 close.lua /healthz)"
stop
