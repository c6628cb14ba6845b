//go:build !small

package main

import (
	"errors"
	"testing"

	"telltale/evidence"
	"telltale/querylog"
)

// An answer of slots is made in memory: it keeps the lines that are wanted alone, and of all slots together only so many.
func TestAnAnswerOfSlotsIsBounded(t *testing.T) {
	slot := func() *evidence.CountSlot {
		return &evidence.CountSlot{Lines: make([]evidence.SlotLine, mostSlotLines)}
	}
	few := slotAnswer{limit: 3}
	for range 3 {
		if err := few.add(slot()); err != nil {
			t.Fatal(err)
		}
	}
	for i := range few.slots {
		if got := few.slots[i].Lines; len(got) != 3 || cap(got) > 100 {
			t.Errorf("got %d lines, with room for %d, want 3", len(got), cap(got))
		}
	}
	all := slotAnswer{}
	if err := all.add(slot()); err != nil {
		t.Errorf("of as many lines as an answer has at most: got %v", err)
	}
	if err := all.add(&evidence.CountSlot{Lines: make([]evidence.SlotLine, 1)}); !errors.Is(err, evidence.ErrManySlots) {
		t.Errorf("of one line more: got %v", err)
	}
}

// That --by counts hourly totals as well is said where it does: not of names, of what a name or an address chooses, nor of devices, whose lookups are there.
func TestTotalsAreHintedAtWhereTheyAreRead(t *testing.T) {
	for _, c := range []struct {
		what string
		f    querylog.Filter
		want bool
	}{
		{"vendors", querylog.Filter{}, true},
		{"purposes", querylog.Filter{Vendor: "Acme", Verdict: "block", Devices: []querylog.DeviceSpan{{Device: "tv"}}}, true},
		{"vendors", querylog.Filter{Name: "acme"}, false},
		{"vendors", querylog.Filter{Device: "192.0.2.1"}, false},
		{"names", querylog.Filter{}, false},
		{"devices", querylog.Filter{}, false},
	} {
		if got := mayHaveTotals(c.what, &c.f); got != c.want {
			t.Errorf("%s of %+v: got %v, want %v", c.what, c.f, got, c.want)
		}
	}
}
