//go:build unix

package blocklists

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestOwnRulesSurviveAFullDisk(t *testing.T) {
	for _, c := range []struct {
		err     error
		inPlace bool
	}{
		{syscall.EBUSY, true}, {syscall.EXDEV, true}, {syscall.EPERM, true}, {syscall.EACCES, true}, {syscall.EROFS, true},
		{syscall.ENOSPC, false}, {syscall.EDQUOT, false}, {syscall.EIO, false}, {syscall.EMFILE, false},
		{errors.Join(syscall.ENOSPC, syscall.EPERM), false},
	} {
		path := filepath.Join(t.TempDir(), "own.txt")
		write(t, path, "old.example\n")
		err := putInPlace(func(string, []byte, fs.FileMode) error {
			return &os.LinkError{Op: "rename", Old: ".new-1", New: path, Err: c.err}
		}, path, []byte("new.example\n"), 0o644)
		want := "old.example\n"
		if c.inPlace {
			want = "new.example\n"
		}
		if got := read(t, path); got != want || (err == nil) != c.inPlace {
			t.Errorf("%v: the file is %q, the error %v; want %q", c.err, got, err, want)
		}
	}
}
