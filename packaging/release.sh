#!/usr/bin/env bash
# Makes what a release publishes, from a clean clone, in packaging/out/release: archives of the binary and of the source, the symbols,
# the Debian package, the formula of Homebrew, a bill of materials (CycloneDX) and checksums. Times and owners in it are those of the
# commit, and not of the machine.
#
# RELEASE_URL  where all of it will be published; it is written into the formula
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -n "$(git status --porcelain)" ]; then
  echo 'there are changes that no commit has'
  exit 1
fi
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
version=$(cargo metadata --no-deps --format-version 1 | python3 -c '
import json, sys
print(next(it["version"] for it in json.load(sys.stdin)["packages"] if it["name"] == "switchboard-server"))')
host=$(rustc -vV | sed -n 's/^host: //p')
name=switchboard-$version-$host

packaging/build.sh dist
packaging/deb.sh
out=packaging/out
release=$out/release
mkdir -p "$release/$name"
cp -r "$out/switchboard" "$out/man" "$out/completions" packaging/systemd README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT "$release/$name/"
tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -C "$release" -c "$name" |
  gzip -9n >"$release/$name.tar.gz"
rm -r "${release:?}/$name"
cp "$out"/*.deb "$release/"
gzip -9nc "$out/switchboard.debug" >"$release/$name.debug.gz"

source=switchboard-$version
git archive --format=tar --prefix="$source/" HEAD | gzip -9n >"$release/$source.tar.gz"
sed -e "s|^  url .*|  url \"${RELEASE_URL:-https://switchboard.example/releases}/$source.tar.gz\"|" \
  -e "s|^  sha256 .*|  sha256 \"$(sha256sum "$release/$source.tar.gz" | cut -d' ' -f1)\"|" \
  packaging/homebrew/switchboard.rb >"$release/switchboard.rb"

# cargo-cyclonedx comes from the registry, once for a machine.
command -v cargo-cyclonedx >/dev/null ||
  CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=0 cargo install cargo-cyclonedx --version 0.5.9 --locked --debug
cargo cyclonedx --manifest-path server/Cargo.toml --format json --override-filename "$name.cdx" --quiet
sed "s|$PWD|.|g" "server/$name.cdx.json" >"$release/$name.cdx.json"
find . -name "$name.cdx.json" -not -path "./$release/*" -delete

(cd "$release" && sha256sum -- * >SHA256SUMS)
cat "$release/SHA256SUMS"
