//go:build !small

package main

import (
	"errors"
	"testing"

	"telltale/evidence"
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
