#!/bin/sh
# Runs the page's tests in headless Chromium, or says why it does not.
# BUILD and WEIGHTS as in harness.mjs; CHROMIUM is the browser, else the first
# that is found.
cd "$(dirname "$0")" || exit 1
echo "== tests/browser"
skip() {
    echo "tests/browser: SKIPPED: $1 (make deps-browser installs it)"
    exit 0
}
for name in chromium chromium-browser google-chrome; do
    [ -n "${CHROMIUM:-}" ] || CHROMIUM=$(command -v "$name")
done
[ -n "$CHROMIUM" ] || skip "there is no Chromium"
command -v node >/dev/null || skip "there is no node"
[ -d node_modules/playwright-core ] || skip "there is no playwright-core"
export CHROMIUM
cd ../.. && exec node --test tests/browser/page.test.mjs
