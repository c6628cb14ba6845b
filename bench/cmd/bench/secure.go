package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	secureNames      = 20_000 // listed: what is encrypted costs the same whatever is found
	secureSeconds    = 4      // of each load
	handshakeSeconds = 2
	idleConnections  = 1000
	secureHost       = "dns.bench"
)

// securePeers are the servers of Debian that answer over TLS and HTTPS.
var securePeers = []string{"unbound", "dnsdist", "knot-resolver"}

// secureLoads are the loads over encrypted connections, and the names that are asked for.
var secureLoads = []struct {
	name, file string
	https      bool
}{
	{"DoT blocked", "blocked", false}, {"DoT cached", "cached", false}, {"DoH blocked", "blocked", true}, {"DoH cached", "cached", true},
}

// A secure says where a server answers over TLS and HTTPS, and with what certificate.
type secure struct {
	tls, https       int
	certificate, key string
}

// makeSecure makes a certificate and finds ports.
func makeSecure(dir string) (s *secure, err error) {
	s = &secure{certificate: filepath.Join(dir, "certificate.pem"), key: filepath.Join(dir, "key.pem")}
	var err1, err2 error
	s.tls, err1 = freePort()
	s.https, err2 = freePort()
	key, err3 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: secureHost}, DNSNames: []string{secureHost},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	certificate, err1 := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	private, err2 := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	return s, errors.Join(
		os.WriteFile(s.certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o644),
		os.WriteFile(s.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// telltale, unbound, dnsdist and kresd are what a server's settings need for it.

func (s *secure) telltale(at site) (file string, err error) {
	file, err = at.write("telltale.yaml", `listen:
  tls: ["127.0.0.1:%d"]
  https: ["127.0.0.1:%d"]
limits:
  tcp_connections: %d # one client has a quarter of them
tls:
  certificates:
    - {certificate: "%s", key: "%s"}
`, s.tls, s.https, 8*idleConnections, s.certificate, s.key)
	return file, err
}

func (s *secure) unbound() string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf(`  interface: 127.0.0.1@%d
  interface: 127.0.0.1@%d
  tls-port: %[1]d
  https-port: %d
  tls-service-key: "%s"
  tls-service-pem: "%s"
  incoming-num-tcp: 3000
  tcp-idle-timeout: 600000
`, s.tls, s.https, s.key, s.certificate)
}

func (s *secure) dnsdist() string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf(`setMaxTCPClientThreads(1)
setTCPRecvTimeout(600)
addTLSLocal("127.0.0.1:%d", "%s", "%s", {maxInFlight=200, maxConcurrentTCPConnections=2000})
addDOHLocal("127.0.0.1:%d", "%[2]s", "%[3]s", {"/dns-query"})
`, s.tls, s.certificate, s.key, s.https)
}

func (s *secure) kresd() string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf(`net.tls("%s", "%s")
net.listen('127.0.0.1', %d, { kind = 'tls' })
net.listen('127.0.0.1', %d, { kind = 'doh2' })
`, s.certificate, s.key, s.tls, s.https)
}

// A handshaking is what a server did of one kind of handshake.
type handshaking struct {
	count int
	cpu   time.Duration
}

// A secured is what was found of a server in one round beside its loads.
type secured struct {
	Server        string
	Run           int
	Full, Resumed float64 // handshakes per CPU-second
	IdleOctets    float64 // of memory for an idle connection over TLS
}

// encrypted measures Telltale over TLS and HTTPS.
func (b *bench) encrypted(run int) error { return b.encryptedOf("telltale", run) }

