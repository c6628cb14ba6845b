#!/usr/bin/env bash
# dnsmasq in front of Knot Resolver: a denied name is NXDOMAIN the first time, and "no error, no data" from the second time on.
#
# Versions   dnsmasq 2.90 and Knot Resolver 5.6.0 (Debian 12 packages), the zone "bad.cc CNAME .", each name
#            asked five times.
# One would guess   The reply of a resolver comes through a forwarder unchanged, from its cache too: five times NXDOMAIN.
# True       Knot Resolver denies with a SOA whose owner is the denied name itself. After the first such reply dnsmasq does not
#            keep the denial; it forwards the second question as well, turns this NXDOMAIN into NOERROR ("reply bad.cc is
#            NODATA-IPv4" in its log), and answers so from its cache. A name that does not exist in the upstream's zone, whose SOA
#            belongs to a name above, is NXDOMAIN five times with one query. Asked directly, Knot says NXDOMAIN each time.
# Output     bad.cc   NXDOMAIN NOERROR NOERROR NOERROR NOERROR, 2 forwarded
#            gone.cc  NXDOMAIN NXDOMAIN NXDOMAIN NXDOMAIN NXDOMAIN, 1 forwarded
# Why a sinkhole cares   A sinkhole that knows no zone above a blocked name is tempted to make the name itself the owner of the SOA.
#            Behind dnsmasq, the forwarder of many home routers, its NXDOMAIN is then seen once, and a test through the router
#            contradicts a test at the sinkhole. With a name above the blocked one as the owner the status is kept, but then that
#            name's own denials are lost in the same way; the root is the one owner that nobody asks for.
set -euo pipefail

if [ $# -eq 0 ]; then
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	script=$(realpath "$0")
	mkdir "$tmp/root"
	(
		cd "$tmp"
		pinned="bind9=1:9.18.49-1~deb12u3 bind9-libs=1:9.18.49-1~deb12u3 bind9-dnsutils=1:9.18.49-1~deb12u3 \
			dnsmasq-base=2.90-4~deb12u2 knot-resolver=5.6.0-1+deb12u1"
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
cat >auth.conf <<EOF
options { directory "$1"; pid-file none; session-keyfile none; listen-on { 127.0.0.1; }; listen-on-v6 { none; };
  recursion no; dnssec-validation no; };
controls {};
zone "." { type primary; file "root.zone"; };
EOF
mkdir knot
cat >knot/kresd.conf <<EOF
net.listen('127.0.0.5', 53, { kind = 'dns' })
trust_anchors.remove('.')
modules = { 'policy' }
cache.size = 10 * MB
policy.add(policy.rpz(policy.DENY, '$1/rpz.zone'))
policy.add(policy.all(policy.STUB({ '127.0.0.1' })))
EOF
named -f -g -c auth.conf >auth.log 2>&1 &
(cd knot && exec kresd -n -c kresd.conf) >knot.log 2>&1 &
dnsmasq --no-daemon --conf-file=/dev/null --pid-file= --no-resolv --no-hosts --listen-address=127.0.0.6 \
	--bind-interfaces --server=127.0.0.5 --cache-size=1000 --log-queries >cache.log 2>&1 &

# ask SERVER NAME prints the status.
ask() {
	dig +tries=1 +time=2 "@$1" "$2" A | awk '/status:/ {sub(",", "", $6); print $6}'
}
for n in 1 5 6; do
	for try in $(seq 40); do
		[ -n "$(ask 127.0.0.$n ready.cc)" ] && break
		[ "$try" -lt 40 ] || { echo "cannot be tried here: the server at 127.0.0.$n does not answer"; tail -n 5 ./*.log; exit 2; }
		sleep 0.5
	done
done

failed=0
# want SERVER NAME OUTPUT asks five times.
want() {
	local got
	got=$(for _ in 1 2 3 4 5; do ask "$1" "$2"; done | paste -sd ' ')
	[ "$1" = 127.0.0.5 ] || got="$got, $(grep -c "forwarded $2 " cache.log) forwarded"
	echo "$2 at $1: $got"
	[ "$got" = "$3" ] || { echo "differs: $2 at $1 gives '$got', not '$3'"; failed=1; }
}
denied="NXDOMAIN NXDOMAIN NXDOMAIN NXDOMAIN"
want 127.0.0.5 bad.cc "NXDOMAIN $denied"
want 127.0.0.6 bad.cc "NXDOMAIN NOERROR NOERROR NOERROR NOERROR, 2 forwarded"
want 127.0.0.6 gone.cc "NXDOMAIN $denied, 1 forwarded"
exit $failed
