#!/usr/bin/env bash
# Runs the Go benchmarks of the packages, one at a time on one processor, and
# compares them with those of the last release in bench/baseline.txt.
#
#	bench/micro.sh                    run and compare
#	bench/micro.sh baseline           run and take the figures as the new baseline
#	COUNT=6  TIME=0.2s                how often, and how long each
#	BENCH='Lookup|Append'             which
#	PACKAGES=./blocklists/matcher     where
#
# Figures of another machine than the baseline's say nothing about a change: run
# the baseline's commit there first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

go=${GO:-go}
benchstat=golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
baseline=bench/baseline.txt

packages=${PACKAGES:-}
if [ -z "$packages" ]; then
	packages=$(grep -lrE '^func Benchmark' --include='*_test.go' . | xargs -n 1 dirname | sort -u)
fi
mkdir -p bench/results
result=bench/results/micro-$(date -u +%Y%m%d-%H%M%S).txt
{
	echo "commit: $(git describe --always --dirty 2>/dev/null || echo unknown)"
	echo "load: $(cut -d' ' -f1-3 /proc/loadavg)"
} >"$result"
GOMAXPROCS=1 CGO_ENABLED=0 $go test -run '^$' -bench "${BENCH:-.}" -benchmem -benchtime "${TIME:-0.2s}" -count "${COUNT:-6}" -p 1 $packages |
	tee -a "$result"
echo "written: $result"

if [ "${1:-}" = baseline ]; then
	cp "$result" $baseline
elif [ -f $baseline ]; then
	if command -v benchstat >/dev/null; then
		benchstat $baseline "$result"
	else
		$go run $benchstat $baseline "$result" || echo "benchstat could not be run: compare $baseline and $result by hand"
	fi
fi
