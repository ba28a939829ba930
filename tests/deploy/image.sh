#!/bin/bash
# image.sh - `make image-test`: builds the image and does to it what a user's
# engine would.  ENGINE is docker or podman; the rest comes from the Makefile.
#
# IMAGE      name:tag of the server's image, TRAINER of the trainer's
# VERSION    what label, --version, /model and /metrics must all say
# EPOCH, REVISION   as `make image` passes them
# ARM64      1: also cross-build the image and run it under qemu
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

folder=$(mktemp -d)
containers=() passed=0 failed=0
cleanup() {
    [ ${#containers[@]} -eq 0 ] || "$ENGINE" rm -f "${containers[@]}" >/dev/null 2>&1
    "$ENGINE" rmi -f "$IMAGE-again" >/dev/null 2>&1
    rm -rf "$folder"
}
trap cleanup EXIT

check() { # WHAT COMMAND...
    local what=$1
    shift
    if "$@" >"$folder/out" 2>&1; then
        echo "  ok      $what"
        passed=$((passed + 1))
    else
        echo "  FAILED  $what"
        sed 's/^/          /' "$folder/out" | tail -20
        failed=$((failed + 1))
    fi
}

# The answers of the engine and of the server.
of_image() { "$ENGINE" image inspect -f "$1" "$IMAGE"; }
of() { "$ENGINE" inspect -f "$2" "$1"; }
metric() { # URL NAME: the value of a metric without labels
    curl -fsS "$1/metrics" | awk -v name="$2" '$1 == name {print $2}'
}
reloaded_once() { # URL: waits 20 s at most
    for _ in $(seq 100); do
        curl -fsS "$1/metrics" | grep 'capsnetd_reloads_total{result="ok"} 1' && return
        sleep 0.2
    done
    return 1
}
equal() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; return 1; }; }
at_most() { awk -v a="$1" -v b="$2" 'BEGIN {exit !(a + 0 == a && a <= b)}' || { echo "$1 is not at most $2"; return 1; }; }
contains() { case $1 in *"$2"*) ;; *) echo "\"$1\" does not contain \"$2\""; return 1 ;; esac; }

