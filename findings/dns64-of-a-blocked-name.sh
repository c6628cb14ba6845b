#!/usr/bin/env bash
# DNS64: three resolvers make an IPv6 address of 0.0.0.0, of 127.0.0.1 and of a private address, by the well-known prefix.
#
#   blocked.zz  A 0.0.0.0, no AAAA: as a sinkhole answers that stops type A and leaves the other types empty
#
# Versions   BIND 9.18.49, unbound 1.17.1, PowerDNS Recursor 4.8.8 (Debian 12 packages), each with 64:ff9b::/96 and no
#            other setting of DNS64.
# One would guess   RFC 6052, 3.1: the well-known prefix must not be used for addresses that are not global. So an AAAA
#            query for such a name stays empty, and a blocked name stays blocked on an IPv6-only network.
# True       All three answer 64:ff9b:: with status NOERROR, and 64:ff9b::7f00:1, and 64:ff9b::c0a8:109: whatever the
#            four octets are. The client then connects to what its NAT64 gateway makes of that.
# Output     blocked.zz  bind 64:ff9b::, unbound 64:ff9b::, pdns 64:ff9b::
#            loop.zz  bind 64:ff9b::7f00:1, unbound 64:ff9b::7f00:1, pdns 64:ff9b::7f00:1
#            lan.zz  bind 64:ff9b::c0a8:109, unbound 64:ff9b::c0a8:109, pdns 64:ff9b::c0a8:109
#            both.zz (A 0.0.0.0, AAAA ::)  bind ::, unbound ::, pdns ::
# Why a sinkhole cares   In front of it may stand a resolver with DNS64. A blocked name must then have an AAAA record of its
#            own (::) or be denied; an empty answer is filled in. A sinkhole's own DNS64 has to pass over such addresses
#            itself.
set -euo pipefail

if [ $# -eq 0 ]; then
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	script=$(realpath "$0")
	mkdir "$tmp/root"
	(
		cd "$tmp"
		pinned="bind9=1:9.18.49-1~deb12u3 bind9-libs=1:9.18.49-1~deb12u3 bind9-dnsutils=1:9.18.49-1~deb12u3 \
			unbound=1.17.1-2+deb12u4 pdns-recursor=4.8.8-1+deb12u1"
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
mount -t overlay overlay -o "lowerdir=$1/root/usr:/usr" /usr && ip link set lo up && ip address add 127.0.0.2/8 dev lo || { echo "cannot be tried here"; exit 2; }

cat >root.zone <<'EOF'
$TTL 60
@          SOA ns. host. 1 60 60 60 60
@          NS   ns.
ns.        A    127.0.0.1
blocked.zz. A   0.0.0.0
loop.zz.   A    127.0.0.1
lan.zz.    A    192.168.1.9
public.zz. A    198.51.100.9
both.zz.   A    0.0.0.0
both.zz.   AAAA ::
EOF
common="directory \"$1\"; pid-file none; session-keyfile none; listen-on-v6 { none; }; dnssec-validation no;"
cat >auth.conf <<EOF
options { $common listen-on { 127.0.0.1; }; recursion no; };
controls {};
zone "." { type primary; file "root.zone"; };
EOF
cat >bind.conf <<EOF
options { $common listen-on { 127.0.0.2; }; forward only; forwarders { 127.0.0.1; }; dns64 64:ff9b::/96 { }; };
controls {};
EOF
cat >unbound.conf <<EOF
server:
  directory: "$1"
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  interface: 127.0.0.3
  do-not-query-localhost: no
  module-config: "dns64 iterator"
  dns64-prefix: 64:ff9b::/96
forward-zone:
  name: "."
  forward-addr: 127.0.0.1
remote-control:
  control-enable: no
EOF
mkdir pdns
cat >pdns/recursor.conf <<EOF
local-address=127.0.0.4
forward-zones-recurse=.=127.0.0.1
dont-query=
dnssec=off
dns64-prefix=64:ff9b::/96
socket-dir=$1/pdns
security-poll-suffix=
threads=1
EOF
named -f -g -c auth.conf >auth.log 2>&1 &
named -f -g -c bind.conf >bind.log 2>&1 &
unbound -d -c unbound.conf >unbound.log 2>&1 &
pdns_recursor --config-dir="$1/pdns" >pdns.log 2>&1 &

# ask SERVER NAME prints the status and the IPv6 addresses.
ask() {
	dig +tries=1 +time=2 "@$1" "$2" AAAA | awk '/status:/ {sub(",", "", $6); out = $6} $4 == "AAAA" {out = out " " $5} END {print out}'
}
for server in 1 2 3 4; do
	for try in $(seq 40); do
		[ -n "$(ask 127.0.0.$server both.zz)" ] && break
		[ "$try" -lt 40 ] || { echo "cannot be tried here: the server at 127.0.0.$server does not answer"; tail -n 5 ./*.log; exit 2; }
		sleep 0.5
	done
done

failed=0
# want NAME ADDRESS asks the three for a name.
want() {
	local got at
	for at in bind=127.0.0.2 unbound=127.0.0.3 pdns=127.0.0.4; do
		got=$(ask "${at#*=}" "$1")
		echo "$1 ${at%%=*}: $got"
		[ "$got" = "NOERROR $2" ] || { echo "differs: ${at%%=*} answered $1 with '$got', not with 'NOERROR $2'"; failed=1; }
	done
}
want public.zz 64:ff9b::c633:6409
want blocked.zz 64:ff9b::
want loop.zz 64:ff9b::7f00:1
want lan.zz 64:ff9b::c0a8:109
want both.zz ::
exit $failed
