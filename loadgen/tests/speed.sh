#!/usr/bin/env bash
# How many messages of 20 bytes one core of the generator sends and checks in a second (target: 2,200,000): in a closed loop, beside
# a server on the other core that knows of WebSocket no more than it must (`floor-frames` of benches/rivals).
#
#   loadgen/tests/speed.sh [DIRECTORY]
#
# DIRECTORY  directory of the release builds of loadgen and rivals [default: target/release]
# ROUNDS     rounds [default: 3]
# LENGTH     length of each in seconds [default: 10]
set -euo pipefail
bin=${1:-target/release}
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
taskset -c 0 "$bin/rivals" serve floor-frames echo "127.0.0.1:$port" >/dev/null &
server=$!
trap 'kill "$server"' EXIT
for _ in $(seq 100); do
  if (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
  sleep 0.1
done
for _ in $(seq "${ROUNDS:-3}"); do
  taskset -c 1 "$bin/loadgen" echo "ws://127.0.0.1:$port/" --connections 100 --pipeline 1000 --size 20 --duration "${LENGTH:-10}s" |
    grep -E '^(messages|throughput|generator|verdict)'
done
