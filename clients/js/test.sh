#!/usr/bin/env bash
# The tests of the client: types by tsc, then everything against the real server that SWITCHBOARD_BIN names.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
npx tsc
exec node --test --test-reporter=spec --test-timeout=300000 test/*.test.js
