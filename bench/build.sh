#!/usr/bin/env bash
# Builds what the benchmarks run: Telltale, bench, echo and blast.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

make --no-print-directory build
mkdir -p bench/bin
cc -O2 -pthread -o bench/bin/echo bench/echo.c
cc -O2 -o bench/bin/blast bench/blast.c
CGO_ENABLED=0 ${GO:-go} build -buildvcs=false -o bench/bin/bench ./bench/cmd/bench
