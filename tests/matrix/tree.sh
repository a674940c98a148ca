#!/usr/bin/env bash
# Servers that Debian does not install beside each other: it unpacks their packages, and all that
# these need, into a folder of their own, and runs them with that as their root. Nothing of it is
# installed here, and nothing starts by itself.
#
#   tree.sh build TREE               downloads and unpacks; does nothing when TREE is there
#   tree.sh run TREE DIR [ARGUMENTS] runs DIR/start in TREE, where DIR is /srv; needs root
#
# What runs has mounts and processes of its own: all of them end with it, and it with its parent's KILL.
set -euo pipefail

build() {
  local tree=$1 packages
  mkdir -p "$(dirname "$tree")"
  # Several may come at once; the first one builds.
  exec 9>"$tree.lock"
  flock 9
  [ ! -e "$tree" ] || return 0
  work=$(mktemp -d "$tree.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/debs/partial" "$work/tree"
  : >"$work/status"
  # Each on its own, for they exclude each other; as if nothing were installed, so that nothing is missing.
  for packages in "cyrus-imapd sasl2-bin" "courier-imap courier-authlib-userdb"; do
    # shellcheck disable=SC2086 # They are several words. The mail-transport-agent is the smallest.
    fetch "$work" $packages dash coreutils dma
  done
  for packages in "$work"/debs/*.deb; do
    dpkg-deb --extract "$packages" "$work/tree"
  done
  prepare "$work/tree"
  mv "$work/tree" "$tree"
}

# Downloads packages, and all they need. Arguments: work folder, packages
fetch() {
  local work=$1 try
  shift
  for try in "" update; do
    # What is known of the packages may be old, or nothing.
    [ -z "$try" ] || apt-get update -q >"$work/log" 2>&1 || break
    if DEBIAN_FRONTEND=noninteractive apt-get install -q -y --download-only --no-install-recommends \
      -o Dir::State::status="$work/status" -o Dir::Cache::archives="$work/debs" -o Debug::NoLocking=1 \
      "$@" >"$work/log" 2>&1; then
      return
    fi
  done
  tail -n 20 "$work/log" >&2
  echo "tree.sh: could not download $*" >&2
  exit 1
}

# What the packages' own scripts would have done, as far as it is needed. Argument: the tree
prepare() {
  printf '%s\n' root:x:0:0::/:/bin/sh mail:x:8:8::/srv:/bin/sh courier:x:9:9::/srv:/bin/sh >"$1/etc/passwd"
  printf '%s\n' root:x:0: mail:x:8: courier:x:9: >"$1/etc/group"
  echo 127.0.0.1 localhost >"$1/etc/hosts"
  rm -rf "${1:?}"/{run,dev}
  # From Debian 13 on no package has these links of its own.
  local name
  for name in bin sbin lib lib64; do
    [ -e "$1/$name" ] || ln -s "usr/$name" "$1/$name"
  done
  # Where Courier looks for its config.
  rm -r "$1/etc/courier"
  ln -s /srv "$1/etc/courier"
  mkdir -p "$1/dev" "$1/proc" "$1/run" "$1/srv" "$1/tmp"
  touch "$1/dev/null" "$1/dev/random" "$1/dev/urandom"
}

# Inside the namespaces.
inside() {
  local tree=$1 dir=$2 device
  shift 2
  for device in null random urandom; do
    mount --bind "/dev/$device" "$tree/dev/$device"
  done
  mount -t proc proc "$tree/proc"
  mount -t tmpfs -o mode=755 run "$tree/run"
  mount --bind "$dir" "$tree/srv"
  exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$tree" /bin/dash /srv/start "$@"
}

case ${1:-} in
  build) build "$2" ;;
  run) shift && exec unshare --mount --pid --fork --kill-child -- "${BASH_SOURCE[0]}" inside "$@" ;;
  # For itself.
  inside) shift && inside "$@" ;;
  *) echo "tree.sh: build TREE, or run TREE DIR" >&2 && exit 64 ;;
esac
