# shellcheck shell=bash
# Sourced by run.sh and scaling.sh, in the folder of the project.

# shellcheck source=deploy/try/packages.sh
source deploy/try/packages.sh

# Builds what is measured and what measures it, into the folder $programs.
build() {
  need_rust && need_commands cc:build-essential haproxy:haproxy || return
  cargo build --release --locked --package imap-proxy --package side-by-side || return
  programs=${CARGO_TARGET_DIR:-target}/release
  # Each session takes two files.
  ulimit -n "$(ulimit -Hn)"
}

# The date, the machine and the versions, in one line.
machine() {
  {
    date -u +%F
    echo "$(nproc) cores of$(grep -m 1 '^model name' /proc/cpuinfo | cut -d : -f 2)"
    grep -oP '^PRETTY_NAME="\K[^"]+' /etc/os-release
    echo "Linux $(uname -r)"
    haproxy -v | grep -o '^HAProxy version [^ ]*'
    echo "imap-proxy $(git describe --always --dirty) of $(stat -c %s "$programs/imap-proxy") bytes"
  } | paste -s -d , | sed 's/,/, /g'
}
