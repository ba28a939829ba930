#!/bin/bash
# run.sh BUILD WEIGHTS - `make test-clients`: clients that others wrote, as they come
# from PyPI, against the server.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=$1 weights=$2 tools=$PWD/build/tools/clients/bin
. tests/common/serve.sh
serve "$build/capsnetd" "$weights"
failed=0
echo "== tritonclient"
"$tools/python" -B tests/clients/triton.py "${url#http://}" tests/digits/digit-7.png || failed=1
echo "== openapi-python-client"
# What it leaves out is a form of a body, text/plain; its formatter is in the same folder.
PATH=$tools:$PATH "$tools/openapi-python-client" generate --url "$url/openapi.json" \
    --meta none --output-path "$folder/capsnetd_client" --config tests/clients/generated.yaml \
    >"$folder/generator" 2>&1 || { cat "$folder/generator"; failed=1; }
"$tools/python" -B tests/clients/generated.py "$url" tests/digits/digit-7.png "$folder" ||
    failed=1
exit $failed
