#!/usr/bin/env bash
# What several loops gain: processor time of the server for each delivered message, in all and of the busiest loop, with 1, 2
# and 4 loops. It counts CPU, so two cores can show it. The bounds: the busiest loop has at most 0.55 and 0.30 of what one
# loop spends, and 2 loops with one topic of 5,000 members spend at most 1.05 of it in all.
#
#   loadgen/tests/loops.sh [DIRECTORY [ROUNDS]]
#
# DIRECTORY  directory of the release builds of switchboard and loadgen [default: target/release]
set -euo pipefail
bin=${1:-target/release}
rounds=${2:-3}
work=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server" 2>/dev/null; fi; rm -r "$work"' EXIT

# spent: nanoseconds on a processor of each thread of the server
spent() {
  local task
  for task in "/proc/$server/task/"*; do
    echo "$(basename "$task") $(cut -d' ' -f1 "$task/schedstat")"
  done
}

# measure LOOPS COMMAND ARGUMENT…: microseconds for each message, in all and of the busiest loop
measure() {
  local loops=$1 command=$2
  shift 2
  "$bin/switchboard" "$command" --listen 127.0.0.1:0 --threads "$loops" --max-queued 4294967296 >"$work/log" 2>&1 &
  server=$!
  for _ in $(seq 100); do
    if grep -q 'Server running at' "$work/log"; then break; fi
    sleep 0.1
  done
  local url
  url=ws://127.0.0.1:$(sed -n 's/.*Server running at .*:\([0-9]*\).*/\1/p' "$work/log" | head -1)/
  spent >"$work/before"
  "$bin/loadgen" "$command" "$url" "$@" --json "$work/report" >"$work/said" 2>&1 || { cat "$work/said" >&2; exit 1; }
  spent >"$work/after"
  kill "$server"
  wait "$server" || true
  server=
  python3 - "$work" <<'PYTHON'
import json, sys
work = sys.argv[1]
read = lambda name: {a: int(b) for a, b in (line.split() for line in open(f"{work}/{name}"))}
before, after = read("before"), read("after")
spent = [ns - before.get(task, 0) for task, ns in after.items()]
report = json.load(open(f"{work}/report"))
count = report["answered"]
print(sum(spent) / count / 1000, max(spent) / count / 1000)
PYTHON
}

# compare NAME COMMAND ARGUMENT…
compare() {
  local name=$1
  shift
  for round in $(seq "$rounds"); do
    local base_all='' base_busiest=''
    for loops in 1 2 4; do
      read -r all busiest < <(measure "$loops" "$@")
      if [ "$loops" = 1 ]; then base_all=$all base_busiest=$busiest; fi
      awk -v n="$name" -v r="$round" -v l="$loops" -v a="$all" -v b="$busiest" -v ba="$base_all" -v bb="$base_busiest" 'BEGIN {
        printf "%-28s round %d, %d loops: %.3f us in all (%.2f), %.3f us of the busiest loop (%.2f)\n", n, r, l, a, a / ba, b, b / bb }'
    done
  done
}

compare 'echo, 200 x 20 B' echo --connections 200 --pipeline 4 --size 20 --messages 2000 --seed 1
# What is in flight is gathered where a loop is busy: several loops are less so, and read and write less of it at once. With one
# message in flight, and with messages that come at their time, there is the same to gather for all.
compare 'echo, 200 x 20 B, one each' echo --connections 200 --pipeline 1 --size 20 --messages 3000 --seed 1
compare 'fan-out, 1,000 members' fanout --connections 1000 --publishers 4 --size 100 --messages 500 --seed 1
compare 'fan-out, 1,000, 60 a second' fanout --connections 1000 --publishers 4 --size 100 --rate 60 --duration 6s --seed 1
compare 'fan-out, 5,000 members' fanout --connections 5000 --publishers 2 --size 100 --messages 150 --seed 1
compare 'fan-out, 5,000, 12 a second' fanout --connections 5000 --publishers 2 --size 100 --rate 12 --duration 6s --seed 1
