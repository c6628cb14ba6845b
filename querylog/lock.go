package querylog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An InUseError says that another process serves from the data directory.
type InUseError struct {
	Dir string
	PID int // 0 where it is not known
}

func (e *InUseError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("data directory %s is in use by another process", e.Dir)
	}
	return fmt.Sprintf("data directory %s is in use by process %d", e.Dir, e.PID)
}

// A dirLock is the lock of a data directory: a file that is locked while a
// process serves from it, and says what the next one must know where nothing
// else could be written. Both goroutines of the log write it.
type dirLock struct {
	mu sync.Mutex
	f  *os.File
	lockState
}

// A lockState is what the lock's file says.
type lockState struct {
	pid   int
	alive int64 // the process was alive, Unix milliseconds
	state string

	given   int64  // the largest number that a journal has, so that none is given again where the journals cannot be listed
	stored  int64  // number of the last window that is in the store
	until   int64  // its last lookup
	lookups uint64 // all that the store has taken since it was made

	memory  loss        // lookups that are in memory alone
	lost    loss        // lookups that nothing took, and of which no line of the ledger is written
	crash   wallSpan    // during which no server ran after a crash, and of which no line of the ledger is written
	unmoved int64       // the earliest lookup of the windows stored since all of the write-ahead log was in the main file; 0 for none
	wal     walMark     // how much of the store's write-ahead log is in its main file
	passed  windowRange // windows that were left in journals which could not be listed, while later ones, or another store, were begun
	gap     storeGap    // what the store lacks of what it had taken, while it is not known which of it is in journals
}

// forgetStore says that the next store is another one.
func (s *lockState) forgetStore() {
	s.stored, s.until, s.lookups, s.wal, s.unmoved = 0, 0, 0, walMark{}, 0
}

// A windowRange is the windows behind one number, up to another.
type windowRange struct{ behind, to int64 }

func (r windowRange) has(n int64) bool { return n > r.behind && n <= r.to }

// pass says that journals cannot be listed: those that are there, and not in the
// store, are passed by what is stored until they can be.
func (s *lockState) pass() { s.passFrom(max(s.stored, s.gap.stored)) }

// passFrom says that the journals of windows behind a number, which cannot be
// listed, are not of the store's windows.
func (s *lockState) passFrom(behind int64) {
	if s.given <= behind {
		return
	}
	if s.passed.behind >= s.passed.to {
		s.passed.behind = behind
	}
	s.passed.to = s.given
}

// A loss is an interval of which lookups are missing, or would be if the
// process ended. Times are Unix milliseconds.
type loss struct {
	lookups      uint64
	since, until int64
}

// add widens a loss by another.
func (l *loss) add(m loss) {
	if m.lookups == 0 {
		return
	}
	if l.lookups == 0 {
		l.since, l.until = m.since, m.until
	}
	l.lookups += m.lookups
	l.since, l.until = min(l.since, m.since), max(l.until, m.until)
}

// sub takes away what is written in the ledger by now.
func (l *loss) sub(lookups uint64) {
	if l.lookups -= min(l.lookups, lookups); l.lookups == 0 {
		*l = loss{}
	}
}

// A lockLine is a line of the lock's file. Its name never changes, and its width
// is fixed, so that the file is written in place, also on a full disk.
type lockLine struct {
	name  string
	width int
	value string
	set   func(string)
}

func lockNumber[T int | int64 | uint64](name string, of *T) lockLine {
	return lockLine{name, 20, strconv.FormatInt(int64(*of), 10), func(text string) {
		n, _ := strconv.ParseInt(text, 10, 64)
		*of = T(n)
	}}
}

