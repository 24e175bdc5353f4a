#!/usr/bin/env bash
# A fresh clone on a clean Debian 12: `make run` serves, the README and the whole user guide can be
# pasted, and `make test` passes.
#
#     sudo tests/clean_debian.sh [FOLDER]      a new folder; needs debootstrap, git, 2 GB
#
# wasmhold needs python3, python3-venv and make alone.  The guide also uses curl and openssl, and the
# clients oras and wkg of the machine.  Its own settings for apt and pip hold inside too.  Ports 5000
# and 5001 must be free.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
root=${1:-$(mktemp -d)/debian}

if [ ! -e "$root/usr/bin/curl" ]; then
  packages=python3,python3-venv,make,ca-certificates,curl,openssl
  debootstrap --variant=minbase --include=$packages bookworm "$root"
fi
cp /etc/resolv.conf /etc/hosts "$root/etc/"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
[ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/"
for client in oras wkg; do
  cp "$(command -v $client)" "$root/usr/local/bin/"
done
rm -rf "$root/src" "$root/root/.local" "$root/opt/wasmhold"
git clone -q "$here" "$root/src"
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
mountpoint -q "$root/dev" || mount --rbind /dev "$root/dev"
server=
clean() {
  [ -z "$server" ] || kill -TERM -- "-$server"
  umount -l "$root/proc" "$root/dev"
}
trap clean EXIT

inside() { chroot "$root" /usr/bin/env -i -C /src HOME=/root PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
blocks() { awk '/^```sh$/ { on = 1; next } /^```/ { on = 0 } on' "$1"; }

inside make setup
# In another terminal: a group of processes of its own, so that it can be ended as one.
setsid chroot "$root" /usr/bin/env -i -C /src HOME=/root PATH=/usr/bin:/bin make run &
server=$!
for _ in $(seq 100); do
  inside curl -fsS http://127.0.0.1:5000/v2/ >/dev/null 2>&1 && break
  sleep 0.1
done
inside curl -fsS http://127.0.0.1:5000/v2/
echo " make run serves"

blocks "$root/src/README.md" | grep -v '^make ' >"$root/src/pasted.sh"
blocks "$root/src/docs/index.md" >>"$root/src/pasted.sh"
inside bash -euxo pipefail pasted.sh
echo "README and user guide work as they are pasted"

kill -TERM -- "-$server"
wait "$server" || true
server=

# The operator's set-up, as far as it needs no systemd.
inside userdel wasmhold 2>/dev/null || true
blocks "$root/src/docs/operations.md" | sed -n '/^useradd/,/^cp docs/p' >"$root/src/set-up.sh"
inside bash -euxo pipefail set-up.sh
inside /opt/wasmhold/bin/wasmhold version

inside make test
echo "a clean Debian 12: make run serves, the guide works, make test passes"
