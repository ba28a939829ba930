#!/bin/sh
# tests/rooms.sh [TREE]: do the #includes of model/ and server/ keep to tests/rooms.txt, does
# README.md name each room and no other, and is every file there that a comment or a page
# names by its path?  Prints what does not and exits 1.  A room is a folder; the list goes from
# the ground up, and a room may include only rooms above it in the list, so there is no circle.
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 1
cd "${1:-$here/..}" || exit 1
map=$(sed -n '/^## Where things are/,/^## /p' "$here/../README.md" | grep -oE '(server|model)(/[a-z_]+)+' | sort -u)
bad=0
missing=$(find . \( -name node_modules -o -path ./build -o -path ./.git \) -prune -o -type f \
    \( -name '*.[ch]' -o -name '*.md' -o -name '*.sh' -o -name '*.py' -o -name Makefile \) \
    ! -name test_rooms.sh -print | sort |
    xargs grep -HoE '\b(model|server|tests|deploy)/[a-z0-9_/.-]+\.(c|h|sh|py|js|html|md|txt)\b' |
    sort -u | while IFS=: read -r file named; do
        [ -e "$named" ] || [ -e "$here/../$named" ] || echo "$file: names $named, which is not there"
    done)
[ -z "$missing" ] || { echo "$missing"; bad=1; }
find model server -name '*.[ch]' | sort | xargs grep -H '^#include "' | awk -v list="$here/rooms.txt" -v map="$map" '
BEGIN {
    while ((getline line < list) > 0) {
        sub(/#.*/, "", line)
        n = split(line, word, /[ :]+/)
        if (word[1] == "") continue
        known[word[1]] = 1
        if (word[1] ~ /\// && index("\n" map "\n", "\n" word[1] "\n") == 0)
            complain("README.md: its map does not name " word[1])
        for (i = 2; i <= n; i++) {
            if (word[i] == "") continue
            if (!known[word[i]] || word[i] == word[1])
                complain("rooms.txt: " word[1] " may not include " word[i] ", which does not stand above it")
            allowed[word[1] " -> " word[i]] = 1
        }
    }
    n = split(map, word, "\n")
    for (i = 1; i <= n; i++)
        if (!known[word[i]] && word[i] != "server/web") complain("README.md: its map names " word[i] ", which is no room")
}
{
    split($0, part, /:#include "|"/)
    from = room(part[1]); to = room(part[2])
    if (part[2] !~ /\//) complain(part[1] ": \"" part[2] "\" does not start at the root of the tree")
    else if (!known[from]) complain(part[1] ": the room " from " is not in rooms.txt")
    else if (from != to) {
        used[from " -> " to] = 1
        if (!((from " -> " to) in allowed)) complain(part[1] ": " from " may not include " part[2])
    }
}
END {
    for (arrow in allowed) if (!(arrow in used)) complain("rooms.txt: nothing needs " arrow)
    if (!NR) complain("there is no source file")
    exit bad
}
function room(path) { sub(/\/[^\/]*$/, "", path); return path }
function complain(text) { print text; bad = 1 }' || bad=1
exit "$bad"