// encryptedOf puts a server under each load over connections that stay open, then has it
// do handshakes, then hold connections that do nothing.
func (b *bench) encryptedOf(name string, run int) error {
	c, files, err := b.names(secureNames)
	if err != nil {
		return err
	}
	at, err := b.site(name, c)
	if err != nil {
		return err
	}
	if at.secure, err = makeSecure(at.dir); err != nil {
		return err
	}
	s, err := b.open(name, c, at, b.set.serverCore)
	if err != nil {
		return err
	}
	defer b.shut(s)
	if err := errors.Join(b.letCompile(s), b.warm(s, files["cached"])); err != nil {
		return err
	}
	found := secured{Server: name, Run: run}
	if found.IdleOctets, err = b.idleOver(s, at.secure.tls); err != nil {
		return err
	}
	r := round{Section: "encrypted", Server: name, Size: secureNames, Run: run, Loads: map[string]cost{}}
	for _, load := range secureLoads {
		got, err := b.measure(s, func() (cost, time.Duration, error) {
			if load.https {
				return b.h2load(at, files[load.file])
			}
			return b.dnsperf(at.secure.tls, files[load.file], secureSeconds, "-m", "dot")
		})
		if err != nil {
			return fmt.Errorf("%s: %w", load.name, err)
		}
		r.Loads[load.name] = got
	}
	for _, resumed := range []bool{false, true} {
		h, err := b.handshakes(s, at.secure.tls, resumed)
		if err != nil {
			return err
		}
		per := float64(h.count) / max(h.cpu, tick).Seconds()
		if resumed {
			found.Resumed = per
		} else {
			found.Full = per
		}
	}
	b.report.rounds = append(b.report.rounds, r)
	b.report.secured = append(b.report.secured, found)
	b.say("%-14s thousand queries per CPU-second: DoT blocked %.0f, cached %.0f, DoH blocked %.0f, cached %.0f; handshakes %.0f, resumed %.0f; %.1f kB an idle connection",
		name, r.Loads["DoT blocked"].perCPUSecond()/1e3, r.Loads["DoT cached"].perCPUSecond()/1e3, r.Loads["DoH blocked"].perCPUSecond()/1e3,
		r.Loads["DoH cached"].perCPUSecond()/1e3, found.Full, found.Resumed, found.IdleOctets/1e3)
	return nil
}

// dialTLS opens a connection as a client of DNS over TLS that does not check who answers.
func dialTLS(port int, sessions tls.ClientSessionCache) (*tls.Conn, error) {
	return tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", fmt.Sprintf("127.0.0.1:%d", port),
		&tls.Config{ServerName: secureHost, InsecureSkipVerify: true, NextProtos: []string{"dot"}, ClientSessionCache: sessions})
}

// handshakes opens connections one after the other for some seconds, and asks one question
// on each: tickets come with an answer. All but the first of those to be resumed must be.
func (b *bench) handshakes(s *server, port int, resumed bool) (h handshaking, err error) {
	var sessions tls.ClientSessionCache
	if resumed {
		sessions = tls.NewLRUClientSessionCache(1)
	}
	before, err := s.cpu()
	if err != nil {
		return h, err
	}
	for begun := time.Now(); time.Since(begun) < handshakeSeconds*time.Second && b.ctx.Err() == nil; h.count++ {
		conn, err := dialTLS(port, sessions)
		if err != nil {
			return h, fmt.Errorf("handshake %d: %w", h.count, err)
		}
		if err := askTLS(conn); err != nil {
			return h, fmt.Errorf("question after handshake %d: %w", h.count, err)
		}
		was := conn.ConnectionState().DidResume
		conn.Close()
		if was != resumed && h.count > 0 {
			return h, fmt.Errorf("handshake %d: resumed is %v, not %v", h.count, was, resumed)
		}
	}
	after, err := s.cpu()
	h.cpu = after - before
	return h, err
}

// idleOver returns how much memory of the server's own a connection takes that was used once
// and then does nothing.
func (b *bench) idleOver(s *server, port int) (octets float64, err error) {
	before, err := s.memory()
	if err != nil {
		return 0, err
	}
	var open []*tls.Conn
	defer func() {
		for _, conn := range open {
			conn.Close()
		}
	}()
	for len(open) < idleConnections {
		conn, err := dialTLS(port, nil)
		if err != nil {
			return 0, fmt.Errorf("idle connection %d: %w", len(open), err)
		}
		open = append(open, conn)
		if err := askTLS(conn); err != nil {
			return 0, fmt.Errorf("idle connection %d: %w", len(open), err)
		}
	}
	time.Sleep(2 * time.Second)
	if err := askTLS(open[0]); err != nil { // it was not closed to make room
		return 0, fmt.Errorf("the first of %d idle connections: %w", len(open), err)
	}
	after, err := s.memory()
	return float64(after.Anon-before.Anon) / idleConnections, err
}

