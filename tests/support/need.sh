# shellcheck shell=bash
# Programs of Debian's packages that a script of the tests needs. Such a script sources this file:
#
#   . tests/support/need.sh
#   need nginx nginx-light          # a program by its name or its path, and the packages that have it
#   install_needed || exit          # root gets what is missing; everybody else is told
#
# Programs in /usr/sbin are found, too. `need_else`, if a script sets it, is another way out.

need_else=''
needed_programs=()
needed_packages=()

has_program() {
  PATH=$PATH:/usr/sbin:/sbin command -v -- "$1" >/dev/null
}

# need PROGRAM PACKAGE...
need() {
  has_program "$1" && return
  needed_programs+=("$1")
  needed_packages+=("${@:2}")
}

# Modules of Python (or of $python), which have no program: need_python PACKAGE MODULE...
need_python() {
  local modules=${*:2}
  "${python:-python3}" -c "import ${modules// /, }" 2>/dev/null || needed_packages+=("$1")
}

# Fails with a sentence when something is missing and cannot be installed.
install_needed() {
  local program by_hand
  if [ ${#needed_packages[@]} -eq 0 ]; then return; fi
  by_hand="on Debian, as root: apt-get update && apt-get install ${needed_packages[*]}${need_else:+; $need_else}"
  if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    printf 'missing: %s\n%s\n' "${needed_programs[*]:-${needed_packages[*]}}" "$by_hand" >&2
    return 1
  fi
  echo "installing ${needed_packages[*]}"
  if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${needed_packages[@]}"; } >/dev/null; then
    printf 'apt-get could not install it; %s\n' "$by_hand" >&2
    return 1
  fi
  for program in "${needed_programs[@]}"; do
    if ! has_program "$program"; then
      printf 'the packages are installed, and there is no %s; %s\n' "$program" "$by_hand" >&2
      return 1
    fi
  done
  needed_programs=()
  needed_packages=()
}
