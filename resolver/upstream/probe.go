package upstream

import (
	"cmp"
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
func (b *probeLog) begin(h *health) (*probe, *dnswire.Question) {
	var random [16]byte
	rand.Read(random[:])
	random[0] |= 0xa0 // a letter, so that the upstream can show whether it repeats the case of letters
	q := &dnswire.Question{Type: dnswire.TypeHINFO, Class: dnswire.ClassIN}
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

// downBudget bounds a probe of a server that is down: it is asked often,
// rather than waited for. A reply that comes late is heard all the same.
const downBudget = 1500 * time.Millisecond

const whyLooped = "asks this server in turn"

// probe asks h and returns the state that follows. The question for loops has a
// made-up name, which an upstream may drop, refuse or take long for: then one that
// is not made up decides, a client's where one waits for h to come up. A server of a
// Forward is not asked for made-up names: a router may well ask this server for all
// names but its own.
func (u *Client) probe(ctx context.Context, h *health) (State, string) {
	wait, limit := h.timing.current(), 3*u.budget // each question has its own
	if h.is(Down) {
		wait, limit = min(wait, u.patience), downBudget
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	m := &Upstream{health: h, probing: true}
	replies, answers := h.replies.Load(), h.answers.Load()
	asked, doubt := h.questions()
	if asked == nil {
		asked = h.usual()
	}
	p, first := &probe{}, h.home
	if first == nil {
		p, first = u.probes.begin(h)
	}
	loop := make(chan outcome, 1)
	lettered := &Upstream{health: h, probing: true, probeLetters: probeLetters}
	u.tasks.Go(func() { loop <- u.askOne(ctx, lettered, first) })
	if doubt != nil {
		u.checkEDNS(ctx, m, doubt)
	}
	looped, known := silent, false
	select {
	case looped = <-loop:
		known = true
	case <-time.After(wait):
	}
	how := looped
	if !known || how != answered && how != unsupported && how != notSent {
		how = u.askOne(ctx, m, asked)
	}
	if how == silent && !known {
		looped = <-loop
		how = looped
	}
	answeredClients := answers != h.probedAnswers.Swap(answers) && (h.is(Failing) || h.streak.Load() == 0)
	switch {
	case u.probes.hasReturned(p):
		return Looped, whyLooped
	case how == answered, how == unsupported, answeredClients:
		return Up, ""
	case how == notSent:
		return State(h.state.Load()), h.reason() // nothing was learnt
	case how == servFailed, how == refused:
		return Failing, how.String()
	case how == httpFailed:
		return Failing, cmp.Or(h.carrier.lastProblem(), how.String())
	case h.replies.Load() != replies:
		return Up, "" // it answers clients
	}
	if h.carrier != nil {
		return Down, cmp.Or(h.carrier.lastProblem(), how.String())
	}
	return Down, how.String()
}

// usual is a question that the server can answer.
func (h *health) usual() *dnswire.Question {
	if h.home != nil {
		return h.home
	}
	return rootServers()
}

// rootServers is the question that any resolver can answer.
func rootServers() *dnswire.Question {
	q := &dnswire.Question{Type: dnswire.TypeNS, Class: dnswire.ClassIN}
	if err := q.Name.Set("."); err != nil {
		panic(err) // it is a name
	}
	return q
}

// askOne asks one upstream, whatever its state, and counts nothing.
func (u *Client) askOne(ctx context.Context, m *Upstream, q *dnswire.Question) outcome {
	x := u.newExchange(q, []candidate{{Upstream: m, outcome: silent, counted: true}})
	x.probe = true
	a, _ := x.run(ctx, 0, false)
	a.Release()
	return x.list[0].outcome
}

// ednsTries is how often each question with EDNS is sent before EDNS is given up:
// on a bad line most of them may get lost.
const ednsTries = 5

// checkEDNS finds out whether m answers queries with EDNS: for what it can usually answer or, as some
// drop that, for what it has just answered without.
func (u *Client) checkEDNS(ctx context.Context, m *Upstream, doubt *dnswire.Question) {
	results := make(chan result, 2)
	var open []*conversation
	for i, q := range []*dnswire.Question{m.usual(), doubt} {
		c, err := u.converse(m, i, results)
		if err != nil {
			return // nothing is learnt
		}
		defer c.leave(nil, func() {})
		c.send(u, q, modeFull, time.Now())
		open = append(open, c)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	unsure, timeout := 0, m.timing.current()
	for sent := 1; ; {
		timer.Reset(resendAfter(timeout, sent))
		select {
		case <-ctx.Done():
			return
		case r := <-results:
			r.answer.Release()
			if r.err != nil || r.kind != replyUnsupported {
				return // it does, whatever it says of other names; or nothing is learnt
			}
			if unsure++; unsure == len(open) {
				m.modes.learn(modePlain, time.Now())
				return
			}
		case <-timer.C:
			if sent++; sent > ednsTries {
				m.modes.learn(modePlain, time.Now())
				return
			}
			for i, q := range []*dnswire.Question{m.usual(), doubt} {
				open[i].send(u, q, modeFull, time.Now())
			}
		}
	}
}
