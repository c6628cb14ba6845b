#!/usr/bin/env bash
# Knot Resolver: rpz-passthru lets a name past the rule that forwards, too. The allowed name is asked of the root servers.
#
#   policy.add(policy.rpz(policy.DENY, 'rpz.zone'))          with   ok.cc CNAME rpz-passthru.
#   policy.add(policy.all(policy.STUB({'127.0.0.1'})))       all else goes to this upstream
#
# Version    Knot Resolver 5.6.0 (Debian 12 package), BIND 9.18.49 as the upstream and as a root server of our own.
# One would guess   rpz-passthru means "no policy of this zone": the name is then resolved as any name that the zone does not list.
# True       It becomes policy.PASS, which ends the walk over *all* policies. The forwarding rule that follows is never
#            reached, and the name is resolved from the root servers, in plain text. A name that the zone does not list goes
#            to the upstream. With the two rules the other way round nothing is denied at all.
# Output     plain.cc NOERROR 198.51.100.1 (from the upstream)
#            ok.cc    NOERROR 203.0.113.2  (from the root server)
#            bad.cc   NXDOMAIN; with the rules the other way round NOERROR 198.51.100.3
# Why a sinkhole cares   A household that exports its rules as RPZ for a Knot Resolver with an encrypted upstream sends
#            exactly the names that it allowed by hand to servers that it did not choose, and loses split-horizon names that only
#            the upstream knows. An export for Knot should leave passthru out where nothing above it denies the name.
set -euo pipefail

if [ $# -eq 0 ]; then
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	script=$(realpath "$0")
	mkdir "$tmp/root"
	(
		cd "$tmp"
		pinned="bind9=1:9.18.49-1~deb12u3 bind9-libs=1:9.18.49-1~deb12u3 bind9-dnsutils=1:9.18.49-1~deb12u3 \
			knot-resolver=5.6.0-1+deb12u1"
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
mount -t overlay overlay -o "lowerdir=$1/root/usr:/usr" /usr && ip link set lo up && ip address add 127.0.0.9/8 dev lo ||
	{ echo "cannot be tried here"; exit 2; }

# zone PREFIX writes the same names with addresses that show who was asked.
zone() {
	cat <<EOF
\$TTL 60
@         SOA ns.test. host.test. 1 60 60 60 60
@         NS  ns.test.
ns.test.  A   127.0.0.9
plain.cc. A   $1.1
ok.cc.    A   $1.2
bad.cc.   A   $1.3
EOF
}
zone 198.51.100 >upstream.zone
zone 203.0.113 >rootserver.zone
cat >rpz.zone <<'EOF'
$TTL 60
@       SOA   localhost. host.localhost. 1 60 60 60 60
@       NS    localhost.
ok.cc   CNAME rpz-passthru.
bad.cc  CNAME .
EOF
for name in upstream rootserver; do
	[ $name = upstream ] && at=127.0.0.1 || at=127.0.0.9
	mkdir $name
	cat >$name.conf <<EOF
options { directory "$1/$name"; pid-file none; session-keyfile none; listen-on { $at; }; listen-on-v6 { none; };
  recursion no; dnssec-validation no; };
controls {};
zone "." { type primary; file "$1/$name.zone"; };
EOF
	named -f -g -c $name.conf >$name.log 2>&1 &
done
mkdir knot knot2
cat >knot/kresd.conf <<EOF
net.listen('127.0.0.5', 53, { kind = 'dns' })
trust_anchors.remove('.')
modules = { 'policy', 'hints > iterate' }
hints.root({ ['ns.test.'] = { '127.0.0.9' } })
cache.size = 10 * MB
policy.add(policy.rpz(policy.DENY, '$1/rpz.zone'))
policy.add(policy.all(policy.STUB({ '127.0.0.1' })))
EOF
{ # the last two lines swapped, and another address
	head -n -2 knot/kresd.conf | sed 's/127\.0\.0\.5/127.0.0.6/'
	tail -n 2 knot/kresd.conf | tac
} >knot2/kresd.conf

# ask SERVER NAME prints the status and the addresses.
ask() {
	dig +tries=1 +time=4 "@$1" "$2" A | awk '/status:/ {sub(",", "", $6); out = $6} $4 == "A" {out = out " " $5} END {print out}'
}
# await SERVER waits until it answers.
await() {
	for try in $(seq 40); do
		[ -n "$(ask "$1" bad.cc)" ] && return
		sleep 0.5
	done
	echo "cannot be tried here: the server at $1 does not answer"
	tail -n 5 ./*.log
	exit 2
}
await 127.0.0.1
await 127.0.0.9
for name in knot knot2; do (cd $name && exec kresd -n -c kresd.conf) >$name.log 2>&1 & done
await 127.0.0.5
await 127.0.0.6

failed=0
# want SERVER NAME OUTPUT compares what is answered with what was seen.
want() {
	local got
	got=$(ask "$1" "$2")
	echo "$2 at $1: $got"
	[ "$got" = "$3" ] || { echo "differs: $2 at $1 answered with '$got', not with '$3'"; failed=1; }
}
want 127.0.0.5 plain.cc "NOERROR 198.51.100.1"
want 127.0.0.5 ok.cc "NOERROR 203.0.113.2"
want 127.0.0.5 bad.cc NXDOMAIN
want 127.0.0.6 bad.cc "NOERROR 198.51.100.3"
exit $failed
