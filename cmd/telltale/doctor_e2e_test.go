//go:build e2e && linux

package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestE2EDoctorSaysThatWatchesAreUsedUp(t *testing.T) {
	if out, err := exec.Command("unshare", "--user", "--map-root-user", "true").CombinedOutput(); err != nil {
		t.Skipf("no user namespace can be made here: %s", out)
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "lists", "ads.txt"), "tracker.example\n")
	p := startProcess(t, dir, []string{"unshare", "--user", "--map-root-user", "sh", "-c", `echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"`, "sh"},
		"--listen-dns", "127.0.0.1:0")
	out, _ := commandIn(t, dir, "doctor")
	if !strings.Contains(out, "they cannot be watched") || !strings.Contains(out, "fs.inotify.max_user_instances") {
		t.Errorf("got\n%s\nwant a warning that names what is used up", out)
	}
	p.stop()
	q := startProcess(t, dir, nil, "--listen-dns", "127.0.0.1:0")
	if out, _ := commandIn(t, dir, "doctor"); strings.Contains(out, "cannot be watched") {
		t.Errorf("where they can be watched: got\n%s", out)
	}
	q.stop()
}
