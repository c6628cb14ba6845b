#!/usr/bin/env bash
# dnsmasq: its capture (--dumpfile) has no reply to a name that address= or local= blocks, and nothing that came by TCP.
#
# Version    dnsmasq 2.90 (Debian 12 package), BIND 9.18.49 as the upstream.
# One would guess   The mask 0x0003, "queries from clients" and "replies to clients", writes each query and each reply.
# True       Of a name of address= or local= the query is written, and not the reply. Replies of the upstream, of the cache and of
#            host-record= are. What comes by TCP is not in the file at all, neither with the client nor with the upstream, while the text
#            log has it. The packets are made for the file: all are UDP, and dnsmasq's address towards the upstream is 0.0.0.0.
# Output     (with mask 0x000f)
#            address=/blocked.example/0.0.0.0          query
#            local=/denied.example/                    query
#            host-record=host.example,192.0.2.5        query, reply
#            asked of the upstream                     query, query to the upstream, its reply, reply
#            the same name again, from the cache       query, reply
#            another one by TCP                        nothing
# Why a sinkhole cares   A history made of such a file has no answer for the very names that were blocked, so that neither "blocked" nor "not
#            answered" may be read out of a missing reply; and a client that asks by TCP is not there. The text log (log-queries) has both.
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

cat >root.zone <<'EOF'
$TTL 60
@              SOA ns. host. 1 60 60 60 60
@              NS  ns.
ns.            A   127.0.0.1
*.example.     A   198.51.100.4
EOF
cat >auth.conf <<EOF
options { directory "$1"; pid-file none; session-keyfile none; listen-on { 127.0.0.1; }; listen-on-v6 { none; };
  recursion no; dnssec-validation no; };
controls {};
zone "." { type primary; file "root.zone"; };
EOF
cat >dnsmasq.conf <<EOF
no-daemon
user=root
pid-file=
no-resolv
no-hosts
log-queries
listen-address=127.0.0.2
bind-interfaces
server=127.0.0.1
address=/blocked.example/0.0.0.0
local=/denied.example/
host-record=host.example,192.0.2.5
dumpfile=$1/dump.pcap
dumpmask=0x000f
EOF
named -f -g -c auth.conf >auth.log 2>&1 &
dnsmasq -C dnsmasq.conf >dnsmasq.log 2>&1 &

ask() { dig +short +tries=1 +time=2 "${@:3}" "@127.0.0.$1" "$2" A; }
for server in 1 2; do
	for try in $(seq 40); do
		[ -n "$(ask "$server" begin.example)" ] && break
		[ "$try" -lt 40 ] || { echo "cannot be tried here: the server at 127.0.0.$server does not answer"; tail -n 5 ./*.log; exit 2; }
		sleep 0.5
	done
done
ask 2 blocked.example >/dev/null
ask 2 denied.example >/dev/null
ask 2 host.example >/dev/null
ask 2 asked.example >/dev/null
ask 2 again.example >/dev/null
ask 2 again.example >/dev/null
ask 2 stream.example +tcp >/dev/null
sleep 1

# What the file has of each name: ">" a query, "<" a reply, by whether the upstream's port is at the other end (u) or a client (c).
cat >read.py <<'EOF'
import collections, struct
octets = open("dump.pcap", "rb").read()
at, seen, transports, own = 24, collections.defaultdict(list), set(), set()
while at < len(octets):
    length = struct.unpack("<I", octets[at + 8:at + 12])[0]
    p = octets[at + 16:at + 16 + length]
    at += 16 + length
    transports.add(p[9])
    source, target, message = p[12:16], p[16:20], p[28:]
    reply = bool(message[2] & 0x80)
    upstream = (source if reply else target) == b"\x7f\0\0\1"
    if upstream:
        own.add(".".join(map(str, target if reply else source)))
    name = message[13:13 + message[12]].decode()
    seen[name].append(("c", "u")[upstream] + (">", "<")[reply])
for name in ("blocked", "denied", "host", "asked", "again", "stream"):
    print(name, *seen[name])
print("transports", *sorted(transports), "own address", *sorted(own))
EOF
python3 read.py | tee got
cat >wanted <<'EOF'
blocked c>
denied c>
host c> c<
asked c> u> u< c<
again c> u> u< c< c> c<
stream
transports 17 own address 0.0.0.0
EOF
failed=0
diff wanted got >differences || { sed 's/^/differs: /' differences; failed=1; }
grep -q 'query\[A\] stream.example from 127.0.0' dnsmasq.log || { echo "differs: the text log lacks what came by TCP"; failed=1; }
exit $failed
