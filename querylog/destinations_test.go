package querylog

import (
	"context"
	"fmt"
	"testing"
	"time"
)

func destinations(t *testing.T, dir, name string) []Destination {
	t.Helper()
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all, err := r.Destinations(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWhereNamesLeadIsKeptOverTime(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	at := time.Now().Truncate(time.Millisecond)
	keep := func(after time.Duration, name, found string) {
		t.Helper()
		if err := l.KeepDestinations(context.Background(), at.Add(after), map[string]string{name: found}); err != nil {
			t.Fatal(err)
		}
	}
	keep(0, "data.tracker.example", "a")
	keep(time.Hour, "data.tracker.example", "a")
	keep(2*time.Hour, "data.tracker.example", "b")
	keep(time.Minute, "data.tracker.example", "a") // the clock was set back
	keep(0, "other.example", "c")
	got := destinations(t, dir, "data.tracker.example")
	if len(got) != 3 || got[0].Found != "a" || got[0].Times != 2 || !got[0].First.Equal(at) || !got[0].Last.Equal(at.Add(time.Hour)) ||
		got[1].Found != "b" || got[2].Found != "a" || !got[2].First.After(got[1].First.Time) {
		t.Errorf("got %+v", got)
	}
	for i := range 2 * keptDestinations {
		keep(3*time.Hour+time.Duration(i)*time.Second, "other.example", fmt.Sprint(i))
	}
	if got := destinations(t, dir, "other.example"); len(got) != keptDestinations || got[len(got)-1].Found != fmt.Sprint(2*keptDestinations-1) {
		t.Errorf("got %d, want the newest %d", len(got), keptDestinations)
	}
	if err := l.ForgetDestinations(context.Background(), func(name string) bool { return name == "other.example" }); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	if got := destinations(t, dir, ""); len(got) != keptDestinations || got[0].Name != "other.example" {
		t.Errorf("%d are left after one name was forgotten", len(got))
	}
}
