//go:build unix

package querylog

import (
	"fmt"
	"os"
	"syscall"
)

// openLock opens or makes the file of a lock. It follows no link and waits for
// nobody: what another user may have put there is not written to.
func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%s is no regular file: remove it", path)
	}
	return f, nil
}
