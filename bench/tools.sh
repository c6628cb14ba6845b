#!/usr/bin/env bash
# Installs the Debian packages of the programs that a benchmark needs and that
# are missing, where it may; elsewhere says which to install. None of the
# servers is started. Usage: bench/tools.sh PROGRAM...
set -euo pipefail

declare -A package=(
	[cc]='gcc libc6-dev'
	[taskset]=util-linux
	[dnsperf]=dnsperf
	[perf]=linux-perf
	[valgrind]=valgrind
	[h2load]=nghttp2-client
	[knotd]=knot
	[unbound]=unbound
	[dnsmasq]=dnsmasq-base
	[dnsdist]=dnsdist
	[kresd]=knot-resolver
	[pdns_recursor]=pdns-recursor
)

missing() {
	for program in "$@"; do
		if ! PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null; then
			echo "$program"
		fi
	done
}

install_packages() {
	local policy=/usr/sbin/policy-rc.d made=
	if [ ! -e $policy ] && [ ! -L $policy ]; then
		printf '#!/bin/sh\nexit 101\n' >$policy # Debian's way to say: start no service
		chmod 755 $policy
		made=yes
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq >/dev/null </dev/null || true
	if ! apt-get install -y -qq --no-install-recommends "$@" >/dev/null </dev/null; then
		for name in "$@"; do # one that cannot be had must not keep the others away
			apt-get install -y -qq --no-install-recommends "$name" >/dev/null </dev/null || true
		done
	fi
	if [ -n "$made" ]; then
		rm -f $policy
	fi
}

programs=$(missing "$@")
if [ -z "$programs" ]; then
	exit 0
fi
wanted=()
for program in $programs; do
	wanted+=(${package[$program]})
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "installing ${wanted[*]}"
	install_packages "${wanted[@]}"
fi
left=$(missing "$@")
if [ -n "$left" ]; then
	echo "bench: missing:" $left >&2
	echo "bench: on Debian, as root: apt-get install ${wanted[*]}" >&2
	exit 1
fi
