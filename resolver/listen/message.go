package listen

import (
	"bytes"
	"net/netip"
	"strings"
	"sync"
)

// A message is a query that came alone, with the one reply to it: a request of DNS over
// HTTPS, or a stream of DNS over QUIC.
type message struct {
	arrival Arrival
	reply   chan []byte // of one
}

func newMessage(a Arrival) *message { return &message{arrival: a, reply: make(chan []byte, 1)} }

// Arrival returns who asks, and how the message came here.
func (m *message) Arrival() *Arrival { return &m.arrival }

// Send hands over the reply.
func (m *message) Send(reply []byte) {
	m.reply <- bytes.Clone(reply)
}

// MaxClientID is the longest client id: a DNS label.
const MaxClientID = 63

// CleanClientID returns a client id in lower case, and whether it is one: a label of
// letters, digits and hyphens, which neither begins nor ends with a hyphen.
func CleanClientID(text string) (id string, ok bool) {
	if text == "" || len(text) > MaxClientID || text[0] == '-' || text[len(text)-1] == '-' {
		return "", false
	}
	for i := range len(text) {
		if c := text[i] | 0x20; (c < 'a' || c > 'z') && (text[i] < '0' || text[i] > '9') && text[i] != '-' {
			return "", false
		}
	}
	return strings.ToLower(text), true
}

// idOfServerName returns the client id in the name by which a client calls this server;
// "" for none.
func (l *Listeners) idOfServerName(name string) string {
	for _, own := range l.options.Names {
		if label, ok := strings.CutSuffix(name, "."+strings.TrimPrefix(own, "*.")); ok {
			if id, ok := CleanClientID(label); ok {
				return id
			}
		}
	}
	return ""
}

// account returns whom a query counts for: its client, also a stranger that names
// itself by an id that may ask from everywhere; none for all who may not ask.
func (l *Listeners) account(a *Arrival) netip.Addr {
	if !l.options.Allowed(a.Client.Addr()) && (a.ClientID == "" || !l.options.AllowedID(a.ClientID)) {
		return netip.Addr{}
	}
	return accountOf(a.Client.Addr(), l.options.ClientPrefix)
}

// hand lets the handler answer a message. It returns why no answer will come: nothing is
// answered any more, or the handler has failed.
func (l *Listeners) hand(packet []byte, m *message) *refusal {
	if !l.gate.enter() {
		return errBusy
	}
	defer l.gate.leave()
	if !l.options.Handler.NewStreamHandler(m).ServeMessage(packet) {
		return errInternal
	}
	return nil
}

// A gate lets work in until it is closed, and says when all of it has ended.
type gate struct {
	mu     sync.Mutex
	closed bool
	inside sync.WaitGroup
}

// enter reports whether work may begin; leave must be called when it has ended.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.inside.Add(1)
	return true
}

func (g *gate) leave() { g.inside.Done() }

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// A share bounds what is under way at once, of all clients and of one, which gets at
// most a quarter. Any goroutine may use it.
type share struct {
	max, maxClient int

	mu      sync.Mutex
	taken   int
	clients map[netip.Addr]int
}

func newShare(limit int) *share {
	return &share{max: limit, maxClient: max(limit/4, 1), clients: map[netip.Addr]int{}}
}

func (s *share) take(client netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= s.max || s.clients[client] >= s.maxClient {
		return false
	}
	s.taken++
	s.clients[client]++
	return true
}

func (s *share) give(client netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	if s.clients[client]--; s.clients[client] <= 0 {
		delete(s.clients, client)
	}
}

func (s *share) isEmpty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken == 0
}
