#!/usr/bin/env bash
# Measures Telltale beside other servers and writes docs/benchmarks.md; `make
# bench` runs it. About a quarter of an hour, on two cores, on 127.0.0.1 only.
# The environment says otherwise:
#
#	BENCH_SIZES="600000 1200000"    names listed
#	BENCH_SECONDS=3                 of each load
#	BENCH_RUNS=3                    medians are of so many rounds
#	BENCH_PEERS="unbound dnsmasq"   also dnsdist knot-resolver pdns-recursor; all; or nothing
#	BENCH_SECTIONS=                 of servers saturated log memory latency day idle instructions; all if empty
#	BENCH_IDLE=30                   seconds of one query each; 0: not
#	BENCH_RATE=20000                queries a second where latency is measured
#	BENCH_LIMIT=1200                seconds after which it gives up
#	BENCH_PAGE=docs/benchmarks.md   what it writes; bench/results/part.md where BENCH_SECTIONS is set
#	BENCH_SERVER_CORE=0  BENCH_LOAD_CORE=1
#
# Every single figure is kept in bench/results.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="$PATH:/usr/sbin:/sbin"

peers=${BENCH_PEERS-unbound dnsmasq}
if [ "$peers" = all ]; then
	peers='unbound dnsmasq dnsdist knot-resolver pdns-recursor'
fi
programs=()
for peer in ${peers//,/ }; do
	case $peer in
	knot-resolver) programs+=(kresd) ;;
	pdns-recursor) programs+=(pdns_recursor) ;;
	*) programs+=("$peer") ;;
	esac
done
bench/tools.sh cc taskset dnsperf "${programs[@]}"
for optional in knotd perf; do # there are other ways without
	bench/tools.sh $optional 2>/dev/null || true
done
bench/build.sh
exec taskset -c "${BENCH_LOAD_CORE:-1}" bench/bin/bench compare
