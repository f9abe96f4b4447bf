#!/usr/bin/env bash
# Builds what is packaged: the binary without its symbols, the symbols beside it, man pages and completions.
#
#   packaging/build.sh [PROFILE [TARGET]]
#
# PROFILE  a profile of Cargo.toml; dist is the one of releases. CARGO_TARGET_DIR is honoured.
# TARGET   a target of Rust; the system's own by default. One of musl makes a static binary.
#
# The output is in packaging/out; that of another target is in packaging/out/TARGET.
#
# The same commit, compiler and C compiler give the same files, in whatever directory the build is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
profile=${1:-dist}
target=${2:-$host}
out=packaging/out
if [ "$target" != "$host" ]; then out=$out/$target; fi
max_bytes=12000000

# No path of this machine is in the binary. Of several prefixes that fit, the last one counts.
root=$(pwd -P)
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")
export CARGO_TARGET_DIR
cargo_home=$(realpath -m "${CARGO_HOME:-$HOME/.cargo}")
compiler=$(rustc -vV | sed -n 's/^commit-hash: //p')
sysroot=$(rustc --print sysroot)
# A registry has one directory for each address under which it is reached.
cargo fetch --locked --target "$target" --quiet
mapped=("$root=." "$CARGO_TARGET_DIR=target" "$cargo_home=cargo" "$sysroot/lib/rustlib/src/rust=/rustc/$compiler")
for registry in "$cargo_home"/registry/src/*; do
  if [ -d "$registry" ]; then mapped+=("$registry=registry"); fi
done
RUSTFLAGS="${RUSTFLAGS:-}$(printf ' --remap-path-prefix=%s' "${mapped[@]}")"
CFLAGS="${CFLAGS:-}$(printf ' -ffile-prefix-map=%s' "${mapped[@]}")"
export CFLAGS
# Parts of SQLite that nothing here uses.
LIBSQLITE3_FLAGS="-DHAVE_FDATASYNC=1 -DSQLITE_OMIT_LOAD_EXTENSION=1 -USQLITE_ENABLE_LOAD_EXTENSION -USQLITE_ENABLE_FTS3
  -USQLITE_ENABLE_FTS3_PARENTHESIS -USQLITE_ENABLE_RTREE -USQLITE_ENABLE_DBSTAT_VTAB -USQLITE_ENABLE_STAT4 -USQLITE_SOUNDEX"
export LIBSQLITE3_FLAGS
link=()
if [ "$profile" = dist ]; then
  # A panic ends the process where it happens: nothing unwinds. Calls are inlined where that saves what it costs; the static binary
  # has musl in it, and may be no larger.
  threshold=100
  if [[ $target == *-musl ]]; then threshold=80; fi
  RUSTFLAGS="$RUSTFLAGS -C force-unwind-tables=no -C llvm-args=-inline-threshold=$threshold"
  # The linker of Rust: functions that nobody compares and that are the same are there once; relocations take a bit each (glibc 2.36,
  # musl 1.2.4).
  link=(-C 'link-arg=-Wl,--icf=safe' -C 'link-arg=-Wl,-z,pack-relative-relocs'
    -C 'link-arg=-Wl,--no-eh-frame-hdr' -C "link-arg=-Wl,-T,$root/packaging/no-unwinding.ld")
  # It is not the default for musl.
  if [[ $target == *-musl ]]; then
    link+=(-C "link-arg=-B$sysroot/lib/rustlib/$host/bin/gcc-ld" -C 'link-arg=-fuse-ld=lld')
  fi
fi
case $target in
  *-musl)
    if ! [ -d "$(rustc --print target-libdir --target "$target")" ]; then
      echo "there is no Rust for $target; get it: rustup target add $target" >&2
      exit 1
    fi
    if ! command -v musl-gcc >/dev/null; then
      echo 'there is no musl-gcc; on Debian, as root: apt-get update && apt-get install musl-tools' >&2
      exit 1
    fi
    export "CC_${target//-/_}=musl-gcc"
    ;;
esac
export RUSTFLAGS
SOURCE_COMMIT=${SOURCE_COMMIT:-$(git rev-parse --short=12 HEAD 2>/dev/null || true)}
SOURCE_DATE=${SOURCE_DATE:-$(git log -1 --format=%cs 2>/dev/null || true)}
export SOURCE_COMMIT SOURCE_DATE
# With --target the flags are for the binary alone, and not for what builds it.
cargo rustc --locked --target "$target" --profile "$profile" -p switchboard-server --bin switchboard -- "${link[@]}"

built=$CARGO_TARGET_DIR/$target/$profile/switchboard
rm -rf "$out"
mkdir -p "$out/man" "$out/completions"
objcopy --only-keep-debug "$built" "$out/switchboard.debug"
if places=$(grep -aobF -e "$cargo_home/" -e "$root/" -e "$CARGO_TARGET_DIR/" -e "$sysroot/" "$out/switchboard.debug" "$built"); then
  echo 'the binary or its symbols name directories of this machine:' >&2
  head -n 5 <<<"$places" | cut -c 1-200 >&2
  exit 1
fi
objcopy --compress-debug-sections "$out/switchboard.debug"
objcopy --strip-all "$built" "$out/switchboard"
objcopy --add-gnu-debuglink="$out/switchboard.debug" "$out/switchboard"

"$out/switchboard" man --dir "$out/man"
gzip -9n "$out"/man/*.1
"$out/switchboard" completions bash >"$out/completions/switchboard"
"$out/switchboard" completions zsh >"$out/completions/_switchboard"
"$out/switchboard" completions fish >"$out/completions/switchboard.fish"

bytes=$(stat -c %s "$out/switchboard")
echo "switchboard: $bytes bytes without symbols"
if [ "$profile" = dist ] && [ "$bytes" -gt "$max_bytes" ]; then
  echo "that is more than $max_bytes" >&2
  exit 1
fi
