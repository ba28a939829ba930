#!/bin/bash
# compose.sh - `make compose-test`: brings up deploy/compose.yaml and, under a
# bounded load through its balancer, kills a replica, restarts all of them one
# after the other, and rolls out new containers.  No request may fail.
#
# ENGINE is docker.  Where its compose plugin is missing, OWN_ENGINE=1 unpacks that of a
# later Debian for this run.  Images that no registry gives are made from Debian's
# packages; Grafana, which Debian has not, is then left out.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

folder=$(mktemp -d)
export COMPOSE_PROJECT_NAME=capsnetd-test-$$
read -r CAPSNETD_PORT PROMETHEUS_PORT GRAFANA_PORT < <(python3 - <<'PYTHON'
import socket
sockets = [socket.socket() for _ in range(3)]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))
PYTHON
)
export CAPSNETD_PORT PROMETHEUS_PORT GRAFANA_PORT
url=http://127.0.0.1:$CAPSNETD_PORT
compose() { docker compose -f deploy/compose.yaml "$@"; }
loading_ones() { docker ps -q --filter label=loading="$COMPOSE_PROJECT_NAME"; }
passed=0 failed=0 up=
cleanup() {
    loading_ones | xargs -r docker rm -f >/dev/null
    [ -z "$up" ] || compose down -v --timeout 1 >/dev/null 2>&1
    rm -rf "$folder"
}
trap cleanup EXIT

has_compose() { docker compose version >/dev/null 2>&1; }
bring_compose() {
    local apt=(apt-get -qq -o "Dir::Etc::SourceList=$folder/sources" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$folder/lists" -o Acquire::Check-Valid-Until=false
        -o APT::Sandbox::User=root)
    echo "deb http://deb.debian.org/debian trixie main" >"$folder/sources"
    mkdir -p "$folder/lists/partial" "$folder/config/cli-plugins"
    "${apt[@]}" update && (cd "$folder" && "${apt[@]}" download docker-compose) &&
        dpkg -x "$folder"/docker-compose_*.deb "$folder/compose" || return
    mv "$(find "$folder/compose" -name docker-compose -type f -perm -100)" "$folder/config/cli-plugins"
    export DOCKER_CONFIG=$folder/config
}
if [ "$ENGINE" = docker ] && [ -n "${OWN_ENGINE:-}" ] && ! has_compose; then
    bring_compose
fi
if [ "$ENGINE" != docker ] || ! has_compose; then
    echo "compose-test: SKIPPED: there is no docker compose" >&2
    exit 0
fi

report() { # STATUS WHAT
    if [ "$1" -eq 0 ]; then
        echo "  ok      $2" && passed=$((passed + 1))
    else
        echo "  FAILED  $2" && failed=$((failed + 1))
    fi
}

# ---- Images ------------------------------------------------------------------
from_debian() { # IMAGE SUITE PACKAGE ENTRYPOINT: true when the image is there in the end
    docker image inspect "$1" >/dev/null 2>&1 && return
    timeout 60 docker pull -q "$1" >/dev/null 2>&1 && return
    [ -n "$2" ] || return 1
    docker build -q -t "$1" - >/dev/null <<DOCKERFILE || return
FROM debian:bookworm-slim
RUN echo "deb http://deb.debian.org/debian $2 main" >/etc/apt/sources.list.d/more.list \
    && apt-get -o Acquire::Check-Valid-Until=false update && apt-get install -y --no-install-recommends -t $2 $3 && install -d -o 65534 /prometheus
USER 65534
ENTRYPOINT $4
DOCKERFILE
    echo "          $1 is $3 of Debian's $2"
}

services=(app balancer prometheus)
bring_images() {
    docker build -q -t "capsnetd:$VERSION" . >/dev/null || return 1
    from_debian "$(compose config --images balancer | grep haproxy)" forky haproxy \
        '["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]' || return 1
    from_debian "$(compose config --images prometheus | grep prometheus)" bookworm prometheus \
        '["prometheus"]' || return 1
    if from_debian "$(compose config --images grafana | grep grafana/)" "" "" ""; then
        services+=(grafana)
    else
        echo "  SKIPPED Grafana: no registry gives its image"
    fi
}

# ---- Load ----------------------------------------------------------------------
load() { # SECONDS: in the background; land waits for it
    tests/deploy/load.py "$url" tests/digits/paper-3.png --seconds "$1" --clients 6 \
        --pause-ms 5 >"$folder/load" &
    loading=$!
}
land() { # WHAT: every request of the load must have got its answer
    wait "$loading"
    echo "          $(cat "$folder/load")"
    python3 - "$folder/load" <<'PYTHON'
import json, sys
r = json.load(open(sys.argv[1]))
sys.exit(not (r["ok"] == r["requests"] > 100 and r["refused"] == r["broken"] == r["stale"] == 0))
PYTHON
    report $? "$1"
}

