#!/usr/bin/env bash
# Measures imap-proxy beside HAProxy, nginx, Dovecot and stunnel, which it installs from Debian where
# they are missing. Prints tables in Markdown. Arguments go to the program: see --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=deploy/try/packages.sh
source deploy/try/packages.sh

need_rust
need_commands cc:build-essential haproxy:haproxy nginx:nginx dovecot:dovecot-imapd stunnel:stunnel4
# No command has its name.
[ -e /usr/lib/nginx/modules/ngx_mail_module.so ] || need_commands ngx_mail_module:libnginx-mod-mail

cargo build --release --locked --package imap-proxy --package side-by-side
ulimit -n "$(ulimit -Hn)"
programs=${CARGO_TARGET_DIR:-target}/release

versions() {
  date -u +%F
  echo "$(nproc) cores of$(grep -m 1 '^model name' /proc/cpuinfo | cut -d : -f 2)"
  grep -oP '^PRETTY_NAME="\K[^"]+' /etc/os-release
  echo "Linux $(uname -r)"
  haproxy -v | grep -o '^HAProxy version [^ ]*'
  nginx -v 2>&1 | grep -o 'nginx/.*'
  echo "Dovecot $(dovecot --version)"
  stunnel -version 2>&1 | grep -o '^stunnel [0-9.]*'
  echo "imap-proxy $(git describe --always --dirty), $(stat -c %s "$programs/imap-proxy") bytes"
}
case $(dovecot --version) in
  2.3.*) ;;
  *)
    echo "Dovecot is left out: only the settings of 2.3 are known here" >&2
    set -- --without dovecot "$@"
    ;;
esac
versions | paste -s -d , | sed 's/,/, /g'
"$programs/side-by-side" "$@"
