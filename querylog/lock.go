package querylog

import (
	"fmt"
	"os"
	"path/filepath"
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
// process serves from it, and says which, and when it was last alive.
type dirLock struct{ f *os.File }

// lockFormat has a fixed length, so that the file is written in place, also on
// a full disk.
const lockFormat = "pid %-10d\nalive %-20d\nstate %-10s\n"

// lockDir takes the lock of dir. crashed is when the process that had it last
// was seen alive, if that did not stop in an orderly way; else zero.
func lockDir(dir string, now time.Time) (lock *dirLock, crashed time.Time, err error) {
	f, err := openLock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, crashed, err
	}
	var pid int
	var alive int64
	var state string
	fmt.Fscanf(f, "pid %d\nalive %d\nstate %s\n", &pid, &alive, &state)
	if free, err := lockFile(f); !free {
		f.Close()
		if err != nil {
			return nil, crashed, fmt.Errorf("locking %s: %w", f.Name(), err)
		}
		return nil, crashed, &InUseError{dir, pid}
	}
	lock = &dirLock{f}
	if state == "running" {
		crashed = time.UnixMilli(alive)
	}
	return lock, crashed, lock.alive(now)
}

// alive writes that this process is alive at now.
func (l *dirLock) alive(now time.Time) error { return l.write(now, "running") }

// release writes that this process stopped in an orderly way, and gives the
// lock back.
func (l *dirLock) release(now time.Time) error {
	err := l.write(now, "stopped")
	return joinClose(err, l.f)
}

func (l *dirLock) write(now time.Time, state string) error {
	_, err := l.f.WriteAt(fmt.Appendf(nil, lockFormat, os.Getpid(), now.UnixMilli(), state), 0)
	return err
}
