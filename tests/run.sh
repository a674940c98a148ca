#!/usr/bin/env bash
# Checks everything, on a bare Debian with Rust: installs what is missing, then format, lints,
# docs, dependencies, scripts, all tests, and each bench once, and that no secret is in any of the output.
#
# Every step runs, whatever became of the one before. Exits with 0 only if all of them passed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
# shellcheck source=deploy/try/packages.sh
source deploy/try/packages.sh

logs=$(mktemp -d -t imap-proxy-tests.XXXXXX) || exit
pictures=$(mktemp -d -t imap-proxy-pictures.XXXXXX) || exit
trap 'rm -rf "$logs" "$pictures"' EXIT
export IMAP_PROXY_TEST_LOGS=$logs CARGO_TERM_COLOR=never
failed=()

need_rust && need_commands cc:build-essential c++:build-essential \
  dovecot:dovecot-imapd curl:curl mutt:mutt mbsync:isync \
  offlineimap:offlineimap3 fetchmail:fetchmail haproxy:haproxy fail2ban-regex:fail2ban python3:python3 \
  node:nodejs npm:npm unshare:util-linux openssl:openssl shellcheck:shellcheck mandoc:mandoc \
  setpriv:util-linux script:bsdutils systemd-analyze:systemd \
  systemd-nspawn:systemd-container valgrind:valgrind || exit
# fail2ban reads the journal with this module. No command has its name, so it is installed.
python3 -c 'import systemd.journal' 2>/dev/null || need_commands python3-systemd:python3-systemd || exit

# Runs a command, shows its output and captures it. Arguments: what it is, command
step() {
  local name=$1
  shift
  printf '\n=== %s\n' "$name"
  if ! "$@" 2>&1 | tee -a "$logs/output.log"; then
    failed+=("$name")
  fi
}

dependencies() {
  if ! command -v cargo-deny >/dev/null && ! cargo install cargo-deny --locked --quiet; then
    echo "SKIPPED: cargo-deny is not there, and could not be installed"
  elif timeout 120 cargo deny fetch db >/dev/null 2>&1; then
    cargo deny check --hide-inclusion-graph
  else
    echo "SKIPPED: advisories, for their database could not be fetched"
    cargo deny check --hide-inclusion-graph bans licenses sources
  fi
}

# Each file whose first line says that it is a shell script.
scripts() {
  local files
  mapfile -t files < <(find . \( -name target -o -name .git \) -prune -o -type f -exec \
    awk 'FNR == 1 && /^#!.*sh$|^# shellcheck shell=/ { print FILENAME } { nextfile }' {} +)
  shellcheck --external-sources "${files[@]}" && echo "${#files[@]} scripts are clean"
}

# Debug and release builds differ in what they log.
secrecy_in_release() {
  local file tests=()
  for file in tests/*secrecy*.rs; do
    tests+=(--test "$(basename "$file" .rs)")
  done
  cargo test --release --lib "${tests[@]}"
}

# The targets are a workspace of their own. On a failure: fuzz/README.md. What fails is an input of the corpus; what a
# minute of new ones finds (3) is told at the end: every minute goes another way, so that it is hardly ever the fault
# of what changed.
fuzz() {
  cargo fmt --check --manifest-path fuzz/Cargo.toml &&
    cargo clippy --locked --all-targets --quiet --manifest-path fuzz/Cargo.toml -- -D warnings || return
  local code=0
  SEED=1 fuzz/run.sh 60 || code=$?
  [ "$code" -eq 0 ] || [ "$code" -eq 3 ]
}

# Each bench once, to see that it works; no time is judged. The counts may be half as much again as in
# the table, for a CPU that copies and searches in other ways.
benches() {
  cargo bench --quiet --bench messages --bench start -- --test || return
  local version
  version=$(cargo pkgid gungraun) || return
  version=${version##*@}
  if ! cargo install --list | grep -qx "gungraun-runner v$version:" &&
    ! cargo install "gungraun-runner@$version" --locked --debug --quiet; then
    echo "SKIPPED: gungraun-runner $version could not be installed, so nothing was counted"
    return
  fi
  benches/counts.py --within 50
}

docs() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet && echo "docs are clean"; }

step "format" cargo fmt --all --check
step "lints" cargo clippy --workspace --all-targets --quiet -- -D warnings
step "docs" docs
step "dependencies" dependencies
step "scripts" scripts
step "fuzz" fuzz
step "tests" cargo test --workspace --no-fail-fast
step "secrecy in a release build" secrecy_in_release
step "benches" benches
step "comparison with other proxies, briefly" benches/side-by-side/run.sh --quick
step "scaling, briefly" benches/side-by-side/scaling.sh --quick --out "$pictures"
step "a try as a user's first" deploy/try.sh
step "search for secrets in all output" cargo test --test captured -- --nocapture

printf '\n'
if grep -a ' FOUND: ' "$logs/output.log"; then
  echo "The fuzzers found something new: fuzz/README.md says what to do with it."
fi
if [ ${#failed[@]} -gt 0 ]; then
  printf 'FAILED: %s\n' "${failed[@]}"
  exit 1
fi
echo "all steps passed"
