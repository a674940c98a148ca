# shellcheck shell=bash
# Sourced by deploy/try.sh and tests/run.sh.

# Dovecot lies there, and not every user looks there.
PATH=$PATH:/usr/sbin

# Installs Debian's packages for the commands that are missing.
# Each argument: COMMAND:PACKAGE
need_commands() {
  local pair missing=() root=()
  for pair in "$@"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0

  if [ "$(id -u)" != 0 ]; then
    root=(sudo)
  fi
  if ! command -v apt-get >/dev/null || ! command -v "${root[0]:-env}" >/dev/null; then
    echo "Please install first: ${missing[*]} (there is no apt-get, or no sudo to run it with)" >&2
    return 1
  fi
  echo "Installing ${missing[*]} ..."
  # What is needed is the programs; Debian's own instances, on ports of their own, are not.
  local log units=() package
  for package in "${missing[@]}"; do
    case $package in
      dovecot-imapd) units+=(dovecot.socket dovecot.service) ;;
      haproxy | fail2ban | nginx) units+=("$package.service") ;;
    esac
  done
  [ -d /run/systemd/system ] || units=()
  [ ${#units[@]} -eq 0 ] || "${root[@]}" systemctl mask -q --runtime "${units[@]}" 2>/dev/null
  log=$(mktemp)
  if ! { "${root[@]}" apt-get update -q &&
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    [ ${#units[@]} -eq 0 ] || "${root[@]}" systemctl unmask -q --runtime "${units[@]}"
    echo "Could not install ${missing[*]}" >&2
    return 1
  fi
  rm -f "$log"
  if [ ${#units[@]} -gt 0 ]; then
    "${root[@]}" systemctl unmask -q --runtime "${units[@]}"
    "${root[@]}" systemctl disable -q --now "${units[@]}" 2>/dev/null || true
  fi
}

# Says whether there is a Rust that can build this.
need_rust() {
  command -v cargo >/dev/null ||
    { echo "Please install Rust first: https://rustup.rs, or Debian's rustup" >&2; return 1; }
}
