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
  local log
  log=$(mktemp)
  if ! { "${root[@]}" apt-get update -q &&
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    echo "Could not install ${missing[*]}" >&2
    return 1
  fi
  rm -f "$log"
  # What is needed is the program; Debian's own instance, on port 143, is not.
  if [[ " ${missing[*]} " = *" dovecot-imapd "* ]] && [ -d /run/systemd/system ]; then
    "${root[@]}" systemctl disable -q --now dovecot.socket dovecot.service 2>/dev/null || true
  fi
}

# Says whether there is a Rust that can build this.
need_rust() {
  command -v cargo >/dev/null ||
    { echo "Please install Rust first: https://rustup.rs, or Debian's rustup" >&2; return 1; }
}
