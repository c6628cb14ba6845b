//go:build e2e

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// startByFile starts a server as `make run` does: by a settings file whose paths
// begin at its own directory, below a runtime directory.
func startByFile(t *testing.T, runtimeDir, name string) *process {
	t.Helper()
	settings, err := os.ReadFile("../../packaging/run.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(runtimeDir, name, "telltale.yaml")
	writeFile(t, file, strings.NewReplacer("127.0.0.1:5300", "127.0.0.1:0", "127.0.0.1:5380", "127.0.0.1:0").Replace(string(settings)))
	if err := os.Mkdir(filepath.Join(runtimeDir, name, "lists.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	return startServe(t, runtimeDir, nil, "--config", file)
}

func TestE2ECommandsFindTheServerThatRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startByFile(t, dir, "data")
	if err := p.ask("data.mistat.xiaomi.com."); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"log", "doctor --json", "lists", "explain data.mistat.xiaomi.com", "devices", "healthcheck", "validate"} {
		out, _ := commandIn(t, dir, strings.Fields(args)...)
		want := map[string]string{"log": "mistat.xiaomi.com", "doctor --json": filepath.Join(dir, "data", "store"), "lists": "xiaomi",
			"explain data.mistat.xiaomi.com": "block", "devices": "this-host", "healthcheck": "Telltale answers on ", "validate": filepath.Join(dir, "data", "telltale.yaml")}[args]
		if !strings.Contains(out, want) {
			t.Errorf("telltale %s, in another directory and without a flag: got %q, want %q in it", args, out, want)
		}
	}
	if out, exit := commandIn(t, dir, "log", "--data-dir", t.TempDir()); exit != 0 || strings.Contains(out, "xiaomi") {
		t.Errorf("with --data-dir: got %q, exit status %d, want the empty log of that directory", out, exit)
	}
	if out, exit := commandIn(t, t.TempDir(), "pause"); exit == 0 {
		t.Errorf("another user's command paused the server: %s", out)
	}

	q := startByFile(t, dir, "second")
	if out, exit := commandIn(t, dir, "log"); exit != 1 || !strings.Contains(out, filepath.Join(dir, "second", "telltale.yaml")) {
		t.Errorf("two servers: got %q, exit status %d, want an error that names both", out, exit)
	}
	q.stop()
	if out, exit := commandIn(t, dir, "log"); exit != 0 || !strings.Contains(out, "xiaomi") {
		t.Errorf("one has ended: got %q, exit status %d, want the log of the other", out, exit)
	}
	p.kill()
	if out, _ := commandIn(t, dir, "validate"); strings.Contains(out, dir) {
		t.Errorf("a killed server: got %q, want its settings forgotten", out)
	}
	if err := os.Chmod(filepath.Join(dir, "telltale"), 0o777); err != nil {
		t.Fatal(err)
	}
	q = startByFile(t, dir, "third")
	if out, _ := commandIn(t, dir, "validate"); strings.Contains(out, dir) {
		t.Errorf("a directory that others can write: got %q, want it not believed", out)
	}
	q.stop()
}
