package upstream

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"
	"time"

	"telltale/dnswire"
)

// A probe asks an upstream for the HINFO of a name that nobody else would ask
// for. If the question comes to this server, the upstream leads back to us; if
// any reply comes, the upstream is there.
//
// Both labels are random: an upstream that has learnt that a top-level label
// does not exist answers for all below it without asking on (RFC 8020), and
// would hide the loop. A special-use label (RFC 6761) would do the same.
type probe struct {
	name     string // wire form
	health   *health
	returned bool
}

// probeLabel begins the top-level label of each probe, so that who meets one in
// a log knows what it is.
const probeLabel = "telltale-"

// A probeLog holds the latest probes, as one may still come back after its
// upstream has answered.
type probeLog struct {
	mu     sync.Mutex
	latest [32]*probe
	next   int
}

// begin makes a probe for h.
func (b *probeLog) begin(h *health) (*probe, dnswire.Question) {
	var random [16]byte
	rand.Read(random[:])
	q := dnswire.Question{Type: dnswire.TypeHINFO, Class: dnswire.ClassIN}
	text := hex.EncodeToString(random[:8]) + "." + probeLabel + hex.EncodeToString(random[8:])
	if err := q.Name.Set(text); err != nil {
		panic(err) // it is made of legal labels
	}
	p := &probe{name: string(q.Name.Wire()), health: h}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.latest[b.next] = p
	b.next = (b.next + 1) % len(b.latest)
	return p, q
}

// find returns the upstream a name was made for, and marks its probe as
// returned; nil if it is no probe of ours.
func (b *probeLog) find(name []byte) *health {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.latest {
		if p != nil && p.name == string(name) {
			p.returned = true
			return p.health
		}
	}
	return nil
}

func (b *probeLog) hasReturned(p *probe) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return p.returned
}

// IsProbe reports whether name, in lower-case wire form, is that of a probe of
// ours which has come back to us. Its upstream is dropped at once; the server
// answers NXDOMAIN.
func (u *Client) IsProbe(name []byte) bool {
	const at = 1 + 16 + 1 // behind the random label and the length of the next
	if len(name) != at+len(probeLabel)+16+1 || string(name[at:at+len(probeLabel)]) != probeLabel {
		return false
	}
	h := u.probes.find(name)
	if h == nil {
		return false
	}
	u.setState(h, Looped, whyLooped)
	h.requestProbe() // its watcher must learn of it
	return true
}

const whyLooped = "asks this server in turn"

// probe asks h once and returns the state that follows. A server that is silent
// is asked for an address too: there are proxies that drop what they do not
// know.
func (u *Client) probe(ctx context.Context, h *health) (State, string) {
	before := h.answers.Load()
	p, q := u.probes.begin(h)
	m := &Upstream{health: h}
	a, how := u.try(ctx, m, &q, time.Now().Add(u.patience))
	a.Release()
	if how == silent && !u.probes.hasReturned(p) {
		q.Type = dnswire.TypeA
		a, how = u.try(ctx, m, &q, time.Now().Add(u.patience))
		a.Release()
	}
	switch {
	case u.probes.hasReturned(p):
		return Looped, whyLooped
	case how == answered, how == unsupported:
		return Up, ""
	case how == notSent:
		return State(h.state.Load()), h.reason() // nothing was learnt
	case how == servFailed, how == refused:
		return Failing, how.String()
	case h.answers.Load() != before:
		return Up, "" // it answers clients
	}
	return Down, how.String()
}
