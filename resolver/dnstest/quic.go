package dnstest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// A QUICServer is a server for DNS over QUIC or HTTP/3 on loopback.
type QUICServer struct {
	HTTPServer
	drop chan struct{} // closed and made anew to end all connections
	mu   sync.Mutex
}

// Drop ends all connections.
func (s *QUICServer) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.drop)
	s.drop = make(chan struct{})
}

// StartQUIC starts a server for DNS over QUIC that hands queries that are no probes to
// handle, until the test ends. It resets a stream for which there is no reply.
func StartQUIC(t testing.TB, c *Certificate, handle func(conn *quic.Conn, query []byte) (reply []byte)) *QUICServer {
	return startQUIC(t, c, "doq", func(s *QUICServer, conn *quic.Conn) {
		var tasks sync.WaitGroup
		defer tasks.Wait()
		for {
			stream, err := conn.AcceptStream(context.Background())
			if err != nil {
				return
			}
			tasks.Go(func() { s.serveStream(conn, stream, handle) })
		}
	})
}

func (s *QUICServer) serveStream(conn *quic.Conn, stream *quic.Stream, handle func(conn *quic.Conn, query []byte) []byte) {
	text, err := io.ReadAll(stream) // to its end: a query is the only one
	if err != nil || len(text) < 2 || int(binary.BigEndian.Uint16(text)) != len(text)-2 {
		stream.CancelWrite(2) // DOQ_PROTOCOL_ERROR
		return
	}
	query := text[2:]
	var reply []byte
	if bytes.Contains(query, []byte(ProbeLabel)) || isRootQuery(query) {
		reply = ReplyTo(query, 3)
	} else {
		s.Asked.Add(1)
		reply = handle(conn, query)
	}
	if reply == nil {
		stream.CancelWrite(1) // DOQ_INTERNAL_ERROR
		return
	}
	stream.Write(Framed(reply))
	stream.Close()
}

// StartHTTP3 starts a server for DNS over HTTPS by HTTP/3, as StartHTTPS does by HTTP/2.
func StartHTTP3(t testing.TB, c *Certificate, handle func(w http.ResponseWriter, r *http.Request, query []byte)) *QUICServer {
	var server *http3.Server
	var once sync.Once
	return startQUIC(t, c, "h3", func(s *QUICServer, conn *quic.Conn) {
		once.Do(func() { server = &http3.Server{Handler: s.Handler(handle)} })
		server.ServeQUICConn(conn)
	})
}

func startQUIC(t testing.TB, c *Certificate, protocol string, serve func(s *QUICServer, conn *quic.Conn)) *QUICServer {
	t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := &QUICServer{drop: make(chan struct{})}
	s.Addr = socket.LocalAddr().(*net.UDPAddr).AddrPort()
	transport := &quic.Transport{Conn: socket}
	l, err := transport.Listen(&tls.Config{Certificates: []tls.Certificate{c.TLS}, NextProtos: []string{protocol}}, &quic.Config{Allow0RTT: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			conn, err := l.Accept(ctx)
			if err != nil {
				return
			}
			s.Connections.Add(1)
			s.Open.Add(1)
			s.mu.Lock()
			drop := s.drop
			s.mu.Unlock()
			tasks.Go(func() {
				select {
				case <-drop:
				case <-ctx.Done():
				case <-conn.Context().Done():
				}
				conn.CloseWithError(0, "")
			})
			tasks.Go(func() {
				defer s.Open.Add(-1)
				serve(s, conn)
				<-conn.Context().Done()
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		tasks.Wait()
		transport.Close()
		socket.Close()
	})
	return s
}
