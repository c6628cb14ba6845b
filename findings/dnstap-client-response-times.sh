#!/usr/bin/env bash
# dnstap: the reply to a client carries the time of its query only from dnsdist; BIND, unbound and Knot Resolver leave it out.
#
# Versions   BIND 9.18.49, unbound 1.17.1, Knot Resolver 5.6.0 and dnsdist 1.7.3, read by fstrm_capture 0.6.1 and dnstap-ldns 0.2.1
#            (Debian 12 packages).
# One would guess   CLIENT_RESPONSE has query_time and response_time, for dnstap.proto has both fields for any message, so that it alone
#            says when a name was asked for and how long that took; and a query given on is FORWARDER_QUERY.
# True       BIND, unbound and Knot Resolver leave query_time out of CLIENT_RESPONSE; it must be matched with the CLIENT_QUERY of the same
#            address, port and id. unbound has it in FORWARDER_RESPONSE, but 0.2 ms earlier than the FORWARDER_QUERY it belongs to. BIND with
#            "forward only" writes RESOLVER_QUERY, and its times come in steps of 4 ms (both seen, and not compared below).
# Output     bind     CLIENT_RESPONSE response_time               upstream RESOLVER_QUERY
#            unbound  CLIENT_RESPONSE response_time               upstream FORWARDER_QUERY
#            kresd    CLIENT_RESPONSE response_time               (asked for clients' messages alone)
#            dnsdist  CLIENT_RESPONSE query_time response_time    (has no others)
# Why a sinkhole cares   A log made of another resolver's dnstap must keep queries until their replies come, bounded, and say how many never got
#            one; a row whose query was lost has the time of the reply, and no duration. How fast two resolvers are cannot be compared by it.
set -euo pipefail

if [ $# -eq 0 ]; then
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	script=$(realpath "$0")
	mkdir "$tmp/root"
	(
		cd "$tmp"
		pinned="bind9=1:9.18.49-1~deb12u3 bind9-libs=1:9.18.49-1~deb12u3 bind9-dnsutils=1:9.18.49-1~deb12u3 unbound=1.17.1-2+deb12u4 \
			knot-resolver=5.6.0-1+deb12u1 dnsdist=1.7.3-2 fstrm-bin=0.6.1-1 dnstap-ldns=0.2.1-1"
		# The libraries that they need, without the C library and the second choices.
		libraries=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
			$(sed 's/=[^ ]*//g' <<<"$pinned") | grep -E '^(lib[^:]*|zlib1g|lua-[a-z]*|dns-root-data)$' | grep -Ev '^lib(c6|c-|luajit2|elogind)' | sort -u)
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
@        SOA ns. host. 1 60 60 60 60
@        NS  ns.
ns.      A   127.0.0.1
good.cc. A   198.51.100.2
EOF
common="directory \"$1\"; pid-file none; session-keyfile none; listen-on-v6 { none; }; dnssec-validation no;"
cat >auth.conf <<EOF
options { $common listen-on { 127.0.0.1; }; recursion no; };
controls {};
zone "." { type primary; file "root.zone"; };
EOF
cat >bind.conf <<EOF
options { $common listen-on { 127.0.0.2; }; forward only; forwarders { 127.0.0.1; }; dnstap { all; }; dnstap-output unix "$1/bind.socket"; };
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
  module-config: "iterator"
forward-zone:
  name: "."
  forward-addr: 127.0.0.1
remote-control:
  control-enable: no
dnstap:
  dnstap-enable: yes
  dnstap-socket-path: "$1/unbound.socket"
  dnstap-log-client-query-messages: yes
  dnstap-log-client-response-messages: yes
  dnstap-log-forwarder-query-messages: yes
  dnstap-log-forwarder-response-messages: yes
EOF
cat >kresd.conf <<EOF
net.listen('127.0.0.4', 53, {kind = 'dns'})
trust_anchors.remove('.')
modules = {dnstap = {socket_path = '$1/kresd.socket', client = {log_queries = true, log_responses = true}}}
policy.add(policy.all(policy.FORWARD('127.0.0.1')))
EOF
cat >dnsdist.conf <<EOF
setLocal('127.0.0.5')
setSecurityPollSuffix('')
newServer{address = '127.0.0.1'}
tap = newFrameStreamUnixLogger('$1/dnsdist.socket')
addAction(AllRule(), DnstapLogAction('dnsdist', tap))
addResponseAction(AllRule(), DnstapLogResponseAction('dnsdist', tap))
EOF
servers=(bind unbound kresd dnsdist)
captures=()
for s in "${servers[@]}"; do
	fstrm_capture -t protobuf:dnstap.Dnstap -u "$s.socket" -w "$s.fstrm" 2>"$s.capture.log" &
	captures+=($!)
done
for s in "${servers[@]}"; do
	for _ in $(seq 40); do [ -S "$s.socket" ] && break; sleep 0.25; done
done
named -f -g -c auth.conf >auth.log 2>&1 &
named -f -g -c bind.conf >bind.log 2>&1 &
unbound -d -c unbound.conf >unbound.log 2>&1 &
mkdir kresd
kresd -n -q -c "$1/kresd.conf" kresd >kresd.log 2>&1 &
dnsdist --supervised --disable-syslog -C dnsdist.conf >dnsdist.log 2>&1 &
for n in 2 3 4 5; do
	for try in $(seq 40); do
		[ "$(dig +tries=1 +time=2 +short @127.0.0.$n good.cc A)" = 198.51.100.2 ] && break
		[ "$try" -lt 40 ] || { echo "cannot be tried here: the server at 127.0.0.$n does not answer"; tail -n 3 ./*.log; exit 2; }
		sleep 0.5
	done
done
sleep 3 # all of them write what they have each second
kill "${captures[@]}"
wait "${captures[@]}" || true

failed=0
# want SERVER OUTPUT compares the times of the first reply to a client, and the type of the first query upstream.
want() {
	local got
	got=$(dnstap-ldns -y -r "$1.fstrm" | awk '
		$1 == "type:" && $2 != "MESSAGE" {type = $2; if (type == "CLIENT_RESPONSE") replies++
			if (upstream == "" && (type == "FORWARDER_QUERY" || type == "RESOLVER_QUERY")) upstream = type}
		type == "CLIENT_RESPONSE" && replies == 1 && $1 ~ /^(query|response)_time:$/ {times = times " " substr($1, 1, length($1) - 1)}
		END {print "CLIENT_RESPONSE" times (upstream == "" ? "" : ", " upstream)}')
	echo "$1: $got"
	[ "$got" = "$2" ] || { echo "differs: $1 gives '$got', not '$2'"; failed=1; }
}
want bind "CLIENT_RESPONSE response_time, RESOLVER_QUERY"
want unbound "CLIENT_RESPONSE response_time, FORWARDER_QUERY"
want kresd "CLIENT_RESPONSE response_time"
want dnsdist "CLIENT_RESPONSE query_time response_time"
exit $failed
