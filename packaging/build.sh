#!/usr/bin/env bash
# Builds the Debian and the RPM package; what they hold is in Cargo.toml, [package.metadata].
#
#   packaging/build.sh              builds the release binary and both packages
#   packaging/build.sh --no-build   packages the release binary that is there
#
# Prints the paths of both. Installs cargo-deb and cargo-generate-rpm with Cargo where they are missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case "$*" in
  '') cargo build --release --locked >&2 ;;
  --no-build) ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 64 ;;
esac

for tool in cargo-deb cargo-generate-rpm; do
  command -v "$tool" >/dev/null || cargo install --locked --quiet "$tool" >&2
done

target=${CARGO_TARGET_DIR:-target}
out=$target/packages
mkdir -p "$out"
# The same input gives the same packages: their files are as old as the last change.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

# The licences of the crates in the binary ask to go with it: name, licence and texts of each.
licences() {
  local crate version licence text texts
  cargo tree --locked --edges normal --prefix none --format '{p} {l}' | sed 's/ (\*)$//' | sort -u |
    while read -r crate version licence; do
      [ "$crate" != imap-proxy ] || continue
      printf '=== %s %s: %s\n' "$crate" "$version" "$licence"
      texts=("${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$crate-${version#v}"/{LICEN[CS]E,COPYING,COPYRIGHT,NOTICE}*)
      for text in "${texts[@]}"; do
        [ ! -f "$text" ] || { printf '\n--- %s\n' "${text##*/}"; cat "$text"; }
      done
      echo
    done
}
licences >"$target/release/third-party-licences"

cargo deb --no-build --quiet --output "$out/"
cargo generate-rpm --output "$out/"
