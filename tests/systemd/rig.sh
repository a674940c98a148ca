#!/usr/bin/env bash
# A real systemd for tests: PID 1, journald, D-Bus and cgroup v2, over a throw-away copy of this host.
#
#   rig.sh up            boots it, in about half a second
#   rig.sh run COMMAND   runs a command inside
#   rig.sh root          prints the folder that is / inside
#   rig.sh down          halts it; nothing of it stays
#
# RIG       a folder for this instance's state; several may run, each with its own (imap-proxy-rig in TMPDIR)
# RELEASE   a Debian release to run instead of this host's, such as trixie: its tree is built once, and
#           kept in RIG_TREES (/var/tmp/imap-proxy-rigs)
# OWNER     a process id: when that process ends, the rig goes down by itself
#
# The network is this host's: what listens inside on 127.0.0.1 is reached from outside, and back.
# Needs root. Installs systemd-container, and debootstrap for a RELEASE, where they are missing.
set -euo pipefail
rig=${RIG:-${TMPDIR:-/tmp}/imap-proxy-rig}
release=${RELEASE:-host}
trees=${RIG_TREES:-/var/tmp/imap-proxy-rigs}

fail() {
  echo "rig.sh: $*" >&2
  exit 1
}

# Arguments: command, Debian package
need() {
  command -v "$1" >/dev/null && return
  mkdir -p "$trees"
  # Several may come at once; the first one installs.
  {
    flock 8
    command -v "$1" >/dev/null ||
      { apt-get update -q && apt-get install -q -y --no-install-recommends "$2"; } >/dev/null 2>&1 ||
      fail "$1 is missing, and its package $2 cannot be installed"
  } 8>"$trees/install.lock"
}

# Prints the tree of the release, which it builds the first time.
tree() {
  [ "$release" != host ] || { echo / && return; }
  local tree=$trees/$release mirror
  mkdir -p "$trees"
  # Several may come at once; the first one builds.
  exec 9>"$trees/$release.lock"
  flock 9
  if [ ! -e "$tree" ]; then
    need debootstrap debootstrap
    mirror=$(awk '/^URIs:/ { print $2; exit } $1 == "deb" { print $2; exit }' \
      /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null || true)
    rm -rf "$tree.part"
    debootstrap --variant=minbase \
      --include=systemd,systemd-sysv,dbus,procps,libnss-systemd,libbpf1,ca-certificates \
      "$release" "$tree.part" ${mirror:+"$mirror"} >"$tree.log" 2>&1 ||
      fail "cannot build $release: $(tail -n 3 "$tree.log")"
    mv "$tree.part" "$tree"
  fi
  exec 9>&-
  echo "$tree"
}

# Keeps all that is installed on the host from starting inside. Argument: the root folder
quiet() {
  local units=$1/etc/systemd/system unit
  rm -rf "$units"/*.wants "$units"/*.requires "$1"/etc/rc[0-6S].d
  # The way of many build hosts to keep packages from starting what they install.
  rm -f "$1/usr/sbin/policy-rc.d"
  mkdir -p "$units"
  # What needs hardware, or the network of the host for itself.
  for unit in systemd-modules-load systemd-networkd systemd-resolved systemd-timesyncd; do
    ln -sf /dev/null "$units/$unit.service"
  done
}

# Mounts and boots in a mount namespace of its own, so that the mounts go when the last process goes.
# Argument: the tree
boot() {
  mount -t tmpfs rig "$rig/layer"
  mkdir "$rig/layer/upper" "$rig/layer/work" "$rig/layer/root"
  mount -t overlay -o "lowerdir=$1,upperdir=$rig/layer/upper,workdir=$rig/layer/work" rig "$rig/layer/root"
  quiet "$rig/layer/root"
  # A minimal Debian does not know this name.
  grep -qs localhost "$rig/layer/root/etc/hosts" || echo 127.0.0.1 localhost >>"$rig/layer/root/etc/hosts"
  # A control group of its own, or else the units of two instances would be one.
  local group
  group=$(findmnt --noheadings --first-only --types cgroup2 --output TARGET)
  group=$group/$(sed -n 's/^0:://p' /proc/self/cgroup)/imap-proxy-rig-$$
  mkdir "$group"
  echo $$ >"$group/cgroup.procs"
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 exec systemd-nspawn --quiet --directory "$rig/layer/root" --boot \
    --register=no --keep-unit --link-journal=no --resolv-conf=bind-host --machine="rig-$$" \
    --uuid="$(tr -d - </proc/sys/kernel/random/uuid)" \
    --capability=all --system-call-filter=bpf --console=read-only
}

up() {
  [ "$(id -u)" = 0 ] || fail "needs root, to mount an overlay and to boot a container"
  [ ! -e "$rig" ] || fail "$rig is there already: is it up?"
  need systemd-nspawn systemd-container
  need pgrep procps
  local tree leader
  tree=$(tree)
  mkdir -p "$rig/layer"
  RIG=$rig setsid unshare --mount --propagation slave -- "${BASH_SOURCE[0]}" boot "$tree" \
    </dev/null >"$rig/console" 2>&1 &
  echo $! >"$rig/nspawn"
  for _ in {1..300}; do
    leader=$(pgrep --parent "$(<"$rig/nspawn")" | head -n 1 || true)
    if [ -n "$leader" ] && [ "$(cat "/proc/$leader/comm" 2>/dev/null)" = systemd ]; then
      echo "$leader" >"$rig/leader"
      case $(run systemctl is-system-running 2>/dev/null || true) in
        running | degraded)
          follow_owner
          return
          ;;
      esac
    fi
    kill -0 "$(<"$rig/nspawn")" 2>/dev/null || break
    sleep 0.1
  done
  tail -n 20 "$rig/console" >&2
  down
  fail "systemd does not come up: are namespaces and overlay mounts allowed here?"
}

# In the background.
follow_owner() {
  [ -n "${OWNER:-}" ] || return 0
  (tail --pid="$OWNER" -f /dev/null; down) </dev/null >/dev/null 2>&1 &
}

run() { nsenter --target "$(<"$rig/leader")" --all -- "$@"; }

root() { echo "/proc/$(<"$rig/leader")/root"; }

down() {
  [ -e "$rig" ] || return 0
  # All of the instance: nspawn ends with the namespaces of its first process, and that with nspawn.
  local pid=
  for pid in "$(cat "$rig/leader" 2>/dev/null)" "$(cat "$rig/nspawn" 2>/dev/null)"; do
    [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true
    [ -z "$pid" ] || timeout 10 tail --pid="$pid" --sleep-interval=0.1 -f /dev/null || true
  done
  [ -z "$pid" ] ||
    find /sys/fs/cgroup -depth -type d -path "*/imap-proxy-rig-$pid*" -exec rmdir {} \; 2>/dev/null || true
  rm -rf --one-file-system "$rig"
}

case ${1:-} in
  up | root | down) "$1" ;;
  run) shift && run "$@" ;;
  # For itself.
  boot) boot "$2" ;;
  *) fail "up, run COMMAND, root or down" ;;
esac
