#!/usr/bin/env bash
# Makes the Debian package of loadgen, packaging/out-loadgen/loadgen_*.deb, and tries what is in it.
#
#   packaging/loadgen.sh [PROFILE]
#
# PROFILE  a profile of Cargo.toml; release is the one of releases. CARGO_TARGET_DIR is honoured.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

profile=${1:-release}
out=packaging/out-loadgen
directory=$profile
if [ "$profile" = dev ]; then directory=debug; fi
cargo build --locked --profile "$profile" -p loadgen

rm -rf "$out"
mkdir -p "$out/man" "$out/completions"
objcopy --strip-all "${CARGO_TARGET_DIR:-target}/$directory/loadgen" "$out/loadgen"
"$out/loadgen" man --dir "$out/man"
gzip -9n "$out"/man/*.1
"$out/loadgen" completions bash >"$out/completions/loadgen"
"$out/loadgen" completions zsh >"$out/completions/_loadgen"
"$out/loadgen" completions fish >"$out/completions/loadgen.fish"

# cargo-deb comes from the registry, once for a machine.
command -v cargo-deb >/dev/null ||
  CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=0 cargo install cargo-deb --version 3.8.0 --locked --debug
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
cargo deb -p loadgen --no-build --no-strip --output "$out/"

deb=$(echo "$out"/*.deb)
unpacked=$(mktemp -d)
trap 'rm -r "$unpacked"' EXIT
dpkg-deb -x "$deb" "$unpacked"
"$unpacked/usr/bin/loadgen" --version
for page in loadgen loadgen-echo loadgen-lead; do
  gzip -dc "$unpacked/usr/share/man/man1/$page.1.gz" | grep -q '^\.SH OPTIONS'
done
bash -n "$unpacked/usr/share/bash-completion/completions/loadgen"
echo "the package: $(stat -c %s "$deb") bytes"
