#!/usr/bin/env bash
# Measures in full, and puts what comes out into README.md. Wants an idle machine for a quarter of an
# hour.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Runs a script and puts its output where README.md has a mark with its name. Argument: the name
record() {
  local output
  output=$(mktemp)
  "side-by-side/$1.sh" | tee "$output"
  awk -v "begin=<!-- $1.sh -->" -v "end=<!-- end of $1.sh -->" -v "output=$output" '
    $0 == end { replaced = 0 }
    !replaced { print }
    $0 == begin { replaced = 1; print ""; while ((getline line < output) > 0) print line; print "" }
  ' README.md >"$output.new"
  cat "$output.new" >README.md
  rm "$output" "$output.new"
}

record run
record scaling
