//go:build unix

package peersettings

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A FIFO is neither waited for nor read.
func TestWhatIsNoFileIsNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	text := strings.Repeat("x", len(sqliteHead)) // as much as tells a database
	if _, err := syscall.Write(fd, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path, Options{}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("%v", err)
	}
	b := make([]byte, 100)
	if n, err := syscall.Read(fd, b); err != nil || string(b[:max(n, 0)]) != text {
		t.Errorf("of what was written %q is left, %v: it was read", b[:max(n, 0)], err)
	}
}
