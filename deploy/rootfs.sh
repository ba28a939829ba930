#!/bin/sh
# rootfs.sh PROGRAM FOLDER [WEIGHTS...] - lays out a container's whole file system.
#
# The Dockerfile's build stage runs it.  FOLDER gets the program, the shared
# libraries that it needs (and those that they need), and of each library's
# Debian package, OpenBLAS's too where it is linked in, the licence and the entry
# by which image scanners know it.
# Works on another architecture's files too, so nothing of them is run.
# Every file gets the time SOURCE_DATE_EPOCH.
set -eu
program=$1 root=$2
shift 2

interpreter=$(readelf -l "$program" | sed -n 's/.*program interpreter: \(.*\)\]/\1/p')
case $interpreter in
/lib64/ld-linux-x86-64.so.2) triplet=x86_64-linux-gnu ;;
/lib/ld-linux-aarch64.so.1) triplet=aarch64-linux-gnu ;;
*) echo "rootfs.sh: cannot tell the architecture of $program" >&2; exit 1 ;;
esac

needs() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }

find_library() { # NAME
    for folder in /lib /usr/lib; do
        [ -e "$folder/$triplet/$1" ] && echo "$folder/$triplet/$1" && return
    done
    echo "rootfs.sh: $1 is missing" >&2
    return 1
}

# The Debian package that a file came with; its list may say /lib for /usr/lib.
package_of() { # FILE
    real=$(readlink -f "$1")
    { dpkg -S "$real" || dpkg -S "${real#/usr}" || dpkg -S "/usr$real"; } 2>/dev/null | sed 's/: .*//;q'
}

add_package() { # NAME:ARCHITECTURE
    name=${1%%:*}
    [ -e "$root/var/lib/dpkg/status.d/$name" ] && return
    dpkg-query -s "$1" >"$root/var/lib/dpkg/status.d/$name"
    mkdir -p "$root/usr/share/doc/$name"
    cp -L "/usr/share/doc/$name/copyright" "$root/usr/share/doc/$name/copyright"
}

add_libraries() { # FILE
    for name in $(needs "$1"); do
        case $interpreter in */"$name") continue ;; esac
        [ -e "$root/lib/$triplet/$name" ] && continue
        path=$(find_library "$name")
        package=$(package_of "$path")
        [ -n "$package" ] || { echo "rootfs.sh: no package has $path" >&2; exit 1; }
        cp -L "$path" "$root/lib/$triplet/$name"
        add_package "$package"
        add_libraries "$path"
    done
}

umask 022
name=$(basename "$program")
mkdir -p "$root/usr/bin" "$root/usr/share/doc/$name" "$root/etc" "$root/var/lib/dpkg/status.d" \
    "$root/lib/$triplet" "$root$(dirname "$interpreter")"
cp "$program" "$root/usr/bin/$name"
cp LICENSE "$root/usr/share/doc/$name/copyright"
add_libraries "$program"
if ! needs "$program" | grep -q openblas; then
    add_package "$(package_of "$(find_library libopenblas.a)")"
fi
cp -L "$(find_library "$(basename "$interpreter")")" "$root$interpreter"
cp -L /etc/os-release "$root/etc/os-release"
echo "capsnet:x:10001:10001:capsnetd:/:/sbin/nologin" >"$root/etc/passwd"
echo "capsnet:x:10001:" >"$root/etc/group"
if [ $# -gt 0 ]; then
    mkdir -p "$root/usr/share/capsnetd"
    install -m 644 "$@" "$root/usr/share/capsnetd/"
else
    install -d -o 10001 -g 10001 "$root/work" # what the trainer writes
fi
find "$root" -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +
