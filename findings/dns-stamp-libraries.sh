#!/usr/bin/env bash
# DNS stamps: one library sends DNS over TLS to port 843, the other reads no such stamp, and both refuse bootstrap addresses.
#
# Versions   github.com/ameshkov/dnsstamps v1.0.3 (AdGuard's), github.com/jedisct1/go-dnsstamps
#            v0.0.0-20240423203910 (dnscrypt-proxy's): Go modules.
# One would guess   The second was the first's origin and both read the one format (draft-denis-dns-stamps). A stamp without
#            a port means 853 for DNS over TLS (RFC 7858) and for DNS over QUIC (RFC 9250). What the format calls
#            optional is accepted.
# True       AdGuard's fills in 843 for TLS and 784 for QUIC. dnscrypt-proxy's knows neither protocol, and no DoH stamp that
#            has a port in place of an address. A stamp with a bootstrap address at its end is "garbage" to both.
# Output     tls 192.0.2.1: adguard 192.0.2.1:843; dnscrypt error
#            quic 192.0.2.1: adguard 192.0.2.1:784; dnscrypt error
#            https :8443: adguard :8443; dnscrypt error
#            https 192.0.2.1: adguard 192.0.2.1:443; dnscrypt 192.0.2.1:443
#            https with a bootstrap address: adguard error; dnscrypt error
# Why a sinkhole cares   People paste stamps of a resolver's page into the settings. Read by such a library, a valid one
#            leads to a port on which nobody answers, or is refused: the port has to be set before the library's default is.
set -euo pipefail

tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
cd "$tmp"
cat >go.mod <<'EOF'
module probe

go 1.23

require (
	github.com/ameshkov/dnsstamps v1.0.3
	github.com/jedisct1/go-dnsstamps v0.0.0-20240423203910-07a0735c7774
)
EOF
cat >main.go <<'EOF'
package main

import (
	"encoding/base64"
	"fmt"
	"os"

	adguard "github.com/ameshkov/dnsstamps"
	dnscrypt "github.com/jedisct1/go-dnsstamps"
)

// lp is a text behind its length.
func lp(s string) string { return string(rune(len(s))) + s }

// main prints the address that each library reads from a stamp: protocol, address and whether there is a bootstrap address.
func main() {
	hash := lp(string(make([]byte, 32)))
	protocol := map[string]string{"https": "\x02", "tls": "\x03", "quic": "\x04"}[os.Args[1]]
	body := protocol + "\x00\x00\x00\x00\x00\x00\x00\x00" + lp(os.Args[2]) + hash + lp("dns.example")
	if os.Args[1] == "https" {
		body += lp("/dns-query")
	}
	if os.Args[3] != "" {
		body += lp(os.Args[3])
	}
	stamp := "sdns://" + base64.RawURLEncoding.EncodeToString([]byte(body))
	a, err := adguard.NewServerStampFromString(stamp)
	show("adguard", a.ServerAddrStr, err)
	fmt.Print("; ")
	d, err := dnscrypt.NewServerStampFromString(stamp)
	show("dnscrypt", d.ServerAddrStr, err)
	fmt.Println()
}

func show(who, addr string, err error) {
	if err != nil {
		addr = "error"
	}
	fmt.Print(who, " ", addr)
}
EOF
GOFLAGS=-mod=mod go build -o probe . >build.log 2>&1 || { cat build.log; echo "cannot be tried here: the modules cannot be built"; exit 2; }

failed=0
# want OUTPUT PROTOCOL ADDRESS [BOOTSTRAP] compares what is read from a stamp with what was seen.
want() {
	local got
	got=$(./probe "$2" "$3" "${4-}")
	echo "$2 $3${4:+ with a bootstrap address}: $got"
	[ "$got" = "$1" ] || { echo "differs: not '$1'"; failed=1; }
}
want "adguard 192.0.2.1:443; dnscrypt 192.0.2.1:443" https 192.0.2.1
want "adguard 192.0.2.1:843; dnscrypt error" tls 192.0.2.1
want "adguard 192.0.2.1:784; dnscrypt error" quic 192.0.2.1
want "adguard 192.0.2.1:853; dnscrypt error" tls 192.0.2.1:853
want "adguard :8443; dnscrypt error" https :8443
want "adguard error; dnscrypt error" https 192.0.2.1 192.0.2.9
exit $failed
