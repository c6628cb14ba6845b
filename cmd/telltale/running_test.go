package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// commandIn runs a command in a process of its own, in a directory that has
// nothing of a server.
func commandIn(t *testing.T, runtimeDir string, args ...string) (out string, exit int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), asTelltale+"=1", "XDG_RUNTIME_DIR="+runtimeDir)
	b, err := cmd.CombinedOutput()
	if _, failed := err.(*exec.ExitError); err != nil && !failed {
		t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

func TestFlagsOfTheServerThatRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startProcess(t, dir, nil, "--listen-dns", "127.0.0.1:0", "--control-socket", filepath.Join(dir, "s"))
	if out, exit := commandIn(t, dir, "pause", "1m"); exit != 0 {
		t.Errorf("got %q, exit status %d, want the server paused", out, exit)
	}
	p.stop()
}

// A settings file that is no YAML any more does not tell where the server's data are.
func TestABrokenFileDoesNotHideTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "telltale.yaml")
	writeFile(t, file, "listen: {dns: [127.0.0.1:0]}\nupstreams: [127.0.0.1:9]\nlists: {dir: lists.d}\ndata:\n  dir: store\n")
	if err := os.Mkdir(filepath.Join(dir, "lists.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := startServe(t, dir, nil, "--config", file)
	writeFile(t, file, "listen: {dns: [127.0.0.1:0]\ndata: {dir: store\n")
	for _, args := range [][]string{{"pause", "1m"}, {"pause", "1m", "--config", file}} {
		if out, exit := commandIn(t, dir, args...); exit != 0 || !strings.Contains(out, "those that worked last are used") {
			t.Errorf("telltale %v: got %q, exit status %d, want the server paused, and a warning", args, out, exit)
		}
	}
	p.stop()
}

// The directory in which a running server is found is this user's alone, and never below wherever a command
// happens to run.
func TestRunningDir(t *testing.T) {
	of := fmt.Sprintf("telltale-%d", os.Getuid())
	for _, c := range []struct {
		env  []string
		want string
	}{
		{nil, "/tmp/" + of},
		{[]string{"XDG_RUNTIME_DIR=/run/user/7", "TMPDIR=/var/tmp"}, "/run/user/7/telltale"},
		{[]string{"XDG_RUNTIME_DIR=run", "TMPDIR=/var/tmp"}, "/var/tmp/" + of},
		{[]string{"TMPDIR=tmp"}, "/tmp/" + of},
		{[]string{"TMPDIR=", "XDG_RUNTIME_DIR="}, "/tmp/" + of},
	} {
		if got := runningDir(c.env); got != c.want {
			t.Errorf("%q: %s, want %s", c.env, got, c.want)
		}
	}
}

// Of what a server is told, paths are made absolute, and nothing else.
func TestPathsOfTheServerThatRuns(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, c := range [][3]string{
		{"data-dir", "store", filepath.Join(dir, "store")}, {"TELLTALE_DATA_DIR", "store", filepath.Join(dir, "store")}, {"control-socket", "s", filepath.Join(dir, "s")},
		{"TELLTALE_CONFIG", "t.yaml", filepath.Join(dir, "t.yaml")}, {"data-dir", "/srv", "/srv"}, {"data-dir", "", ""}, {"listen-dns", "127.0.0.1:53", "127.0.0.1:53"},
	} {
		if got := absolute(c[0], c[1]); got != c[2] {
			t.Errorf("%s=%q: %q, want %q", c[0], c[1], got, c[2])
		}
	}
}
