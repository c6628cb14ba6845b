package dnstest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A Certificate is a certificate of its own authority, made for a test.
type Certificate struct {
	Roots     *x509.CertPool // that authority
	TLS       tls.Certificate
	Cert, Key string // the same in PEM, for a file
}

// NewCertificate makes a certificate for names and addresses that ends at a time.
func NewCertificate(t testing.TB, until time.Time, names ...string) *Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "dnstest"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: until.Add(-240 * time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &Certificate{
		Roots: roots, TLS: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf},
		Cert: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		Key:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
	}
}

// Files writes c to two files.
func (c *Certificate) Files(t testing.TB) (certificate, key string) {
	t.Helper()
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	for file, text := range map[string]string{certificate: c.Cert, key: c.Key} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}

// Pin returns the pin of its key, as settings have it.
func (c *Certificate) Pin() string {
	sum := sha256.Sum256(c.TLS.Leaf.RawSubjectPublicKeyInfo)
	return "sha256/" + base64.StdEncoding.EncodeToString(sum[:])
}

// A StreamServer is a server on a TCP port of loopback, with or without TLS.
type StreamServer struct {
	Addr        netip.AddrPort
	Connections atomic.Int64
	Plain       atomic.Int64 // packets by UDP, which it never answers
}

// StartStream starts a server that gives each connection to handle, by TLS where
// there is a certificate, until the test ends.
func StartStream(t testing.TB, c *Certificate, handle func(net.Conn)) *StreamServer {
	t.Helper()
	udp, tcp := ListenBoth(t)
	s := &StreamServer{Addr: udp.LocalAddr().(*net.UDPAddr).AddrPort()}
	var tasks sync.WaitGroup
	var mu sync.Mutex
	open, stopped := map[net.Conn]bool{}, false
	settings := &tls.Config{NextProtos: []string{"dot", "h2"}}
	if c != nil {
		settings.Certificates = []tls.Certificate{c.TLS}
	}
	tasks.Go(func() {
		for b := make([]byte, 4096); ; s.Plain.Add(1) {
			if _, err := udp.Read(b); err != nil {
				return
			}
		}
	})
	tasks.Go(func() {
		for {
			raw, err := tcp.Accept()
			if err != nil {
				return
			}
			s.Connections.Add(1)
			mu.Lock()
			if open[raw] = true; stopped {
				raw.Close()
			}
			mu.Unlock()
			tasks.Go(func() {
				defer func() { mu.Lock(); delete(open, raw); mu.Unlock(); raw.Close() }()
				conn := net.Conn(raw)
				if c != nil {
					secure := tls.Server(raw, settings)
					if secure.Handshake() != nil {
						return
					}
					conn = secure
					defer conn.Close()
				}
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		udp.Close()
		tcp.Close()
		mu.Lock()
		stopped = true
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		tasks.Wait()
	})
	return s
}

// EachQuery hands each query of a connection that is not a probe to handle, one after
// the other; send may be called at any time while the connection is open.
func EachQuery(handle func(c net.Conn, query []byte, send func([]byte))) func(net.Conn) {
	return func(c net.Conn) {
		var mu sync.Mutex
		send := func(b []byte) {
			mu.Lock()
			defer mu.Unlock()
			c.Write(Framed(b))
		}
		for query := ReadMessage(c); query != nil; query = ReadMessage(c) {
			if bytes.Contains(query, []byte(ProbeLabel)) || isRootQuery(query) {
				send(ReplyTo(query, 3))
				continue
			}
			handle(c, query, send)
		}
	}
}
