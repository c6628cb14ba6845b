//go:build e2e && linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestE2EContainerLines runs the lines of docker in README and docs/containers.md
// as they are written, with the image's tree in place of an engine.
func TestE2EContainerLines(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("a container needs root")
	}
	if out, err := exec.Command("unshare", "--mount", "--net", "--pid", "--fork", "true").CombinedOutput(); err != nil {
		t.Skipf("no namespaces can be made here: %s", out)
	}
	work := t.TempDir()
	tree := exec.Command("../../packaging/image-tree.sh", builtProgram(t), filepath.Join(work, "image"))
	tree.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := tree.CombinedOutput(); err != nil {
		t.Fatalf("image-tree.sh: %v\n%s", err, out)
	}
	for _, file := range []string{"README.md", "docs/containers.md"} {
		t.Run(file, func(t *testing.T) { runContainerLines(t, filepath.Join(work, "image"), file) })
	}
}

func runContainerLines(t *testing.T, image, file string) {
	text, err := os.ReadFile(filepath.Join("../..", file))
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile("(?s)```(?:sh)?\n((?:docker build|sudo install|mkdir).*?)```").FindStringSubmatch(string(text))
	if lines == nil {
		t.Fatal("no lines of docker")
	}
	shim, err := filepath.Abs("../../packaging/docker-shim.sh")
	if err != nil {
		t.Fatal(err)
	}
	wait, after := "", lines[1]
	if at := strings.Index(after, "docker exec"); at >= 0 {
		wait, after = after[:at], after[at:]
	} else {
		wait, after = after, ""
	}
	// Its own /etc, since a line makes a directory there.
	script := `set -euo pipefail
mkdir "$WORK/etc" && cp -a /etc/. "$WORK/etc" && rm -rf "$WORK/etc/telltale" && mount --bind "$WORK/etc" /etc
ip link set lo up
. ` + shim + "\n" + wait + `
for try in $(seq 300); do
	if docker exec telltale /telltale healthcheck >/dev/null 2>&1; then break; fi
	if [ $try = 300 ]; then cat "$WORK/messages"; exit 1; fi
	sleep 0.1
done
` + after + `
docker exec telltale /telltale block ads.example
docker exec telltale /telltale explain ads.example
docker exec telltale /telltale doctor || true # it has no upstream here
stat -c 'own.txt is of %u' /etc/telltale/lists.d/own.txt
`
	cmd := exec.Command("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "bash", "-c", script)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "IMAGE="+image, "WORK="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"ads.example A: block", "own.txt is of 65532"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("got\n%s\nwant %q in it", out, want)
		}
	}
}
