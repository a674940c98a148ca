#!/usr/bin/env bash
# Tries the proxy out: a throw-away Dovecot, the proxy before it, and curl as the mail client.
#
#   deploy/try.sh          runs a mail session over both listeners, shows the trace, cleans up
#   deploy/try.sh --keep   leaves all of it running until Ctrl-C
#
# All it makes lies in one temporary folder. Exits with 0 only if every step really worked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/try/packages.sh
source deploy/try/packages.sh

user=alice
password=open-sesame
proxy=

main() {
  local keep=
  case "$*" in
    '') ;;
    --keep) keep=yes ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 64 ;;
  esac

  need_rust
  need_commands dovecot:dovecot-imapd curl:curl openssl:openssl cc:build-essential
  # Not all of /tmp is short enough for the sockets, or open to another user.
  dir=$(TMPDIR=/tmp mktemp -d -t imap-proxy-try.XXXXXX)
  trap clean_up EXIT
  trap 'exit 130' INT TERM

  echo
  start_dovecot
  build
  start_proxy
  session "plain" "imap://127.0.0.1:$plain_port"
  session "TLS" "imaps://127.0.0.1:$tls_port"
  show_trace
  if [ "$keep" ]; then
    stay
  else
    what_next
  fi
}

start_dovecot() {
  local version attempt
  make_certificate
  version=$(dovecot --version)
  printf '%s:%s\n' "$user" "$password" >"$dir/users"
  # For root Dovecot would serve no mail.
  as_owner=()
  owner=$(id -un)
  if [ "$(id -u)" = 0 ]; then
    owner=nobody
    as_owner=(setpriv --reuid nobody --regid "$(id -g nobody)" --clear-groups)
  fi
  for attempt in 1 2 3 4 5; do
    imap_port=$((20000 + RANDOM % 10000))
    sed -e "s|@DIR@|$dir|g; s|@USER@|$owner|g; s|@GROUP@|$(id -gn "$owner")|g" \
      -e "s|@IMAP_PORT@|$imap_port|g; s|@IMAPS_PORT@|$((imap_port + 10000))|g" \
      "deploy/try/dovecot-${version:0:3}.conf" >"$dir/dovecot.conf" || fail "Dovecot $version is not known"
    chown -R "$owner" "$dir"
    # It goes into the background once it listens. A port may be taken: then another try.
    if (cd "$dir" && "${as_owner[@]}" dovecot -c "$dir/dovecot.conf") 2>"$dir/refusal"; then
      done_ "Dovecot ${version%% *} listens on 127.0.0.1:$imap_port"
      return
    fi
  done
  cat "$dir/refusal" >&2
  fail "Dovecot did not start, $attempt times"
}

make_certificate() {
  (
    cd "$dir"
    exec 2>"$dir/refusal"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 7 \
      -subj "/CN=imap-proxy try CA" -keyout ca-key.pem -out ca.pem
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
      -subj "/CN=localhost" -keyout localhost-key.pem -out localhost.csr
    echo "subjectAltName=DNS:localhost,IP:127.0.0.1" >localhost.ext
    openssl x509 -req -days 7 -in localhost.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial \
      -extfile localhost.ext -out localhost.pem
  ) || { cat "$dir/refusal" >&2; fail "openssl made no certificate"; }
}

build() {
  echo "    building the proxy; the first time this takes some minutes ..."
  cargo build --release --locked --quiet
  binary=${CARGO_TARGET_DIR:-target}/release/imap-proxy
  done_ "$("$binary" --version) is built: $binary"
}

start_proxy() {
  cat >"$dir/config.toml" <<END
# Port 0 lets the kernel choose.
[[services]]
name = "plain"
bind = { encryption = "Insecure", host = "127.0.0.1", port = 0 }
connect = { encryption = "Insecure", host = "127.0.0.1", port = $imap_port }
trace = "full"

[[services]]
name = "tls"
connect = { encryption = "Tls", host = "127.0.0.1", port = $((imap_port + 10000)), ca_path = "ca.pem" }
trace = "full"

[services.bind]
encryption = "Tls"
host = "127.0.0.1"
port = 0
identity = { type = "CertificateChainAndLeafKey", certificate_chain_path = "localhost.pem", leaf_key_path = "localhost-key.pem" }
END
  "$binary" --config "$dir/config.toml" 2>"$dir/proxy.log" &
  proxy=$!
  plain_port=$(port_of plain)
  tls_port=$(port_of tls)
  done_ "imap-proxy listens on 127.0.0.1:$plain_port (plain) and 127.0.0.1:$tls_port (TLS)"
}

