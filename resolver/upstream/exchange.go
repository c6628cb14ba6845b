package upstream

import (
	"context"
	"slices"
	"strings"
	"time"

	"telltale/dnswire"
)

// Bounds of one exchange, whoever is asked: how often its query is sent, and how
// often to one upstream.
const (
	maxSendings     = 16
	maxSendingsEach = 12
)

// A Start says how an exchange begins. The zero value asks the first that is up.
type Start struct {
	Tried *Upstream // was asked already, at Began; nil: none
	Began time.Time
	How   StartMode

	Only  string      // the ID of the one upstream to ask, whatever its state, for a person; empty: whoever it takes
	Trace func(Event) // is told what happens, by one goroutine; nil: nobody is

	explore bool // another than the fastest is to be asked first
}

// A StartMode says how Tried is asked again.
type StartMode uint8

const (
	AskLast   StartMode = iota // it was silent: the others first
	AskOthers                  // it has failed, and that is counted: again only where there are no others
	AskPlain                   // it could not read the query: without EDNS
	AskTCP                     // its reply was truncated, or somebody seems to guess: by TCP
	AskHedge                   // it is later than usual, and may answer yet: another one, too
)

// A candidate is an upstream as one exchange sees it.
type candidate struct {
	*Upstream
	outcome   outcome
	sent      int           // by UDP, all conversations
	timeout   time.Duration // in force when it was sent first
	due       time.Time     // when a reply is; zero: it was asked before, and is overdue
	udp       *conversation // the last; nil: not asked by UDP
	carried   sending       // the last; nil: not asked by its carrier
	waiting   bool          // for a reply to udp
	wasSilent bool          // to the query that was sent on a shared socket
	plain     bool          // it could not read a query with EDNS
	withEDNS  bool          // it was asked with EDNS
	wantTCP   bool          // it is to be asked by TCP now
	tcp       bool          // it was asked by TCP
	tcpWaits  bool          // for a reply by TCP
	counted   bool          // in its queries
	failed    bool          // that is counted
	done      bool          // asking it again would bring nothing new
}

// An exchange is one question on its way to upstreams. One goroutine has it.
type exchange struct {
	client   *Client
	q        *dnswire.Question
	list     []candidate
	results  chan result
	began    time.Time
	deadline time.Time
	sendings int
	servFail Answer     // handed on if nobody does better
	choice   Choice     // how the candidates are asked
	hedge    *candidate // was asked since another is late; nil: none
	held     Answer     // of hedge, that there is no such name or record: handed on at heldEnds
	heldFor  *candidate // that is late, and may know the name
	heldEnds time.Time
	probe    bool            // it is the watcher's, or a person's: it counts for nothing
	trace    func(Event)     // see Start
	onlyNow  bool            // nobody wants late replies
	ctx      context.Context // of its connections
}

// ask asks the members that are up in order, then those that are failing. One that
// is silent for longer than it ever needs is not given up: the next is asked, and
// the first again, while the budget lasts, and whichever answers first has answered.
func (u *Client) ask(ctx context.Context, q *dnswire.Question, set *serverSet, members []*Upstream, start Start) (Answer, error) {
	x := u.newExchange(q, appendCandidates(nil, members))
	if len(x.list) == 0 {
		return Answer{}, u.allDown(q, members)
	}
	x.choice, x.trace = *u.choice.Load(), start.Trace
	if set.inOrder {
		x.choice.Strategy = InOrder
	}
	if x.choice.Strategy == Fastest {
		set.preferFastest(x.list, start.explore || start.Tried == nil && u.turnToExplore())
	}
	at := 0
	if i := slices.IndexFunc(x.list, func(c candidate) bool { return c.Upstream == start.Tried }); i >= 0 {
		waited := time.Since(start.Began)
		x.began, x.deadline = start.Began, x.deadline.Add(-waited)
		at = x.resume(i, start.How, waited)
	}
	return x.run(ctx, at, x.choice.Strategy == Parallel)
}

func (u *Client) newExchange(q *dnswire.Question, list []candidate) *exchange {
	now := time.Now()
	return &exchange{client: u, q: q, list: list, results: make(chan result, maxSendings+1), began: now, deadline: now.Add(u.budget)}
}

// run asks until there is an answer, the budget is spent, or ctx ends. at is the
// candidate to begin with; all says that those that are up are asked at once.
func (x *exchange) run(ctx context.Context, at int, all bool) (Answer, error) {
	var cancel context.CancelFunc
	x.ctx, cancel = context.WithDeadline(ctx, x.deadline)
	defer cancel()
	defer x.leave()
	if all {
		at = x.askAll()
	}
	return x.askInTurn(ctx, at)
}

