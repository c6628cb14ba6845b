//go:build !small

package main

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"telltale/fleet"
)

// Bounds of what a client may take of a center's time.
const (
	requestTime   = 10 * time.Second // for the whole body of a request that is not rows
	leastRate     = 1 << 10          // octets a second of rows
	leastLarge    = 64 << 10         // and of a request of more than fleet.UsualPacked octets, of which there is one at a time
	mostStrangers = 32               // connections of an address that showed no certificate of this fleet
)

// inTime ends requests whose bodies do not come: within requestTime, or those of rows by
// leastRate (leastLarge) at least. A request that has come whole may take as long as its answer takes.
func inTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if r.Body == nil || r.Body == http.NoBody {
			control.SetReadDeadline(time.Time{})
			next.ServeHTTP(w, r)
			return
		}
		b := &timedBody{ReadCloser: r.Body, control: control, end: time.Now().Add(requestTime)}
		switch {
		case r.URL.Path != fleet.RowsPath:
		case r.ContentLength > fleet.UsualPacked:
			b.rate = leastLarge
		default:
			b.rate = leastRate
		}
		control.SetReadDeadline(b.end)
		r.Body = b
		next.ServeHTTP(w, r)
	})
}

// A timedBody is a request's body that is to come by a time.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
	end     time.Time
	rate    time.Duration // octets a second that move end; 0: it stays
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		b.control.SetReadDeadline(time.Time{})
	case b.rate > 0 && n > 0:
		b.end = b.end.Add(time.Duration(n) * time.Second / b.rate)
		b.control.SetReadDeadline(b.end)
	}
	return n, err
}

// strangers are the connections of clients that have shown no certificate of this fleet:
// an address may have a few of them.
type strangers struct {
	isNode func(*tls.Conn) bool

	mu   sync.Mutex
	from map[net.Conn]netip.Addr
	have map[netip.Addr]int
}

func newStrangers(isNode func(*tls.Conn) bool) *strangers {
	return &strangers{isNode: isNode, from: map[net.Conn]netip.Addr{}, have: map[netip.Addr]int{}}
}

// connState is told by package http how a connection stands.
func (s *strangers) connState(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if !s.add(c) {
			c.Close()
		}
	case http.StateActive:
		if t, ok := c.(*tls.Conn); ok && s.has(c) && s.isNode(t) {
			s.remove(c)
		}
	case http.StateClosed, http.StateHijacked:
		s.remove(c)
	}
}

// add counts a connection, and reports whether its address may have one more.
func (s *strangers) add(c net.Conn) bool {
	from := hostOf(clientOf(c))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.have[from] >= mostStrangers {
		return false
	}
	s.from[c] = from
	s.have[from]++
	return true
}

func (s *strangers) has(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.from[c]
	return ok
}

func (s *strangers) remove(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, ok := s.from[c]
	if !ok {
		return
	}
	delete(s.from, c)
	if s.have[from]--; s.have[from] == 0 {
		delete(s.have, from)
	}
}
