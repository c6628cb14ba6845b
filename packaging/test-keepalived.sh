#!/usr/bin/env bash
# Two resolvers in network namespaces have one address by Debian's keepalived, with
# the settings of docs/fleet.md: test-keepalived.sh [BINARY]. Needs root, iproute2,
# bind9-dnsutils and keepalived.
set -euo pipefail
if [ $# != 0 ] && [ -z "${IN_OWN_NETWORK:-}" ]; then
	exec 3<"$1" # relative to the caller's directory, and hidden below where it may be in /tmp or /run
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

skip() {
	echo "skipping: needs root, and Debian's iproute2, bind9-dnsutils and keepalived" >&2
	exit 0
}
[ "$(id -u)" = 0 ] || skip
for program in ip dig keepalived; do
	command -v "$program" >/dev/null || skip
done

# Network, mounts and processes of its own, which all end with this script.
if [ -z "${IN_OWN_NETWORK:-}" ]; then
	if [ $# = 0 ]; then
		make build
		exec 3<bin/telltale
	fi
	exec env IN_OWN_NETWORK=1 unshare --net --mount --pid --fork --kill-child --mount-proc -- packaging/test-keepalived.sh
fi
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /usr/local/bin # no other user may write there, or keepalived runs no script
cat <&3 >/usr/local/bin/telltale
exec 3<&-
chmod 755 /usr/local/bin/telltale
grep -q ^telltale: /etc/passwd || { cp /etc/passwd /run/passwd && echo telltale:x:998:65534::/nonexistent:/usr/sbin/nologin >>/run/passwd && mount --bind /run/passwd /etc/passwd; }
export TELLTALE_LISTEN_DNS=0.0.0.0:53 TELLTALE_UPSTREAMS=127.0.0.1:1

ip link set lo up
ip link add br0 type bridge
ip link set br0 up
ip addr add 192.168.1.1/24 dev br0
declare -A server keeper
serve() {
	ip netns exec "m$1" telltale serve --data-dir "/run/$1/data" --lists-dir "/run/$1/lists" >>"/run/$1/server" 2>&1 &
	server[$1]=$!
}
for i in 2 3; do
	ip netns add m$i
	ip link add p$i type veth peer name eth0 netns m$i
	ip link set p$i master br0 up
	ip -n m$i link set lo up
	ip -n m$i addr add 192.168.1.$i/24 dev eth0
	ip -n m$i link set eth0 up
	mkdir -p /run/$i/lists
	echo "192.0.2.$i who.example" >/run/$i/lists/own.txt
	sed -n '/^global_defs/,/^```/{/^```/!p}' docs/fleet.md >/run/$i/keepalived.conf
	serve $i
done
sed -i 's/state MASTER/state BACKUP/; s/priority 110/priority 100/' /run/3/keepalived.conf
grep -q 'vrrp_instance dns' /run/3/keepalived.conf

# has SECONDS ANSWER WHAT waits until the one address has an answer.
has() {
	local began=$(date +%s%3N) got=
	while [ $(($(date +%s%3N) - began)) -lt $(($1 * 1000)) ]; do
		got=$(dig +short +time=1 +tries=1 @192.168.1.53 who.example A 2>&1 | head -1) || true
		if [ "$got" = "$2" ]; then
			echo "$3: $2 after $(($(date +%s%3N) - began)) ms"
			return
		fi
		sleep 0.1
	done
	echo "$3: got $got, want $2" >&2
	tail -n 20 /run/2/keepalived /run/3/keepalived /run/2/server /run/3/server >&2
	exit 1
}
for i in 2 3; do
	ip netns exec m$i keepalived -n -l -D -f /run/$i/keepalived.conf -p /run/$i/pid -r /run/$i/vrrp.pid >/run/$i/keepalived 2>&1 &
	keeper[$i]=$!
done
has 60 192.0.2.2 'the first has the address'
kill -9 "${server[2]}"
has 60 192.0.2.3 'the server of the first was killed'
serve 2
has 60 192.0.2.2 'it is back'
ip -n m2 link set eth0 down
has 60 192.0.2.3 'the cable of the first is out'
if grep -Hi 'security violation\|insecure\|does not exist' /run/[23]/keepalived; then
	echo 'keepalived has something to say of its settings' >&2
	exit 1
fi
echo ok