// resume takes in that the i-th candidate was asked already, so long ago, and
// returns whose turn is next.
func (x *exchange) resume(i int, how StartMode, waited time.Duration) (at int) {
	c := &x.list[i]
	c.sent, c.counted, c.outcome = 1, true, silent
	c.timeout = min(max(waited, leastTimeout), c.timing.current())
	switch how {
	case AskPlain:
		c.plain = true
	case AskTCP:
		c.wantTCP = true
	case AskHedge:
		c.wasSilent = true
		c.failed = true // who gave it to us looks after that
		c.due = x.began.Add(c.timing.current())
		if k := x.hedgeOf(i); k >= 0 {
			x.hedge, x.heldFor = &x.list[k], c
			return k
		}
		return i + 1
	case AskOthers:
		c.outcome, c.failed, c.done = refused, true, len(x.list) > 1
		return i + 1
	default:
		c.wasSilent = true
		return i + 1
	}
	return i
}

func (x *exchange) askInTurn(ctx context.Context, at int) (Answer, error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		left := time.Until(x.deadline)
		if left <= 0 || x.isHeldLongEnough() {
			return x.nobody()
		}
		wait, i := left, x.next(at)
		if i >= 0 {
			at = i + 1
			wait = min(x.ask(i), left)
		} else if !x.isWaiting() {
			return x.nobody()
		}
		hedge, after := x.mayHedge(i, wait)
		timer.Reset(min(after, x.heldLeft()))
		for moveOn := false; !moveOn; {
			select {
			case <-ctx.Done():
				return Answer{}, ctx.Err()
			case <-timer.C:
				if hedge >= 0 {
					if x.isHedged(i, hedge) {
						at = hedge + 1
					}
					timer.Reset(wait - after)
					hedge = -1
					continue
				}
				moveOn = true
				if i >= 0 {
					x.timedOut(i, wait)
				}
			case r := <-x.results:
				if x.take(&r) {
					return r.answer, nil
				}
				if c := &x.list[r.from]; c.wantTCP || c.plain && !c.done {
					at = r.from
				}
				moveOn = true
			}
		}
	}
}

// next returns the first candidate from at on, counted round and round, that can be
// asked again now; -1 if none can.
func (x *exchange) next(at int) int {
	if x.sendings >= maxSendings {
		return -1
	}
	now := time.Now()
	for i := at; i < at+len(x.list); i++ {
		if x.list[i%len(x.list)].canBeAsked(now) {
			return i % len(x.list)
		}
	}
	return -1
}

// canBeAsked reports whether asking c once more may bring something new.
func (c *candidate) canBeAsked(now time.Time) bool {
	switch {
	case c.done || c.tcpWaits:
		return false
	case c.carrier != nil:
		return c.wantTCP || !c.tcp // what a carrier does not bring, it would not bring again
	case c.wantTCP || !c.tcp || c.sent < maxSilent:
		return true
	}
	return c.sent < maxSendingsEach && c.modes.isAlive(now)
}

// ask sends the query to the i-th candidate, and returns how long to wait before
// somebody is asked again.
func (x *exchange) ask(i int) time.Duration {
	c, now := &x.list[i], time.Now()
	if !c.counted {
		c.counted = true
		c.queries.Add(1)
	}
	x.sendings++
	if c.carrier != nil {
		return x.askCarrier(i)
	}
	tcp := c.wantTCP || c.sent == 0 && c.modes.current(now) == modeTCP && !c.tcp ||
		!c.tcp && c.sent >= maxSilent && !c.modes.isAlive(now)
	if tcp {
		if c.sent == 0 {
			c.due = now.Add(steadyResend)
		}
		x.askTCP(i)
		return x.share(i, max(2*c.timeout, steadyResend)) // others may be asked meanwhile
	}
	how := c.modes.forSending(c.sent, now)
	if c.plain {
		how = modePlain
	}
	if c.sent++; c.timeout == 0 {
		c.timeout = c.timing.current()
		c.due = now.Add(c.timeout)
	}
	x.noteSent(c, "udp", how)
	var err error
	if c.udp == nil {
		c.udp, err = x.client.converse(c.Upstream, i, x.results)
		if err == nil && c.sent == 1 { // who is silent is asked in lower case
			c.udp.letters = c.nextLetters(now)
		} else if err == nil {
			c.udp.ignored = c.wasSilent && c.letters.areUsed(now)
		}
	}
	if err == nil {
		c.waiting, c.outcome = true, silent
		err = c.udp.send(x.client, x.q, how, now)
	}
	if err != nil && !c.waiting {
		x.giveUp(c, outcomeOf(err))
		return 0
	}
	// An error of a socket that is read reaches its reader too.
	return x.share(i, resendAfter(c.timeout, c.sent))
}

