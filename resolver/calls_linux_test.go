package resolver

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telltale/querylog"
	"telltale/resolver/dnstest"
	"telltale/resolver/packets"
	"telltale/resolver/upstream"
)

// How much may be spent on a query is checked by what does not depend on time:
// allocations, and system calls, which strace counts in a process of its own.

const rounds = 64 // bursts of a batch each

// A miss allocates what is kept of it, and little else; so does a tenth of a mix.
func TestAllocationsOfMisses(t *testing.T) {
	for _, test := range []struct {
		name    string
		blocked int // of 30 queries, the rest of which are misses but for
		cached  int
		most    float64 // allocations a query
	}{
		{"misses", 0, 0, 9.5},
		{"the mix", 9, 18, 1.1},
	} {
		client := newAsker(t, startWithoutLog(t, dnstest.StartBare(t)))
		client.conn.SetDeadline(time.Now().Add(time.Minute))
		blocked, cached := packetOf(t, "host.null.example.", 1), packetOf(t, "www.site.example.", 1)
		burst := func() {
			for i := range 30 {
				switch {
				case i < test.blocked:
					client.conn.Write(blocked)
				case i < test.blocked+test.cached:
					client.conn.Write(cached)
				default:
					client.ask()
				}
			}
			for range 30 {
				if !client.receive() {
					t.Fatalf("%s: no answer", test.name)
				}
			}
		}
		for range 20 {
			burst()
		}
		if n := dnstest.Allocs(rounds, burst) / 30; n > test.most {
			t.Errorf("%s: %.2f allocations a query, at most %v", test.name, n, test.most)
		} else {
			t.Logf("%s: %.2f allocations a query", test.name, n)
		}
	}
}

// startWithoutLog starts a server that logs nothing, and returns its address.
func startWithoutLog(t *testing.T, up *dnstest.Upstream) netip.AddrPort {
	t.Helper()
	s, err := New(Options{
		Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Readers: 1, Policy: withPolicy(everyMode(t)),
		Upstreams: upstream.Options{Servers: []upstream.Server{{Addr: up.Addr}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Close() })
	return s.Addrs()[0]
}

// A burst of queries that are answered at once takes its reader one call to
// receive and one to send; a miss takes a few more, and no socket of its own.
func TestSystemCallsOfAQuery(t *testing.T) {
	tests := []struct {
		load string
		most map[string]float64 // calls for a batch, in the reader's thread or, for misses, the process
		rest float64            // of all others, in the same unit
	}{
		// The writers of the log are woken now and then, the more often the slower the machine; never for each query.
		{"blocked", map[string]float64{"recvmmsg": 1, "sendmmsg": 1, "futex": packets.BatchSize / 2}, .25},
		{"cached", map[string]float64{"recvmmsg": 1, "sendmmsg": 1, "futex": packets.BatchSize / 2}, .25},
		// What comes back comes one by one. A socket is worn after thousands of queries.
		{"misses", map[string]float64{
			"recvmmsg": 4 * packets.BatchSize, "sendmmsg": 2 * packets.BatchSize,
			"socket": .5, "setsockopt": 1, "getsockopt": .5, "bind": 1, "connect": .5, "close": .5,
		}, 2}, // a slow machine takes seconds, and so more sockets: each is added to what is polled, and asked for its names
	}
	// Those of the client, of the bare upstream, and of Go's scheduler and memory,
	// which follow time and the number of processors. Of futex that is for misses alone: in a
	// reader's thread there are few.
	others := []string{
		"write", "read", "recvfrom", "sendto", "epoll_pwait", "nanosleep", "sched_yield", "rt_sigreturn", "rt_sigprocmask", "tgkill", "getpid",
		"gettid", "sigaltstack", "clone", "clone3", "rseq", "set_robust_list", "mmap", "munmap", "mprotect", "madvise", "restart_syscall",
		"clock_gettime", "gettimeofday", "exit", "futex",
	}
	if _, err := exec.LookPath("strace"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("strace is missing, and nothing skips in CI")
		}
		t.Skip("there is no strace (Debian: strace)")
	}
	for _, test := range tests {
		t.Run(test.load, func(t *testing.T) {
			got := countCalls(t, test.load)
			rest := 0.0
			for _, call := range slices.Sorted(maps.Keys(got)) {
				each := float64(got[call]) / rounds
				most, ok := test.most[call]
				switch {
				case ok && each > most:
					t.Errorf("%s: %.2f for a batch of %d, at most %v", call, each, packets.BatchSize, most)
				case !ok && !slices.Contains(others, call):
					rest += each
				}
			}
			for call := range test.most {
				if strings.HasSuffix(call, "mmsg") && got[call] == 0 {
					t.Errorf("%s was not counted at all", call)
				}
			}
			if rest > test.rest {
				t.Errorf("%.2f other calls for a batch of %d, at most %v", rest, packets.BatchSize, test.rest)
			}
			t.Logf("in %d batches: %v", rounds, got)
		})
	}
}

// Calls that nobody makes, by which strace's reader finds what to count.
const (
	countFrom = -1001
	countTo   = -1002
)

const callsEnv = "TELLTALE_TEST_CALLS" // the load, in the process that is counted

// TestCountedCalls is what countCalls runs under strace; it does nothing else.
func TestCountedCalls(t *testing.T) {
	load := os.Getenv(callsEnv)
	if load == "" {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	round := roundOf(t, load)
	for range 4 { // what is made once
		round()
	}
	unix.Close(countFrom)
	for range rounds {
		round()
	}
	unix.Close(countTo)
}

func roundOf(t *testing.T, load string) func() {
	if load == "misses" {
		began := time.Now() // for ever: a socket is worn by queries alone, however slow the machine
		s, _ := startServer(t, Options{Readers: 1, Now: func() time.Time { return began }}, dnstest.StartBare(t))
		client := newAsker(t, s.Addrs()[0])
		client.conn.SetDeadline(time.Now().Add(time.Minute))
		return func() {
			for range packets.BatchSize {
				client.ask()
			}
			for range packets.BatchSize {
				if !client.receive() {
					t.Fatal("no answer")
				}
			}
		}
	}
	log, err := querylog.Open(querylog.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	name := burstNames[slices.IndexFunc(burstNames, func(b struct{ load, name string }) bool { return b.load == load })].name
	r := newBursts(t, name, log.Append)
	return func() {
		if err := r.round(); err != nil {
			t.Fatal(err)
		}
	}
}

// straceLine is the beginning of a call: the thread, and the call's name.
var straceLine = regexp.MustCompile(`^(\d+) +(\w+)\((-?\d*)`)

// countCalls runs a load in a process of its own and counts its system calls by
// name: those of the thread that asks for and answers what is answered at once;
// those of all threads for misses.
func countCalls(t *testing.T, load string) map[string]int {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command("strace", "-f", "-qq", "-e", "signal=none", "-s", "0", "-o", trace, os.Args[0], "-test.run=^TestCountedCalls$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), callsEnv+"="+load)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("under strace: %v: %s", err, out)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	calls, thread := map[string]int{}, ""
	for line := range strings.Lines(string(text)) {
		found := straceLine.FindStringSubmatch(line)
		switch {
		case found == nil:
		case found[2] == "close" && found[3] == fmt.Sprint(countFrom):
			thread = found[1]
		case found[2] == "close" && found[3] == fmt.Sprint(countTo):
			return calls
		case thread != "" && (load == "misses" || found[1] == thread):
			calls[strings.TrimSuffix(found[2], "_time64")]++
		}
	}
	t.Fatalf("strace did not see the end of what is counted: %q", text[max(0, len(text)-300):])
	return nil
}
