#!/usr/bin/env bash
# RPZ: a denial by BIND, unbound or PowerDNS Recursor is not kept by a cache in front of them: dnsmasq asks again each time.
#
# Versions   BIND 9.18.49, unbound 1.17.1 and PowerDNS Recursor 4.8.8, each with the zone "bad.cc CNAME .", and a dnsmasq 2.90
#            with its cache in front of each (Debian 12 packages).
# One would guess   A denial by RPZ is an NXDOMAIN with a SOA in its authority section (RFC 2308), so the second question is
#            answered from dnsmasq's cache.
# True       BIND puts the zone's SOA into the additional section; unbound and PowerDNS Recursor send none. dnsmasq keeps no
#            negative answer without a SOA in the authority section: five questions are five queries. For a name that
#            does not exist anyway (gone.cc) all three have the SOA in its place, and dnsmasq asks once.
# Output     bind     bad.cc NXDOMAIN SOA in ADDITIONAL, 5 of 5 forwarded    gone.cc NXDOMAIN SOA in AUTHORITY, 1 of 5 forwarded
#            unbound  bad.cc NXDOMAIN no SOA, 5 of 5 forwarded               gone.cc as above
#            pdns     bad.cc NXDOMAIN no SOA, 5 of 5 forwarded               gone.cc as above
# Why a sinkhole cares   Devices repeat blocked names most of all. A sinkhole has to put a SOA where RFC 2308 wants it, or the
#            caches between it and the devices are of no use; and its counts of blocked queries cannot be compared
#            between two set-ups unless both do the same.
set -euo pipefail

if [ $# -eq 0 ]; then
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	script=$(realpath "$0")
	mkdir "$tmp/root"
	(
		cd "$tmp"
		pinned="bind9=1:9.18.49-1~deb12u3 bind9-libs=1:9.18.49-1~deb12u3 bind9-dnsutils=1:9.18.49-1~deb12u3 \
			dnsmasq-base=2.90-4~deb12u2 unbound=1.17.1-2+deb12u4 pdns-recursor=4.8.8-1+deb12u1"
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
@       SOA ns. host. 1 60 60 60 60
@       NS  ns.
ns.     A   127.0.0.1
bad.cc. A   198.51.100.1
EOF
cat >rpz.zone <<'EOF'
$TTL 60
@       SOA   localhost. host.localhost. 1 60 60 60 60
@       NS    localhost.
bad.cc  CNAME .
EOF
common="directory \"$1\"; pid-file none; session-keyfile none; listen-on-v6 { none; }; dnssec-validation no;"
cat >auth.conf <<EOF
options { $common listen-on { 127.0.0.1; }; recursion no; };
controls {};
zone "." { type primary; file "root.zone"; };
EOF
cat >bind.conf <<EOF
options { $common listen-on { 127.0.0.2; }; forward only; forwarders { 127.0.0.1; }; response-policy { zone "rpz"; }; };
controls {};
zone "rpz" { type primary; file "rpz.zone"; };
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
  module-config: "respip iterator"
rpz:
  name: rpz
  zonefile: "$1/rpz.zone"
forward-zone:
  name: "."
  forward-addr: 127.0.0.1
remote-control:
  control-enable: no
EOF
mkdir pdns
echo "rpzFile('$1/rpz.zone', {policyName='rpz'})" >pdns/rpz.lua
cat >pdns/recursor.conf <<EOF
local-address=127.0.0.4
forward-zones-recurse=.=127.0.0.1
dont-query=
dnssec=off
lua-config-file=$1/pdns/rpz.lua
socket-dir=$1/pdns
security-poll-suffix=
threads=1
EOF
named -f -g -c auth.conf >auth.log 2>&1 &
named -f -g -c bind.conf >bind.log 2>&1 &
unbound -d -c unbound.conf >unbound.log 2>&1 &
pdns_recursor --config-dir="$1/pdns" >pdns.log 2>&1 &
# 127.0.0.1N is dnsmasq in front of 127.0.0.N.
for n in 2 3 4; do
	dnsmasq --no-daemon --conf-file=/dev/null --pid-file= --no-resolv --no-hosts --listen-address=127.0.0.1$n \
		--bind-interfaces --server=127.0.0.$n --cache-size=1000 --log-queries >cache$n.log 2>&1 &
done

# sections SERVER NAME prints the status and the section that holds a SOA.
sections() {
	dig +tries=1 +time=2 "@$1" "$2" A | awk '
		/status:/ {sub(",", "", $6); status = $6}
		/^;; [A-Z]+ SECTION:/ {section = $2}
		/^[^;]/ && $4 == "SOA" {soa = section}
		END {if (status != "") print status, soa == "" ? "no SOA" : "SOA in " soa}'
}
for n in 1 2 3 4; do
	for try in $(seq 40); do
		[ -n "$(sections 127.0.0.$n bad.cc)" ] && break
		[ "$try" -lt 40 ] || { echo "cannot be tried here: the server at 127.0.0.$n does not answer"; tail -n 5 ./*.log; exit 2; }
		sleep 0.5
	done
done

failed=0
# want RESOLVER N NAME OUTPUT asks resolver N once and the cache in front of it five times.
want() {
	local got
	got=$(sections "127.0.0.$2" "$3")
	for _ in 1 2 3 4 5; do dig +tries=1 +time=2 +short "@127.0.0.1$2" "$3" A >>dig.log; done
	got="$got, $(grep -c "forwarded $3" "cache$2.log") of 5 forwarded"
	echo "$3 $1: $got"
	[ "$got" = "$4" ] || { echo "differs: $1 gives '$got' for $3, not '$4'"; failed=1; }
}
want bind 2 bad.cc "NXDOMAIN SOA in ADDITIONAL, 5 of 5 forwarded"
want unbound 3 bad.cc "NXDOMAIN no SOA, 5 of 5 forwarded"
want pdns 4 bad.cc "NXDOMAIN no SOA, 5 of 5 forwarded"
want bind 2 gone.cc "NXDOMAIN SOA in AUTHORITY, 1 of 5 forwarded"
want unbound 3 gone.cc "NXDOMAIN SOA in AUTHORITY, 1 of 5 forwarded"
want pdns 4 gone.cc "NXDOMAIN SOA in AUTHORITY, 1 of 5 forwarded"
exit $failed
