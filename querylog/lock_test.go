package querylog

import (
	"fmt"
	"testing"
)

// Each line of the lock's file is read as it was written; its names never change,
// and its length is the same whatever it says.
func TestTheLocksFileIsReadAsItWasWritten(t *testing.T) {
	var s lockState
	for i, l := range s.lines() {
		switch l.name {
		case "wal-moved":
			l.set("true")
		case "state":
			l.set(stateRunning)
		default:
			l.set(fmt.Sprint(1_700_000_000_000 + int64(i)))
		}
	}
	text := s.appendTo(nil)
	golden(t, "lock.golden", string(text))
	if got := parseLock(text); got != s {
		t.Errorf("got %+v, want %+v", got, s)
	}
	if empty := (&lockState{}).appendTo(nil); len(empty) != len(text) {
		t.Errorf("got %d octets where it says nothing, %d where it says much", len(empty), len(text))
	}
	before := parseLock([]byte("pid 7         \nalive 5                   \nstate running   \nmemory 3\nmemory-since 2\n")) // of an earlier version
	if want := (lockState{pid: 7, alive: 5, state: stateRunning, memory: loss{3, 2, 5}}); before != want {
		t.Errorf("got %+v, want %+v", before, want)
	}
}
