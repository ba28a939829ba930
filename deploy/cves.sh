#!/bin/sh
# cves.sh PROGRAM [IMAGE] - `make cves`: the known vulnerabilities of the Debian
# packages that the image holds, by debsecan from Debian's security tracker.
#
# With IMAGE, and ENGINE (docker or podman), of the packages in it; else of those on this
# machine that would go into it.  Prints one line a vulnerability, "fixed" where an update
# has the cure: then build the image anew.  Exit status 1 when there is such a line.
# DEBSECAN_SOURCE is a mirror of the tracker's lists.
set -eu
program=$1 image=${2:-}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

if [ -n "$image" ]; then
    id=$("$ENGINE" create "$image")
    "$ENGINE" cp "$id:/var/lib/dpkg/status.d" "$folder/status.d"
    "$ENGINE" cp "$id:/etc/os-release" "$folder/os-release"
    "$ENGINE" rm "$id" >/dev/null
else
    sh "$(dirname "$0")/rootfs.sh" "$program" "$folder/root"
    mv "$folder/root/var/lib/dpkg/status.d" "$folder/root/etc/os-release" "$folder"
fi
suite=$(sed -n 's/^VERSION_CODENAME=//p' "$folder/os-release")
for entry in "$folder"/status.d/*; do
    cat "$entry"
    echo
done >"$folder/status"
echo "$(find "$folder/status.d" -type f | wc -l) packages of Debian $suite${image:+ in $image}"
/usr/bin/python3 "$(command -v debsecan)" --suite "$suite" --status "$folder/status" \
    ${DEBSECAN_SOURCE:+--source "$DEBSECAN_SOURCE"} >"$folder/found"
cat "$folder/found"
! grep -q fixed "$folder/found"
