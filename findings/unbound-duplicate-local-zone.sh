#!/usr/bin/env bash
# unbound: of two local-zone lines for one name the later counts. The check calls it a duplicate and finds no errors.
#
# Version    unbound and unbound-checkconf 1.17.1 (Debian 12 packages).
# One would guess   An error, or, by the warning "duplicate local-zone", that the second line is the one passed over.
# True       The type of the line that stands last in the file is in force, across include files as well.
#            unbound-checkconf warns, says "no errors" and exits 0.
# Output     deny, then pass: NOERROR 198.51.100.5    pass, then deny: NXDOMAIN
#            warning: duplicate local-zone b.example.    unbound-checkconf: no errors
# Why a sinkhole cares   Lists for unbound are local-zone lines, put together by include. A name on two of them, or a person's own
#            always_transparent above an included list, is decided by the order of the files. An importer must let the last line win, an exporter must put a
#            person's own lines behind the lists.
set -euo pipefail

if [ $# -eq 0 ]; then
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	script=$(realpath "$0")
	mkdir "$tmp/root"
	(
		cd "$tmp"
		pinned="unbound=1.17.1-2+deb12u4 bind9-libs=1:9.18.49-1~deb12u3 bind9-dnsutils=1:9.18.49-1~deb12u3"
		# The libraries that they need, without the C library and the second choices.
		libraries=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
			$(sed 's/=[^ ]*//g' <<<"$pinned") | grep -E '^(lib[^:]*|zlib1g|dns-root-data)$' | grep -Ev '^lib(c6|c-|luajit2|elogind)' | sort -u)
		apt-get -qq -o APT::Sandbox::User=root download $pinned $libraries >&2 || exit
		for deb in *.deb; do dpkg -x "$deb" root || exit; done
	) || { echo "cannot be tried here: the pinned packages cannot be had"; exit 2; }
	namespace=(unshare --user --map-root-user --mount --net --pid --fork --kill-child)
	"${namespace[@]}" true || { echo "cannot be tried here: namespaces are not allowed"; exit 2; }
	"${namespace[@]}" "$script" "$tmp"
	exit
fi

# From here on in a namespace of its own, where the packages lie over /usr and only loopback exists.
cd "$1"
mount -t overlay overlay -o "lowerdir=$1/root/usr:/usr" /usr && ip link set lo up || { echo "cannot be tried here"; exit 2; }

# conf NAME ADDRESS FIRST SECOND writes a configuration with two types for b.example, the second in an included file.
conf() {
	printf 'server:\n  local-zone: b.example %s\n' "$4" >"$1.list"
	cat >"$1.conf" <<EOF
server:
  directory: "$PWD"
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  interface: $2
  do-not-query-localhost: no
  module-config: "iterator"
  local-zone: b.example $3
include: "$PWD/$1.list"
stub-zone:
  name: "example"
  stub-addr: 127.0.0.1
remote-control:
  control-enable: no
EOF
}
conf pass 127.0.0.2 always_nxdomain always_transparent
conf deny 127.0.0.3 always_transparent always_nxdomain
# The upstream is a third unbound that owns the name.
cat >upstream.conf <<EOF
server:
  directory: "$PWD"
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  interface: 127.0.0.1
  local-zone: example static
  local-data: "example. 60 SOA ns.example. host.example. 1 60 60 60 60"
  local-data: "example. 60 NS ns.example."
  local-data: "b.example. 60 A 198.51.100.5"
remote-control:
  control-enable: no
EOF
for name in upstream pass deny; do unbound -d -c $name.conf >$name.log 2>&1 & done

# ask SERVER prints the status and the addresses of b.example.
ask() {
	dig +tries=1 +time=2 "@$1" b.example A | awk '/status:/ {sub(",", "", $6); out = $6} $4 == "A" {out = out " " $5} END {print out}'
}
for server in 1 2 3; do
	for try in $(seq 40); do
		[ -n "$(ask 127.0.0.$server)" ] && break
		[ "$try" -lt 40 ] || { echo "cannot be tried here: the server at 127.0.0.$server does not answer"; tail -n 5 ./*.log; exit 2; }
		sleep 0.5
	done
done

failed=0
# want WHAT GOT OUTPUT compares what was got with what was seen.
want() {
	echo "$1: $2"
	[ "$2" = "$3" ] || { echo "differs: $1 gives '$2', not '$3'"; failed=1; }
}
want "deny, then pass" "$(ask 127.0.0.2)" "NOERROR 198.51.100.5"
want "pass, then deny" "$(ask 127.0.0.3)" NXDOMAIN
for name in pass deny; do
	said=$(unbound-checkconf $name.conf 2>&1) && status=0 || status=$?
	said=$(grep -Eo 'warning: duplicate local-zone b.example.|no errors' <<<"$said" | paste -sd ',') || true
	want "unbound-checkconf $name.conf" "$said, exit $status" "warning: duplicate local-zone b.example.,no errors, exit 0"
done
exit $failed
