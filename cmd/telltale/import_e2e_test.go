//go:build e2e && linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/resolver/dnstest"
)

// manyLookups writes a log of AdGuard Home with so many lookups, a second apart, up to an
// hour ago. Every fourth is of a listed name.
func manyLookups(t *testing.T, path string, n int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	rng := rand.New(rand.NewPCG(3, 1))
	begin := time.Now().Add(-time.Hour - time.Duration(n)*time.Second).UTC()
	for i := range n {
		name := fmt.Sprintf("n%d.example", rng.IntN(500))
		if i%4 == 0 {
			name = fmt.Sprintf("n%d.tracker.example", rng.IntN(50))
		}
		fmt.Fprintf(w, `{"T":"%s","QH":"%s","QT":"A","QC":"IN","CP":"","Upstream":"192.0.2.53:53","Answer":"AAGBgAABAAEAAAAABHNob3AHZXhhbXBsZQAAAQABwAwAAQABAAABLAAEwAACAQ==","IP":"192.168.1.%d","Result":{},"Elapsed":%d}`+"\n",
			begin.Add(time.Duration(i)*time.Second).Format(time.RFC3339Nano), name, 1+rng.IntN(20), rng.IntN(1e8))
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestE2EAnImportOutlivesKills imports 60,000 lookups; the command and the server are
// killed again and again meanwhile. In the end each lookup is counted once.
func TestE2EAnImportOutlivesKills(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const n = 60_000
	history := filepath.Join(dir, "querylog.json")
	manyLookups(t, history, n)
	writeFile(t, filepath.Join(dir, "lists", "ads.txt"), "#@ vendor=Acme tier=telemetry source=https://example.org/\ntracker.example\n")
	args := []string{"--listen-dns", "127.0.0.1:0", "--upstreams", "127.0.0.1:1"}
	p := startProcess(t, dir, nil, args...)
	for round := range 8 {
		var said bytes.Buffer
		c := exec.Command(os.Args[0], append([]string{"import", history}, p.args...)...)
		c.Env = append(os.Environ(), asTelltale+"=1", "XDG_RUNTIME_DIR="+dir)
		c.Stdout, c.Stderr = &said, &said
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(50+100*round) * time.Millisecond)
		if round%2 == 0 {
			c.Process.Kill()
		} else {
			p.kill()
			p = startProcess(t, dir, nil, args...)
		}
		c.Wait()
	}
	if r, err := dns.Exchange(new(dns.Msg).SetQuestion("tracker.example.", dns.TypeA), p.addr.String()); err != nil || len(r.Answer) != 1 {
		t.Errorf("got %v, %v", r, err)
	}
	var out string
	dnstest.WaitFor(t, func() bool {
		var exit int
		out, exit = commandIn(t, dir, "import", history)
		return exit == 0
	}, func() string { return "the import never ends:\n" + out })
	lookups, attempts := 0.0, 0.0
	for _, row := range p.rows("--vendor", "Acme") {
		if row["imported"] == "adguard-home" {
			lookups += row["count"].(float64)
			if a, ok := row["attempts"].(float64); ok {
				attempts += a
			}
		}
	}
	if lookups != n/4 || attempts == 0 || attempts > lookups {
		t.Errorf("got %v lookups of listed names and %v attempts, want %d lookups", lookups, attempts, n/4)
	}
	if out, exit := commandIn(t, dir, "import", history); exit != 0 || !strings.Contains(out, ": 0 lookups imported") || !strings.Contains(out, fmt.Sprintf("%d were imported before", n)) {
		t.Errorf("got exit status %d and\n%s", exit, out)
	}
	p.stop()
}
