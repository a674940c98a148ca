#!/usr/bin/env bash
# Fuzzes: two targets at a time, each from its corpus. A stable Rust will do.
#
# Arguments: seconds for each target (60), targets (all)
# What is found lies in fuzz/artifacts, and is told as base64; with KEEP=1 what is new goes into the corpus. SEED=1,
# or another number, begins the same way each time.
#
# Exits with 1 if an input of the corpus fails, or a target does not work; else with 3 if something was found.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

seconds=${1:-60}
shift || true
command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked --quiet
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(cargo fuzz list)

# Without a sanitizer: there is no unsafe code of ours, and it is twice as fast.
export RUSTC_BOOTSTRAP=1
cargo fuzz build --sanitizer none
host=$(rustc -vV | sed -n 's/^host: //p')
logs=$(mktemp -d -t imap-proxy-fuzz.XXXXXX)
trap 'rm -rf "$logs"' EXIT

# Runs one target. Arguments: target
fuzz() {
  local target=$1 log=$logs/$1.log new=$logs/$1 program=target/$host/release/$1 options what input
  [ -z "${KEEP:-}" ] || new=corpus/$target
  mkdir -p "$new" "artifacts/$target"
  options=(-seed="${SEED:-0}" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1
    -artifact_prefix="artifacts/$target/" -dict=imap.dict)
  [ "$target" != config ] || options[-1]=-dict=toml.dict
  if ! "$program" "${options[@]}" "corpus/$target"/* >"$log" 2>&1; then
    echo "$target FAILED"
    tail -n 60 "$log"
    return 1
  fi
  # Without these it would throw bytes at random.
  grep -q "inline 8-bit counters" "$log" || { echo "$target: no coverage"; return 1; }
  if ! "$program" "${options[@]}" "$new" "corpus/$target" >"$log" 2>&1; then
    # Not what it says, where there may be a planted secret.
    what=$(grep -a -m 1 -o 'panicked at [^ ]*' "$log" || tail -n 1 "$log" | cut -c -100)
    input=$(grep -a -o 'Test unit written to .*' "$log" | cut -d ' ' -f 5 || true)
    echo "$target FOUND: $what $([ -z "$input" ] || base64 -w 0 "$input")"
    return 3
  fi
  echo "$target: $(grep -a '^#[0-9]*[[:space:]]*DONE' "$log" | tr -s '\t ' ' ')"
}

result=0
for ((i = 0; i < ${#targets[@]}; i += 2)); do
  pids=()
  for target in "${targets[@]:i:2}"; do
    fuzz "$target" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do
    code=0
    wait "$pid" || code=$?
    [ "$code" -eq 0 ] || [ "$result" -eq 1 ] || result=$code
  done
done
exit "$result"
