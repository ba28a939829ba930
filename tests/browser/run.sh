#!/bin/sh
# Runs the page's tests in headless Chromium.  BUILD and WEIGHTS as in harness.mjs;
# CHROMIUM is the browser, else the first that is found.
cd "$(dirname "$0")" || exit 1
echo "== tests/browser"
missing() {
    echo "tests/browser: there is no $1; make deps-test installs it" >&2
    exit 1
}
for name in chromium chromium-browser google-chrome; do
    [ -n "${CHROMIUM:-}" ] || CHROMIUM=$(command -v "$name")
done
[ -n "$CHROMIUM" ] || missing Chromium
command -v node >/dev/null || missing node
[ -d node_modules/playwright-core ] || missing playwright-core
export CHROMIUM
cd ../.. || exit 1
failed=0
for file in page panels; do # one after the other: some of them take times
    node --test "tests/browser/$file.test.mjs" || failed=1
done
exit $failed
