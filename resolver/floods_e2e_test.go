//go:build e2e

package resolver

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"telltale/resolver/dnstest"
)

// A flood is what one bad client sends again and again, until its connection ends.
type flood struct {
	name string
	send func(s *encrypted, until time.Time)
}

// framer connects by HTTP/2, and returns what writes frames; nothing is read but to be
// dropped.
func (s *encrypted) framer(until time.Time) (*http2.Framer, net.Conn) {
	raw, err := dialerFrom("127.0.0.66", "tcp").Dial("tcp", s.HTTPSAddrs()[0].String())
	if err != nil {
		return nil, nil
	}
	conn := tls.Client(raw, &tls.Config{RootCAs: s.roots, ServerName: serverName, NextProtos: []string{"h2"}})
	conn.SetDeadline(until)
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		conn.Close()
		return nil, nil
	}
	go io.Copy(io.Discard, conn)
	f := http2.NewFramer(conn, nil)
	f.WriteSettings()
	return f, conn
}

// headers are those of a GET, and then others.
func headers(more int) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, h := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", serverName}, {":path", "/dns-query?dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB"}} {
		e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	for i := range more {
		e.WriteField(hpack.HeaderField{Name: fmt.Sprintf("x-%d", i), Value: "y"})
	}
	return b.Bytes()
}

// byFrames floods with frames, on a new connection whenever one has ended.
func byFrames(write func(f *http2.Framer, i uint32) error) func(*encrypted, time.Time) {
	return func(s *encrypted, until time.Time) {
		for time.Now().Before(until) {
			f, conn := s.framer(until)
			if f == nil {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			for i := uint32(0); write(f, i) == nil && time.Now().Before(until); i++ {
			}
			conn.Close()
		}
	}
}

var floods = []flood{
	{"rapid reset", byFrames(func(f *http2.Framer, i uint32) error {
		if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: headers(0), EndStream: true, EndHeaders: true}); err != nil {
			return err
		}
		return f.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
	})},
	{"CONTINUATION", byFrames(func(f *http2.Framer, i uint32) error {
		if i == 0 {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers(0)})
		}
		return f.WriteContinuation(1, false, headers(1000))
	})},
	{"SETTINGS", byFrames(func(f *http2.Framer, i uint32) error {
		return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000 + i%1000})
	})},
	{"PING", byFrames(func(f *http2.Framer, i uint32) error { return f.WritePing(false, [8]byte{byte(i)}) })},
	{"window of nothing", byFrames(func(f *http2.Framer, i uint32) error {
		if i == 0 {
			f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		}
		time.Sleep(time.Millisecond)
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: headers(0), EndStream: true, EndHeaders: true})
	})},
	{"TLS with garbage", func(s *encrypted, until time.Time) {
		b := make([]byte, 2000)
		for time.Now().Before(until) {
			if c, err := dialerFrom("127.0.0.66", "tcp").Dial("tcp", s.HTTPSAddrs()[0].String()); err == nil {
				rand.Read(b)
				c.Write(b)
				c.Close()
			}
		}
	}},
	{"stalled handshakes and bodies", func(s *encrypted, until time.Time) {
		for time.Now().Before(until) {
			if c, err := dialerFrom("127.0.0.66", "tcp").Dial("tcp", s.HTTPSAddrs()[0].String()); err == nil {
				c.Write([]byte{22, 3, 1})
				defer c.Close()
			}
			time.Sleep(2 * time.Millisecond)
		}
	}},
	{"QUIC garbage", func(s *encrypted, until time.Time) {
		c, err := dialerFrom("127.0.0.66", "udp").Dial("udp", s.QUICAddrs()[0].String())
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 1200)
		for i := uint64(0); time.Now().Before(until); i++ {
			rand.Read(b[:64])
			copy(b, []byte{0xc3, 0, 0, 0, 1, 8})
			binary.BigEndian.PutUint64(b[6:], i)
			c.Write(b)
		}
	}},
}

// While one client floods, another is served, nothing grows, and it is counted. FLOOD_TIME says
// how long each flood lasts instead of two seconds.
func TestE2EFloodsOfEncryptedTransports(t *testing.T) {
	lasts := 2 * time.Second
	if d, err := time.ParseDuration(os.Getenv("FLOOD_TIME")); err == nil {
		lasts = d
	}
	for _, f := range floods {
		s := startEncrypted(t, Options{}, dnstest.Start(t, dnstest.AnswerA("192.0.2.1")))
		c := s.client("127.0.0.1", serverName, true)
		s.doh(c, "/dns-query", "localhost.", dns.TypeA)
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		until := time.Now().Add(lasts)
		var tasks sync.WaitGroup
		for range 2 {
			tasks.Go(func() { f.send(s, until) })
		}
		var took []time.Duration
		failed, most, goroutines := 0, 0, 0
		for time.Now().Before(until) {
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			r, _ := http.NewRequestWithContext(ctx, "GET", "https://"+serverName+"/dns-query?dns="+inURL(packetOf(t, "localhost.", dns.TypeA)), nil)
			response, err := c.Do(r)
			if err != nil || response.StatusCode != 200 {
				failed++
			} else {
				io.Copy(io.Discard, response.Body)
				response.Body.Close()
			}
			cancel()
			took = append(took, time.Since(began))
			most, goroutines = max(most, s.Stats().Streams), max(goroutines, runtime.NumGoroutine())
			time.Sleep(2 * time.Millisecond)
		}
		tasks.Wait()
		runtime.ReadMemStats(&after)
		slices.Sort(took)
		st := s.Stats()
		t.Logf("%-30s %4d requests of another client: median %v, 99th percentile %v; at most %d connections, %d goroutines, heap %+d kB; cut %d, refused %d, replaced %d, bad handshakes %d",
			f.name, len(took), took[len(took)/2].Round(100*time.Microsecond), took[len(took)*99/100].Round(100*time.Microsecond), most, goroutines,
			(int64(after.HeapInuse)-int64(before.HeapInuse))/1024, st.StreamsCut, st.StreamsRefused, st.StreamsReplaced, st.HandshakesFailed)
		if failed > 0 || len(took) < 10 {
			t.Errorf("%s: %d of %d requests of another client failed", f.name, failed, len(took))
		}
		if most > 512/4+2 {
			t.Errorf("%s: %d connections of one client", f.name, most)
		}
		if st.InternalErrors != 0 {
			t.Errorf("%s: %d internal errors", f.name, st.InternalErrors)
		}
		s.Close()
		dnstest.WaitFor(t, func() bool { return s.Stats().Streams == 0 }, says(f.name+": no connection is left"))
	}
}
