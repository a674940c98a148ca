#!/usr/bin/env bash
# Measures imap-proxy with 10 to 10,000 idle sessions, beside HAProxy, and with 1 to 1,000 services.
# Writes tables and pictures to benches/pictures. Arguments go to the program: see --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=deploy/try/packages.sh
source deploy/try/packages.sh

need_rust
need_commands cc:build-essential haproxy:haproxy

cargo build --release --locked --package imap-proxy --package side-by-side
ulimit -n "$(ulimit -Hn)"
"${CARGO_TARGET_DIR:-target}/release/scaling" "$@"