# Starts a container of the image with the flags before --, the options after;
# sets id and url, and waits until it is ready.
HARDENED=(--read-only --cap-drop ALL --security-opt no-new-privileges --pids-limit 64)
start() { # ENGINE-FLAG... -- OPTION...
    local flags=()
    while [ $# -gt 0 ] && [ "$1" != -- ]; do flags+=("$1") && shift; done
    shift
    id=$("$ENGINE" run -d -p 127.0.0.1::8080 "${HARDENED[@]}" "${flags[@]}" "$IMAGE" "$@") || return 1
    containers+=("$id")
    url=http://$("$ENGINE" port "$id" 8080 | head -1)
    for _ in $(seq 200); do
        curl -fsS -o "$folder/ready" "$url/readyz" 2>/dev/null && return
        sleep 0.05
    done
    "$ENGINE" logs "$id" 2>&1 | tail -5
    return 1
}

first_line() { "$ENGINE" logs "$1" 2>/dev/null | grep -m1 '^capsnetd '; }
classify() { curl -fsS --data-binary @tests/digits/paper-3.png "$1/classify"; }
result() { python3 -c "import json,sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])" "$1" "$2"; }

# ---- What is in it -----------------------------------------------------------
build() { # TAG FLAG...
    local tag=$1 format=()
    shift
    [ "$ENGINE" = docker ] || format=(--format docker --timestamp "$EPOCH" --pull=never)
    "$ENGINE" build "${format[@]}" --build-arg SOURCE_DATE_EPOCH="$EPOCH" \
        --build-arg REVISION="$REVISION" -t "$tag" "$@" . 2>&1
}

test_build() {
    check "builds" build "$IMAGE"
    check "builds the trainer" build "$TRAINER" --target trainer
    check "builds again, from nothing" build "$IMAGE-again" --no-cache
    layers=$(of_image '{{.RootFS.Layers}}')
    check "the same layers: $layers" equal "$layers" \
        "$("$ENGINE" image inspect -f '{{.RootFS.Layers}}' "$IMAGE-again")"
    if [ "$ENGINE" = podman ] || [ "$("$ENGINE" version -f '{{.Server.Version}}' | cut -d. -f1)" -ge 23 ]; then
        check "the same image" equal "$(of_image '{{.Id}}')" \
            "$("$ENGINE" image inspect -f '{{.Id}}' "$IMAGE-again")"
    else
        echo "          the image's own date, and so its digest, is the builder's: Docker 23 or later takes ours"
    fi
    bytes=$(of_image '{{.Size}}')
    check "at most 100 MB: $((bytes / 1000000)) MB" at_most "$bytes" 100000000
}

test_config() {
    check "numeric user that is not root" equal "$(of_image '{{.Config.User}}')" 10001:10001
    check "label with the version" equal "$VERSION" \
        "$(of_image '{{index .Config.Labels "org.opencontainers.image.version"}}')"
    check "stop signal and health check are set" equal "SIGTERM /usr/bin/capsnetd" \
        "$(of_image '{{.Config.StopSignal}} {{index .Config.Healthcheck.Test 1}}')"
    id=$("$ENGINE" create "$IMAGE") && containers+=("$id")
    "$ENGINE" export "$id" | tar tvf - >"$folder/files"
    check "no shell" test -z "$(grep -E '/(ba|da|z)?sh$|busybox' "$folder/files")"
    check "nothing set-user-id, nothing that others may write" \
        test -z "$(awk '!/ dev\// && $1 !~ /^l/ && $1 ~ /s|^.{8}w/' "$folder/files")"
    check "licences of all $(grep -c 'status\.d/.' "$folder/files") packages" equal \
        "$(grep -c 'status\.d/.' "$folder/files")" \
        "$(grep 'share/doc/.*/copyright' "$folder/files" | grep -vc share/doc/capsnetd)"
}

# ---- What it does ------------------------------------------------------------
since_start_ms() { # ID: from the container's start to its "ready" line
    python3 - "$(of "$1" '{{.State.StartedAt}}')" "$("$ENGINE" logs -t "$1" 2>/dev/null | grep -m1 'capsnetd ')" <<'PYTHON'
import re, sys
def seconds(text):
    h, m, s = re.search(r"(\d\d):(\d\d):(\d\d\.\d+)", text).groups()
    return 3600 * int(h) + 60 * int(m) + float(s)
print(round(1000 * ((seconds(sys.argv[2]) - seconds(sys.argv[1])) % 86400)))
PYTHON
}

# This machine may be doing other things: the quickest of a few starts counts.
quickest_start_ms() {
    local best=999999 ms one
    for _ in 1 2 3 4 5; do
        one=$("$ENGINE" run -d "${HARDENED[@]}" "$IMAGE") && containers+=("$one")
        for _ in $(seq 100); do
            [ -n "$(first_line "$one")" ] && break
            sleep 0.1
        done
        ms=$(since_start_ms "$one")
        "$ENGINE" rm -f "$one" >/dev/null
        [ "$ms" -ge "$best" ] || best=$ms
        [ "$best" -gt 1000 ] || break
    done
    echo "$best"
}

healthy() { # ID: by the image's own HEALTHCHECK
    if [ "$ENGINE" = podman ]; then timeout 10 podman healthcheck run "$1"; return; fi
    for _ in $(seq 40); do
        [ "$(of "$1" '{{.State.Health.Status}}')" = healthy ] && return
        sleep 0.5
    done
    of "$1" '{{json .State.Health}}'
    return 1
}

test_serving() {
    check "starts read-only, without capabilities, with 64 processes at most" start --
    echo "          $(first_line "$id")"
    local ms limit=1000
    ms=$(quickest_start_ms)
    if awk -v n="$(nproc)" '{exit !($1 > n)}' /proc/loadavg; then
        limit=3000
        echo "          this machine is busy (load $(cut -d' ' -f1 /proc/loadavg)): 3 s are allowed for 1"
    fi
    check "ready within $limit ms: $ms ms, the quickest of at most 5 starts" at_most "$ms" $limit
    answer=$(classify "$url")
    check "reads a digit" contains "$answer" '"label": "3"'
    check "/model says the version" contains "$(curl -fsS "$url/model")" "\"version\": \"$VERSION\""
    check "/metrics says the version" contains "$(curl -fsS "$url/metrics")" "version=\"$VERSION\""
    check "--version says it" equal "$("$ENGINE" run --rm "$IMAGE" --version)" "capsnetd $VERSION"
    pid=$(of "$id" '{{.State.Pid}}')
    if [ -r "/proc/$pid/status" ]; then
        check "the process: user 10001, no capability, no new privileges" equal \
            "10001 0000000000000000 1" "$(awk '/^Uid/ {u = $3} /^CapEff/ {c = $2} /^NoNewPrivs/ {n = $2}
                END {print u, c, n}' "/proc/$pid/status")"
    else
        echo "  SKIPPED the process's user and capabilities: it runs on another machine"
    fi
    check "is healthy by its own check" healthy "$id"
    check "the check fails where nothing answers" \
        test "$("$ENGINE" exec "$id" /usr/bin/capsnetd healthcheck --url http://127.0.0.1:9 2>&1 >/dev/null | wc -l)" = 1
    [ "$ENGINE" = podman ] || check "wrote nothing" equal "$("$ENGINE" diff "$id")" ""
    "$ENGINE" kill -s HUP "$id" >/dev/null
    check "SIGHUP loads the weights anew" reloaded_once "$url"
}

# Under load: what was accepted is answered.  The clients call the container's
# own address, for the engine's port forwarder accepts what nobody will answer.
test_stop() {
    local direct
    direct=http://$(of "$id" '{{.NetworkSettings.IPAddress}}'):8080
    if ! curl -fsS -m 2 -o "$folder/out" "$direct/healthz" 2>/dev/null; then
        echo "  SKIPPED the stop under load: the container's own address cannot be reached"
        return
    fi
    tests/deploy/load.py "$direct" tests/digits/paper-3.png --seconds 4 --clients 8 \
        --per-connection 1000000 >"$folder/load" &
    local load=$!
    sleep 2
    local before=$SECONDS
    "$ENGINE" stop -t 30 "$id" >/dev/null
    check "SIGTERM ends it with status 0" equal "$(of "$id" '{{.State.ExitCode}}')" 0
    check "within 5 s" at_most $((SECONDS - before)) 5
    wait $load
    echo "          $(cat "$folder/load")"
    check "and breaks no answer" equal "$(result "$folder/load" broken) $(result "$folder/load" wrong)" "0 0"
}

test_refusals() {
    local out
    out=$("$ENGINE" run --rm -e CAPSNETD_WEIGHTS=/nowhere "$IMAGE" 2>&1)
    check "no weights: status 1" equal $? 1
    check "and one sentence: $out" contains "$out" /nowhere
    out=$("$ENGINE" run --rm -e CAPSNETD_QUEUE=many "$IMAGE" 2>&1)
    check "a bad variable: status 2" equal $? 2
    check "and one sentence: $out" contains "$out" CAPSNETD_QUEUE
}

test_tls() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
        -keyout "$folder/key.pem" -out "$folder/cert.pem" 2>/dev/null
    chmod 755 "$folder" && chmod 644 "$folder"/*.pem
    id=$("$ENGINE" run -d -p 127.0.0.1::8080 "${HARDENED[@]}" -v "$folder:/tls:ro" \
        -e CAPSNETD_TLS_CERT=/tls/cert.pem -e CAPSNETD_TLS_KEY=/tls/key.pem "$IMAGE") && containers+=("$id")
    url=https://localhost:$("$ENGINE" port "$id" 8080 | head -1 | sed 's/.*://')
    answer=$(curl -fsS --retry 20 --retry-all-errors --retry-delay 1 --cacert "$folder/cert.pem" \
        --data-binary @tests/digits/paper-3.png "$url/classify" 2>"$folder/err")
    check "TLS, checked against its certificate" contains "$answer" '"label": "3"'
    check "is healthy over TLS" healthy "$id"
    "$ENGINE" rm -f "$id" >/dev/null
}

# ---- Its share of the machine --------------------------------------------------
peak_mib() { # ID: most memory that its cgroup ever held, file pages included
    local cgroups file
    cgroups=/proc/$(of "$1" '{{.State.Pid}}')/cgroup
    for file in "/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' "$cgroups")/memory.max_usage_in_bytes" \
        "/sys/fs/cgroup$(sed -n 's/^0:://p' "$cgroups")/memory.peak"; do
        [ -r "$file" ] && echo $(($(cat "$file") / 1048576)) && return
    done
    echo unknown
}

test_memory() { # FLAGS-OF-THE-SERVER, in 256 MB with a batch of 64 and a reload
    local what="256 MB${1:+ with $1}"
    # shellcheck disable=SC2086 # two words
    check "$what: starts" start --memory 256m --memory-swap 256m -- $1
    echo "          $(first_line "$id")"
    check "$what: knows its limit" equal "$(metric "$url" capsnetd_memory_limit_bytes)" 268435456
    tests/deploy/load.py "$url" tests/digits/paper-3.png --seconds 4 --clients 4 --images 64 \
        >"$folder/load" &
    local load=$!
    sleep 1
    "$ENGINE" kill -s HUP "$id" >/dev/null
    wait $load
    echo "          64 images a request, a reload meanwhile: $(cat "$folder/load")"
    check "$what: answers everything" equal \
        "$(result "$folder/load" requests)" "$(result "$folder/load" ok)"
    check "$what: reloaded" reloaded_once "$url"
    check "$what: was not killed; peak $(peak_mib "$id") MiB" equal "true false" \
        "$(of "$id" '{{.State.Running}} {{.State.OOMKilled}}')"
    "$ENGINE" rm -f "$id" >/dev/null
}

test_out_of_memory() { # a limit that nothing fits into: it ends, and says so
    id=$("$ENGINE" run -d --memory 16m --memory-swap 16m "${HARDENED[@]}" "$IMAGE") && containers+=("$id")
    for _ in $(seq 40); do
        [ "$(of "$id" '{{.State.Running}}')" = false ] && break
        sleep 0.25
    done
    check "16 MB: ends, status $(of "$id" '{{.State.ExitCode}}'), OOM-killed: $(of "$id" '{{.State.OOMKilled}}')" \
        test "$(of "$id" '{{.State.Running}}') $(of "$id" '{{.State.ExitCode}}')" != "false 0" \
        -a "$(of "$id" '{{.State.Running}}')" = false
}

test_half_a_cpu() {
    check "--cpus 0.5: starts" start --cpus 0.5 --
    local line
    line=$(first_line "$id")
    echo "          $line"
    check "--cpus 0.5: says one thread" grep -qE ", 1 thread[) ]" <<<"$line"
    check "--cpus 0.5: /metrics says it" equal "$(metric "$url" capsnetd_threads)" 1
    tests/deploy/load.py "$url" tests/digits/paper-3.png --seconds 10 --clients 2 >"$folder/load"
    echo "          2 clients: $(cat "$folder/load")"
    check "--cpus 0.5: answers everything" equal \
        "$(result "$folder/load" requests)" "$(result "$folder/load" ok)"
    check "--cpus 0.5: p99 below half a second" at_most "$(result "$folder/load" p99_ms)" 500
    "$ENGINE" rm -f "$id" >/dev/null
}

test_trainer() {
    check "the trainer says the version" equal "$("$ENGINE" run --rm "$TRAINER" --version)" "capsnet-train $VERSION"
    python3 - "$folder/data" <<'PYTHON'
import gzip, os, random, struct, sys
os.makedirs(sys.argv[1])
random.seed(1)
for name, n in (("train", 64), ("t10k", 16)):
    labels = [i % 10 for i in range(n)]
    pixels = bytes(random.randrange(256) if (i // 784 + i) % 3 else 0 for i in range(784 * n))
    with gzip.open(f"{sys.argv[1]}/{name}-images-idx3-ubyte.gz", "wb") as file:
        file.write(struct.pack(">4I", 2051, n, 28, 28) + pixels)
    with gzip.open(f"{sys.argv[1]}/{name}-labels-idx1-ubyte.gz", "wb") as file:
        file.write(struct.pack(">2I", 2049, n) + bytes(labels))
PYTHON
    mkdir "$folder/work" && chmod 777 "$folder/work" && chmod -R a+rX "$folder"
    check "the trainer trains, read-only but for its folder" "$ENGINE" run --rm "${HARDENED[@]}" \
        -v "$folder/data:/data:ro" -v "$folder/work:/work" "$TRAINER" train --data /data \
        --out small.safetensors --epochs 1 --batch 16 --conv1 8 --types 2 --hidden1 16 --hidden2 16
    id=$("$ENGINE" run -d -p 127.0.0.1::8080 "${HARDENED[@]}" -v "$folder/work:/w:ro" \
        "$IMAGE" --weights /w/small.safetensors) && containers+=("$id")
    url=http://$("$ENGINE" port "$id" 8080 | head -1)
    check "and the server serves what it made" curl -fsS --retry 10 --retry-all-errors \
        --data-binary @tests/digits/paper-3.png "$url/classify"
    "$ENGINE" rm -f "$id" >/dev/null
}

# ARM64=1: the cross-built image's files, run by qemu's user-mode emulation.
test_arm64() {
    local qemu port
    qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || {
        echo "  SKIPPED arm64: there is no qemu-aarch64 (Debian's qemu-user-static)"
        return
    }
    check "arm64: builds" build "$IMAGE-again" --platform linux/arm64
    check "arm64: is one" equal "$("$ENGINE" image inspect -f '{{.Architecture}}' "$IMAGE-again")" arm64
    id=$("$ENGINE" create --platform linux/arm64 "$IMAGE-again") && containers+=("$id")
    mkdir "$folder/arm64" && "$ENGINE" export "$id" | tar xf - -C "$folder/arm64"
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    "$qemu" -L "$folder/arm64" "$folder/arm64/usr/bin/capsnetd" --listen "127.0.0.1:$port" \
        --weights "$folder/arm64/usr/share/capsnetd/capsnet-mnist.safetensors" >"$folder/line" 2>&1 &
    local pid=$!
    for _ in $(seq 60); do
        grep -q ' on http' "$folder/line" && break
        sleep 1
    done
    echo "          $(grep -m1 '^capsnetd ' "$folder/line")"
    check "arm64: reads a digit" contains "$(classify "http://127.0.0.1:$port")" '"label": "3"'
    kill $pid && wait $pid
    check "arm64: SIGTERM ends it with status 0" equal $? 0
}

echo "== image-test: $IMAGE with $("$ENGINE" --version)"
test_build
if [ $failed -eq 0 ]; then
    test_config
    test_serving
    test_stop
    test_refusals
    test_tls
    test_memory ""
    test_memory "--memory low"
    test_out_of_memory
    test_half_a_cpu
    test_trainer
    [ -z "${ARM64:-}" ] || test_arm64
fi
echo "image-test: $passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
