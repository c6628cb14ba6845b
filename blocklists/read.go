package blocklists

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"telltale/blocklists/rules"
)

// A look is what can be seen of a file without reading it. A file whose look
// has not changed is not read again.
type look struct {
	size     int64
	modified int64 // Unix nanoseconds
	inode    uint64
	mode     fs.FileMode
	err      string // why it cannot be seen
}

func lookAt(path string) look {
	info, err := os.Stat(path)
	if err != nil {
		return look{err: reason(err)}
	}
	return lookOf(info)
}

func lookOf(info fs.FileInfo) look {
	return look{size: info.Size(), modified: info.ModTime().UnixNano(), inode: inodeOf(info), mode: info.Mode()}
}

// reason returns an error's words without the path, which stands before it.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// OpenList opens a list file for reading, see openList.
func OpenList(path string) (*os.File, error) {
	f, _, err := openList(path)
	return f, err
}

// openList opens a list file without ever waiting for a FIFO, and refuses what
// is no regular file and what others may write to.
func openList(path string) (*os.File, look, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, look{}, errors.New(reason(err))
	}
	if err := readable(info); err != nil {
		return nil, look{}, err
	}
	f, err := openNow(path)
	if err != nil {
		return nil, look{}, errors.New(reason(err))
	}
	if info, err = f.Stat(); err == nil {
		err = readable(info)
	}
	if err != nil {
		f.Close()
		return nil, look{}, err
	}
	return f, lookOf(info), nil
}

func readable(info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case info.Size() > rules.MaxFile && mode.IsRegular():
		return fmt.Errorf("is over %d MB: split it", rules.MaxFile>>20)
	case mode.IsDir():
		return errors.New("is a directory, not a list: move its files up or remove it")
	case mode&fs.ModeNamedPipe != 0:
		return errors.New("is a FIFO, not a list: remove it")
	case !mode.IsRegular():
		return fmt.Errorf("is not a regular file (%v): remove it", mode.Type())
	}
	return mayTrust(info)
}

// mayTrust refuses what others may write to: whoever may write to a directory can
// put lists there, whatever the modes of those that are there.
func mayTrust(info fs.FileInfo) error {
	if info.Mode().Perm()&0o002 != 0 {
		return errors.New("can be written by every user of this machine: run chmod o-w on it")
	}
	return nil
}

// readDir returns what is in a directory that only its owner and group may write to.
func readDir(dir string) ([]fs.DirEntry, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if err := mayTrust(info); err != nil {
		return nil, fmt.Errorf("%s %w", dir, err)
	}
	return os.ReadDir(dir)
}
