#!/usr/bin/env bash
# Edits a small list and one of 600,000 names under load, in five ways: in
# place, rename, truncate and write, symlink swap, append. Every edit must be in
# force within a second, no query lost and no answer wrong; else it says what was
# not so, and fails. About two minutes. The environment says otherwise:
#
#	BENCH_SIZES=600000    names in the large list
#	BENCH_EDITS=50        of each list
#	BENCH_RATE=20000      queries a second meanwhile
#	BENCH_LIMIT=1200      seconds after which it gives up
#	BENCH_EDIT_CORES=0,1  of the server; BENCH_LOAD_CORE=1 is that of the load
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="$PATH:/usr/sbin:/sbin"

bench/tools.sh cc taskset dnsperf
bench/tools.sh knotd 2>/dev/null || true # there is another upstream without
bench/build.sh
exec env BENCH_SIZES="${BENCH_SIZES:-600000}" taskset -c "${BENCH_LOAD_CORE:-1}" bench/bin/bench edits