replicas() { compose ps -q app; }
wait_healthy() { # N
    for _ in $(seq 120); do
        [ "$(replicas | xargs -r docker inspect -f '{{.State.Health.Status}}' | grep -c '^healthy')" = "$1" ] && return
        sleep 0.5
    done
    return 1
}

test_up() {
    up=1
    compose up -d --wait --wait-timeout 120 "${services[@]}" >"$folder/up" 2>&1
    report $? "docker compose up: all healthy"
    [ $failed -eq 0 ] || { cat "$folder/up"; compose logs --tail 5; return; }
    curl -fsS --data-binary @tests/digits/paper-3.png "$url/classify" | grep -q '"label": "3"'
    report $? "the balancer's address reads a digit"
    test "$(curl -s -o /dev/null -w '%{http_code}' "$url/metrics")" = 404
    report $? "and keeps /metrics to itself"
}

test_kill() {
    load 12
    sleep 3
    kill -KILL "$(docker inspect -f '{{.State.Pid}}' "$(replicas | head -1)")"
    land "a replica killed: no request fails"
    wait_healthy 2
    report $? "the replica comes back"
}

test_rolling_restart() {
    load 25
    sleep 2
    local each
    for each in $(replicas); do
        docker restart -t 35 "$each" >/dev/null
        wait_healthy 2
        sleep 2 # until the balancer has seen it, too
    done
    land "every replica restarted, one after the other: no request fails"
}

# What deploy/README.md tells for a new version: the new beside the old.
test_rollout() {
    local old
    old=$(replicas)
    load 25
    compose up -d --no-deps --no-recreate --scale app=4 app >/dev/null 2>&1
    wait_healthy 4
    sleep 2
    # shellcheck disable=SC2086 # both at once
    docker stop -t 35 $old >/dev/null && docker rm $old >/dev/null
    land "new containers beside the old, then the old stopped at once: no request fails"
    wait_healthy 2
    report $? "two replicas are left"
}

# Replicas that listen and say for ever what one says while it loads.  More of
# them than a request has tries.
LOADING='use IO::Socket::INET; $SIG{PIPE} = "IGNORE";
    my $l = IO::Socket::INET->new(LocalPort => 8080, Listen => 64) or die;
    while (my $c = $l->accept) {
        sysread $c, my $request, 65536;
        print $c "HTTP/1.1 503 Loading\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        close $c;
    }'
test_loading() {
    local one
    for _ in 1 2 3 4 5; do
        docker run -d --label loading="$COMPOSE_PROJECT_NAME" debian:bookworm-slim \
            perl -e "$LOADING" >/dev/null
    done
    load 12
    sleep 2
    for one in $(loading_ones); do
        docker network connect --alias app "${COMPOSE_PROJECT_NAME}_inside" "$one"
    done
    land "five that are not ready: they get no request, none fails"
    test "$(loading_ones | wc -l)" = 5
    report $? "though all five are there"
    loading_ones | xargs -r docker rm -f >/dev/null
}

test_scale() {
    load 30
    sleep 2
    compose up -d --no-deps --no-recreate --scale app=8 app >/dev/null 2>&1
    wait_healthy 8
    report $? "eight replicas are healthy"
    land "scaled from two to eight: no request fails"
}

test_prometheus() {
    local query="http://127.0.0.1:$PROMETHEUS_PORT/api/v1/query?query=sum(up)"
    for _ in $(seq 60); do
        curl -fsSg "$query" | grep -qE '"value":\[[0-9.]+,"([3-9]|[0-9]{2,})"' && break
        sleep 1
    done
    report $? "Prometheus scrapes replicas and balancer"
    tests/deploy/dashboard.py ask "http://127.0.0.1:$PROMETHEUS_PORT" "$url" | sed 's/^/          /'
    report "${PIPESTATUS[0]}" "rules and dashboard find their series"
}

test_grafana() {
    for _ in $(seq 60); do
        curl -fsS "http://127.0.0.1:$GRAFANA_PORT/api/dashboards/uid/capsnetd" 2>/dev/null |
            grep -q '"title":"capsnetd"' && report 0 "Grafana shows the dashboard" && return
        sleep 1
    done
    report 1 "Grafana shows the dashboard"
}

echo "== compose-test: $(docker compose version)"
bring_images
report $? "images"
[ $failed -ne 0 ] || test_up
if [ $failed -eq 0 ]; then
    test_kill
    test_rolling_restart
    test_rollout
    test_loading
    test_scale
    test_prometheus
    [ ${#services[@]} -lt 4 ] || test_grafana
fi
echo "compose-test: $passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
