#!/usr/bin/env bash
# RPZ: four resolvers read one zone in two ways where an exact name stands below a wildcard.
#
#   *.cc   CNAME .               deny all of .cc
#   ok.cc  CNAME rpz-passthru.   but let ok.cc pass
#
# Versions   BIND 9.18.49, unbound 1.17.1, PowerDNS Recursor 4.8.8, Knot Resolver 5.6.0 (Debian 12 packages).
# One would guess   A response policy zone is a DNS zone, so its wildcards follow RFC 4592 in every reader: the node
#            ok.cc exists, therefore *.cc does not reach s.ok.cc, and s.ok.cc is resolved.
# True       BIND and unbound do so. PowerDNS Recursor and Knot Resolver look for the nearest wildcard above the name and
#            pass over the exact node: they deny s.ok.cc. All four deny x.cc and pass ok.cc.
# Output     x.cc  bind NXDOMAIN, unbound NXDOMAIN, pdns NXDOMAIN, knot NXDOMAIN
#            s.ok.cc  bind NOERROR 198.51.100.1, unbound NOERROR 198.51.100.1, pdns NXDOMAIN, knot NXDOMAIN
# Why a sinkhole cares   A published RPZ list that allows a name by its exact entry also frees all names below it, or none,
#            depending on who reads it. An importer has to choose and say so; an exporter must write each depth out.
set -euo pipefail

if [ $# -eq 0 ]; then
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	script=$(realpath "$0")
	mkdir "$tmp/root"
	(
		cd "$tmp"
		pinned="bind9=1:9.18.49-1~deb12u3 bind9-libs=1:9.18.49-1~deb12u3 bind9-dnsutils=1:9.18.49-1~deb12u3 \
			unbound=1.17.1-2+deb12u4 pdns-recursor=4.8.8-1+deb12u1 knot-resolver=5.6.0-1+deb12u1"
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
x.cc.   A   198.51.100.3
ok.cc.  A   198.51.100.2
s.ok.cc. A  198.51.100.1
EOF
cat >rpz.zone <<'EOF'
$TTL 60
@      SOA   localhost. host.localhost. 1 60 60 60 60
@      NS    localhost.
*.cc   CNAME .
ok.cc  CNAME rpz-passthru.
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
mkdir pdns knot
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
# ok.cc itself is not asked of Knot: knot-rpz-passthru-forwarder.sh says why.
cat >knot/kresd.conf <<EOF
net.listen('127.0.0.5', 53, { kind = 'dns' })
trust_anchors.remove('.')
modules = { 'policy' }
cache.size = 10 * MB
policy.add(policy.rpz(policy.DENY, '$1/rpz.zone'))
policy.add(policy.all(policy.STUB({ '127.0.0.1' })))
EOF
named -f -g -c auth.conf >auth.log 2>&1 &
named -f -g -c bind.conf >bind.log 2>&1 &
unbound -d -c unbound.conf >unbound.log 2>&1 &
pdns_recursor --config-dir="$1/pdns" >pdns.log 2>&1 &
(cd knot && exec kresd -n -c kresd.conf) >knot.log 2>&1 &

# ask SERVER NAME prints the status and the addresses.
ask() {
	dig +tries=1 +time=2 "@$1" "$2" A | awk '/status:/ {sub(",", "", $6); out = $6} $4 == "A" {out = out " " $5} END {print out}'
}
for server in 1 2 3 4 5; do
	for try in $(seq 40); do
		[ -n "$(ask 127.0.0.$server x.cc)" ] && break
		[ "$try" -lt 40 ] || { echo "cannot be tried here: the server at 127.0.0.$server does not answer"; tail -n 5 ./*.log; exit 2; }
		sleep 0.5
	done
done

failed=0
# want SERVER ADDRESS NAME OUTPUT compares what is answered with what was seen.
want() {
	local got
	got=$(ask "$2" "$3")
	echo "$3 $1: $got"
	[ "$got" = "$4" ] || { echo "differs: $1 answered $3 with '$got', not with '$4'"; failed=1; }
}
for name in bind unbound pdns knot; do
	case $name in bind) at=127.0.0.2 ;; unbound) at=127.0.0.3 ;; pdns) at=127.0.0.4 ;; knot) at=127.0.0.5 ;; esac
	want $name $at x.cc NXDOMAIN
	case $name in
	bind | unbound) want $name $at s.ok.cc "NOERROR 198.51.100.1" ;;
	*) want $name $at s.ok.cc NXDOMAIN ;;
	esac
	[ $name = knot ] || want $name $at ok.cc "NOERROR 198.51.100.2"
done
exit $failed
