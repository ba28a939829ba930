# serve.sh - to be sourced: serve PROGRAM WEIGHTS [OPTION...] starts a server on a free
# port of loopback and waits until it is ready.  Sets url and folder, a scratch folder;
# at the script's end the server is told to end and the folder is removed.
# shellcheck shell=bash disable=SC2034 # url is the caller's
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$folder"' EXIT

serve() {
    "$1" --listen 127.0.0.1:0 --weights "$2" --log-level error "${@:3}" >"$folder/line" &
    server=$!
    for _ in $(seq 300); do
        grep -q '://' "$folder/line" && break
        kill -0 "$server" 2>/dev/null || exit 1
        sleep 0.1
    done
    url=$(grep -o 'https\?://[0-9.:]*' "$folder/line") || exit 1
}
