//go:build e2e

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What a program may have in octets: docs/decisions/size.md.
const (
	fullMost  = 32_000_000
	smallMost = 26_500_000 // the goal is 24,000,000
	xzMost    = 6_000_000
)

// makeProgram builds a program as the Makefile does, for another machine.
func makeProgram(t *testing.T, target string, env ...string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "telltale")
	out, err := exec.Command("make", "--no-print-directory", "-n", "-C", tree, target, "VERSION=v1.0.0").Output()
	if err != nil {
		t.Fatalf("make -n %s: %v", target, err)
	}
	recipe, _, found := strings.Cut(strings.TrimSpace(string(out)), " -o ")
	if !found {
		t.Fatalf("make %s builds nothing: %s", target, out)
	}
	build := exec.Command("sh", "-c", recipe+` -o "$OUT" ./cmd/telltale`)
	build.Dir = tree
	build.Env = append(append(os.Environ(), "OUT="+path), env...)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", recipe, err, out)
	}
	return path
}

func TestE2EProgramsAreOfLimitedSize(t *testing.T) {
	for _, p := range []struct {
		name, target string
		env          []string
		most, xz     int64 // xz: 0: it does not matter
	}{
		{"amd64", "build", []string{"GOOS=linux", "GOARCH=amd64"}, fullMost, 0},
		{"mipsle, small", "small", []string{"GOOS=linux", "GOARCH=mipsle", "GOMIPS=softfloat"}, smallMost, xzMost},
	} {
		path := makeProgram(t, p.target, p.env...)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d octets", p.name, info.Size())
		if info.Size() > p.most {
			t.Errorf("%s: %d octets, over the limit of %d", p.name, info.Size(), p.most)
		}
		if p.xz == 0 {
			continue
		}
		out, err := exec.Command("xz", "-9", "-T1", "-c", path).Output()
		if err != nil {
			t.Fatalf("xz: %v", err)
		}
		t.Logf("%s: %d octets as xz", p.name, len(out))
		if int64(len(out)) > p.xz {
			t.Errorf("%s: %d octets as xz, over the limit of %d", p.name, len(out), p.xz)
		}
	}
}

func TestE2ESmallProgramSaysWhatItIsWithout(t *testing.T) {
	program := makeProgram(t, "small")
	dir := t.TempDir()
	run := func(args ...string) (string, error) {
		c := exec.Command(program, args...)
		c.Env = append(os.Environ(), "TELLTALE_CONFIG="+filepath.Join(dir, "telltale.yaml"))
		out, err := c.CombinedOutput()
		return string(out), err
	}
	write := func(settings string) {
		text := "data:\n  dir: " + filepath.Join(dir, "data") + "\nlists:\n  dir: " + filepath.Join(dir, "lists.d") + "\n" + settings
		if err := os.WriteFile(filepath.Join(dir, "telltale.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("listen:\n  dns: [127.0.0.1:0]\n")
	if out, err := run("validate"); err != nil {
		t.Errorf("plain settings: %v\n%s", err, out)
	}
	for _, name := range []string{"candidates", "destinations", "geo", "alerts", "letter", "experiment", "import", "watch-capture", "web", "token"} {
		if out, err := run(name, "--json", "anything"); err == nil || !strings.Contains(out, "without 'telltale "+name+"' (-tags small)") {
			t.Errorf("telltale %s: got %v, %q", name, err, out)
		}
	}
	for key, settings := range map[string]string{
		"upstreams[0]":         "upstreams: [quic://192.0.2.1#dns.example]\n",
		"listen.quic[0]":       "listen:\n  quic: [127.0.0.1:8853]\ntls:\n  authority: local\n",
		"alerts.tell[0]":       "alerts:\n  tell: [first-lookup]\n",
		"metrics.listen[0]":    "metrics:\n  listen: [127.0.0.1:9153]\n",
		"web.listen[0]":        "web:\n  listen: [127.0.0.1:5380]\n",
		"destinations.nightly": "destinations:\n  nightly: true\n",
	} {
		write(settings)
		if out, err := run("validate"); err == nil || !strings.Contains(out, key) || !strings.Contains(out, "-tags small") {
			t.Errorf("%s: got %v, %q", key, err, out)
		}
	}
}
