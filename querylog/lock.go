package querylog

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
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

	memory  loss     // lookups that are in memory alone
	lost    loss     // lookups that nothing took, and of which no line of the ledger is written
	crash   wallSpan // during which no server ran after a crash, and of which no line of the ledger is written
	unmoved int64    // the earliest lookup of the windows stored since all of the write-ahead log was in the main file; 0 for none
	wal     walMark  // how much of the store's write-ahead log is in its main file
	gap     storeGap // what the store lacks of what it had taken, while it is not known which of it is in journals
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

// lockFormat has a fixed length, so that the file is written in place, also on a
// full disk. The names never change.
const lockFormat = "pid %-10d\nalive %-20d\nstate %-10s\n" +
	"stored %-20d\nuntil %-20d\nlookups %-20d\n" +
	"memory %-20d\nmemory-since %-20d\nmemory-until %-20d\n" +
	"lost %-20d\nlost-since %-20d\nlost-until %-20d\n" +
	"gap %-20d\ngap-since %-20d\ngap-until %-20d\ngap-behind %-20d\ngap-to %-20d\ngiven %-20d\n" +
	"wal %-20d\nwal-moving %-20d\nwal-moved %-20t\nunmoved-since %-20d\n" +
	"crash-since %-20d\ncrash-until %-20d\n"

func (s *lockState) appendTo(b []byte) []byte {
	return fmt.Appendf(b, lockFormat, s.pid, s.alive, s.state, s.stored, s.until, s.lookups,
		s.memory.lookups, s.memory.since, s.memory.until, s.lost.lookups, s.lost.since, s.lost.until,
		s.gap.lookups, s.gap.since, s.gap.until, s.gap.position, s.gap.stored, s.given,
		int64(s.wal.salt), s.wal.moving, s.wal.moved, s.unmoved, s.crash.first, s.crash.last)
}

// parseLock reads what appendTo wrote, or an earlier version with fewer lines.
func parseLock(b []byte) (s lockState) {
	for line := range bytes.Lines(b) {
		key, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		n, _ := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
		switch string(key) {
		case "pid":
			s.pid = int(n)
		case "alive":
			s.alive = n
		case "state":
			s.state = string(bytes.TrimSpace(value))
		case "given":
			s.given = n
		case "stored":
			s.stored = n
		case "until":
			s.until = n
		case "lookups":
			s.lookups = uint64(n)
		case "memory":
			s.memory.lookups = uint64(n)
		case "memory-since":
			s.memory.since = n
		case "memory-until":
			s.memory.until = n
		case "lost":
			s.lost.lookups = uint64(n)
		case "lost-since":
			s.lost.since = n
		case "lost-until":
			s.lost.until = n
		case "gap":
			s.gap.lookups = uint64(n)
		case "gap-since":
			s.gap.since = n
		case "gap-until":
			s.gap.until = n
		case "gap-behind":
			s.gap.position = n
		case "gap-to":
			s.gap.stored = n
		case "wal":
			s.wal.salt = uint64(n)
		case "crash-since":
			s.crash.first = n
		case "crash-until":
			s.crash.last = n
		case "unmoved-since":
			s.unmoved = n
		case "wal-moving":
			s.wal.moving = n
		case "wal-moved":
			s.wal.moved = string(bytes.TrimSpace(value)) == "true"
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
	return joinClose(l.writeLocked(), l.f)
}