# The port that the service's line in the log names.
port_of() {
  local port
  for _ in $(seq 200); do
    port=$(sed -n "s/.*listening on 127\.0\.0\.1:\([0-9]*\) .*service=\"$1\".*/\1/p" "$dir/proxy.log")
    [ -z "$port" ] || { echo "$port"; return; }
    kill -0 "$proxy" 2>/dev/null || break
    sleep 0.1
  done
  cat "$dir/proxy.log" >&2
  fail "the proxy does not listen"
}

# Logs in, lists, appends, fetches and logs out, and compares. Arguments: name, URL
session() {
  local name=$1 url=$2 logouts
  logouts=$(grep -c 'Logged out' "$dir/dovecot.log" || true)

  client "$url/" >"$dir/list" || fail "$name: no list of mailboxes"
  grep -q 'INBOX' "$dir/list" || fail "$name: INBOX is not in the list of mailboxes"
  printf '%s\r\n' "From: you@example.org" "To: $user@example.org" "Subject: over $name" "" \
    "Hello, this is a message for the proxy." >"$dir/sent"
  client "$url/INBOX" --upload-file "$dir/sent" || fail "$name: the message was not appended"
  client "$url/INBOX;MAILINDEX=*" >"$dir/fetched" || fail "$name: the message was not fetched"
  cmp "$dir/sent" "$dir/fetched" || fail "$name: the fetched message is another"
  # Each of the three ended with LOGOUT, and Dovecot saw it.
  [ "$(grep -c 'Logged out' "$dir/dovecot.log")" = $((logouts + 3)) ] || fail "$name: no clean logout"
  done_ "over $name: logged in, listed, appended $(wc -c <"$dir/sent") bytes, fetched the same, logged out"
}

client() {
  # The password goes by standard input, so that no list of processes shows it.
  curl --silent --show-error --max-time 20 --cacert "$dir/ca.pem" --config - "$@" <<END
user = "$user:$password"
END
}

show_trace() {
  # As it is, and as SASL PLAIN has it.
  ! grep -q -e "$password" -e "$(printf '\0%s\0%s' "$user" "$password" | base64)" "$dir/proxy.log" ||
    fail "the password is in the log"
  done_ "the password is nowhere in the log"
  printf '\nWhat the proxy saw of the last session:\n\n'
  local session
  session=$(sed -n 's/.*\[tls\] \([^ ]*\)-\([0-9]*\) .*/\1-\2/p' "$dir/proxy.log" | tail -n 1)
  [ "$session" ] || fail "the trace shows no message"
  grep -F "[tls] $session " "$dir/proxy.log" | sed 's/^[^ ]* TRACE \[tls\] /  /' | cut -c1-"${COLUMNS:-120}"
}

what_next() {
  cat <<END

All of it worked, and is gone again. What to try next:
  deploy/try.sh --keep      leaves it running, for your own mail client
  config.toml               the example config, to make your own from
  man man/imap-proxy.8      the manual

END
}

stay() {
  trap 'exit 0' INT TERM
  cat <<END

It stays until you press Ctrl-C. Connect your mail client:
  plain  127.0.0.1:$plain_port
  TLS    127.0.0.1:$tls_port    CA: $dir/ca.pem
  user   $user    password  $password
By hand:
  openssl s_client -quiet -crlf -CAfile $dir/ca.pem -connect 127.0.0.1:$tls_port
Follow the trace:
  tail -f $dir/proxy.log
Change the config, and see in the log what the proxy makes of it:
  \$EDITOR $dir/config.toml

END
  wait "$proxy"
}

clean_up() {
  local code=$?
  trap - EXIT INT TERM
  if [ "$proxy" ]; then
    kill "$proxy" 2>/dev/null || true
    wait "$proxy" 2>/dev/null || true
  fi
  if [ -e "$dir/run/master.pid" ]; then
    (cd "$dir" && "${as_owner[@]}" doveadm -c "$dir/dovecot.conf" stop) 2>/dev/null || true
  fi
  rm -rf "$dir"
  exit "$code"
}

done_() { printf '  \342\234\223 %s\n' "$*"; }

fail() {
  printf '  \342\234\227 %s\n' "$*" >&2
  exit 1
}

main "$@"
