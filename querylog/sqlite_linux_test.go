package querylog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTooLittleAddressSpaceIsAnError(t *testing.T) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	_, rest, _ := bytes.Cut(status, []byte("VmSize:"))
	var kib uint64
	if _, err := fmt.Sscan(string(rest), &kib); err != nil {
		t.Fatal(err)
	}
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_AS, &before); err != nil {
		t.Fatal(err)
	}
	little := before
	little.Cur = kib<<10 + 128<<20 // half of what a connection reserves
	if err := unix.Setrlimit(unix.RLIMIT_AS, &little); err != nil {
		t.Fatal(err)
	}
	conn, err := openSQLite(filepath.Join(t.TempDir(), "x.db"), 0)
	if err := unix.Setrlimit(unix.RLIMIT_AS, &before); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, errAddressSpace) {
		conn.Close()
		t.Errorf("got %v", err)
	}
}
