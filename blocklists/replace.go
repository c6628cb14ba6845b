package blocklists

import (
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// replaceFile replaces a file by way of a new one, so that it is never half
// written. The new one has the owner of the old, where like says it.
func replaceFile(path string, b []byte, mode fs.FileMode, like fs.FileInfo) error {
	f, err := os.CreateTemp(filepath.Dir(path), tempPattern)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(mode)
	}
	if like != nil {
		keepOwner(f, like)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// removeHalfWritten removes the new files in dir that a killed process left. One
// that is younger than a minute may be in the making.
func removeHalfWritten(dir string) {
	if dir == "" {
		return
	}
	left, err := filepath.Glob(filepath.Join(dir, tempPattern))
	if err != nil {
		return
	}
	for _, path := range left {
		if info, err := os.Lstat(path); err == nil && time.Since(info.ModTime()) > time.Minute {
			os.Remove(path) // no harm where it stays
		}
	}
}
