//go:build e2e

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/config"
	"telltale/resolver/dnstest"
	"telltale/web"
)

// An encryptedServer is a real server with the addresses by which it is asked.
type encryptedServer struct {
	*process
	encrypted netip.AddrPort
	trusted   *x509.CertPool
}

func startHostile(t *testing.T, settings string, wrap ...string) *encryptedServer {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "telltale.yaml")
	writeFile(t, file, "listen:\n  dns: [\"127.0.0.1:0\"]\n  tls: [\"127.0.0.1:0\"]\ntls: {authority: local, names: [dns.example]}\n"+settings)
	up := dnstest.Start(t, dnstest.AnswerA("192.0.2.1"))
	s := &encryptedServer{process: startProcess(t, dir, wrap, "--config", file, "--upstreams", up.Addr.String())}
	s.encrypted = s.process.encrypted(t)
	s.trusted = x509.NewCertPool()
	s.trusted.AppendCertsFromPEM([]byte(s.run("certificate", "root")))
	return s
}

// resident returns how much memory the process has now.
func (s *encryptedServer) resident() int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	pages, _ := strconv.Atoi(strings.Fields(string(text))[1])
	return pages * os.Getpagesize()
}

// held returns how many connections are open.
func (s *encryptedServer) held() int {
	var st web.Status
	if err := newClient(&config.Config{Control: config.Control{Socket: filepath.Join(s.dir, "data", "telltale.sock")}}).get(s.t.Context(), "/status", &st); err != nil {
		s.t.Fatal(err)
	}
	return st.Server.Streams
}

// ordinary asks as an ordinary client does, by UDP, on a connection by TLS that stays,
// and on a new one now and then, until ctx ends. A query on a connection that the server
// has closed meanwhile is asked again on a new one (RFC 7766, 6.2.4). It returns how long
// answers took, and what went wrong.
func (s *encryptedServer) ordinary(ctx context.Context) (took []time.Duration, failed []error) {
	secure := &tls.Config{RootCAs: s.trusted, ServerName: "dns.example", NextProtos: []string{"dot"}}
	byTLS := &dns.Client{Net: "tcp-tls", TLSConfig: secure, Timeout: patience}
	var conn *dns.Conn
	leave := func() {
		if conn != nil {
			conn.Close()
		}
		conn = nil
	}
	defer leave()
	askByTLS := func(m *dns.Msg) (err error) {
		for kept := true; kept; {
			if kept = conn != nil; !kept {
				if conn, err = byTLS.Dial(s.encrypted.String()); err != nil {
					conn = nil
					return err
				}
			}
			if _, _, err = byTLS.ExchangeWithConn(m, conn); err == nil {
				return nil
			}
			leave()
		}
		return err
	}
	for n := 0; ctx.Err() == nil; n++ {
		m := new(dns.Msg).SetQuestion("localhost.", dns.TypeA)
		began := time.Now()
		var err error
		switch {
		case n%4 != 0:
			_, _, err = (&dns.Client{Timeout: patience}).Exchange(m, s.addr.String())
		case n%40 == 0:
			leave()
			err = askByTLS(m)
		default:
			err = askByTLS(m)
		}
		if took = append(took, time.Since(began)); err != nil {
			failed = append(failed, fmt.Errorf("query %d: %w", n, err))
		}
		time.Sleep(5 * time.Millisecond)
	}
	return took, failed
}

func percentile(took []time.Duration, p float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[int(float64(len(took)-1)*p)]
}

// from returns a dialer from an address of the attackers.
func from(i int) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(i/250), byte(i%250+1))}, Timeout: patience}
}

// Whatever strangers send, an ordinary client is served, and nothing grows. FLOOD_TIME says how
// long each attack lasts instead of two seconds.
func TestE2EHostileConnections(t *testing.T) {
	t.Parallel()
	lasts := 2 * time.Second
	if d, err := time.ParseDuration(os.Getenv("FLOOD_TIME")); err == nil {
		lasts = d
	}
	s := startHostile(t, "")
	attacks := map[string]func(ctx context.Context, i int){
		"nothing": func(ctx context.Context, i int) { <-ctx.Done() },
		"garbage instead of TLS": func(ctx context.Context, i int) {
			s.send(ctx, i, s.encrypted, func(c net.Conn) error {
				b := make([]byte, 4096)
				for j := range b {
					b[j] = byte(rand.Uint32())
				}
				_, err := c.Write(b)
				return err
			})
		},
		"handshakes that stall": func(ctx context.Context, i int) {
			s.send(ctx, i, s.encrypted, func(c net.Conn) error {
				_, err := c.Write([]byte{22, 3, 1, 2, 0, 1, 0, 1})
				<-ctx.Done()
				return err
			})
		},
		"old versions": func(ctx context.Context, i int) {
			s.send(ctx, i, s.encrypted, func(c net.Conn) error {
				tls.Client(c, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11, InsecureSkipVerify: true}).Handshake()
				return io.EOF
			})
		},
		"handshakes without end": func(ctx context.Context, i int) {
			s.send(ctx, i, s.encrypted, func(c net.Conn) error {
				tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake()
				return io.EOF
			})
		},
		"64 KiB octet by octet": func(ctx context.Context, i int) {
			s.send(ctx, i, s.addr, func(c net.Conn) error {
				c.Write([]byte{0xff})
				for {
					if _, err := c.Write([]byte{0xff}); err != nil {
						return err
					}
					time.Sleep(time.Millisecond)
				}
			})
		},
		"queries whose answers nobody reads": func(ctx context.Context, i int) {
			query, _ := new(dns.Msg).SetQuestion("localhost.", dns.TypeA).Pack()
			s.send(ctx, i, s.encrypted, func(c net.Conn) error {
				e := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
				for {
					e.SetWriteDeadline(time.Now().Add(time.Second))
					if _, err := e.Write(dnstest.Framed(query)); err != nil {
						return err
					}
				}
			})
		},
	}
	for _, name := range []string{"nothing", "garbage instead of TLS", "handshakes that stall", "old versions", "handshakes without end", "64 KiB octet by octet", "queries whose answers nobody reads"} {
		ctx, cancel := context.WithTimeout(t.Context(), lasts)
		var attackers sync.WaitGroup
		for i := range 8 {
			attackers.Go(func() { attacks[name](ctx, i) })
		}
		took, failed := s.ordinary(ctx)
		resident := s.resident()
		cancel()
		attackers.Wait()
		t.Logf("%-36s %4d queries, 50th percentile %v, 99th %v, %d failed, %d MB resident", name, len(took),
			percentile(took, 0.5).Round(10*time.Microsecond), percentile(took, 0.99).Round(10*time.Microsecond), len(failed), resident>>20)
		if len(failed) > 0 {
			t.Errorf("%s: %d of %d queries of an ordinary client failed, the first: %v", name, len(failed), len(took), failed[0])
		}
		if resident > 128<<20 {
			t.Errorf("%s: %d MB resident", name, resident>>20)
		}
	}
	s.stop()
	if text := s.errs.String(); strings.Count(text, "\n") > 20 {
		t.Errorf("strangers fill the messages:\n%s", text)
	}
}

