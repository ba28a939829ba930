#!/bin/sh
# options.sh TEMPLATE VERSION EPOCH PROGRAM - makes a man page: a line "@OPTIONS
# ARGUMENTS..." of the template becomes the options that PROGRAM ARGUMENTS...
# --help lists, so that a page never tells of other options than the program.
set -eu
template=$1 version=$2 date=$(LC_ALL=C date -u -d "@$3" +%Y-%m-%d) program=$4

# "  --name VALUE", the text behind it or indented beneath it, then the variable.
options() {
    "$program" "$@" --help | awk '
        function escape(s) { gsub(/\\/, "\\e", s); gsub(/-/, "\\-", s); return s }
        /^  --/ {
            line = substr($0, 3)
            n = match(line, /  +/)
            text = n ? substr(line, n + RLENGTH) : ""
            split(n ? substr(line, 1, n - 1) : line, word, " ")
            if (word[1] == "--threads") sub(/ \[[0-9]+\]$/, " [as many as CPUs]", text)
            print ".TP\n\\fB" escape(word[1]) "\\fR" (word[2] ? " \\fI" escape(word[2]) "\\fR" : "")
            if (text) print escape(text)
        }
        /^      CAPSNETD_/ {
            match($0, /CAPSNETD_[A-Z0-9_]+/)
            print ".br\n\\fB" substr($0, RSTART, RLENGTH) "\\fR" escape(substr($0, RSTART + RLENGTH))
            next
        }
        /^      / { print escape(substr($0, 7)) }'
}

while IFS= read -r line; do
    case $line in
    @OPTIONS*)
        # shellcheck disable=SC2086 # the words of the line are the arguments
        options ${line#@OPTIONS}
        ;;
    *) printf '%s\n' "$line" | sed "s/@VERSION@/$version/g; s/@DATE@/$date/g" ;;
    esac
done <"$template"
