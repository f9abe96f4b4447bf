#!/usr/bin/env bash
# What a message of `loadgen custom` costs: instructions, with messages of one's own and with each profile, beside `echo --text`.
# Each against the least that a server can answer (answerer.mjs), as the difference between two numbers of messages under
# valgrind, in a closed loop of 100 connections with 16 messages in flight. Messages of one's own may cost 1.5 times an echo.
#
#   loadgen/tests/profiles/cost.sh [LOADGEN]
#
# LOADGEN  the binary: target/release/loadgen
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
loadgen=$(realpath "${1:-${CARGO_TARGET_DIR:-$here/../../../target}/release/loadgen}")
few=100
many=500
connections=100
for tool in valgrind node; do
  command -v $tool >/dev/null || { echo "$tool is missing (on Debian: apt-get install valgrind nodejs)"; exit 2; }
done
work=$(mktemp -d)
coproc answerer { exec node "$here/answerer.mjs"; }
read -r url <&"${answerer[0]}"
trap 'rm -r "$work"' EXIT
printf '{"type":"ask","id":{{seq}},"text":"abcdefghijklmnopqrst"}\n' >"$work/custom"
# The server sends the random text back, so each answer must be read as JSON.
printf '{"type":"ask","id":{{seq}},"text":"{{random:20}}"}\n' >"$work/random"

# instructions MESSAGES SCENARIO…
instructions() {
  local messages=$1
  shift
  valgrind --tool=callgrind --callgrind-out-file="$work/callgrind" "$loadgen" "$@" --connections $connections --pipeline 16 \
    --seed 1 --messages "$messages" --assert lost==0 --assert failed==0 >"$work/report" 2>"$work/valgrind" ||
    { cat "$work/report" "$work/valgrind" >&2; return 1; }
  awk '/^(summary|totals):/ { print $2; exit }' "$work/callgrind"
}

# spent NAME WORDS…: sets instructions for each message
spent() {
  local less more
  less=$(instructions $few "$@")
  more=$(instructions $many "$@")
  each=$(((more - less) / ((many - few) * connections)))
}

spent echo "$url/echo" --text --size 20
echo=$each
printf '%-12s %5d instructions per message\n' 'echo --text' "$echo"
own=0
for profile in custom random phoenix socketio pusher centrifugo graphql-ws mqtt stomp; do
  case $profile in
    custom | random) spent custom "$url/custom" --payload "$work/$profile" --expect "\$.id" ;;
    *) spent custom "$url/$profile" --profile "$profile" ;;
  esac
  [ $profile != custom ] || own=$each
  printf '%-12s %5d instructions per message, %s times an echo\n' "$profile" "$each" \
    "$(awk -v each="$each" -v echo="$echo" 'BEGIN { printf "%.2f", each / echo }')"
done
[ $((own * 2)) -le $((echo * 3)) ] || { echo "messages of one's own cost more than 1.5 times an echo"; exit 1; }
