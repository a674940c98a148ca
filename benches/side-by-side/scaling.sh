#!/usr/bin/env bash
# Measures imap-proxy with 10 to 10,000 idle sessions, beside HAProxy, and with 1 to 1,000 services.
# Prints tables, and draws pictures into benches/pictures. Arguments go to the program: see --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=benches/side-by-side/common.sh
source benches/side-by-side/common.sh

build
machine
"$programs/scaling" "$@"
