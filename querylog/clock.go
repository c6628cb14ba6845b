package querylog

import (
	"fmt"
	"sync"
	"time"

	"telltale/clock"
)

const (
	jumpNoted  = 2 * time.Second
	jumpFeared = 24 * time.Hour // a forward jump after which nothing is deleted
	steadyFor  = 24 * time.Hour // until so much steady time has gone by
)

// Keys of the store's meta table.
const (
	metaDoubted  = "clock_doubted" // steady time at which the clock was last doubted; 0 for never
	metaSteady   = "steady"        // steady time at the last commit
	metaWall     = "steady_wall"   // the wall clock then
	metaSynced   = "steady_synced" // 1 if the kernel called it synchronised then
	metaPosition = "position"      // number of the last window stored
	metaLookups  = "lookups"       // lookups stored since the store was made
)

// A clockGuard compares the wall clock with one that only runs. It keeps the
// steady time: what went by since the store was made, whatever the wall clock
// was set to meanwhile, by which rows grow old. Steady time begins as the wall
// clock's, in Unix milliseconds, so that both agree while nothing is odd. Both
// goroutines of the log use it.
type clockGuard struct {
	now       func() time.Time
	synced    func() bool          // whether the kernel's clock has been synchronised since boot
	running   func() time.Duration // since the guard was made, sleep of the machine included
	suspended func() time.Duration // how long the machine has slept since boot

	mu      sync.Mutex
	started time.Time // on the wall clock
	wall    time.Time // at the last look
	ran     time.Duration
	slept   time.Duration
	base    int64 // steady time when the guard was made
	doubted int64 // steady time of the last forward jump of more than a day; 0 for none
}

func newClockGuard(now func() time.Time) *clockGuard {
	began := time.Now()
	g := &clockGuard{now: now, synced: clock.Synchronised, suspended: clock.Slept, started: now().Round(0)}
	g.slept = g.suspended()
	asleep := g.slept
	g.running = func() time.Duration { return time.Since(began) + g.suspended() - asleep }
	g.wall, g.base = g.started, g.started.UnixMilli()
	return g
}

// load takes over what the store knows: the steady time, to which belongs how
// long the server was down, as far as the clock can be believed.
func (g *clockGuard) load(s *store) error {
	var doubted, steady, wall, synced int64
	for key, to := range map[string]*int64{metaDoubted: &doubted, metaSteady: &steady, metaWall: &wall, metaSynced: &synced} {
		var err error
		if *to, err = s.meta(key); err != nil {
			return err
		}
	}
	if steady == 0 { // a new store, or one of a version that did not keep it
		last, err := s.number(`SELECT coalesce((SELECT last FROM window ORDER BY id DESC LIMIT 1), 0)`)
		if err != nil {
			return err
		}
		steady, wall, synced = last, last, 1
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if steady == 0 {
		return nil
	}
	g.doubted = doubted
	down := g.started.Sub(time.UnixMilli(wall))
	if down < 0 || synced == 0 {
		down = 0 // nobody knows how long
	}
	g.base = steady + down.Milliseconds()
	if down > jumpFeared {
		g.doubted = g.base
	}
	return nil
}

// A clockMark is what the store keeps of the clock with each window.
type clockMark struct {
	steady, wall, doubted int64
	synced                bool
}

func (g *clockGuard) mark() clockMark {
	synced := g.synced()
	g.mu.Lock()
	defer g.mu.Unlock()
	return clockMark{steady: g.steadyLocked(), wall: g.now().UnixMilli(), doubted: g.doubted, synced: synced}
}

func (g *clockGuard) steadyLocked() int64 { return g.base + g.running().Milliseconds() }

// watch looks at the clock. A difference of more than two seconds from the
// running clock since the last look is a jump, and the machine may have slept:
// the event says so.
func (g *clockGuard) watch() (e Event, jumped bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	wall, ran, slept := g.now().Round(0), g.running(), g.suspended()
	before, asleep := g.wall, slept-g.slept
	expected := before.Add(ran - g.ran)
	g.wall, g.ran, g.slept = wall, ran, slept
	jump := wall.Sub(expected)
	switch {
	case jump.Abs() >= jumpNoted:
		if jump > jumpFeared {
			g.doubted = g.steadyLocked()
		}
		direction := "forward"
		if jump < 0 {
			direction = "back"
		}
		return Event{Kind: KindClock, Since: Time{expected}, Until: Time{wall},
			Detail: fmt.Sprintf("the clock was set %s by %v", direction, jump.Abs().Round(time.Millisecond))}, true
	case asleep >= jumpNoted:
		return Event{Kind: KindSuspended, Since: Time{before}, Until: Time{wall},
			Detail: fmt.Sprintf("the machine slept for %v: no lookups were seen meanwhile", asleep.Round(time.Millisecond))}, true
	}
	return e, false
}

// A wallSpan is between which times the wall clock stood for a while, in Unix
// milliseconds. Where the clock was set, that is more than from the first moment
// to the last.
type wallSpan struct{ first, last int64 }

// add widens a span by another; the zero value is none.
func (s *wallSpan) add(t wallSpan) {
	switch {
	case t == wallSpan{}:
	case *s == wallSpan{}:
		*s = t
	default:
		s.first, s.last = min(s.first, t.first), max(s.last, t.last)
	}
}

// mayDelete reports whether the clock can be relied on for deleting by age, and
// if not, why.
func (g *clockGuard) mayDelete() (ok bool, why string) {
	synced := g.synced()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.doubted != 0 && g.steadyLocked()-g.doubted < steadyFor.Milliseconds() {
		return false, fmt.Sprintf("the clock went forward by more than a day, less than %v of steady clock ago", steadyFor)
	}
	if !synced && g.running() < steadyFor {
		return false, "the clock has not been synchronised since boot"
	}
	return true, ""
}
