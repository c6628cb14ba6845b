#!/usr/bin/env bash
# AdGuard's dnsproxy: of two upstreams, the one that answers SERVFAIL to everything gets nearly all queries, because it is fast.
#
# Version    github.com/AdguardTeam/dnsproxy v0.75.0 (Go module), the resolver in AdGuard Home; two upstreams on loopback:
#            one says SERVFAIL (or REFUSED) at once, the other has the address and takes 0.1 s.
# One would guess   SERVFAIL and REFUSED say that this server cannot help, so another is asked, or its answer waited for;
#            an upstream that fails each time is asked less and less.
# True       Only a time-out or a broken connection is a failure. By "load balance" (the default) the faster upstream is
#            preferred: 40 names, 1 resolved, 39 SERVFAIL. By "parallel" the first reply wins, whatever it says: all 40 are
#            SERVFAIL, though the other upstream was asked, too. "fastest address" alone resolves all, since it waits for addresses.
# Output     balance servfail: a few resolved (1 of 40 in each run seen), all others SERVFAIL
#            parallel servfail: 0 of 40 resolved
#            fastest servfail: 40 of 40 resolved
# Why a sinkhole cares   One upstream with a lapsed subscription, a rate limit or an access list takes the whole house down
#            although another is set. Which replies count as a failure has to be said, and tested, for each strategy.
set -euo pipefail

tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
cd "$tmp"
cat >go.mod <<'EOF'
module probe

go 1.23

require (
	github.com/AdguardTeam/dnsproxy v0.75.0
	github.com/miekg/dns v1.1.63
)
EOF
cat >main.go <<'EOF'
package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/AdguardTeam/dnsproxy/proxy"
	"github.com/AdguardTeam/dnsproxy/upstream"
	"github.com/miekg/dns"
)

// serve starts a server that answers every query with rcode after wait, and returns its address.
func serve(rcode int, wait time.Duration) string {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	s := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		time.Sleep(wait)
		m := new(dns.Msg).SetRcode(q, rcode)
		if rcode == dns.RcodeSuccess {
			a, _ := dns.NewRR(q.Question[0].Name + " 60 A 192.0.2.1")
			m.Answer = append(m.Answer, a)
		}
		w.WriteMsg(m)
	})}
	go s.ActivateAndServe()
	return conn.LocalAddr().String()
}

// main asks 40 names of a proxy in the mode and with the failure that the arguments say, and prints how many were resolved.
func main() {
	mode := map[string]proxy.UpstreamMode{"balance": proxy.UpstreamModeLoadBalance, "parallel": proxy.UpstreamModeParallel, "fastest": proxy.UpstreamModeFastestAddr}[os.Args[1]]
	failing, good := serve(dns.StringToRcode[os.Args[2]], 0), serve(dns.RcodeSuccess, 100*time.Millisecond)
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	servers, err := proxy.ParseUpstreamsConfig([]string{failing, good}, &upstream.Options{Logger: quiet, Timeout: 5 * time.Second})
	if err != nil {
		panic(err)
	}
	p, err := proxy.New(&proxy.Config{Logger: quiet, UDPListenAddr: []*net.UDPAddr{{IP: net.IPv4(127, 0, 0, 1)}}, UpstreamConfig: servers, UpstreamMode: mode})
	if err != nil {
		panic(err)
	}
	if err := p.Start(nil); err != nil {
		panic(err)
	}
	resolved := 0
	for i := range 40 {
		q := new(dns.Msg).SetQuestion(fmt.Sprintf("n%d.zz.", i), dns.TypeA)
		r, _, err := (&dns.Client{Timeout: 10 * time.Second}).Exchange(q, p.Addr(proxy.ProtoUDP).String())
		if err != nil {
			panic(err)
		}
		if r.Rcode == dns.RcodeSuccess {
			resolved++
		}
	}
	fmt.Println(resolved)
}
EOF
GOFLAGS=-mod=mod go build -o probe . >build.log 2>&1 || { tail -n 5 build.log; echo "cannot be tried here: the module cannot be built"; exit 2; }

failed=0
# want LEAST MOST MODE RCODE compares how many of 40 names are resolved with what was seen.
want() {
	local got
	got=$(./probe "$3" "$4")
	echo "$3 $4: $got of 40 resolved"
	[ "$got" -ge "$1" ] && [ "$got" -le "$2" ] || { echo "differs: not $1 to $2"; failed=1; }
}
want 0 10 balance SERVFAIL
want 0 10 balance REFUSED
want 0 0 parallel SERVFAIL
want 40 40 fastest SERVFAIL
exit $failed
