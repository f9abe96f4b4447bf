#!/usr/bin/env bash
# The cost of a message in the generator: instructions (at most 220) and allocations (none). Each is the difference between
# two numbers of messages under valgrind, in a closed loop of 100 connections with 16 messages of 20 bytes in flight.
#
#   loadgen/tests/cost.sh [DIRECTORY]
#
# DIRECTORY  directory of the release builds of switchboard and loadgen [default: target/release]
set -euo pipefail
bin=${1:-target/release}
few=200
many=1200
connections=100
# shellcheck source=tests/support/need.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../tests/support/need.sh"
need valgrind valgrind
install_needed || exit 2
work=$(mktemp -d)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$bin/switchboard" echo --listen "127.0.0.1:$port" >/dev/null &
server=$!
trap 'kill "$server"; rm -r "$work"' EXIT
for _ in $(seq 100); do
  if (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
  sleep 0.1
done

# flood MESSAGES TOOL…
flood() {
  local messages=$1
  shift
  valgrind "$@" "$bin/loadgen" echo "ws://127.0.0.1:$port/" --connections $connections --pipeline 16 --size 20 --seed 1 \
    --messages "$messages" >"$work/report" 2>"$work/valgrind" || { cat "$work/report" "$work/valgrind"; exit 1; }
}
instructions() {
  flood "$1" --tool=callgrind --callgrind-out-file="$work/callgrind"
  awk '/^(summary|totals):/ { print $2; exit }' "$work/callgrind"
}
allocations() {
  flood "$1" --tool=memcheck --leak-check=no
  sed -n 's/.*total heap usage: \([0-9,]*\) allocs.*/\1/p' "$work/valgrind" | tr -d ,
}

messages=$(((many - few) * connections))
spent=$((($(instructions $many) - $(instructions $few)) / messages))
allocated=$(($(allocations $many) - $(allocations $few)))
echo "instructions per message: $spent (at most 220)"
echo "allocations for $messages more messages: $allocated"
# The records of latencies may differ by a few entries between runs.
[ "$spent" -le 220 ] && [ "$allocated" -lt 200 ]
