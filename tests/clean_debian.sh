#!/usr/bin/env bash
# A fresh clone on a clean Debian 12 with python3, python3-venv and make alone: `make run` serves,
# and `make test` passes.
#
#     sudo tests/clean_debian.sh [FOLDER]      a new folder; needs debootstrap, git, curl, 2 GB
#
# The machine's own settings for apt and pip hold inside too.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
root=${1:-$(mktemp -d)/debian}

if [ ! -e "$root/usr/bin/make" ]; then
  debootstrap --variant=minbase --include=python3,python3-venv,make,ca-certificates bookworm "$root"
fi
cp /etc/resolv.conf /etc/hosts "$root/etc/"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
[ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/"
rm -rf "$root/src"
git clone -q "$here" "$root/src"
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
mountpoint -q "$root/dev" || mount --rbind /dev "$root/dev"
trap 'umount -l "$root/proc" "$root/dev"' EXIT

inside() { chroot "$root" /usr/bin/env -C /src HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }

inside make setup
inside make run &
server=$!
for _ in $(seq 100); do
  curl -fsS http://127.0.0.1:5000/v2/ >/dev/null 2>&1 && break
  sleep 0.1
done
curl -fsS http://127.0.0.1:5000/v2/
echo " make run serves"
pkill -TERM -o -f "wasmhold serve"
wait "$server" || true
inside make test
echo "a clean Debian 12: make run serves, make test passes"
