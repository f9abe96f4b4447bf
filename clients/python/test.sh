#!/usr/bin/env bash
# The tests of the client: style, types, then everything against the real server that SWITCHBOARD_BIN names. The package is
# installed as a user would do it, into an environment under CARGO_TARGET_DIR.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
venv=${CARGO_TARGET_DIR:-../../target}/python-client
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement requirements-test.txt
# Away from the sources, which a build would write into.
rm -rf "$venv/source"
mkdir "$venv/source"
cp -r pyproject.toml README.md src "$venv/source"
"$venv/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps "$venv/source"
"$venv/bin/ruff" check --no-cache .
"$venv/bin/ruff" format --no-cache --check .
"$venv/bin/mypy" --cache-dir "$venv/mypy"
exec "$venv/bin/pytest" -p no:cacheprovider -q tests
