#!/usr/bin/env bash
# Builds what is packaged into packaging/out: the binary without its symbols, the symbols beside it, man pages and completions.
#
#   packaging/build.sh [PROFILE]
#
# PROFILE  a profile of Cargo.toml; dist is the one of releases. CARGO_TARGET_DIR is honoured.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

profile=${1:-dist}
target=${CARGO_TARGET_DIR:-target}
out=packaging/out
max_bytes=12000000

host=$(rustc -vV | sed -n 's/^host: //p')
built=$target/$host/$profile/switchboard
# No path of this machine is in the binary.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$PWD=. --remap-path-prefix=$cargo_home=cargo"
CFLAGS="${CFLAGS:-} -ffile-prefix-map=$cargo_home=cargo"
export CFLAGS
# Parts of SQLite that nothing here uses.
LIBSQLITE3_FLAGS="-DHAVE_FDATASYNC=1 -DSQLITE_OMIT_LOAD_EXTENSION=1 -USQLITE_ENABLE_LOAD_EXTENSION -USQLITE_ENABLE_FTS3
  -USQLITE_ENABLE_FTS3_PARENTHESIS -USQLITE_ENABLE_RTREE -USQLITE_ENABLE_DBSTAT_VTAB -USQLITE_ENABLE_STAT4 -USQLITE_SOUNDEX"
export LIBSQLITE3_FLAGS
link=()
if [ "$profile" = dist ]; then
  # A panic ends the process where it happens: nothing unwinds. Calls are inlined where that saves what it costs.
  RUSTFLAGS="$RUSTFLAGS -C force-unwind-tables=no -C llvm-args=-inline-threshold=100"
  # The linker of Rust: functions that nobody compares and that are the same are there once; relocations take a bit each (glibc 2.36).
  link=(-C 'link-arg=-Wl,--icf=safe' -C 'link-arg=-Wl,-z,pack-relative-relocs'
    -C 'link-arg=-Wl,--no-eh-frame-hdr' -C "link-arg=-Wl,-T,$PWD/packaging/no-unwinding.ld")
fi
export RUSTFLAGS
SOURCE_COMMIT=${SOURCE_COMMIT:-$(git rev-parse --short=12 HEAD 2>/dev/null || true)}
export SOURCE_COMMIT
# With --target the flags are for the binary alone, and not for what builds it.
cargo rustc --locked --target "$host" --profile "$profile" -p switchboard-server --bin switchboard -- "${link[@]}"

rm -rf "$out"
mkdir -p "$out/man" "$out/completions"
objcopy --only-keep-debug --compress-debug-sections "$built" "$out/switchboard.debug"
objcopy --strip-all "$built" "$out/switchboard"
objcopy --add-gnu-debuglink="$out/switchboard.debug" "$out/switchboard"

"$out/switchboard" man --dir "$out/man"
gzip -9n "$out"/man/*.1
"$out/switchboard" completions bash >"$out/completions/switchboard"
"$out/switchboard" completions zsh >"$out/completions/_switchboard"
"$out/switchboard" completions fish >"$out/completions/switchboard.fish"

if grep -qaF -e "$cargo_home/" -e "$PWD/" "$out/switchboard"; then
  echo 'the binary names directories of this machine'
  exit 1
fi
bytes=$(stat -c %s "$out/switchboard")
echo "switchboard: $bytes bytes without symbols"
if [ "$profile" = dist ] && [ "$bytes" -gt "$max_bytes" ]; then
  echo "that is more than $max_bytes"
  exit 1
fi
