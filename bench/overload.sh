#!/usr/bin/env bash
# What Telltale does when more comes than it can answer: it is held to a part of
# a core by a control group, and asked from a network namespace beside it. About
# half a minute, as root. The environment says otherwise:
#
#	OVERLOAD_QUOTA=25            per cent of a core
#	OVERLOAD_SECONDS=5           of each load
#	OVERLOAD_IN_TIME=1000        milliseconds within which an answer is of use
#	OVERLOAD_TELLTALE=bin/telltale
#	BENCH_SERVER_CORE=0  BENCH_LOAD_CORE=1
#
# It prints what it does, and last one line of JSON: the most it can answer; one
# client that asks three times as much; then one that asks three and ten times as
# much beside twenty others, which together ask a fifth of what can be answered.
# All beginnings are in the figures.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="$PATH:/usr/sbin:/sbin"

quota=${OVERLOAD_QUOTA:-25} seconds=${OVERLOAD_SECONDS:-5} in_time=${OVERLOAD_IN_TIME:-1000}
telltale=$(realpath "${OVERLOAD_TELLTALE:-bin/telltale}") blast=$(realpath bench/bin/blast)
if [ "$(id -u)" != 0 ]; then
	echo 'overload: control groups and network namespaces need root' >&2
	exit 1
fi
bench/tools.sh ip taskset

name=telltale-overload-$$
work=$(mktemp -d)
server=
if [ -d /sys/fs/cgroup/cpu ]; then # version 1
	group=/sys/fs/cgroup/cpu/$name
	limit() { echo 100000 >"$group/cpu.cfs_period_us" && echo $((quota * 1000)) >"$group/cpu.cfs_quota_us"; }
else
	group=/sys/fs/cgroup/$name
	limit() { echo "$((quota * 1000)) 100000" >"$group/cpu.max"; }
fi
clean() {
	if [ -n "$server" ]; then
		kill "$server" 2>/dev/null || true
		wait "$server" 2>/dev/null || true
	fi
	ip netns del "$name-s" 2>/dev/null || true
	ip netns del "$name-c" 2>/dev/null || true
	rmdir "$group" 2>/dev/null || true
	rm -rf "$work"
}
trap clean EXIT

mkdir "$group"
ip netns add "$name-s"
ip netns add "$name-c"
ip link add tos netns "$name-c" type veth peer name toc netns "$name-s"
ip -n "$name-s" addr add 10.53.0.1/24 dev toc
for i in $(seq 2 22); do
	ip -n "$name-c" addr add "10.53.0.$i/24" dev tos
done
for at in s:lo s:toc c:lo c:tos; do
	ip -n "$name-${at%:*}" link set "${at#*:}" up
done

mkdir "$work/lists" "$work/data"
echo blocked.example >"$work/lists/ads.txt"
echo '{}' >"$work/telltale.yaml"
for i in $(seq 200); do echo "b$i.blocked.example A"; done >"$work/queries"
flags=(--config "$work/telltale.yaml" --lists-dir "$work/lists" --data-dir "$work/data")
(
	echo "$BASHPID" >"$group/cgroup.procs"
	exec ip netns exec "$name-s" taskset -c "${BENCH_SERVER_CORE:-0}" "$telltale" serve "${flags[@]}" \
		--listen-dns 10.53.0.1:53 --upstreams 10.53.0.2:53 >"$work/out" 2>&1
) &
server=$!
for _ in $(seq 100); do
	grep -q 'answers on' "$work/out" 2>/dev/null && break
	sleep .1
done
sleep 1 # what the start has left to do
limit

# load ARGS... prints blast's line.
load() {
	ip netns exec "$name-c" taskset -c "${BENCH_LOAD_CORE:-1}" "$blast" -a 10.53.0.1 -w "$in_time" "$@" 53 "$work/queries"
}
# field KEY LINE
field() { sed -E "s/.*\"$1\":([0-9.]+).*/\1/" <<<"$2"; }
calc() { awk "BEGIN { printf \"%.$1f\", $2 }"; }

load -t 1 -s 8 -b 10.53.0.2 >/dev/null
line=$(load -t 3 -s 8 -b 10.53.0.2)
most=$(calc 0 "$(field received "$line") / $(field seconds "$line")")
echo "held to $quota % of a core it answers $most queries a second at most"

line=$(load -t "$seconds" -r $((most * 3)) -s 16 -b 10.53.0.2)
took=$(field seconds "$line")
asked=$(calc 1 "$(field sent "$line") / $took / $most") use=$(calc 3 "$(field in_time "$line") / $took / $most")
half=$(field p50_us "$line") late=$(field p99_us "$line")
echo "asked $asked times as much: in time $use of the most; half within $(calc 0 "$half/1000") ms, 99 % within $(calc 0 "$late/1000") ms"
json="\"most\":$most,\"one\":{\"asked\":$asked,\"in_time\":$use,\"p50_ms\":$(calc 1 "$half/1000"),\"p99_ms\":$(calc 1 "$late/1000")}"

quiet=()
for i in $(seq 3 22); do quiet+=(-b "10.53.0.$i"); done
for times in 3 10; do
	sleep 1
	load -t "$seconds" -r $((most * times)) -s 16 -b 10.53.0.2 >"$work/noisy" &
	noisy=$!
	load -t "$seconds" -r $((most / 5)) -s 20 "${quiet[@]}" >"$work/others"
	wait "$noisy"
	n=$(cat "$work/noisy") o=$(cat "$work/others")
	asked=$(calc 1 "$(field sent "$n") / $(field seconds "$n") / $most")
	served=$(calc 3 "$(field in_time "$o") / $(field sent "$o")")
	use=$(calc 3 "($(field in_time "$n") / $(field seconds "$n") + $(field in_time "$o") / $(field seconds "$o")) / $most")
	late=$(calc 1 "$(field p99_us "$o") / 1000")
	echo "one asks $asked times as much: of the others' queries $served are answered in time, 99 % within $late ms; all together $use of the most"
	json+=",\"noisy_$times\":{\"asked\":$asked,\"others_in_time\":$served,\"others_p99_ms\":$late,\"in_time\":$use}"
done
unread=$("$telltale" doctor "${flags[@]}" 2>/dev/null | sed -nE 's/.* ([0-9]+) queries were dropped unread.*/\1/p') || true
echo "{\"quota_percent\":$quota,$json,\"dropped_unread\":${unread:-0}}"
