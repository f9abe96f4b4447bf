#!/usr/bin/env bash
# The end-to-end tests in real browsers: headless Chromium (and Firefox where browsers differ) on the chat page, on the pages
# of the examples, and on the reports of loadgen.
#
#   SWITCHBOARD_BIN=target/release/switchboard tests/browser/run.sh
#
# SWITCHBOARD_BIN          the server binary
# LOADGEN_BIN              the load generator; default: loadgen beside the server binary
# SWITCHBOARD_EXAMPLES     the directory of the built examples; default: examples/ beside the binary
# SWITCHBOARD_SCREENSHOTS  a directory for screenshots; none are taken without it
# SWITCHBOARD_SNAPSHOTS    update: how the page looks now is how it is meant to look (snapshots/)
# JOBS                     files of tests that run at a time; default: one per processor, at most 4
# CHROMIUM                 the browser; default /usr/bin/chromium
# FIREFOX                  the other browser; default /usr/bin/firefox-esr
# NGINX, HAPROXY, VARNISHD, CADDY the reverse proxies; default /usr/sbin/nginx, /usr/sbin/haproxy, /usr/sbin/varnishd,
#                          /usr/bin/caddy
# REDIS                    the engine of several servers; default /usr/bin/redis-server
# CURL, JAVA               clients of other makes; default /usr/bin/curl, /usr/bin/java (with a compiler)
#
# Of the last nine what is missing is installed with apt-get when root runs this.
set -euo pipefail
# shellcheck source=tests/support/need.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/need.sh"

stop() {
  printf 'browser test: %s\n' "$*" >&2
  exit 2
}

absolute() {
  printf '%s/%s' "$(cd "$(dirname "$1")" && pwd)" "$(basename "$1")"
}

[ -x "${SWITCHBOARD_BIN:-}" ] || stop "SWITCHBOARD_BIN must name the built server; run: cargo build --release --examples --bins"
SWITCHBOARD_BIN=$(absolute "$SWITCHBOARD_BIN")
SWITCHBOARD_EXAMPLES=$(absolute "${SWITCHBOARD_EXAMPLES:-$(dirname "$SWITCHBOARD_BIN")/examples}")
LOADGEN_BIN=$(absolute "${LOADGEN_BIN:-$(dirname "$SWITCHBOARD_BIN")/loadgen}")
export SWITCHBOARD_BIN SWITCHBOARD_EXAMPLES LOADGEN_BIN
JOBS=${JOBS:-$(nproc)}
[ "$JOBS" -le 4 ] || JOBS=4
export CHROMIUM=${CHROMIUM:-/usr/bin/chromium} FIREFOX=${FIREFOX:-/usr/bin/firefox-esr}
export CADDY=${CADDY:-/usr/bin/caddy}
export NGINX=${NGINX:-/usr/sbin/nginx} HAPROXY=${HAPROXY:-/usr/sbin/haproxy} VARNISHD=${VARNISHD:-/usr/sbin/varnishd}
export REDIS=${REDIS:-/usr/bin/redis-server}
export CURL=${CURL:-/usr/bin/curl} JAVA=${JAVA:-/usr/bin/java}
if [ -n "${SWITCHBOARD_SCREENSHOTS:-}" ]; then
  mkdir -p "$SWITCHBOARD_SCREENSHOTS"
  SWITCHBOARD_SCREENSHOTS=$(absolute "$SWITCHBOARD_SCREENSHOTS")
  export SWITCHBOARD_SCREENSHOTS
fi
[ -x "$LOADGEN_BIN" ] || stop "no loadgen at $LOADGEN_BIN; run: cargo build --release --workspace --bins"
for example in demo_101 hello; do
  [ -x "$SWITCHBOARD_EXAMPLES/$example" ] || stop "no $example in $SWITCHBOARD_EXAMPLES; run: cargo build --release --examples"
done

command -v npm >/dev/null || stop "Node.js with npm is missing; install Node.js 20 or newer"

need "$CHROMIUM" chromium fonts-dejavu-core
need "$FIREFOX" firefox-esr
need "$NGINX" nginx-light
need "$HAPROXY" haproxy
need "$VARNISHD" varnish
need "$CADDY" caddy
need "$REDIS" redis-server
need "$CURL" curl
need "$JAVA" default-jdk-headless
need_else='or name each by its variable, such as CHROMIUM'
install_needed || exit 2

cd "$(dirname "${BASH_SOURCE[0]}")"
npm ci --no-audit --no-fund --loglevel=error || stop "npm ci failed; it needs the npm registry"
exec node --test --test-reporter=spec --test-concurrency="$JOBS" --test-timeout=900000 ./*.test.js
