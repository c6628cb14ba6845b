//go:build unix

package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// openRegular opens a file for reading. It never waits: a FIFO without a writer
// is opened, too, for its kind to be seen.
func openRegular(file string) (*os.File, error) {
	return os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// replaceableByOthers reports whether any user could put another file in the place
// of this one, or of a directory on the way to it, and in which directory. In one
// with the sticky bit, such as /tmp, only the owner of what is in it could. On a
// read-only mount nobody can: Kubernetes mounts settings so, into directories of
// mode 0777.
func replaceableByOthers(file string) (dir string, mode fs.FileMode, yes bool) {
	for _, path := range steps(file) {
		for in := path; in != filepath.Dir(in); in = filepath.Dir(in) {
			dir := filepath.Dir(in)
			d, err := os.Stat(dir)
			if err != nil || d.Mode().Perm()&0o002 == 0 || isReadOnly(dir) {
				continue
			}
			inside, err := os.Lstat(in)
			if err != nil || d.Mode()&fs.ModeSticky == 0 || !isTrusted(d) || !isTrusted(inside) {
				return dir, d.Mode().Perm(), true
			}
		}
	}
	return "", 0, false
}

// isTrusted reports whether a file is of this user or of root.
func isTrusted(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && (s.Uid == 0 || int(s.Uid) == os.Geteuid())
}

// isReadOnly reports whether dir is on a mount that nobody can write to.
func isReadOnly(dir string) bool { return syscall.Access(dir, 2) == syscall.EROFS } // 2: W_OK
