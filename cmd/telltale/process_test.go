package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"telltale/blocklists/catalog"
)

// asTelltale makes this test binary behave as telltale itself, for tests that
// need a process of its own.
const asTelltale = "TELLTALE_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asTelltale) != "" {
		os.Unsetenv(asTelltale)
		main()
	}
	var err error
	if catalogueOfTests, err = catalog.Load(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(exit int) {
		for _, end := range atEnd {
			end()
		}
		os.Exit(exit)
	}))
}

// catalogueOfTests has the entries of the shipped catalogue read once for all tests: as long as
// somebody has them, servers and commands of this process get the same.
var catalogueOfTests *catalog.Catalog

// atEnd is what removes files that tests share.
var atEnd []func()

// A process is a telltale serve in a process of its own.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	addr netip.AddrPort
	dir  string
	args []string
	errs lockedBuffer
}

// startProcess starts serve with its files below dir and waits until it answers.
// wrap are words that go before the command, such as "ip netns exec NAME".
func startProcess(t testing.TB, dir string, wrap []string, args ...string) *process {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"--data-dir", filepath.Join(dir, "data"), "--lists-dir", filepath.Join(dir, "lists"), "--node", "test"}, args...)
	return startServe(t, dir, wrap, args...)
}

// startServe starts serve with these arguments alone and waits until it answers.
// Other commands find it by way of dir.
func startServe(t testing.TB, dir string, wrap []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, dir: dir, args: args}
	words := append(append(wrap, os.Args[0], "serve"), p.args...)
	p.cmd = exec.Command(words[0], words[1:]...)
	p.cmd.Env = append(os.Environ(), asTelltale+"=1", "XDG_RUNTIME_DIR="+dir)
	p.cmd.Stderr = &p.errs
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	in := bufio.NewScanner(out)
	for in.Scan() {
		// "Telltale VERSION answers on ADDRESS, ... with N rules."
		if _, rest, ok := strings.Cut(in.Text(), " answers on "); ok {
			first, _, _ := strings.Cut(strings.Fields(rest)[0], ",")
			if p.addr, err = netip.ParseAddrPort(first); err != nil {
				t.Fatal(err)
			}
			go func() {
				for in.Scan() {
				}
			}()
			return p
		}
	}
	t.Fatalf("serve did not start:\n%s", p.errs.String())
	return nil
}

// kill ends the process as a power cut would.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	}
}

// stop ends it as systemd would.
func (p *process) stop() {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("serve ended with %v\n%s", err, p.errs.String())
	}
}

// rows reads the log as `telltale log --json` prints it.
func (p *process) rows(args ...string) []map[string]any {
	p.t.Helper()
	var out, errs lockedBuffer
	if exit := command(context.Background(), append(append([]string{"log", "--json", "--limit", "0"}, args...), p.args...), &out, &errs, nil); exit != 0 {
		p.t.Fatalf("log: %s", errs.String())
	}
	var rows []map[string]any
	for line := range strings.Lines(out.String()) {
		var row map[string]any
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			p.t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

func (p *process) ask(name string) error {
	c := dns.Client{Timeout: patience}
	_, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), p.addr.String())
	return err
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestKilledServerLosesAtMostASecond asks for numbered names, kills the server
// in the middle, and looks which are in the log after the next start. A machine
// that gives the server no time is not the server's fault: the longest wait for
// an answer, and for a tick of a clock, is added to the second.
func TestKilledServerLosesAtMostASecond(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "lists", "ads.txt"), "tracker.example\n")
	p := startProcess(t, dir, nil, "--listen-dns", "127.0.0.1:0")
	const pace = 2 * time.Millisecond
	var answered []time.Time // when the n-th was
	stall, last := time.Duration(0), time.Now()
	stop := last.Add(2 * time.Second)
	for n := 0; last.Before(stop) || n < 100; n++ {
		if err := p.ask(fmt.Sprintf("n%d.tracker.example.", n)); err != nil {
			t.Fatal(err)
		}
		answered = append(answered, time.Now())
		time.Sleep(pace)
		stall = max(stall, time.Since(last))
		last = time.Now()
	}
	killed := time.Now()
	p.kill()

	p = startProcess(t, dir, nil, "--listen-dns", "127.0.0.1:0")
	logged := map[string]float64{}
	for _, row := range p.rows("--verdict", "block") {
		logged[row["name"].(string)] += row["count"].(float64)
	}
	missing := 0
	for n, at := range answered {
		name := fmt.Sprintf("n%d.tracker.example", n)
		switch count := logged[name]; {
		case count > 1:
			t.Errorf("%s is in the log %v times", name, count)
		case count == 0:
			missing++
			if killed.Sub(at) > time.Second+2*stall {
				t.Errorf("%s is missing, answered %v before the end; the longest wait was %v", name, killed.Sub(at), stall)
			}
		}
	}
	t.Logf("%d of %d lookups missing, the longest wait was %v", missing, len(answered), stall)
	if missing == len(answered) {
		t.Errorf("all %d lookups are missing: nothing was tested", missing)
	}
	p.stop()
}

func TestSecondServerIsTurnedAway(t *testing.T) {
	t.Parallel()
	p := startProcess(t, t.TempDir(), nil, "--listen-dns", "127.0.0.1:0")
	for name, args := range map[string][]string{
		"of the same data directory": {"--data-dir", filepath.Join(p.dir, "data"), "--listen-dns", "127.0.0.1:0"},
		"of the same port":           {"--data-dir", t.TempDir(), "--listen-dns", p.addr.String()},
	} {
		var out, errs lockedBuffer
		exit := command(context.Background(), append([]string{"serve", "--lists-dir", t.TempDir()}, args...), &out, &errs, nil)
		pid := fmt.Sprint(p.cmd.Process.Pid)
		if exit != 1 || !strings.Contains(errs.String(), pid) {
			t.Errorf("a second server %s: exit status %d, want 1 and the first one's process %s in:\n%s", name, exit, pid, errs.String())
		}
		if said := strings.Count(errs.String(), pid); said != 1 {
			t.Errorf("a second server %s: the process is named %d times, want once:\n%s", name, said, errs.String())
		}
	}
	p.stop()
}

// TestHangupReloads has SIGHUP apply what is on disk, also at the very beginning,
// and the server go on; its end is no crash.
func TestHangupReloads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := filepath.Join(dir, "telltale.yaml")
	writeFile(t, cfg, "")
	p := startProcess(t, dir, nil, "--config", cfg, "--listen-dns", "127.0.0.1:0")
	writeFile(t, cfg, "blocking: {mode: nxdomain}")
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	c := dns.Client{Timeout: patience}
	soon(t, "the mode", "NXDOMAIN", func() string {
		m, _, err := c.Exchange(new(dns.Msg).SetQuestion("data.mistat.xiaomi.com.", dns.TypeA), p.addr.String())
		if err != nil {
			return err.Error()
		}
		return dns.RcodeToString[m.Rcode]
	})
	p.stop()
	var out lockedBuffer
	if exit := command(context.Background(), append([]string{"ledger", "--json", "--since", "1h"}, p.args...), &out, &out, nil); exit != 0 {
		t.Fatalf("ledger: %s", out.String())
	}
	if text := out.String(); strings.Contains(text, `"crash"`) || !strings.Contains(text, `"stop"`) || !strings.Contains(text, "config-changed") {
		t.Errorf("the ledger has\n%s", text)
	}
}
