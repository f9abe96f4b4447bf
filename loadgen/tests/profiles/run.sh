#!/usr/bin/env bash
# The profiles of `loadgen custom` against servers of other projects: Socket.IO, graphql-ws, and aedes (MQTT), from npm.
#
#   loadgen/tests/profiles/run.sh [LOADGEN]
#
# LOADGEN  the binary: target/release/loadgen. The servers are installed once, into target/profiles.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../../target}
loadgen=$(realpath "${1:-$target/release/loadgen}")
command -v npm >/dev/null || { echo 'npm is missing: install Node.js 20 or newer'; exit 2; }
mkdir -p "$target/profiles"
cp "$here/package.json" "$here/servers.mjs" "$target/profiles/"
cd "$target/profiles"
[ -d node_modules/socket.io ] || npm install --no-audit --no-fund --silent

# The servers end when the other end of their standard input closes.
coproc servers { exec node servers.mjs; }
for _ in 1 2 3; do
  read -r profile url <&"${servers[0]}"
  for options in '--messages 50 --pipeline 4' '--rate 500 --duration 1s --warmup 0s' '--messages 20 --threads 2'; do
    # shellcheck disable=SC2086
    "$loadgen" custom "$url" --profile "$profile" --connections 10 $options --assert lost==0 --assert failed==0 >report.txt ||
      { cat report.txt; echo "$profile $options failed"; exit 1; }
    grep '^messages' report.txt | sed "s/^messages */$profile: /"
  done
done
