// Package atomicfile puts whole files in place. A file is written beside the one it
// replaces and then renamed, so that whoever opens the path finds all of the old
// content or all of the new, also after a power cut.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// prefix begins the names of files that are not in place yet. The dot keeps them
// out of the sight of people, and of whoever reads the lists of a directory.
const prefix = ".new-"

// Write writes the file at path, which belongs to the user of the process.
func Write(path string, text []byte, mode fs.FileMode) error {
	return write(path, text, mode, nil)
}

// Replace writes the file at path, which keeps its owner and group where the
// process may give files away.
func Replace(path string, text []byte, mode fs.FileMode) error {
	old, err := os.Lstat(path)
	if err != nil {
		old = nil // there is none, or nobody may know
	}
	return write(path, text, mode, old)
}

func write(path string, text []byte, mode fs.FileMode, like fs.FileInfo) error {
	f, err := Create(filepath.Dir(path))
	if err != nil {
		return err
	}
	if like != nil {
		keepOwner(f, like)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(mode)); err != nil { // after the change of owner, which takes bits away
		Discard(f)
		return err
	}
	return Commit(f, path)
}

// Create makes a file in dir that only this user may read. Commit or Rename gives
// it its name, Discard removes it.
func Create(dir string) (*os.File, error) { return os.CreateTemp(dir, prefix+"*") }

// Commit closes a file of Create and puts it in place. It is on the disk when
// Commit returns. On an error it is removed.
func Commit(f *os.File, path string) error {
	if err := f.Sync(); err != nil {
		Discard(f)
		return err
	}
	err := Rename(f, path)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		_ = dir.Sync() // some file systems cannot
		_ = dir.Close()
	}
	return nil
}

// Rename puts a file of Create in place as it is, and leaves it open. After a power
// cut it may be there without its content, so it is for what a checksum guards and
// what can be made again. On an error it is removed.
func Rename(f *os.File, path string) error {
	err := os.Rename(f.Name(), path)
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// Discard closes and removes a file of Create that has no place.
func Discard(f *os.File) {
	f.Close()
	os.Remove(f.Name())
}

// CreateDir makes a directory in dir that only this user may read, for what is not in
// place yet. It returns its path.
func CreateDir(dir string) (string, error) { return os.MkdirTemp(dir, prefix+"*") }

// IsUnfinished reports whether a name is one of those that Create and CreateDir give.
func IsUnfinished(name string) bool { return strings.HasPrefix(name, prefix) }

// RemoveUnfinished removes the files of Create that a killed process left in dir.
// One that is younger than age may be in the making and stays.
func RemoveUnfinished(dir string, age time.Duration) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !IsUnfinished(e.Name()) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) >= age {
			os.Remove(filepath.Join(dir, e.Name())) // no harm where it stays
		}
	}
}
