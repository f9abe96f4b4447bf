#!/usr/bin/env bash
# The profile stomp of `loadgen custom` against RabbitMQ with its plugin rabbitmq_web_stomp. On Debian, root installs it here.
#
#   loadgen/tests/profiles/rabbitmq.sh [LOADGEN]
#
# LOADGEN  the binary: target/release/loadgen
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
loadgen=$(realpath "${1:-${CARGO_TARGET_DIR:-$here/../../../target}/release/loadgen}")
bin=/usr/lib/rabbitmq/bin
# shellcheck source=tests/support/need.sh
. "$here/../../../tests/support/need.sh"
need $bin/rabbitmq-server rabbitmq-server
install_needed || exit
work=$(mktemp -d)
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
# A broker of its own, with a port mapper of its own, on this machine only.
export HOME=$work ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_NODENAME=loadgen@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1
export RABBITMQ_MNESIA_BASE=$work/mnesia RABBITMQ_LOG_BASE=$work/log RABBITMQ_CONFIG_FILE=$work/rabbitmq.conf
export RABBITMQ_ENABLED_PLUGINS_FILE=$work/plugins RABBITMQ_PID_FILE=$work/pid RABBITMQ_CONF_ENV_FILE=/dev/null
ERL_EPMD_PORT=$(free_port)
RABBITMQ_NODE_PORT=$(free_port)
RABBITMQ_DIST_PORT=$(free_port)
export ERL_EPMD_PORT RABBITMQ_NODE_PORT RABBITMQ_DIST_PORT
echo '[rabbitmq_web_stomp].' >"$work/plugins"
printf 'web_stomp.tcp.ip = 127.0.0.1\nweb_stomp.tcp.port = %s\nstomp.listeners.tcp = none\n' "$port" >"$work/rabbitmq.conf"
epmd -daemon
$bin/rabbitmq-server >"$work/out" 2>&1 &
server=$!
trap 'kill $server; wait $server || true; epmd -kill >/dev/null || true; rm -r "$work"' EXIT
for _ in $(seq 600); do
  if (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
  kill -0 $server 2>/dev/null || { cat "$work/out"; exit 1; }
  sleep 0.1
done
for options in '--messages 50 --pipeline 4' '--rate 500 --duration 1s --warmup 0s' '--messages 20 --threads 2'; do
  # shellcheck disable=SC2086
  "$loadgen" custom "ws://127.0.0.1:$port/ws" --profile stomp --connections 10 $options --assert lost==0 --assert failed==0 \
    --assert corrupted==0 --assert duplicated==0 >"$work/report" || { cat "$work/report" "$work/out"; exit 1; }
  grep '^messages' "$work/report" | sed 's/^messages */stomp (RabbitMQ): /'
done
refused=$("$loadgen" custom "ws://127.0.0.1:$port/ws" --profile stomp --connections 2 --messages 1 --set passcode=wrong || true)
grep -q 'error of the server: ERROR' <<<"$refused" || { echo "$refused"; echo 'a wrong passcode was not reported'; exit 1; }
