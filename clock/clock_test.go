package clock

import (
	"testing"
	"time"
)

func TestTimeThatHasGoneBy(t *testing.T) {
	wall := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	was := Reading{Wall: wall, Boot: "a", SinceBoot: time.Hour, Synchronised: true}
	unset := was
	unset.Synchronised = false
	for _, test := range []struct {
		name    string
		earlier Reading
		now     Reading
		want    time.Duration
		ok      bool
	}{
		{"in one boot", was, Reading{Wall: wall.Add(time.Minute), Boot: "a", SinceBoot: time.Hour + time.Minute}, time.Minute, true},
		{"in one boot, the clock set back", was, Reading{Wall: wall.Add(-time.Hour), Boot: "a", SinceBoot: time.Hour + time.Minute}, time.Minute, true},
		{"in one boot, the clock set forward by years", was, Reading{Wall: wall.AddDate(3, 0, 0), Boot: "a", SinceBoot: time.Hour}, 0, true},
		{"another boot", was, Reading{Wall: wall.AddDate(0, 0, 9), Boot: "b", SinceBoot: time.Minute, Synchronised: true}, 9 * 24 * time.Hour, true},
		{"another boot, the clock not set yet", was, Reading{Wall: wall.Add(time.Second), Boot: "b", SinceBoot: time.Minute}, 0, false},
		{"another boot, the clock before it", was, Reading{Wall: wall.Add(-time.Second), Boot: "b", SinceBoot: time.Minute, Synchronised: true}, 0, false},
		{"another boot, the clock was not set then", unset, Reading{Wall: wall.Add(time.Hour), Boot: "b", SinceBoot: time.Minute, Synchronised: true}, 0, false},
		{"a system without boots", Reading{Wall: wall, Synchronised: true}, Reading{Wall: wall.Add(time.Hour), Synchronised: true}, time.Hour, true},
	} {
		if got, ok := test.now.Since(test.earlier); got != test.want && ok || ok != test.ok {
			t.Errorf("%s: %v %v, want %v %v", test.name, got, ok, test.want, test.ok)
		}
	}
	first := Read()
	if d, ok := Read().Since(first); first.Boot != "" && !ok || d > time.Minute {
		t.Errorf("%v %v have gone by between two readings", d, ok)
	}
}
