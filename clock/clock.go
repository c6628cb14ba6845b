// Package clock says how much time has really gone by: over a machine's sleep, a
// restart, and a clock that is set.
package clock

import (
	"context"
	"time"
)

// Sleep waits for d, and reports whether ctx goes on.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// A Reading is the clocks of this machine at one moment, to be kept and compared with
// a later one, also of another process.
type Reading struct {
	Wall         time.Time
	Boot         string        // names this boot of the machine; "" where the system does not say
	SinceBoot    time.Duration // sleep included
	Synchronised bool          // something has set the wall clock since boot
}

// Since returns how much time has gone by since an earlier reading. Within one boot that
// does not depend on the wall clock. Else both wall clocks must be synchronised: ok
// is false where nobody knows.
func (r Reading) Since(earlier Reading) (d time.Duration, ok bool) {
	switch {
	case r.Boot != "" && r.Boot == earlier.Boot:
		d = r.SinceBoot - earlier.SinceBoot
	case r.Synchronised && earlier.Synchronised:
		d = r.Wall.Round(0).Sub(earlier.Wall.Round(0))
	default:
		return 0, false
	}
	return max(d, 0), d >= 0
}
