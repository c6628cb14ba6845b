//go:build e2e && linux

package main

import (
	"archive/zip"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A bundle of a real log is verified by both verifiers where there is nothing but it and
// the verifier: on a root of its own, without a network, as another process than any that
// knows this machine's log.
func TestE2EABundleIsVerifiedOnACleanRootWithoutNetwork(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("a root of its own needs root")
	}
	if out, err := exec.Command("unshare", "--mount", "--net", "--pid", "--fork", "true").CombinedOutput(); err != nil {
		t.Skipf("no namespaces can be made here: %s", out)
	}
	found, err := exec.Command("python3", "-c", "import os, sys; print(os.path.realpath(sys.executable), sys.base_prefix)").Output()
	if err != nil {
		t.Skip("no python3 here")
	}
	python, prefix, _ := strings.Cut(strings.TrimSpace(string(found)), " ")
	dir := t.TempDir()
	key := exportFinding(t, dir)
	b, err := os.ReadFile(filepath.Join(dir, "finding.zip"))
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/3] ^= 1
	if err := os.WriteFile(filepath.Join(dir, "changed.zip"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	verifiers := map[string][]string{"the program": {"/telltale", "evidence", "verify"}, "the second verifier": {python, "/verify.py"}}
	for name, verifier := range verifiers {
		for _, c := range []struct {
			file, key string
			want      int
		}{
			{"/finding.zip", key, 0}, {"/finding.zip", "", 3}, {"/finding.zip", exampleKey(t), 1}, {"/changed.zip", key, 1}, {"/changed.zip", "", 1}, {"/none.zip", "", 2},
		} {
			words := append(verifier, c.file)
			if c.key != "" {
				words = append(words, "--key="+c.key)
			}
			out, exit := onACleanRoot(t, dir, prefix, words)
			if exit != c.want {
				t.Errorf("%s, %s with the key %q: exit status %d, want %d:\n%s", name, c.file, c.key, exit, c.want, out)
			}
			if c.want == 0 && !strings.Contains(out, "VERIFIED") || c.want == 1 && strings.Contains(out, "VERIFIED") {
				t.Errorf("%s, %s: it says\n%s", name, c.file, out)
			}
		}
	}
}

// exportFinding has a server log lookups of two devices, and exports a bundle of one.
func exportFinding(t *testing.T, dir string) (key string) {
	writeFile(t, filepath.Join(dir, "lists", "ads.txt"), "tracker.example\n")
	p := startProcess(t, dir, nil, "--listen-dns", "127.0.0.1:0")
	for _, name := range []string{"a.tracker.example.", "b.tracker.example."} {
		if err := p.ask(name); err != nil {
			t.Fatal(err)
		}
	}
	p.stop()
	var out, errs bytes.Buffer
	exit := command(context.Background(), []string{"evidence", "export", "-o", filepath.Join(dir, "finding.zip"), "--data-dir", filepath.Join(dir, "data"), "--lists-dir", filepath.Join(dir, "lists")}, &out, &errs, nil)
	key = regexp.MustCompile(`telltale/\S+`).FindString(out.String())
	if exit != 0 || key == "" || !strings.Contains(errs.String(), "2 rows") {
		t.Fatalf("exit status %d:\n%s%s", exit, out.String(), errs.String())
	}
	z, err := zip.OpenReader(filepath.Join(dir, "finding.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	f, err := z.Open("rows.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, err := io.ReadAll(f); err != nil || !bytes.Contains(text, []byte(`"b.tracker.example"`)) {
		t.Errorf("rows.csv: %v\n%s", err, text)
	}
	return key
}

func exampleKey(t *testing.T) string {
	b, err := os.ReadFile(filepath.Join(exampleBundle, "key"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// onACleanRoot runs a command with neither network nor files but the bundles, the
// verifiers, and the system's libraries and Python's, all of it to read alone.
func onACleanRoot(t *testing.T, dir, prefix string, words []string) (out string, exit int) {
	t.Helper()
	const script = `set -eu
mount -t tmpfs none "$ROOT"
for d in usr lib lib64 bin; do
	if [ -L /$d ]; then cp -P /$d "$ROOT/$d"; elif [ -d /$d ]; then mkdir "$ROOT/$d"; mount --bind -o ro /$d "$ROOT/$d"; fi
done
case $PREFIX in /usr|/usr/*) ;; *) mkdir -p "$ROOT$PREFIX"; mount --bind -o ro "$PREFIX" "$ROOT$PREFIX" ;; esac
cp "$FILES"/*.zip "$VERIFY" "$ROOT/"
cp "$PROGRAM" "$ROOT/telltale"
mount -o remount,ro "$ROOT"
cd "$ROOT"
exec chroot "$ROOT" env -i PYTHONDONTWRITEBYTECODE=1 "$@"`
	verify, err := filepath.Abs("../../docs/verify/verify.py")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("unshare", append([]string{"--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh"}, words...)...)
	c.Env = append(os.Environ(), "ROOT="+t.TempDir(), "FILES="+dir, "PROGRAM="+builtProgram(t), "PREFIX="+prefix, "VERIFY="+verify, "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
	b, err := c.CombinedOutput()
	if c.ProcessState == nil {
		t.Fatal(err)
	}
	return string(b), c.ProcessState.ExitCode()
}
