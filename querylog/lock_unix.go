//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package querylog

import (
	"os"
	"syscall"
)

// lockFile takes the lock of an open file, which ends with the process, and
// reports whether it was free.
func lockFile(f *os.File) (free bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == syscall.EWOULDBLOCK {
		return false, nil
	}
	return err == nil, err
}

// unlockFile gives the lock back, whoever else has the open file.
func unlockFile(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
