#!/usr/bin/env bash
# Judge a WebSocket echo server with Autobahn|Testsuite's fuzzing client.
#
#   tests/conformance/run.sh [--strict] PORT [CASES]
#
# --strict  a NON-STRICT verdict is a failure too
# PORT      of a server on 127.0.0.1 that echoes text and binary messages (path: AUTOBAHN_PATH, default /)
# CASES     comma list of patterns, or a name: base (the default: chapters 1-7, 9 and 10, 301 cases),
#           deflate (base, and 12.* and 13.* without the bulky sizes), all (every case, 517)
# Exit:     0 no case FAILED, UNIMPLEMENTED or without a verdict; 1 some is; 2 the suite could not run
#
# The suite (autobahntestsuite 25.10.1 on autobahn 0.10.9) is Python 2 code; autobahn_py3.py beside this script ports it
# at install time. Everything comes from the Python package registry through pip, pinned by version, the two ported
# archives also by hash, and is kept under the user's cache, in a directory named after what installed it.
#
# Environment: PYTHON (python3), AUTOBAHN_OUT (where the reports go; index.json is there), AUTOBAHN_EXCLUDE (patterns to
# leave out), AUTOBAHN_LIMIT (seconds, 1800).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
usage='usage: tests/conformance/run.sh [--strict] PORT [CASES]'
base='1.*,2.*,3.*,4.*,5.*,6.*,7.*,9.*,10.*'
suite=autobahntestsuite-25.10.1-py2-none-any.whl
library=autobahn-0.10.9.tar.gz
# shellcheck source=tests/support/need.sh
. "$here/../support/need.sh"

stop() {
  printf 'conformance: %s\n' "$*" >&2
  exit 2
}

mode=lenient
if [ "${1:-}" = --strict ]; then
  mode=strict
  shift
fi
port=${1:?$usage}
cases=${2:-base}
case $cases in
  all) cases='*' ;;
  base) cases=$base ;;
  deflate) # all seven parameter offers, sizes up to 8 KiB and one fragmented size; all five texts
    cases=$base
    for offer in 12.1 12.2 12.3 12.4 12.5 13.1 13.2 13.3 13.4 13.5 13.6 13.7; do
      for size in 1 2 3 4 5 6 11; do cases+=",$offer.$size"; done
    done ;;
esac

python=${PYTHON:-python3}
need "$python" python3
need_python python3-venv ensurepip venv
install_needed || exit 2

version=$(cat "$here/run.sh" "$here/autobahn_py3.py" | sha256sum | cut -c1-12)
home=${XDG_CACHE_HOME:-$HOME/.cache}/switchboard/autobahn-$version
out=${AUTOBAHN_OUT:-$here/../../autobahn-reports}

install_suite() {
  pip() { "$home/venv/bin/python" -m pip --disable-pip-version-check -q "$@"; }
  rm -rf "$home"
  mkdir -p "$home"
  "$python" -m venv "$home/venv"
  pip install 'setuptools<72' wheel 'Twisted>=24.3,<27' 'six>=1.16,<2' 'txaio==2.1.0'
  pip install --only-binary=:all: 'wsaccel==0.6.7' || echo 'conformance: no wsaccel here; the large cases will be slow' >&2
  pip download --no-deps --only-binary=:all: --python-version 27 --implementation py --abi none --platform any \
    -d "$home/dl" 'autobahntestsuite==25.10.1'
  pip download --no-deps --no-binary=:all: --no-build-isolation -d "$home/dl" 'autobahn==0.10.9'
  (cd "$home/dl" && sha256sum -c --quiet) <<EOF
b57ee6b22de624a03256878ad453c9897d2ad7ee08a4c38b35ee2847637e1383  $suite
3fecc1e2a26a0421128ddcfb4e577f0bc669dd65d0e0fdad1c773965cbcef75a  $library
EOF
  "$home/venv/bin/python" "$here/autobahn_py3.py" port "$home/dl/$suite" "$home/dl/$library" "$home/site"
  touch "$home/ready"
}

if [ ! -e "$home/ready" ]; then
  echo "conformance: installing the suite into $home"
  set -o errtrace
  trap 'stop "the suite could not be installed (see above); it needs pip and its package registry"' ERR
  install_suite
  trap - ERR
fi

rm -rf "$out"
mkdir -p "$out"
out=$(cd "$out" && pwd)
start=$(date +%s)
timeout --foreground "${AUTOBAHN_LIMIT:-1800}" \
  "$home/venv/bin/python" "$here/autobahn_py3.py" run "$home/site" "$out" "$port" "$cases" >"$out/run.log" 2>&1 || {
  status=$?
  tail -5 "$out/run.log" >&2
  stop "the run stopped early (status $status); above is the end of $out/run.log"
}
if grep -q 'Unhandled' "$out/run.log"; then
  stop "the suite itself broke, see $out/run.log"
fi
echo "wall $(($(date +%s) - start)) s; reports in $out"
"$home/venv/bin/python" "$here/autobahn_py3.py" judge "$home/site" "$out" "$cases" "$mode"
