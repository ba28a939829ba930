#!/bin/bash
# with-engine.sh COMMAND... - runs a command that needs a container engine, with
# ENGINE set to one that works, or says aloud why it does not.
#
# A running Docker is taken as it is.  Else, with OWN_ENGINE=1, as in CI on a plain
# Debian machine, root gets Debian's Docker (apt-get), started in a folder of its
# own and stopped at the end; without, podman is taken.  Where no registry can be
# reached, the base image is made with mmdebstrap from the Debian mirror.
set -euo pipefail

BASE=debian:bookworm-slim
skip() {
    echo "$1: SKIPPED: $2" >&2
    exit 0
}

have_docker() { command -v docker >/dev/null && docker version >/dev/null 2>&1; }
have_podman() { command -v podman >/dev/null && podman info >/dev/null 2>&1; }

install_docker() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends docker.io mmdebstrap
}

start_docker() {
    folder=$(mktemp -d)
    dockerd --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/docker.pid" \
        --host "unix://$folder/docker.sock" --default-ulimit nofile="$(ulimit -Hn)" \
        >"$folder/log" 2>&1 &
    trap stop_docker EXIT
    export DOCKER_HOST=unix://$folder/docker.sock
    for _ in $(seq 60); do
        have_docker && return
        kill -0 $! 2>/dev/null || break
        sleep 0.5
    done
    tail -5 "$folder/log" >&2
    return 1
}

stop_docker() {
    daemon=$(cat "$folder/docker.pid" 2>/dev/null || true)
    if [ -n "$daemon" ] && kill "$daemon" 2>/dev/null; then
        for _ in $(seq 60); do
            kill -0 "$daemon" 2>/dev/null || break
            sleep 0.5
        done
    fi
    rm -rf "$folder" || true
}

# From the registry, else from the Debian mirror.
bring_base() {
    "$ENGINE" image inspect $BASE >/dev/null 2>&1 && return
    timeout 60 "$ENGINE" pull -q $BASE >/dev/null 2>&1 && return
    command -v mmdebstrap >/dev/null || return 1
    echo "no registry has $BASE: making it with mmdebstrap"
    tar=$(mktemp --suffix=.tar)
    mmdebstrap --quiet --variant=minbase --mode=root --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --aptopt='Acquire::Languages "none"' \
        bookworm "$tar" && "$ENGINE" import -c 'CMD ["bash"]' "$tar" $BASE >/dev/null
    made=$?
    rm -f "$tar"
    return $made
}

name=$(basename "${@: -1}" .sh)-test
if have_docker; then
    ENGINE=docker
elif [ -n "${OWN_ENGINE:-}" ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        skip "$name" "OWN_ENGINE=1 needs root and apt-get"
    fi
    install_docker >/dev/null || skip "$name" "Debian's docker.io cannot be installed"
    start_docker || skip "$name" "dockerd does not start here"
    ENGINE=docker
elif have_podman; then
    ENGINE=podman
else
    skip "$name" "neither docker nor podman runs here (OWN_ENGINE=1 starts one, as root on Debian)"
fi
export ENGINE
bring_base || skip "$name" "the base image $BASE can neither be pulled nor made"
"$ENGINE" run --rm $BASE true >/dev/null || skip "$name" "$ENGINE cannot run a container here"
"$@"
