//go:build !small

package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"telltale/fleet"
)

// deadlines keeps what a handler sets as the deadline of its request's body.
type deadlines struct {
	*httptest.ResponseRecorder
	mu  sync.Mutex
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.set = append(d.set, t)
	return nil
}

func TestABodyIsToComeInTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		path string
		size int64
		more time.Duration // for octets that come
	}{{"/v1/join", 100 << 10, 0}, {"/v1/state", 100 << 10, 0}, {fleet.RowsPath, 100 << 10, 100 * time.Second}, {fleet.RowsPath, -1, 100 * time.Second}, {fleet.RowsPath, 5 << 20, 1562500 * time.Microsecond}} {
		began := time.Now()
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest(http.MethodPost, c.path, io.MultiReader(strings.NewReader(strings.Repeat("a", 100<<10)), errReader{}))
		r.ContentLength = c.size
		inTime(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })).ServeHTTP(w, r)
		if len(w.set) == 0 {
			t.Fatalf("%s: no deadline", c.path)
		}
		first, last := w.set[0].Sub(began), w.set[len(w.set)-1].Sub(began)
		if first > requestTime+5*time.Second || first < requestTime {
			t.Errorf("%s: the first deadline is after %v", c.path, first)
		}
		if got := last - first; got < c.more-time.Millisecond || got > c.more+time.Millisecond {
			t.Errorf("%s of %d octets: the deadline was moved by %v, want %v", c.path, c.size, got, c.more)
		}
	}
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	inTime(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/state", strings.NewReader("{}")))
	if n := len(w.set); n == 0 || !w.set[n-1].IsZero() {
		t.Errorf("a body that came whole leaves a deadline: %v", w.set)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("cut off") }

func TestAnAddressHasFewConnectionsWithoutACertificate(t *testing.T) {
	t.Parallel()
	all := newStrangers(func(*tls.Conn) bool { return false })
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ConnState = all.connState
	server.Start()
	defer server.Close()
	connect := func() (net.Conn, bool) {
		t.Helper()
		c, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: center\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil {
			res.Body.Close()
		}
		return c, err == nil
	}
	var open []net.Conn
	for range mostStrangers {
		c, ok := connect()
		if !ok {
			t.Fatalf("connection %d is not answered", len(open))
		}
		open = append(open, c)
	}
	if c, ok := connect(); ok {
		t.Error("one more is answered")
	} else {
		c.Close()
	}
	for _, c := range open {
		c.Close()
	}
}
