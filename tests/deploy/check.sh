#!/bin/bash
# check.sh - `make deploy-check`: everything about deploy/ that can be checked
# without an engine or a cluster.  What a missing tool keeps from being checked is
# said aloud; with STRICT=1, as in CI, it is a failure.
#
# BUILD has the binaries and man pages; VERSION is the release's.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
modules=tests/deploy/node_modules
PATH=$PWD/build/tools:$PATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
passed=0 failed=0 skipped=0

check() { # WHAT COMMAND...
    local what=$1
    shift
    if "$@" >"$folder/out" 2>&1; then
        echo "  ok       $what"
        passed=$((passed + 1))
    else
        echo "  FAILED   $what"
        sed 's/^/           /' "$folder/out" | tail -30
        failed=$((failed + 1))
    fi
}
# The same where the tool is there.
check_with() { # TOOL WHAT COMMAND...
    if command -v "$1" >/dev/null || [ -e "$1" ]; then
        check "${@:2}"
    else
        echo "  SKIPPED  $2: there is no $(basename "$1")"
        skipped=$((skipped + 1))
    fi
}

# ---- One version ---------------------------------------------------------------
says_version() { # FILE PATTERN
    grep -qE "$2" "$1" || { echo "$1 does not say $VERSION"; return 1; }
}
versions() {
    local v=${VERSION//./\\.}
    says_version CHANGELOG.md "^## $v( |$)" && says_version deploy/compose.yaml "image: capsnetd:$v$" &&
        says_version deploy/kubernetes/base/kustomization.yaml "newTag: $v$" &&
        says_version deploy/kserve/kustomization.yaml "newTag: $v$" &&
        test "$("$BUILD/capsnetd" --version)" = "capsnetd $VERSION" &&
        test "$("$BUILD/capsnet-train" --version)" = "capsnet-train $VERSION"
}
check "changelog, compose, manifests and programs say $VERSION" versions

# ---- Files ---------------------------------------------------------------------
scripts() { git ls-files --cached --others --exclude-standard '*.sh' .ci/run | grep -v node_modules; }
check_with shellcheck "shell scripts" xargs shellcheck -S warning < <(scripts)
check_with yamllint "YAML" yamllint --strict -c tests/deploy/yamllint.yaml deploy
check_with $modules/dockerfile-utils "Dockerfile" node $modules/dockerfile-utils/bin/dockerfile-utils lint Dockerfile
check_with $modules/dclint "compose.yaml" node $modules/dclint/bin/dclint.cjs -c tests/deploy/dclint.yaml deploy/compose.yaml
manifests() { HELP=$("$BUILD/capsnetd" --help) node tests/deploy/manifests.mjs; }
if ! command -v kubectl >/dev/null && ! command -v kustomize >/dev/null; then
    echo "  SKIPPED  manifests: neither kubectl nor kustomize is here, and Debian has none to install"
else
    check_with $modules/kubernetes-models "manifests, rendered: types, schemas, Pod Security, what overlays change" manifests
fi

# ---- Monitoring ------------------------------------------------------------------
check "alerts and dashboard name only what the server's /metrics has" \
    tests/deploy/metrics.py "$BUILD/capsnetd" "$WEIGHTS" "$folder"
check_metrics() { promtool check metrics <"$folder/metrics.txt"; }
check_with promtool "/metrics" check_metrics
check_with promtool "the dashboard's queries" promtool check rules "$folder/queries.yml"
check_with promtool "prometheus.yml and alerts" promtool check config deploy/prometheus/prometheus.yml
check_with promtool "alerts fire when they should" promtool test rules deploy/prometheus/alerts_test.yml
shows() { tests/deploy/dashboard.py run "$(command -v prometheus)" "$BUILD/capsnetd" "$WEIGHTS"; }
check_with prometheus "every panel of the dashboard shows data from a Prometheus under load" shows
dashboard() {
    python3 - deploy/grafana/capsnetd.json <<'PYTHON'
import itertools, json, sys
board = json.load(open(sys.argv[1]))
panels = board["panels"]
assert board["uid"] == "capsnetd" and board["schemaVersion"] >= 36 and len(panels) > 10
assert len({p["id"] for p in panels}) == len(panels), "two panels have one id"
for p in panels:
    g = p["gridPos"]
    assert g["x"] + g["w"] <= 24, p["title"]
    assert p["type"] == "row" or (p["title"] and p["targets"] and p["datasource"]["uid"] == "${datasource}"), p
for a, b in itertools.combinations([p for p in panels], 2):
    g, h = a["gridPos"], b["gridPos"]
    assert (g["x"] + g["w"] <= h["x"] or h["x"] + h["w"] <= g["x"] or
            g["y"] + g["h"] <= h["y"] or h["y"] + h["h"] <= g["y"]), (a["title"], b["title"])
PYTHON
}
check "dashboard: ids, places, data source" dashboard

# ---- Limits ----------------------------------------------------------------------------
if python3 -c 'import sys; sys.path.insert(0, "tests/deploy"); import cgroup; sys.exit(not cgroup.available())'; then
    check "within the manifests' limits: plans of memory, reloads under load" \
        tests/deploy/limits.py "$BUILD/capsnetd" weights
else
    echo "  SKIPPED  the manifests' limits: control groups cannot be made here"
    skipped=$((skipped + 1))
fi

# ---- What the image holds ------------------------------------------------------------
# Against made-up lists in the tracker's format: one that an update cures, one that none
# does, one of what is not inside.
finds_vulnerabilities() {
    python3 - "$folder/bookworm" "$folder/none/bookworm" <<'PYTHON'
import pathlib, sys, zlib
for path, packages in zip(sys.argv[1:], ("libpng1.6,0,SH?F,9999,\nzlib,1,SH? ,,\nbash,2,SH?F,9999,\n", "bash,2,SH?F,9999,\n")):
    text = "VERSION 1\n" + "".join(f"CVE-2099-000{i},,made up\n" for i in (1, 2, 3)) + "\n" + packages + "\n"
    pathlib.Path(path).parent.mkdir(exist_ok=True)
    pathlib.Path(path).write_bytes(zlib.compress(text.encode()))
PYTHON
    DEBSECAN_SOURCE=file://$folder sh deploy/cves.sh "$BUILD/capsnetd" && return 1
    DEBSECAN_SOURCE=file://$folder sh deploy/cves.sh "$BUILD/capsnetd" | grep CVE | cut -d' ' -f1-2 >"$folder/cves"
    printf 'CVE-2099-0001 libpng16-16\nCVE-2099-0002 zlib1g\n' | cmp - "$folder/cves" &&
        DEBSECAN_SOURCE=file://$folder/none sh deploy/cves.sh "$BUILD/capsnetd"
}
if [ "$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)" = bookworm ]; then
    check_with debsecan "cves: vulnerabilities of what is inside are told" finds_vulnerabilities
fi

# ---- The unit, the man pages, the installation -------------------------------------
# Below a root of their own they stand beside this system's units, which they name, and the
# one command of others that they run.
unit() {
    local root=$folder/root unit=$folder/root/etc/systemd/system/capsnetd.service
    make -s install DESTDIR="$root" >/dev/null || return 1
    mkdir -p "$root/usr/lib/systemd" && cp -r /usr/lib/systemd/system "$root/usr/lib/systemd" &&
        install -D /bin/kill "$root/bin/kill" || return 1
    systemd-analyze verify --man=no --recursive-errors=one --root="$root" "$unit" "${unit%.service}.socket" || return 1
    systemd-analyze security --offline=true --threshold=20 "$unit" >"$folder/security" ||
        { tail -1 "$folder/security"; return 1; }
}
check_with systemd-analyze "the units: verified, exposure at most 2.0 of 10" unit
installs() {
    make -s install prefix=/usr DESTDIR="$folder/usr" >/dev/null || return 1
    "$folder/usr/usr/bin/capsnetd" --version && "$folder/usr/usr/bin/capsnet-train" --version || return 1
    grep -rn /usr/local "$folder/usr/usr/lib" && return 1
    make -s uninstall prefix=/usr DESTDIR="$folder/usr" >/dev/null || return 1
    test -z "$(find "$folder/usr" -type f)"
}
check "make install and uninstall, with DESTDIR and prefix" installs
in_man() { # PAGE PROGRAM [COMMAND]: is every option of --help a heading of the page?
    local page=$1 option
    shift
    for option in $("$@" --help | grep -oE '^  --[a-z0-9-]+'); do
        grep -qF "\\fB${option//-/\\-}\\fR" "$page" || { echo "$page lacks $option"; return 1; }
    done
    [ -n "$option" ]
}
check "capsnetd(8) has every option" in_man "$BUILD/capsnetd.8" "$BUILD/capsnetd"
check "capsnet-train(1) has those of train" in_man "$BUILD/capsnet-train.1" "$BUILD/capsnet-train" train
check "and of eval" in_man "$BUILD/capsnet-train.1" "$BUILD/capsnet-train" eval
check_with mandoc "man pages" mandoc -Tlint -W warning "$BUILD/capsnetd.8" "$BUILD/capsnet-train.1"

echo "deploy-check: $passed passed, $failed failed, $skipped skipped"
[ -z "${STRICT:-}" ] || failed=$((failed + skipped))
[ $failed -eq 0 ] && [ $passed -gt 0 ]
