package querylog

import (
	"fmt"
	"slices"
	"strings"
)

// failed remembers that something (the directory, the journal, the store) does
// not work, and says so once.
func (l *Log) failed(what string, err error) error {
	text := err.Error()
	l.mu.Lock()
	_, known := l.failures[what]
	l.failures[what] = text
	l.setErrorLocked()
	l.mu.Unlock()
	if !known {
		meanwhile := "lookups are counted in memory meanwhile"
		if what == "seal" {
			meanwhile = "lookups are stored all the same"
		}
		l.o.Logger.Error("query log: the "+what+" fails; "+meanwhile, "error", err)
		l.addEvent(Event{Kind: KindFailure, Subject: what, Detail: text})
	}
	return err
}

// recovered forgets a failure.
func (l *Log) recovered(what string) {
	l.mu.Lock()
	_, failing := l.failures[what]
	delete(l.failures, what)
	l.setErrorLocked()
	l.mu.Unlock()
	if failing {
		l.o.Logger.Info("query log: the " + what + " works again")
		l.addEvent(Event{Kind: KindRecovered, Subject: what, Detail: "works again"})
	}
}

func (l *Log) setErrorLocked() {
	var all []string
	for what, text := range l.failures {
		all = append(all, what+": "+text)
	}
	slices.Sort(all)
	l.stats.LastError = strings.Join(all, "; ")
}

// addLost records a gap: how many lookups are missing, of when, and why. format
// takes the number of lookups.
func (l *Log) addLost(lost loss, format string) {
	l.addEvent(Event{Kind: KindLost, Since: Time{fromMilli(lost.since)}, Until: Time{fromMilli(lost.until)}, Detail: fmt.Sprintf(format, lost.lookups)})
}

// addLostOf is addLost for what the lock's file says is lost, which it says until
// the event is written.
func (l *Log) addLostOf(lost loss, format string) {
	l.addLost(lost, format)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unwritten.add(pending{lost: lost.lookups})
}

// pending is what the lock's file says until the events that say it too are
// written.
type pending struct {
	lost  uint64 // lookups
	crash bool
}

func (p *pending) add(q pending) { p.lost, p.crash = p.lost+q.lost, p.crash || q.crash }

// written says that events are written.
func (s *lockState) written(p pending) {
	s.lost.sub(p.lost)
	if p.crash {
		s.crash = wallSpan{}
	}
}

// giveUp counts lookups that are lost.
func (l *Log) giveUp(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.GivenUp += n
}

// setLimit leaves the open fold the memory that neither waiting windows nor attempts
// take.
func (l *Log) setLimit(waiting int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = max(l.o.MaxMemory-waiting-l.attempts, l.o.MaxMemory/4)
}
