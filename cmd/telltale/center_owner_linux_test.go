//go:build !small

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A command that root runs before the service's first start leaves nothing to root.
func TestWhatRootMakesOfACenterIsTheServices(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	file := centerSettings(t, "center: {address: [\"https://192.0.2.1:5390\"]}\n")
	data := filepath.Join(filepath.Dir(file), "data")
	const service = 54321
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, service, service); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"invite", "attic"}, {"nodes"}, {"revoke", "attic"}} {
		if got, exit := runs(t, append(append([]string{"center"}, args...), "--config", file)...); exit != 0 {
			t.Fatalf("%v: exit %d: %s", args, exit, got)
		}
		err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err == nil && info.Sys().(*syscall.Stat_t).Uid != service {
				t.Errorf("after %v, %s belongs to user %d, want %d", args, path, info.Sys().(*syscall.Stat_t).Uid, service)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
