package querylog

import (
	"testing"
	"time"
)

// A span is from its first millisecond on, up to but without its last; a row is told so by
// Go and by SQL alike.
func TestASpanOfADeviceIsFromItsBeginningToBeforeItsEnd(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	at := time.Now().Truncate(time.Millisecond)
	l.Append([]Record{lookup(t, nil, at, phone(1), "shop.example")})
	closeLog(t, l)
	device := phone(1).Device
	for _, c := range []struct {
		name string
		span DeviceSpan
		want bool
	}{
		{"at any time", DeviceSpan{Device: device}, true},
		{"another device", DeviceSpan{Device: "other"}, false},
		{"begins then", DeviceSpan{Device: device, From: at}, true},
		{"begins just after", DeviceSpan{Device: device, From: at.Add(time.Millisecond)}, false},
		{"ends then", DeviceSpan{Device: device, Until: at}, false},
		{"ends just after", DeviceSpan{Device: device, Until: at.Add(time.Millisecond)}, true},
		{"begins and ends then", DeviceSpan{Device: device, From: at, Until: at}, false},
		{"has it alone", DeviceSpan{Device: device, From: at, Until: at.Add(time.Millisecond)}, true},
	} {
		if got := AnyHas([]DeviceSpan{c.span}, device, at); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if got := rows(t, dir, Filter{Devices: []DeviceSpan{c.span}}); (len(got) == 1) != c.want {
			t.Errorf("%s: %d rows, want one: %v", c.name, len(got), c.want)
		}
		if got := rows(t, dir, Filter{Without: []DeviceSpan{c.span}}); (len(got) == 0) != c.want {
			t.Errorf("without what %s: %d rows, want none: %v", c.name, len(got), c.want)
		}
	}
}

func TestTopOfListedNamesLeavesOthersOut(t *testing.T) {
	dir := t.TempDir()
	lists := policy(t, "tracker.example\n")
	l := open(t, Options{Dir: dir})
	at := time.Now()
	l.Append([]Record{lookup(t, lists, at, phone(1), "tracker.example"), lookup(t, lists, at, phone(1), "shop.example")})
	closeLog(t, l)
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Top(t.Context(), "names", Filter{Listed: true}, 0)
	if err != nil || len(got) != 1 || got[0].Key != "tracker.example" {
		t.Errorf("got %+v, %v; want tracker.example alone", got, err)
	}
}
