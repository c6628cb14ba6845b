package evidence

import (
	"testing"
	"time"

	"telltale/querylog"
)

// How long of an hour was recorded is found once: there are many totals of an hour, and may
// be many gaps.
func TestTheRecordOfAnHourIsReadOnce(t *testing.T) {
	hour := time.Date(2025, 10, 13, 4, 0, 0, 0, time.UTC)
	r := &reading{since: hour, until: hour.Add(2 * time.Hour), recordedHours: map[int64]time.Duration{}}
	for i, want := range []time.Duration{time.Hour, time.Hour} {
		if got := r.recordedOf(hour); got != want {
			t.Errorf("reading %d: %s, want %s", i, got, want)
		}
		r.coverage.Gaps = []querylog.Gap{{Since: querylog.Time{Time: hour}, Until: querylog.Time{Time: r.until}, Effect: querylog.Unrecorded}} // that only another reading would find
	}
	if got := r.recordedOf(hour.Add(time.Hour)); got != 0 {
		t.Errorf("another hour: %s, want none", got)
	}
}