// send connects again and again, from an address of its own, until ctx ends.
func (s *encryptedServer) send(ctx context.Context, i int, to netip.AddrPort, with func(net.Conn) error) {
	for ctx.Err() == nil {
		c, err := from(i).Dial("tcp", to.String())
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		stop := context.AfterFunc(ctx, func() { c.Close() })
		with(c)
		stop()
		c.Close()
	}
}

// Ten thousand clients that are connected and say nothing more take little memory
// each, and nobody else's time.
func TestE2ETenThousandIdleConnections(t *testing.T) {
	t.Parallel()
	const clients, workers = 10_000, 8
	s := startHostile(t, "limits: {tcp_connections: 10000}\n", "sh", "-c", `ulimit -n 20000; exec "$0" "$@"`)
	s.ask("localhost.")
	before := s.resident()
	query, _ := new(dns.Msg).SetQuestion("localhost.", dns.TypeA).Pack()
	all := make([]net.Conn, clients)
	var next, failed atomic.Int64
	var connecting sync.WaitGroup
	secure := &tls.Config{RootCAs: s.trusted, ServerName: "dns.example", ClientSessionCache: tls.NewLRUClientSessionCache(workers)}
	for range workers {
		connecting.Go(func() {
			for i := next.Add(1) - 1; i < clients; i = next.Add(1) - 1 {
				raw, err := from(int(i)/40).Dial("tcp", s.encrypted.String())
				if err != nil {
					failed.Add(1)
					continue
				}
				c := tls.Client(raw, secure)
				c.SetDeadline(time.Now().Add(patience))
				c.Write(dnstest.Framed(query))
				if dnstest.ReadMessage(c) == nil {
					failed.Add(1)
				}
				all[i] = raw
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	var took []time.Duration
	var wrong []error
	go func() { took, wrong = s.ordinary(ctx); close(done) }()
	began := time.Now()
	connecting.Wait()
	t.Logf("%d connections in %v, %d failed", clients, time.Since(began).Round(time.Millisecond), failed.Load())
	cancel()
	<-done
	t.Logf("while they connect: %d queries, 99th percentile %v, %d failed", len(took), percentile(took, 0.99), len(wrong))
	ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	idleTook, idleWrong := s.ordinary(ctx)
	held, grown := s.held(), s.resident()-before
	t.Logf("while %d are idle: %d queries, 99th percentile %v, %d failed; %d octets resident for each connection", held, len(idleTook), percentile(idleTook, 0.99), len(idleWrong), grown/max(held, 1))
	for _, c := range all {
		if c != nil {
			c.Close()
		}
	}
	if n := len(wrong) + len(idleWrong); n > 0 {
		t.Errorf("%d queries of an ordinary client failed: %v", n, append(wrong, idleWrong...)[0])
	}
	if failed.Load() > clients/100 {
		t.Errorf("%d of %d connections failed", failed.Load(), clients)
	}
	s.stop()
}

// With as many files open as it may have, a server goes on: who is idle makes room.
func TestE2EDescriptorsAtTheirLimit(t *testing.T) {
	t.Parallel()
	s := startHostile(t, "limits: {tcp_connections: 5000}\n", "sh", "-c", `ulimit -n 120; exec "$0" "$@"`)
	var all []net.Conn
	for i := range 400 {
		to := s.addr
		if i%2 == 0 {
			to = s.encrypted
		}
		if c, err := from(i).Dial("tcp", to.String()); err == nil {
			all = append(all, c)
		}
	}
	for _, c := range all[len(all)-2:] { // the last ones were accepted: an answer and an end show it alike
		c.SetDeadline(time.Now().Add(patience))
		c.Write([]byte{0, 12, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
		io.ReadFull(c, make([]byte, 1))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	took, failed := s.ordinary(ctx)
	t.Logf("%d connections held: %d queries, 99th percentile %v, %d failed", len(all), len(took), percentile(took, 0.99), len(failed))
	if len(failed) > 0 {
		t.Errorf("%d of %d queries of an ordinary client failed: %v", len(failed), len(took), failed[0])
	}
	for _, c := range all {
		c.Close()
	}
	if err := s.ask("www.example."); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	s.stop()
}
