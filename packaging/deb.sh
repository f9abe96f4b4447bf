#!/usr/bin/env bash
# Makes the Debian package of what packaging/build.sh has built: packaging/out/switchboard_*.deb
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# cargo-deb comes from the registry, once for a machine.
command -v cargo-deb >/dev/null ||
  CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=0 cargo install cargo-deb --version 3.8.0 --locked --debug
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
rm -f packaging/out/*.deb
gzip -9nc CHANGELOG.md >packaging/out/changelog.gz
cargo deb -p switchboard-server --no-build --no-strip --output packaging/out/
