package dnstest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

// An HTTPServer is a server for DNS over HTTPS on loopback.
type HTTPServer struct {
	Addr        netip.AddrPort
	Connections atomic.Int64
	Open        atomic.Int64 // connections
	Asked       atomic.Int64 // requests but for probes
}

type connKey struct{}

// ConnOf returns the connection of a request, to be closed in its middle.
func ConnOf(r *http.Request) net.Conn { return r.Context().Value(connKey{}).(net.Conn) }

// StartHTTPS starts a server that hands queries that are no probes to handle, by HTTP/2
// alone, until the test ends.
func StartHTTPS(t testing.TB, c *Certificate, handle func(w http.ResponseWriter, r *http.Request, query []byte)) *HTTPServer {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := &HTTPServer{Addr: l.Addr().(*net.TCPAddr).AddrPort()}
	only := new(http.Protocols)
	only.SetHTTP2(true)
	server := &http.Server{
		Handler: s.Handler(handle), Protocols: only, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig:   &tls.Config{Certificates: []tls.Certificate{c.TLS}},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.Connections.Add(1)
				s.Open.Add(1)
			case http.StateClosed:
				s.Open.Add(-1)
			}
		},
	}
	var tasks sync.WaitGroup
	tasks.Go(func() { server.ServeTLS(l, "", "") })
	t.Cleanup(func() { server.Close(); tasks.Wait() })
	return s
}

// Handler answers probes, and hands all other queries to handle.
func (s *HTTPServer) Handler(handle func(w http.ResponseWriter, r *http.Request, query []byte)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, err := base64.RawURLEncoding.DecodeString(r.URL.Query().Get("dns"))
		if r.Method == http.MethodPost {
			query, err = io.ReadAll(r.Body)
		}
		if err != nil || len(query) < 17 {
			http.Error(w, "no query", http.StatusBadRequest)
			return
		}
		if bytes.Contains(query, []byte(ProbeLabel)) || isRootQuery(query) {
			WriteReply(w, ReplyTo(query, 3))
			return
		}
		s.Asked.Add(1)
		handle(w, r, query)
	})
}

// WriteReply writes a DNS message as a response.
func WriteReply(w http.ResponseWriter, reply []byte) {
	w.Header().Set("Content-Type", "application/dns-message")
	w.Write(reply)
}
