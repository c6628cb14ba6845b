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
	for _, command := range []string{"doctor", "status"} {
		out, _ := commandIn(t, dir, command)
		for _, want := range []string{"edited list files come", "an edited settings file comes", "changed resolv.conf are asked", "fs.inotify.max_user_instances"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: got\n%s\nwant %q in it", command, out, want)
			}
		}
	}
	p.stop()
	q := startProcess(t, dir, nil, "--listen-dns", "127.0.0.1:0")
	if out, _ := commandIn(t, dir, "doctor"); strings.Contains(out, "cannot be watched") {
		t.Errorf("where they can be watched: got\n%s", out)
	}
	q.stop()
}
