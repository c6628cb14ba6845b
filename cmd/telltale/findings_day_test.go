package main

import (
	"fmt"
	"maps"
	"reflect"
	"testing"
	"time"

	"telltale/querylog"
)

// A day that is read hour by hour says what one does that is read at once.
func TestADayIsWhatItsHoursAre(t *testing.T) {
	whole, sum := newDay(), newDay()
	parts := []*day{newDay(), newDay(), newDay()}
	for i := range 60 {
		row := querylog.Row{
			Time: querylog.Time{Time: time.Unix(1_700_000_000, 0)}, Count: uint64(i%4 + 1), Client: fmt.Sprintf("192.168.1.%d", i%5), Name: fmt.Sprintf("n%d.d%d.example", i%7, i%4),
			BindingSource: []string{"neighbour", "bare-address", "forwarder", "this-host"}[i%4], Rcode: []string{"NOERROR", "SERVFAIL"}[i%2], AnsweredFrom: []string{"upstream", "rebind", "cache"}[i%3],
		}
		if i%3 == 0 {
			row.Purpose, row.Vendor, row.Attribution = "connectivity", []string{"Apple", "Google"}[i%2], "rule"
		}
		if i%10 == 9 {
			row.Tier, row.Verdict, row.List, row.Line = "essential", "block", "own", i
		}
		whole.add(&row)
		parts[i/20].add(&row)
	}
	sum.sum(parts)
	maps.DeleteFunc(whole.domains, func(_ string, f *failing) bool { return f.failed+f.rebound == 0 }) // no finding is of these
	if !reflect.DeepEqual(sum, whole) {
		t.Errorf("got %+v, want %+v", sum, whole)
	}
	if len(whole.domains) == 0 || len(whole.essential) == 0 || len(whole.systems) == 0 {
		t.Error("nothing was compared")
	}
}
