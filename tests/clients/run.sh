#!/bin/bash
# run.sh BUILD WEIGHTS - `make test-clients`: clients that others wrote, as they come
# from PyPI, against the server.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=$1 weights=$2 python=$PWD/build/tools/tritonclient/bin/python
folder=$(mktemp -d)
"$build/capsnetd" --listen 127.0.0.1:0 --weights "$weights" --log-level error >"$folder/line" &
server=$!
trap 'kill $server; rm -rf "$folder"' EXIT
for _ in $(seq 100); do
    grep -q '://' "$folder/line" && break
    sleep 0.1
done
address=$(sed -n 's|.*http://\([0-9.:]*\).*|\1|p' "$folder/line")
[ -n "$address" ] || exit 1
echo "== tritonclient"
"$python" -B tests/clients/triton.py "$address" tests/digits/digit-7.png
