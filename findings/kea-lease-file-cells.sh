#!/usr/bin/env bash
# Kea's lease file ends in .csv and quotes nothing: CSV readers refuse a host name, and decoders of &#x2c make another one of it.
#
# Version    Kea 2.2.0 (Debian 12 packages), leases added by its own command lease4-add and by no client.
# One would guess   A field with a comma or a quote is in quotes, as RFC 4180 has it and as each CSV library reads it back.
# True       There are no quotes. A comma is written as &#x2c and an ampersand as &#x26, two hexadecimal digits without the
#            semicolon of HTML; a quote stands as it came. A strict CSV reader refuses the line with the quote. An HTML decoder
#            takes as many digits as follow: of the name "tv,bedroom" it reads &#x2cbed as one character.
# Output     tv,bedroom   tv&#x2cbedroom    html.unescape: tv U+2CBED room
#            a&b          a&#x26b           html.unescape: a U+26B
#            "tv" 2       "tv" 2            csv.reader(strict=True): refused
# Why a sinkhole cares   The host name of a lease is the name under which a person finds a device in the log. It is chosen by the
#            device: whoever reads the file with a ready-made reader shows another name, or loses the line and with it who
#            held the address.
set -euo pipefail

if [ $# -eq 0 ]; then
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	script=$(realpath "$0")
	mkdir "$tmp/root"
	(
		cd "$tmp"
		pinned="kea-dhcp4-server=2.2.0-6 kea-common=2.2.0-6"
		# The libraries that they need, without the C library.
		libraries=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
			$(sed 's/=[^ ]*//g' <<<"$pinned") | grep -E '^(lib[^:]*|zlib1g)$' | grep -Ev '^lib(c6|c-)' | sort -u)
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
cat >kea.json <<EOF
{"Dhcp4": {
  "interfaces-config": {"interfaces": []},
  "control-socket": {"socket-type": "unix", "socket-name": "$1/socket"},
  "lease-database": {"type": "memfile", "persist": true, "name": "$1/leases.csv", "lfc-interval": 0},
  "hooks-libraries": [{"library": "$(ls "$1"/root/usr/lib/*/kea/hooks/libdhcp_lease_cmds.so)"}],
  "subnet4": [{"id": 1, "subnet": "192.0.2.0/24"}],
  "loggers": [{"name": "kea-dhcp4", "severity": "INFO", "output_options": [{"output": "stdout"}]}]
}}
EOF
KEA_PIDFILE_DIR="$1" KEA_LOCKFILE_DIR="$1" kea-dhcp4 -c kea.json >kea.log 2>&1 &
for try in $(seq 60); do
	[ -S socket ] && break
	[ "$try" -lt 60 ] || { echo "cannot be tried here: Kea does not start"; tail -n 5 kea.log; exit 2; }
	sleep 0.5
done

python3 - <<'EOF'
import csv, html, json, socket, sys

def ask(command, **arguments):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("socket")
        s.sendall(json.dumps({"command": command, "arguments": arguments}).encode())
        answer = b""
        while part := s.recv(1 << 16):
            answer += part
    answer = json.loads(answer)
    if answer["result"]:
        sys.exit("cannot be tried here: " + answer["text"])

names = ["tv,bedroom", "a&b", 'say "hi"', '"tv" 2']
for i, name in enumerate(names):
    ask("lease4-add", **{"subnet-id": 1, "ip-address": f"192.0.2.{i + 20}", "hw-address": f"02:00:5e:10:00:{i:02x}", "hostname": name})
lines = open("leases.csv", encoding="utf-8").read().splitlines()
column = lines[0].split(",").index("hostname")
failed = False

def want(what, got, wanted):
    global failed
    print(f"{what}: {got}")
    if got != wanted:
        print(f"differs: {what} is {got!r}, not {wanted!r}")
        failed = True

def strict(line):
    try:
        return next(csv.reader([line], strict=True))[column]
    except csv.Error as err:
        return f"refused ({err})"

cells = [line.split(",")[column] for line in lines[1:]]
want("cell of tv,bedroom", cells[0], "tv&#x2cbedroom")
want("cell of a&b", cells[1], "a&#x26b")
want('cell of say "hi"', cells[2], 'say "hi"')
want('cell of "tv" 2', cells[3], '"tv" 2')
want("tv,bedroom by an HTML decoder", html.unescape(cells[0]), "tv\U0002cbedroom")
want("a&b by an HTML decoder", html.unescape(cells[1]), "a\u026b")
want('say "hi" by a strict CSV reader', strict(lines[3]), 'say "hi"')
want('"tv" 2 by a strict CSV reader', strict(lines[4]).split(" (")[0], "refused")
sys.exit(failed)
EOF