// share bounds a wait so that all who were not asked yet get their turn.
func (x *exchange) share(i int, wait time.Duration) time.Duration {
	unasked := 1
	for k := range x.list {
		if c := &x.list[k]; k != i && !c.done && c.sent == 0 && !c.tcp {
			unasked++
		}
	}
	if unasked == 1 {
		return wait
	}
	return min(wait, max(time.Until(x.deadline)/time.Duration(unasked), leastTimeout))
}

// askTCP asks the i-th candidate by TCP, on a goroutine of its own.
func (x *exchange) askTCP(i int) {
	c := &x.list[i]
	c.wantTCP, c.tcp, c.tcpWaits = false, true, true
	how := modeFull
	if c.plain || c.modes.current(time.Now()) == modePlain {
		how = modePlain
	}
	x.noteSent(c, "tcp", how)
	q, ctx, deadline, results, member := *x.q, x.ctx, x.deadline, x.results, c.Upstream
	x.client.tasks.Go(func() {
		a, kind, err := askTCP(ctx, member, &q, how, deadline)
		results <- result{from: i, kind: kind, answer: a, err: err}
	})
}

// askCarrier asks the i-th candidate by its carrier.
func (x *exchange) askCarrier(i int) time.Duration {
	c := &x.list[i]
	c.wantTCP, c.tcp, c.tcpWaits = false, true, true
	c.timeout = c.timing.current()
	wait := c.timeout
	if !c.carrier.connected() {
		wait = max(4*wait, steadyResend) // for TCP, TLS and the answer
	}
	how := modeFull
	if c.plain || c.modes.current(time.Now()) == modePlain {
		how = modePlain
	}
	x.noteSent(c, c.server.Transport.String(), how)
	c.carried = c.carrier.ask(c.Upstream, x.q, how, i, x.results)
	c.due = time.Now().Add(wait)
	return x.share(i, wait)
}

// take takes in a result, and reports whether it is the answer.
func (x *exchange) take(r *result) (answered bool) {
	c := &x.list[r.from]
	if r.udp == nil {
		c.tcpWaits = false
	} else if r.udp == c.udp {
		c.waiting, c.udp = false, nil
	}
	if r.err != nil {
		how := outcomeOf(r.err)
		if r.udp == nil && c.carrier == nil && (c.waiting || c.sent < maxSilent && how != notSent) {
			c.outcome = how // it may do better by UDP
			return false
		}
		x.giveUp(c, how)
		return false
	}
	x.noteReply(c, r)
	if r.kind != replyGood {
		defer r.answer.Release()
	}
	switch r.kind {
	case replyGood:
		if x.hold(c, r) {
			return false
		}
		x.answeredBy(c, r)
		return true
	case replyTruncated:
		if c.tcp && !c.tcpWaits {
			x.giveUp(c, wrongReply)
		} else if !c.tcp {
			c.wantTCP = true
		}
	case replyUnsupported:
		if c.plain || !c.withEDNS {
			x.giveUp(c, unsupported)
		} else {
			c.plain, c.wantTCP = true, c.carrier != nil
		}
	case replyServFail:
		if len(r.answer.Wire) >= dnswire.HeaderLen && r.answer.Wire[5] == 1 {
			x.servFail, r.answer = r.answer, x.servFail
		}
		x.giveUp(c, servFailed)
	default:
		x.giveUp(c, refused)
	}
	return false
}

// answeredBy learns from an answer.
func (x *exchange) answeredBy(c *candidate, r *result) {
	now := time.Now()
	c.outcome = answered
	if !x.probe {
		c.answered()
		for i := range x.list {
			if other := &x.list[i]; other != c && other.counted && !other.failed && !now.Before(other.due) {
				other.countFailure(x.precisely(other, silent), now)
			}
		}
	}
	if c.carrier != nil {
		return // it has learnt by itself
	}
	if r.udp == nil {
		x.client.setUp(c.health)
		if c.sent >= maxSilent && !c.modes.isAlive(now) {
			c.modes.learn(modeTCP, now)
		}
	}
	if c.plain && !c.modes.knowsEDNS(now) {
		c.doubtEDNS(x.q)
	}
}

