#!/bin/bash
# run.sh BUILD WEIGHTS - `make test-openapi`: openapi.json against the service that
# serves it, by schemathesis: requests that it makes from the document, good and bad.
#
# The examples must be answered with 200.  What is drawn from the schemas must get an
# answer of a declared status, form and headers; that a schema cannot tell a PNG from
# other bytes, or that a tensor's data fit its shape, is no fault.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=$1 weights=$2 schemathesis=$PWD/build/tools/schemathesis/bin/schemathesis
. tests/common/serve.sh
serve "$build/capsnetd" "$weights"
passed=0 failed=0
check() { # WHAT FLAG...
    if (cd "$folder" && "$schemathesis" run "$url/openapi.json" --generation-deterministic --no-color \
        --request-timeout 20 "${@:2}" >out 2>&1); then
        echo "  ok      $1: $(grep -oE '[0-9]+ generated.*' "$folder/out" | tail -1)"
        passed=$((passed + 1))
    else
        echo "  FAILED  $1"
        sed 's/^/          /' "$folder/out" | tail -60
        failed=$((failed + 1))
    fi
}
check "every example is answered well" --phases examples
check "GET, all that the document allows and forbids" --include-method GET --max-examples 30
check "POST, the same" --include-method POST --max-examples 50 \
    --exclude-checks positive_data_acceptance
echo "test-openapi: $passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
