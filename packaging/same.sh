#!/usr/bin/env bash
# Makes a release twice and compares all files of it, byte for byte: two clones, target directories and homes of Cargo, in directories
# of different lengths, with different languages, time zones and modes of new files.
#
#   packaging/same.sh DIR
#
# DIR  where it works. The first release stays in DIR/first/packaging/out, and what was compiled stays for the next run.
#
# The release is of the tree as it is: changes that no commit has are in a commit of its own, which no branch has.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p "$1"
dir=$(realpath "$1")

commit_of_tree() {
  local index tree
  index=$dir/index
  rm -f "$index"
  GIT_INDEX_FILE=$index git read-tree HEAD
  GIT_INDEX_FILE=$index git add --all
  tree=$(GIT_INDEX_FILE=$index git write-tree)
  if [ "$tree" = "$(git rev-parse 'HEAD^{tree}')" ]; then
    git rev-parse HEAD
  else
    git -c user.name=nobody -c user.email=nobody@switchboard.invalid commit-tree -p HEAD -m 'the tree as it is' "$tree"
  fi
}

# Clones the commit, or brings the clone of an earlier run to it, so that no more is compiled than has changed.
clone() {
  if ! [ -d "$1/.git" ]; then
    mkdir -p "$1"
    git -C "$1" init -q
  fi
  git -C "$1" fetch -q "$root" "$branch"
  git -C "$1" checkout -q --force --detach FETCH_HEAD
  git -C "$1" clean -qfdx
}

first=$dir/first
second=$dir/another/directory/for-the-second
home=$dir/another/home-of-cargo
# In one place, and in another one under other circumstances.
one() {
  CARGO_TARGET_DIR=$dir/target "$first/$1" "${@:2}"
}
other() {
  (
    umask 077
    env CARGO_HOME="$home" CARGO_TARGET_DIR="$dir/another/directory/of-targets" LANG=de_DE.UTF-8 LC_ALL=C.UTF-8 TZ=Asia/Tokyo \
      "$second/$1" "${@:2}"
  )
}

root=$(pwd -P)
commit=$(commit_of_tree)
# A name, for as long as it is fetched.
branch=refs/switchboard/release-$$
git update-ref "$branch" "$commit"
trap 'git -C "$root" update-ref -d "$branch"' EXIT
clone "$first"
(umask 077 && clone "$second")
# What Cargo has downloaded is there, too, so that nothing is downloaded twice.
rm -rf "$home"
mkdir -p "$home"
cp -a "${CARGO_HOME:-$HOME/.cargo}/registry" "$home/"

one packaging/release.sh
other packaging/release.sh
for file in switchboard switchboard.debug; do cmp "$first/packaging/out/$file" "$second/packaging/out/$file"; done
echo 'two builds of the binary are the same'
if ! diff -rq "$first/packaging/out/release" "$second/packaging/out/release"; then
  echo 'the same commit gives two different releases; diffoscope shows where' >&2
  exit 1
fi
echo "two releases of $commit are the same: $(find "$first/packaging/out/release" -type f | wc -l) files"
