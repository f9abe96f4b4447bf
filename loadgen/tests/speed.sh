#!/usr/bin/env bash
# How many messages of 20 bytes one core of the generator sends and checks in a second (target: 2,200,000), by how many are in
# flight on each of 100 connections: beside a raw echo of octets on the other core, which knows nothing of frames.
#
#   loadgen/tests/speed.sh [DIRECTORY]
#
# DIRECTORY  directory of the release builds of loadgen and rivals (benches/rivals) [default: target/release]
# ROUNDS     rounds [default: 3]
# LENGTH     length of each run in seconds [default: 5]
set -euo pipefail
bin=${1:-target/release}
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
taskset -c 0 "$bin/rivals" serve floor echo "127.0.0.1:$port" >/dev/null &
server=$!
trap 'kill "$server"' EXIT
for _ in $(seq 100); do
  if (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
  sleep 0.1
done
for flight in 16 64 1000; do
  for _ in $(seq "${ROUNDS:-3}"); do
    printf '%4d in flight: ' "$flight"
    taskset -c 1 "$bin/loadgen" echo "ws://127.0.0.1:$port/" --mask none --connections 100 --pipeline "$flight" --size 20 \
      --duration "${LENGTH:-5}s" | sed -n 's/^throughput *//p'
  done
done
