package querylog

import (
	"fmt"
	"time"
)

const (
	jumpNoted  = 2 * time.Second
	jumpFeared = 24 * time.Hour // a forward jump after which nothing is deleted
	steadyFor  = 24 * time.Hour // until the clock has been steady for so long
	clockKey   = "clock_doubted"
)

// A clockGuard compares the wall clock with one that only runs, and says when
// the wall clock may be relied on for deleting.
type clockGuard struct {
	now     func() time.Time
	started time.Time // the running clock's zero
	wall    time.Time // at the last look
	ran     time.Duration
	doubted time.Time   // on the wall clock: of the last forward jump of more than a day; zero for none
	synced  func() bool // whether the kernel's clock has been synchronised since boot
	running func() time.Duration
}

func newClockGuard(now func() time.Time) clockGuard {
	started := time.Now()
	g := clockGuard{now: now, started: started, wall: now().Round(0), synced: clockSynchronised}
	g.running = func() time.Duration { return time.Since(started) }
	return g
}

// load takes over what the store knows: when the clock was last doubted, and
// when it was last looked at, by which a jump while the server was down shows.
func (g *clockGuard) load(s *store, alive time.Time) error {
	ms, err := s.meta(clockKey)
	if err != nil {
		return err
	}
	g.doubted = fromMilli(ms)
	last, err := s.number(`SELECT max(coalesce((SELECT time FROM ledger ORDER BY id DESC LIMIT 1), 0),
		coalesce((SELECT last FROM window ORDER BY id DESC LIMIT 1), 0))`)
	if err != nil {
		return err
	}
	if before := fromMilli(max(last, milli(alive))); !before.IsZero() && g.wall.Sub(before) > jumpFeared {
		g.doubted = g.wall
		return g.save(s)
	}
	return nil
}

func (g *clockGuard) save(s *store) error { return s.setMeta(clockKey, milli(g.doubted)) }

// watch looks at the clock. A difference of more than two seconds from the
// running clock since the last look is a jump; the note says so.
func (g *clockGuard) watch() (e Event, jumped bool) {
	wall, ran := g.now().Round(0), g.running()
	before := g.wall
	expected := before.Add(ran - g.ran)
	g.wall, g.ran = wall, ran
	jump := wall.Sub(expected)
	if jump.Abs() < jumpNoted {
		return e, false
	}
	if jump > jumpFeared {
		g.doubted = wall
	}
	direction := "forward"
	if jump < 0 {
		direction = "back"
	}
	return Event{
		Kind: KindClock, Since: Time{expected}, Until: Time{wall},
		Detail: fmt.Sprintf("the clock went %s by %v: it was set, or the machine slept", direction, jump.Abs().Round(time.Millisecond)),
	}, true
}

// mayDelete reports whether the clock can be relied on for deleting by age, and
// if not, why.
func (g *clockGuard) mayDelete() (ok bool, why string) {
	if !g.doubted.IsZero() {
		if steady := g.wall.Sub(g.doubted); steady >= 0 && steady < steadyFor {
			return false, fmt.Sprintf("the clock went forward by more than a day at %v", Time{g.doubted})
		}
	}
	if !g.synced() && g.running() < steadyFor {
		return false, "the clock has not been synchronised since boot"
	}
	return true, ""
}
