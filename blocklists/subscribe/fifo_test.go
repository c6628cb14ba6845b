//go:build unix

package subscribe

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// A copy that is a FIFO is read for as long as nobody writes to it.
func TestJudgingAnUpdateHoldsNothingUp(t *testing.T) {
	p := publish(t, text(list(1000)))
	essential := strings.Fields(list(maxEssential + 1)) // what the copy blocks of them has to be looked at
	s := subscribed(t, p.URL, func(o *Options) { o.Known = names(essential, nil) })
	refreshed(t, s)
	path := s.path("ads")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	p.now(text(list(1001)))
	ended := make(chan Progress, 1)
	go func() { ended <- refreshed(t, s) }()
	writer, err := os.OpenFile(path, os.O_WRONLY, 0) // opens once the copy is being read
	if err != nil {
		t.Fatal(err)
	}
	if st := s.Status(); len(st) != 1 || st[0].Rules != 1000 {
		t.Errorf("meanwhile: got %+v", st)
	}
	if _, err := writer.WriteString(list(1000)); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	if got := <-ended; got.Outcome != Updated || got.Rules != 1001 {
		t.Errorf("in the end: got %+v", got)
	}
}
