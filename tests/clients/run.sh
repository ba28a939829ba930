#!/bin/bash
# run.sh BUILD WEIGHTS - `make test-clients`: clients that others wrote, as they come
# from PyPI, against the server.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=$1 weights=$2 tools=$PWD/build/tools/clients/bin
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
failed=0
echo "== tritonclient"
"$tools/python" -B tests/clients/triton.py "$address" tests/digits/digit-7.png || failed=1
echo "== openapi-python-client"
# What it leaves out is a form of a body, text/plain; its formatter is in the same folder.
PATH=$tools:$PATH "$tools/openapi-python-client" generate --url "http://$address/openapi.json" \
    --meta none --output-path "$folder/capsnetd_client" --config tests/clients/generated.yaml \
    >"$folder/generator" 2>&1 || { cat "$folder/generator"; failed=1; }
"$tools/python" -B tests/clients/generated.py "http://$address" tests/digits/digit-7.png "$folder" ||
    failed=1
exit $failed