// precisely returns what became of asking c that gave no reply that fits: perhaps it
// gave others.
func (x *exchange) precisely(c *candidate, how outcome) outcome {
	if (how == silent || how == unreachable && c.sent > 0) && c.strayedSince(x.began) {
		return wrongReply
	}
	return how
}

// giveUp ends asking c.
func (x *exchange) giveUp(c *candidate, how outcome) {
	how = x.precisely(c, how)
	c.outcome, c.done = how, true
	x.note(c, Event{Kind: GivenUp, Why: how.String()})
	if !x.probe && !c.failed {
		c.failed = true
		c.health.failed(how)
	}
}

// timedOut takes in that the i-th candidate was silent for so long.
func (x *exchange) timedOut(i int, waited time.Duration) {
	c := &x.list[i]
	if !c.waiting && (c.carrier == nil || !c.tcpWaits) {
		return
	}
	if waited >= c.timing.current() {
		x.note(c, Event{Kind: Overdue})
		c.timing.timedOut(waited)
		if !x.probe {
			c.silentOnce()
		}
	}
}

// isWaiting reports whether a reply may still come.
func (x *exchange) isWaiting() bool {
	return slices.ContainsFunc(x.list, func(c candidate) bool { return c.waiting || c.tcpWaits })
}

// nobody is what there is to say when nobody has answered.
func (x *exchange) nobody() (Answer, error) {
	for i := range x.list {
		if c := &x.list[i]; c.counted && !c.done {
			x.giveUp(c, c.outcome)
		}
	}
	for _, kept := range []*Answer{&x.held, &x.servFail} {
		if a := *kept; a.Wire != nil {
			*kept = Answer{}
			return a, nil
		}
	}
	return Answer{}, whyNone(x.list)
}

// leave ends the exchange. What was asked and is still silent may answer late.
func (x *exchange) leave() {
	x.servFail.Release()
	x.held.Release()
	var q *dnswire.Question
	for i := range x.list {
		c := &x.list[i]
		if c.udp == nil && c.carried == nil {
			continue
		}
		if q == nil {
			q = new(dnswire.Question)
			*q = *x.q
		}
		left := c.carried
		if left == nil {
			left = c.udp
		}
		if x.onlyNow {
			left.leave(nil, func() {})
		} else {
			x.client.leave(left, q)
		}
	}
	for {
		select {
		case r := <-x.results:
			r.answer.Release()
		default:
			return
		}
	}
}

// A sending is a query that was sent and may be answered late.
type sending interface {
	leave(late func(*Answer), end func())
}

// leave lets c wait for a late reply to q, if not too many do.
func (u *Client) leave(c sending, q *dnswire.Question) {
	if u.onLate == nil || u.late.Load() >= maxLate {
		c.leave(nil, func() {})
		return
	}
	u.late.Add(1)
	c.leave(func(a *Answer) { u.onLate(q, a) }, func() { u.late.Add(-1) })
}

// appendCandidates appends those to ask, best first: of those that are up, the ones
// that were silent lately come last.
func appendCandidates(list []candidate, members []*Upstream) []candidate {
	var buf [8]uint8
	now := buf[:0] // they change meanwhile: who is looked at twice may be listed twice, or not at all
	for _, m := range members {
		now = append(now, m.rank())
	}
	for rank := range uint8(ranks) {
		for i, m := range members {
			if now[i] == rank {
				list = append(list, candidate{Upstream: m, outcome: silent})
			}
		}
	}
	return list
}

// allDown returns why none of the members is asked, and hastens their probes.
func (u *Client) allDown(q *dnswire.Question, members []*Upstream) error {
	var b strings.Builder
	b.WriteString("all upstreams are down: ")
	for i, m := range members {
		if m.is(Down) {
			m.wantAnswerTo(q)
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(m.id + " " + m.reason())
	}
	return &Error{dnswire.EDENoReachable, b.String(), true}
}

// whyNone says what became of each candidate.
func whyNone(list []candidate) error {
	code := uint16(dnswire.EDENetworkError)
	var b strings.Builder
	for i := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		c := &list[i]
		b.WriteString(c.id + " " + c.outcome.String())
		if c.outcome != unreachable && c.outcome != notSent && c.outcome != cutOff {
			code = dnswire.EDENoReachable
		}
	}
	return &Error{code, b.String(), false}
}