func (b *bench) pageEncrypted(p *strings.Builder) {
	if len(b.report.of("encrypted", "telltale", 0)) == 0 {
		return
	}
	fmt.Fprintf(p, "## Over TLS and HTTPS\n\n%s names listed; 8 connections that stay open, 25 queries at a time on each: dnsperf's mode for DNS over TLS, h2load for HTTPS "+
		"(HTTP/2, GET: dnsperf %s loses answers over HTTPS that come together); certificates with an ECDSA key (P-256). "+
		"Queries per CPU-second, thousands; handshakes per CPU-second, one question on each connection; "+
		"anonymous memory of %s connections over TLS that were used once and are idle, each:\n\n", thousands(secureNames), dnsperfVersion(), thousands(idleConnections))
	columns := []string{"server", "version"}
	for _, load := range secureLoads {
		columns = append(columns, load.name)
	}
	table(p, append(columns, "handshakes", "resumed", "kB a connection", "other codes", "noise")...)
	for _, name := range append([]string{"telltale"}, securePeers...) {
		rounds := b.report.of("encrypted", name, 0)
		if len(rounds) == 0 {
			continue
		}
		cells := []string{name, b.report.versions[name]}
		for _, load := range secureLoads {
			cells = append(cells, kilo(middle(rounds, perCPU(load.name))))
		}
		found := slices.DeleteFunc(slices.Clone(b.report.secured), func(s secured) bool { return s.Server != name })
		row(p, append(cells,
			fmt.Sprintf("%.0f", middle(found, func(s secured) float64 { return s.Full })), fmt.Sprintf("%.0f", middle(found, func(s secured) float64 { return s.Resumed })),
			fmt.Sprintf("%.1f", middle(found, func(s secured) float64 { return s.IdleOctets / 1e3 })),
			lostShare(rounds, func(c cost) int { return c.Wrong }), percent(middle(rounds, round.noise)))...)
	}
	fmt.Fprintln(p)
}

// h2load asks for the names of a file over HTTPS.
func (b *bench) h2load(at site, file string) (cost, time.Duration, error) {
	uris, err := writeURIs(at, file)
	if err != nil {
		return cost{}, 0, err
	}
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	out, used, err := runLoad(ctx, []string{"-c", b.set.loadCore, "h2load", "-c", "8", "-m", "25", "-D", fmt.Sprint(secureSeconds), "-i", uris})
	if err != nil {
		return cost{}, 0, err
	}
	c, err := parseH2load(out)
	return c, used, err
}

// writeURIs writes a request (RFC 8484, GET) for each line of a file of names and types.
func writeURIs(at site, file string) (path string, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		q := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
		q.Id = 0
		packet, err := q.Pack()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "https://127.0.0.1:%d/dns-query?dns=%s\n", at.secure.https, base64.RawURLEncoding.EncodeToString(packet))
	}
	return at.write("uris", "%s", out.String())
}

var (
	h2loadRequests = regexp.MustCompile(`(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout`)
	h2loadTook     = regexp.MustCompile(`finished in ([\d.]+)s`)
)

func parseH2load(out string) (cost, error) {
	requests, took := h2loadRequests.FindStringSubmatch(out), h2loadTook.FindStringSubmatch(out)
	if requests == nil || took == nil {
		return cost{}, fmt.Errorf("h2load says no requests or no time: %s", strings.TrimSpace(out))
	}
	number := func(i int) int { n, _ := strconv.Atoi(requests[i]); return n }
	seconds, err := strconv.ParseFloat(took[1], 64)
	return cost{Queries: number(1), Wrong: number(1) - number(2), Lost: number(4) + number(5), Took: fromSeconds(seconds)}, err
}
