#!/usr/bin/env bash
# Makes what a release publishes, from a clean clone, in packaging/out/release: archives of the binary, of the static binary and of
# the source, the symbols, the Debian package, the formula of Homebrew, bills of materials (CycloneDX) and checksums.
#
# Times, owners and modes in it are those of the commit, and not of the machine: two clones of a commit give the same files
# (packaging/same.sh).
#
# RELEASE_URL  where all of it will be published; it is written into the formula
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C TZ=UTC
umask 022

if [ -n "$(git status --porcelain)" ]; then
  echo 'there are changes that no commit has' >&2
  exit 1
fi
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
version=$(cargo metadata --no-deps --format-version 1 | python3 -c '
import json, sys
print(next(it["version"] for it in json.load(sys.stdin)["packages"] if it["name"] == "switchboard-server"))')
host=$(rustc -vV | sed -n 's/^host: //p')
static=${host%-*}-musl
root=$(pwd -P)
out=packaging/out
release=$out/release

# cargo-cyclonedx comes from the registry, once for a machine.
command -v cargo-cyclonedx >/dev/null ||
  CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=0 cargo install cargo-cyclonedx --version 0.5.9 --locked --debug

# The archives and the bill of materials of a target: the target, the directory of what was built for it.
publish() {
  local target=$1 built=$2
  local name=switchboard-$version-$target
  mkdir "$release/$name"
  cp -r "$built/switchboard" "$built/man" "$built/completions" packaging/systemd README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT \
    "$release/$name/"
  tar --sort=name --format=gnu --mode='u+rw,a+rX,go-w' --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    -C "$release" -c "$name" | gzip -9n >"$release/$name.tar.gz"
  rm -r "${release:?}/$name"
  gzip -9nc "$built/switchboard.debug" >"$release/$name.debug.gz"
  cargo cyclonedx --manifest-path server/Cargo.toml --target "$target" --format json --override-filename "$name.cdx" --quiet
  sed "s|$root|.|g" "server/$name.cdx.json" >"$release/$name.cdx.json"
  find . -name "$name.cdx.json" -not -path "./$release/*" -delete
}

packaging/build.sh dist
packaging/deb.sh
packaging/build.sh dist "$static"
mkdir "$release"
publish "$host" "$out"
publish "$static" "$out/$static"
cp "$out"/*.deb "$release/"

source=switchboard-$version
git -c tar.umask=0022 archive --format=tar --prefix="$source/" HEAD | gzip -9n >"$release/$source.tar.gz"
sed -e "s|^  url .*|  url \"${RELEASE_URL:-https://switchboard.example/releases}/$source.tar.gz\"|" \
  -e "s|^  sha256 .*|  sha256 \"$(sha256sum "$release/$source.tar.gz" | cut -d' ' -f1)\"|" \
  packaging/homebrew/switchboard.rb >"$release/switchboard.rb"

(cd "$release" && sha256sum -- * >SHA256SUMS)
cat "$release/SHA256SUMS"
