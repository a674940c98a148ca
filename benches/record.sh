#!/usr/bin/env bash
# Measures in full, and puts what comes out into README.md. Wants an idle machine for a quarter of an
# hour.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Runs a command and puts its output where README.md has a mark with that name.
# Arguments: the name, command
record() {
  local name=$1 output
  shift
  output=$(mktemp)
  "$@" | tee "$output"
  awk -v "begin=<!-- $name -->" -v "end=<!-- end of $name -->" -v "output=$output" '
    $0 == end { replaced = 0 }
    !replaced { print }
    $0 == begin { replaced = 1; print ""; while ((getline line < output) > 0) print line; print "" }
  ' README.md >"$output.new"
  cat "$output.new" >README.md
  rm "$output" "$output.new"
}

record side-by-side side-by-side/run.sh
record traces side-by-side/run.sh --proxies haproxy,off,full,journal,stalled \
  --rows fetch,flags,envelope,noop50
record scaling side-by-side/scaling.sh
