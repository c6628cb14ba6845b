#!/usr/bin/env bash
# dnsmasq: address=/NAME/0.0.0.0 stops type A alone. AAAA and HTTPS of the same name are asked upstream and answered.
#
# Version    dnsmasq 2.90 (Debian 12 package), BIND 9.18.49 as the upstream.
# One would guess   The name is dnsmasq's own after such a line: A is 0.0.0.0, any other type has no data, and nothing is asked upstream.
# True       Only the family of the address given is answered here. AAAA and HTTPS go upstream and the real answers come
#            back, with the real addresses in ipv4hint and ipv6hint. With "#" (the null addresses of both families) A and AAAA
#            are answered, HTTPS still goes upstream. Only address=/NAME/ with nothing behind it, or an additional
#            local=/NAME/, keeps all types.
# Output     address=/half.example/0.0.0.0   A 0.0.0.0   AAAA 2001:db8::4   HTTPS 1 . ipv4hint=198.51.100.4
#            address=/null.example/#         A 0.0.0.0   AAAA ::            HTTPS 1 . ipv4hint=198.51.100.4
#            address=/none.example/          NXDOMAIN for A, AAAA and HTTPS
#            address= and local= of one name A 0.0.0.0   AAAA and HTTPS without data
# Why a sinkhole cares   Lists in dnsmasq's form use lines of the first kind. On a network with IPv6 their names stay
#            reachable in dnsmasq, and not in a reader that takes the line for a block of the name. An export in this form must
#            write address=/NAME/ or both lines.
set -euo pipefail

if [ $# -eq 0 ]; then
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	script=$(realpath "$0")
	mkdir "$tmp/root"
	(
		cd "$tmp"
		pinned="dnsmasq-base=2.90-4~deb12u2 bind9=1:9.18.49-1~deb12u3 bind9-libs=1:9.18.49-1~deb12u3 \
			bind9-dnsutils=1:9.18.49-1~deb12u3"
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

{
	echo '$TTL 60'
	echo '@ SOA ns. host. 1 60 60 60 60'
	echo '@ NS ns.'
	echo 'ns. A 127.0.0.1'
	for name in half null none both; do
		echo "$name.example. A 198.51.100.4"
		echo "$name.example. AAAA 2001:db8::4"
		echo "$name.example. HTTPS 1 . ipv4hint=198.51.100.4"
	done
} >root.zone
cat >auth.conf <<EOF
options { directory "$1"; pid-file none; session-keyfile none; listen-on { 127.0.0.1; }; listen-on-v6 { none; };
  recursion no; dnssec-validation no; };
controls {};
zone "." { type primary; file "root.zone"; };
EOF
cat >dnsmasq.conf <<'EOF'
no-daemon
pid-file=
no-resolv
no-hosts
listen-address=127.0.0.2
bind-interfaces
server=127.0.0.1
address=/half.example/0.0.0.0
address=/null.example/#
address=/none.example/
address=/both.example/0.0.0.0
local=/both.example/
EOF
named -f -g -c auth.conf >auth.log 2>&1 &
dnsmasq -C dnsmasq.conf >dnsmasq.log 2>&1 &

# ask SERVER NAME TYPE prints the status and the data of the answers.
ask() {
	dig +tries=1 +time=2 "@$1" "$2" "$3" | awk -v type="$3" '
		/status:/ {sub(",", "", $6); out = $6}
		/^[a-z]/ && $4 == type {for (i = 5; i <= NF; i++) out = out " " $i}
		END {print out}'
}
for server in 1 2; do
	for try in $(seq 40); do
		[ -n "$(ask 127.0.0.$server none.example A)" ] && break
		[ "$try" -lt 40 ] || { echo "cannot be tried here: the server at 127.0.0.$server does not answer"; tail -n 5 ./*.log; exit 2; }
		sleep 0.5
	done
done

failed=0
# want NAME TYPE OUTPUT compares what is answered with what was seen.
want() {
	local got
	got=$(ask 127.0.0.2 "$1.example" "$2")
	echo "$1.example $2: $got"
	[ "$got" = "$3" ] || { echo "differs: $1.example $2 answered with '$got', not with '$3'"; failed=1; }
}
real="NOERROR 1 . ipv4hint=198.51.100.4"
want half A "NOERROR 0.0.0.0"
want half AAAA "NOERROR 2001:db8::4"
want half HTTPS "$real"
want null A "NOERROR 0.0.0.0"
want null AAAA "NOERROR ::"
want null HTTPS "$real"
want none A NXDOMAIN
want none AAAA NXDOMAIN
want none HTTPS NXDOMAIN
want both A "NOERROR 0.0.0.0"
want both AAAA NOERROR
want both HTTPS NOERROR
exit $failed
