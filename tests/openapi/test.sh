#!/usr/bin/env bash
# openapi-typescript makes types of the API's contract, and a program that uses them compiles. Needs `npm ci` here before.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
npx openapi-typescript ../../src/api/openapi.json --output generated.ts
npx tsc
echo "the contract of the API generates types that compile"
