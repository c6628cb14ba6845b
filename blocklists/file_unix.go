//go:build unix

package blocklists

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// openNow opens a file for reading; a FIFO that took its place does not make it
// wait.
func openNow(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

func inodeOf(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Ino)
	}
	return 0
}

// lockDir keeps other processes that call it out of a directory.
func lockDir(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX); err != nil {
		d.Close()
		return nil, &fs.PathError{Op: "lock", Path: dir, Err: err}
	}
	return func() { d.Close() }, nil
}

// onlyInPlace reports whether an error of atomicfile.Replace says that no other file can
// take the place of this one, as of one that is mounted by itself, or that none may be
// made beside it. An error of the disk is none: a write in place would empty the file first.
func onlyInPlace(err error) bool {
	is := func(e syscall.Errno) bool { return errors.Is(err, e) }
	return slices.ContainsFunc([]syscall.Errno{syscall.EBUSY, syscall.EXDEV, syscall.EPERM, syscall.EACCES, syscall.EROFS}, is) &&
		!slices.ContainsFunc([]syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO}, is)
}