// lines are all lines, in their order.
func (s *lockState) lines() []lockLine {
	return []lockLine{
		lockNumber("pid", &s.pid),
		lockNumber("alive", &s.alive),
		{"state", 10, s.state, func(text string) { s.state = text }},
		lockNumber("stored", &s.stored),
		lockNumber("until", &s.until),
		lockNumber("lookups", &s.lookups),
		lockNumber("memory", &s.memory.lookups),
		lockNumber("memory-since", &s.memory.since),
		lockNumber("memory-until", &s.memory.until),
		lockNumber("lost", &s.lost.lookups),
		lockNumber("lost-since", &s.lost.since),
		lockNumber("lost-until", &s.lost.until),
		lockNumber("gap", &s.gap.lookups),
		lockNumber("gap-since", &s.gap.since),
		lockNumber("gap-until", &s.gap.until),
		lockNumber("gap-behind", &s.gap.position),
		lockNumber("gap-to", &s.gap.stored),
		lockNumber("given", &s.given),
		lockNumber("passed-behind", &s.passed.behind),
		lockNumber("passed-to", &s.passed.to),
		lockNumber("wal", &s.wal.salt),
		lockNumber("wal-moving", &s.wal.moving),
		{"wal-moved", 20, strconv.FormatBool(s.wal.moved), func(text string) { s.wal.moved = text == "true" }},
		lockNumber("unmoved-since", &s.unmoved),
		lockNumber("crash-since", &s.crash.first),
		lockNumber("crash-until", &s.crash.last),
	}
}

func (s *lockState) appendTo(b []byte) []byte {
	for _, l := range s.lines() {
		b = append(append(append(b, l.name...), ' '), l.value...)
		b = append(b, strings.Repeat(" ", max(l.width-len(l.value), 0))...)
		b = append(b, '\n')
	}
	return b
}

// parseLock reads what appendTo wrote, or an earlier version with fewer lines.
func parseLock(b []byte) (s lockState) {
	lines := s.lines()
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		for _, l := range lines {
			if l.name == name {
				l.set(strings.TrimSpace(value))
			}
		}
	}
	if s.memory.lookups > 0 && s.memory.until == 0 { // an earlier version did not say
		s.memory.until = s.alive
	}
	return s
}

const (
	stateRunning = "running"
	stateStopped = "stopped"
)

// lockDir takes the lock of dir. before is what the process that had it last
// wrote.
func lockDir(dir string, now time.Time) (lock *dirLock, before lockState, err error) {
	f, err := openLock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, before, err
	}
	b := make([]byte, 4096)
	n, _ := f.ReadAt(b, 0)
	before = parseLock(b[:n])
	if free, err := lockFile(f); !free {
		f.Close()
		if err != nil {
			return nil, before, fmt.Errorf("locking %s: %w", f.Name(), err)
		}
		return nil, before, &InUseError{dir, before.pid}
	}
	lock = &dirLock{f: f, lockState: before}
	lock.pid, lock.memory = os.Getpid(), loss{}
	if before.state == stateRunning {
		lock.lost.add(before.memory)
	}
	return lock, before, lock.update(now, func(*lockState) {})
}

// update changes what the file says, and that this process is alive at now.
func (l *dirLock) update(now time.Time, change func(*lockState)) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.lockState)
	l.alive, l.state = now.UnixMilli(), stateRunning
	return l.writeLocked()
}

func (l *dirLock) writeLocked() error {
	_, err := l.f.WriteAt(l.appendTo(nil), 0)
	return err
}

// sync returns when what the file says survives a power cut.
func (l *dirLock) sync() error {
	if l == nil {
		return nil
	}
	return l.f.Sync()
}

// get returns what the file says.
func (l *dirLock) get() lockState {
	if l == nil {
		return lockState{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lockState
}

// release writes that this process stopped in an orderly way, and gives the
// lock back.
func (l *dirLock) release(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alive, l.state, l.memory = now.UnixMilli(), stateStopped, loss{}
	// To close the file is not enough: a process that is being started has a copy of it
	// until it becomes another program.
	return joinClose(errors.Join(l.writeLocked(), unlockFile(l.f)), l.f)
}
