package atomicfile

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestReplaceKeepsTheOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root gives files away")
	}
	path := filepath.Join(t.TempDir(), "a")
	check(t, Replace(path, []byte("one"), 0o644))
	check(t, os.Chown(path, 4711, 4712))
	check(t, Replace(path, []byte("two"), 0o644|os.ModeSetgid))
	info, err := os.Stat(path)
	check(t, err)
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 4711 || st.Gid != 4712 || info.Mode() != 0o644|os.ModeSetgid {
		t.Errorf("got user %d, group %d, mode %v", st.Uid, st.Gid, info.Mode())
	}
	check(t, Write(path, []byte("three"), 0o644))
	info, err = os.Stat(path)
	check(t, err)
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 0 {
		t.Errorf("Write: got user %d, want the process's", st.Uid)
	}
}
