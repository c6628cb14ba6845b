package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/resolver/dnstest"
)

// A place for data that cannot be used costs the log, never the answers: names
// are blocked, edited lists come in force, and what is lost is said.

func TestDNSGoesOnWithoutADataDirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	writeFile(t, file, "")
	writeFile(t, filepath.Join(dir, "lists", "ads.txt"), "tracker.example\n")
	p := startProcess(t, dir, nil, "--listen-dns", "127.0.0.1:0", "--data-dir", filepath.Join(file, "data"))
	p.wantBlocked("tracker.example.")
	writeFile(t, filepath.Join(dir, "lists", "more.txt"), "more.example\n")
	p.wantBlocked("more.example.")
	p.cmd.Process.Signal(os.Interrupt)
	p.cmd.Wait()
	for _, part := range []string{"lookups are counted in memory", "control.socket", "not a directory"} {
		if got := p.errs.String(); !strings.Contains(got, part) {
			t.Errorf("got %q, want %q in it", got, part)
		}
	}
}

// What a damaged file says of devices is not in force, and all else is.
func TestDNSGoesOnWithDamagedCorrections(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"corrections.jsonl", forgettingFile} {
		writeFile(t, filepath.Join(dir, "data", name), "{")
	}
	os.Chmod(filepath.Join(dir, "data"), 0o700)
	writeFile(t, filepath.Join(dir, "lists", "ads.txt"), "tracker.example\n")
	p := startProcess(t, dir, nil, "--listen-dns", "127.0.0.1:0")
	p.wantBlocked("tracker.example.")
	for _, part := range []string{"corrections.jsonl:1", "until this is put right", "a device is not wholly forgotten"} {
		dnstest.WaitFor(t, func() bool { return strings.Contains(p.errs.String(), part) }, func() string { return fmt.Sprintf("got %q, want %q in it", p.errs.String(), part) })
	}
	p.stop()
	if text, _ := os.ReadFile(filepath.Join(dir, "data", "corrections.jsonl")); string(text) != "{" {
		t.Errorf("the file has become %q", text)
	}
}

func TestDNSGoesOnWithAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		skipUnlessCI(t, "a file system of a test's own needs root")
	}
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", data).CombinedOutput(); err != nil {
		skipUnlessCI(t, "mount: "+string(out))
	}
	t.Cleanup(func() { exec.Command("umount", "-l", data).Run() })
	writeFile(t, filepath.Join(dir, "lists", "ads.txt"), "tracker.example\n")
	p := startProcess(t, dir, nil, "--listen-dns", "127.0.0.1:0")
	ballast := filepath.Join(data, "ballast")
	fill(t, ballast)
	p.wantBlocked("a.tracker.example.")
	writeFile(t, filepath.Join(dir, "lists", "more.txt"), "more.example\n")
	p.wantBlocked("more.example.")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	p.wantBlocked("b.tracker.example.")
	p.stop()
	logged := map[string]bool{}
	for _, row := range p.rows("--verdict", "block") {
		logged[row["name"].(string)] = true
	}
	for _, name := range []string{"a.tracker.example", "b.tracker.example", "more.example"} {
		if !logged[name] {
			t.Errorf("%s is not in the log though there was memory for it and then disk\n%s", name, p.errs.String())
		}
	}
}

// fill writes to a file until its disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 1<<10))
	}
}

// wantBlocked asks until a name is blocked.
func (p *process) wantBlocked(name string) {
	p.t.Helper()
	c := dns.Client{Timeout: patience}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		reply, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), p.addr.String())
		if err != nil {
			p.t.Fatalf("%s: %v\n%s", name, err, p.errs.String())
		}
		if len(reply.Answer) == 1 && reply.Answer[0].(*dns.A).A.Equal(netip.IPv4Unspecified().AsSlice()) {
			return
		}
	}
	p.t.Fatalf("%s is never blocked\n%s", name, p.errs.String())
}
