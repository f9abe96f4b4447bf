#!/usr/bin/env bash
# The profiles of `loadgen custom` against servers of other projects: Socket.IO, graphql-ws, aedes (MQTT) and soketi (Pusher)
# from npm, tokio-centrifuge (Centrifugo) from crates.io. For STOMP see rabbitmq.sh. The server of Phoenix is in no registry
# that the tests use: a strict server of its protocol takes its place, which Phoenix's own client for JavaScript tries first.
#
#   loadgen/tests/profiles/run.sh [LOADGEN]
#
# LOADGEN  the binary: target/release/loadgen. The servers are installed once, into target/profiles.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../../target}
mkdir -p "$target/profiles"
target=$(realpath "$target")
loadgen=$(realpath "${1:-$target/release/loadgen}")
command -v npm >/dev/null || { echo 'npm is missing: install Node.js 20 or newer'; exit 2; }
CARGO_TARGET_DIR=$target cargo build --locked --quiet --manifest-path "$here/centrifugo/Cargo.toml"
cd "$target/profiles"
cp "$here/servers.mjs" .
if ! cmp -s "$here/package.json" installed.json; then
  cp "$here/package.json" .
  npm install --no-audit --no-fund --silent --ignore-scripts
  cp package.json installed.json
fi

# The servers end when the other end of their standard input closes.
export CENTRIFUGO=$target/debug/loadgen-profile-centrifugo
coproc servers { exec node servers.mjs; }

# try PROFILE URL: a closed loop, an open one, and two threads
try() {
  for options in '--messages 50 --pipeline 4' '--rate 500 --duration 1s --warmup 0s' '--messages 20 --threads 2'; do
    # shellcheck disable=SC2086
    "$loadgen" custom "$2" --profile "$1" --connections 10 $options --assert lost==0 --assert failed==0 \
      --assert corrupted==0 --assert duplicated==0 >report.txt || { cat report.txt; echo "$1 $options failed"; exit 1; }
    grep '^messages' report.txt | sed "s/^messages */$1: /"
  done
}

for _ in 1 2 3 4 5 6; do
  read -r profile url <&"${servers[0]}"
  try "$profile" "$url"
done
