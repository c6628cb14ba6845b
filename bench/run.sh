#!/usr/bin/env bash
# Measures Telltale beside other servers and writes docs/benchmarks.md; `make
# bench` runs it. Twenty minutes at most, on two cores, on 127.0.0.1 only. The
# environment says otherwise:
#
#	BENCH_SIZES="600000 1200000"   names listed
#	BENCH_SECONDS="10 5"           of each load with each of the sizes
#	BENCH_RUNS=5                   medians are of so many rounds
#	BENCH_PEERS=all                or some of unbound dnsmasq dnsdist knot-resolver pdns-recursor; or nothing
#	BENCH_BASE=b016c21             the commit that is built from the repository's history and measured beside what is now
#	                               in the section own; or nothing
#	BENCH_SECTIONS=                of servers saturated own encrypted memory latency day idle instructions profile readers
#	                               small overload growth store; all if empty. findings stands alone: how often what is
#	                               concluded from the log is wrong, by simulation (docs/evidence.md), in bench/results/findings.txt
#	FINDINGS_RUNS=2000             simulated experiments for each figure of that
#	NEWLY_RUNS=                    years of names of each kind that are looked at for new heartbeats; 10 if empty
#	BENCH_ROWS=200000              rows of the log whose size and answers are measured (10,000,000 take ten minutes)
#	BENCH_GROWTH="10000 100000 1000000 10000000"  names listed, where it is shown how costs grow
#	BENCH_IDLE=30                  seconds of one query each; 0: not
#	BENCH_RATE=20000               queries a second where latency is measured
#	BENCH_LIMIT=1185               seconds after which it writes what it has, from the start of this script on
#	BENCH_PAGE=docs/benchmarks.md  what it writes; bench/results/part.md where BENCH_SECTIONS is set
#	BENCH_SERVER_CORE=0  BENCH_LOAD_CORE=1
#
# Every single figure is kept in bench/results.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="$PATH:/usr/sbin:/sbin"

if [ "${BENCH_SECTIONS:-}" = findings ]; then
	mkdir -p bench/results
	FINDINGS_RUNS=${FINDINGS_RUNS:-2000} ${GO:-go} test -count 1 -timeout 60m -v -run "${FINDINGS_TESTS:-.}" ./evidence/stats ./evidence/experiment ./evidence/rhythm ./evidence/candidate | tee bench/results/findings.txt
	exit
fi
bench/tools.sh cc taskset dnsperf
# There are other ways without these, and the page says which servers are missing.
optional=(h2load knotd perf valgrind)
peers=${BENCH_PEERS-all}
for peer in ${peers//,/ }; do
	case $peer in
	all) optional+=(unbound dnsmasq dnsdist kresd pdns_recursor) ;;
	knot-resolver) optional+=(kresd) ;;
	pdns-recursor) optional+=(pdns_recursor) ;;
	*) optional+=("$peer") ;;
	esac
done
bench/tools.sh "${optional[@]}" || true
bench/build.sh
for package in resolver querylog; do # whose Go benchmarks are a part
	CGO_ENABLED=0 ${GO:-go} test -c -o bench/bin/$package.test ./$package
done
base=${BENCH_BASE-b016c21}
if [ -n "$base" ] && case " ${BENCH_SECTIONS:-own} " in *" own "*) bench/base.sh "$base" ;; *) false ;; esac; then
	export BENCH_EARLIER=bench/bin/telltale-$base
fi
export BENCH_LIMIT=$((${BENCH_LIMIT:-1185} - SECONDS))
exec taskset -c "${BENCH_LOAD_CORE:-1}" bench/bin/bench compare
