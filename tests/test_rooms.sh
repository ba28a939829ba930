#!/bin/sh
# tests/test_rooms.sh: the tree keeps to tests/rooms.txt, and tests/rooms.sh tells when
# one does not: on a copy with an arrow against the list, a circle, a room nobody knows.
set -u
cd "$(dirname "$0")/.." || exit 1
echo "== tests/rooms"
tests/rooms.sh || exit 1
echo "ok: the #includes keep to tests/rooms.txt, and the files that are named are there"
copy=$(mktemp -d) || exit 1
trap 'rm -rf "$copy"' EXIT
trap 'exit 1' HUP INT TERM
failed=0

# refused WHAT FILE LINE: with that line more in the file, rooms.sh fails and names it.
refused() {
    rm -rf "$copy/model" "$copy/server" && cp -R model server "$copy" && mkdir -p "$copy/${2%/*}" &&
        echo "$3" >>"$copy/$2" || exit 1
    if said=$(tests/rooms.sh "$copy") || [ "${said#*"$2"}" = "$said" ]; then
        echo "FAILED: $1 was not refused: $said"
        failed=1
    else
        echo "ok: $1 is refused: $said"
    fi
}
refused "an arrow that points up" model/picture/png.c '#include "server/request/request.h"'
refused "an arrow that is not listed" server/basics/text.c '#include "model/picture/image.h"'
refused "a path that does not start at the root" server/basics/text.c '#include "clock.h"'
refused "a comment that names no file" server/basics/text.c '/* as in model/attic/old.c */'
refused "an unknown room" server/attic/new.c '#include "model/capsnet.h"'
exit "$failed"
