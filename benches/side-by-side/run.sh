#!/usr/bin/env bash
# Measures imap-proxy beside HAProxy, nginx, Dovecot and stunnel, which it installs from Debian where
# they are missing. Prints tables in Markdown. Arguments go to the program: see --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=benches/side-by-side/common.sh
source benches/side-by-side/common.sh

need_commands nginx:nginx dovecot:dovecot-imapd stunnel:stunnel4
# No command has its name.
[ -e /usr/lib/nginx/modules/ngx_mail_module.so ] || need_commands ngx_mail_module:libnginx-mod-mail
build
case $(dovecot --version) in
  2.3.*) ;;
  *)
    echo "Dovecot is left out: only the settings of 2.3 are known here" >&2
    set -- --without dovecot "$@"
    ;;
esac
machine
echo "Beside it: $(nginx -v 2>&1 | grep -o 'nginx/.*'), Dovecot $(dovecot --version)," \
  "$(stunnel -version 2>&1 | grep -o '^stunnel [0-9.]*')."
"$programs/side-by-side" "$@"
