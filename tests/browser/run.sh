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
cd ../.. && exec node --test tests/browser/page.test.mjs
