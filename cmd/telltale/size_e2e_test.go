//go:build e2e

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// What a program may have in octets: docs/decisions/size.md.
const (
	fullMost  = 32_000_000
	smallMost = 26_500_000 // the goal is 24,000,000
	xzMost    = 6_000_000
)

// makeProgram builds a program as the Makefile does, for another machine, into a directory.
func makeProgram(dir, target, words string, env ...string) (path string, err error) {
	path = filepath.Join(dir, "telltale")
	out, err := exec.Command("make", "--no-print-directory", "-n", "-C", tree, target, "VERSION=v1.0.0").Output()
	if err != nil {
		return "", fmt.Errorf("make -n %s: %w", target, err)
	}
	recipe, _, found := strings.Cut(strings.TrimSpace(string(out)), " -o ")
	if !found {
		return "", fmt.Errorf("make %s builds nothing: %s", target, out)
	}
	build := exec.Command("sh", "-c", recipe+words+` -o "$OUT" ./cmd/telltale`)
	build.Dir = tree
	build.Env = append(append(os.Environ(), "OUT="+path), env...)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", recipe, err, out)
	}
	return path, nil
}

// builtProgram returns what "make build" makes, which all tests share.
func builtProgram(t *testing.T) string {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var buildOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "telltale-program")
	if err != nil {
		return "", err
	}
	atEnd = append(atEnd, func() { os.RemoveAll(dir) })
	return makeProgram(dir, "build", "", "GOOS=linux", "GOARCH="+runtime.GOARCH)
})

func TestE2EProgramsAreOfLimitedSize(t *testing.T) {
	t.Parallel()
	for _, p := range []struct {
		name     string
		build    func(t *testing.T) string
		most, xz int64 // xz: 0: it does not matter
	}{
		{"amd64", func(t *testing.T) string {
			if runtime.GOARCH != "amd64" {
				return built(t, "build", "", "GOOS=linux", "GOARCH=amd64")
			}
			return builtProgram(t)
		}, fullMost, 0},
		{"mipsle, small", func(t *testing.T) string {
			return built(t, "small", "", "GOOS=linux", "GOARCH=mipsle", "GOMIPS=softfloat")
		}, smallMost, xzMost},
	} {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			path := p.build(t)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d octets", info.Size())
			if info.Size() > p.most {
				t.Errorf("%d octets, over the limit of %d", info.Size(), p.most)
			}
			if p.xz == 0 {
				return
			}
			out, err := exec.Command("xz", "-9", "-T1", "-c", path).Output()
			if err != nil {
				t.Fatalf("xz: %v", err)
			}
			t.Logf("%d octets as xz", len(out))
			if int64(len(out)) > p.xz {
				t.Errorf("%d octets as xz, over the limit of %d", len(out), p.xz)
			}
		})
	}
}

// built builds a program into a directory of the test's own.
func built(t *testing.T, target, words string, env ...string) string {
	t.Helper()
	path, err := makeProgram(t.TempDir(), target, words, env...)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// What is left out is the same however the rest is compiled: here it is compiled as the full
// program is, so that most of both is compiled once.
func TestE2ESmallProgramSaysWhatItIsWithout(t *testing.T) {
	t.Parallel()
	program := built(t, "build", " -tags small")
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
