#!/usr/bin/env bash
# Lays out the files of the container image: image-tree.sh BINARY DIR. What is
# below DIR/root belongs to root, what is below DIR/own to the image's user.
set -euo pipefail
binary=$1 root=$2/root own=$2/own

mkdir -p "$root"/etc/ssl/certs "$root"/usr/share "$root"/tmp
chmod 1777 "$root"/tmp

install -m 0755 "$binary" "$root"/telltale
# To listen on port 53 without being root. Docker gives its bridge networks
# unprivileged ports, but not the host's network, which Telltale should have.
setcap cap_net_bind_service=+ep "$root"/telltale

cp -L /etc/ssl/certs/ca-certificates.crt "$root"/etc/ssl/certs/
cp -rL /usr/share/zoneinfo "$root"/usr/share/
rm -rf "$root"/usr/share/zoneinfo/{posix,right}
echo 'telltale:x:65532:65532:Telltale:/var/lib/telltale:/sbin/nologin' >"$root"/etc/passwd
echo 'telltale:x:65532:' >"$root"/etc/group

mkdir -p "$own"/etc/telltale/lists.d "$own"/var/lib/telltale
chmod 0700 "$own"/var/lib/telltale
