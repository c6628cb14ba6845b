package upstream

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"telltale/dnswire"
	"telltale/resolver/dnstest"
)

func TestParseResolvConf(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"one server", "nameserver 192.0.2.1\n", []string{"192.0.2.1"}},
		{"in order, without a newline at the end", "nameserver 192.0.2.2\nnameserver 192.0.2.1", []string{"192.0.2.2", "192.0.2.1"}},
		{"each once", "nameserver 192.0.2.1\nnameserver ::ffff:192.0.2.1\n", []string{"192.0.2.1"}},
		{"tabs, CRLF and what stands behind the address", "\tnameserver\t192.0.2.1\r\nnameserver 192.0.2.2 # ours\n", []string{"192.0.2.1", "192.0.2.2"}},
		{"a link-local address with its interface", "nameserver fe80::1%eth0\n", []string{"fe80::1%eth0"}},
		{"comments and other lines", "# nameserver 192.0.2.1\n; nameserver 192.0.2.2\nsearch lan\noptions edns0\n", nil},
		{"no address", "nameserver\nnameserver dns.example\nnameserver 192.0.2.300\n", nil},
		{"no server's address", "nameserver 0.0.0.0\nnameserver ::\nnameserver ff02::fb\n", nil},
		{"a line without end", "nameserver 192.0.2.1\n" + strings.Repeat("x", maxResolvConf), []string{"192.0.2.1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, a := range parseResolvConf([]byte(test.text)) {
				got = append(got, a.String())
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func FuzzParseResolvConf(f *testing.F) {
	f.Add([]byte("nameserver 192.0.2.1\nsearch lan\nnameserver fe80::1%eth0\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, a := range parseResolvConf(text) {
			if !a.IsValid() || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() {
				t.Errorf("took %v", a)
			}
		}
	})
}

func TestStubIsReplaced(t *testing.T) {
	dir := t.TempDir()
	etc, behind := filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "upstream.conf")
	for _, test := range []struct {
		name, etc, behind string
		want              string
		wantFrom          string
	}{
		{"the stub", "nameserver 127.0.0.53\n", "nameserver 192.0.2.1\n", "192.0.2.1:53", behind},
		{"the other stub", "nameserver 127.0.0.54\n", "nameserver 192.0.2.1\n", "192.0.2.1:53", behind},
		{"no stub", "nameserver 192.0.2.2\n", "nameserver 192.0.2.1\n", "192.0.2.2:53", etc},
		{"a stub with nothing behind it", "nameserver 127.0.0.53\n", "# none\n", "127.0.0.53:53", etc},
		{"neither", "", "nameserver 192.0.2.1\n", "", etc},
	} {
		t.Run(test.name, func(t *testing.T) {
			writeConf(t, etc, test.etc)
			writeConf(t, behind, test.behind)
			servers, from := readResolversOr(etc, behind)
			var got []string
			for _, s := range servers {
				got = append(got, s.Addr.String())
			}
			if strings.Join(got, " ") != test.want || from != test.wantFrom {
				t.Errorf("got %v from %s, want %s from %s", got, from, test.want, test.wantFrom)
			}
		})
	}
	if servers, _ := readResolversOr(filepath.Join(dir, "missing"), behind); servers != nil {
		t.Errorf("a missing file names %v", servers)
	}
	if servers, _ := readResolversOr(dir, behind); servers != nil {
		t.Errorf("a directory names %v", servers)
	}
}

func writeConf(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func addrsOf(u *Client) string { return strings.Join(u.set.Load().ids(), " ") }

func waitAddrs(t *testing.T, u *Client, want string) {
	t.Helper()
	dnstest.WaitFor(t, func() bool { return addrsOf(u) == want }, func() string { return "asking " + addrsOf(u) + ", want " + want })
}

// The addresses are loopback ones: tests must not send to anybody.
func TestResolvConfIsFollowed(t *testing.T) {
	for _, test := range []struct {
		name string
		poll time.Duration
	}{
		{"by events", time.Hour},
		{"by the poll", 5 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			dnstest.CheckLeaks(t)
			dir := t.TempDir()
			file := filepath.Join(dir, "resolv.conf")
			var said reports
			pace := quick
			pace.poll = test.poll
			var changes atomic.Int64
			u := startClient(t, Options{ResolvConf: file, Report: said.report, pace: pace, Changed: func() { changes.Add(1) }})
			if got := lookupA(t, u, "www.example"); !strings.Contains(got, addUpstreams) || !said.has("upstream-none "+file) {
				t.Errorf("got %s, reported %v, want what to add", got, said.lines)
			}

			writeConf(t, file, "nameserver 127.0.0.91\n")
			waitAddrs(t, u, "127.0.0.91:53")
			if got := u.Status()[0].Source; got != file {
				t.Errorf("from %s, want %s", got, file)
			}
			other := filepath.Join(dir, "new.tmp") // as resolvconf(8) and DHCP clients do
			writeConf(t, other, "nameserver 127.0.0.92\nnameserver 127.0.0.91\n")
			if err := os.Rename(other, file); err != nil {
				t.Fatal(err)
			}
			waitAddrs(t, u, "127.0.0.92:53 127.0.0.91:53")

			u.SetServers([]Server{{Addr: netip.MustParseAddrPort("127.0.0.93:53")}})
			writeConf(t, file, "nameserver 127.0.0.94\n")
			if got := addrsOf(u); got != "127.0.0.93:53" {
				t.Errorf("asking %s, want the configured one alone", got)
			}
			u.SetServers(nil)
			waitAddrs(t, u, "127.0.0.94:53")

			// A file that is gone or empty for a moment ends nothing.
			before := changes.Load()
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond)
			writeConf(t, file, "# rewritten\n")
			time.Sleep(20 * time.Millisecond)
			if got := addrsOf(u); got != "127.0.0.94:53" || changes.Load() != before {
				t.Errorf("asking %s after %d changes, want the last server that was named, after none", got, changes.Load()-before)
			}
			writeConf(t, file, "nameserver 127.0.0.95\n")
			waitAddrs(t, u, "127.0.0.95:53")
			// What the old servers said is to be forgotten, once.
			dnstest.WaitFor(t, func() bool { return changes.Load()-before == 1 }, func() string { return "no change was reported" })
		})
	}
}

func TestLinkedResolvConfIsFollowed(t *testing.T) {
	dnstest.CheckLeaks(t)
	etc, run := t.TempDir(), t.TempDir()
	file, real := filepath.Join(etc, "resolv.conf"), filepath.Join(run, "resolv.conf")
	writeConf(t, real, "nameserver 127.0.0.91\n")
	if err := os.Symlink(real, file); err != nil {
		t.Fatal(err)
	}
	pace := quick
	pace.poll = time.Hour
	u := startClient(t, Options{ResolvConf: file, pace: pace})
	// The first change may be seen by the first look; the second only by the watch.
	for _, addr := range []string{"127.0.0.91", "127.0.0.92", "127.0.0.93"} {
		writeConf(t, real, "nameserver "+addr+"\n")
		waitAddrs(t, u, addr+":53")
	}
}

func TestOwnAddressIsNoUpstream(t *testing.T) {
	dnstest.CheckLeaks(t)
	file := filepath.Join(t.TempDir(), "resolv.conf")
	writeConf(t, file, "nameserver 127.0.0.1\n")
	var said reports
	u := startClient(t, Options{
		ResolvConf: file, Report: said.report,
		Self: func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")} },
	})
	_, err := u.Exchange(t.Context(), questionOf(t, "www.example", dnswire.TypeA), Start{})
	why, ok := err.(*Error)
	if !ok || why.Code != dnswire.EDENotReady || !strings.Contains(why.Text, addUpstreams) {
		t.Errorf("got %v, want what to add", err)
	}
	list := u.Status()
	if len(list) != 1 || list[0].State != Self || !said.has("upstream-self 127.0.0.1:53") || !said.has("upstream-none "+file) {
		t.Errorf("got %+v, reported %v", list, said.lines)
	}
}

func TestIsSelf(t *testing.T) {
	for _, test := range []struct {
		upstream, listener string
		want               bool
	}{
		{"127.0.0.1:53", "127.0.0.1:53", true},
		{"127.0.0.1:53", "[::ffff:127.0.0.1]:53", true},
		{"127.0.0.1:53", "127.0.0.1:5300", false},
		{"127.0.0.1:53", "0.0.0.0:53", true},
		{"127.0.0.1:53", "[::]:53", true},
		{"[::1]:53", "[::]:53", true},
		{"127.0.0.1:54", "0.0.0.0:53", false},
		{"127.0.0.11:53", "0.0.0.0:53", false}, // a container engine's, behind the same port
		{"192.0.2.1:53", "0.0.0.0:53", false},
	} {
		if got := isSelf(netip.MustParseAddrPort(test.upstream), []netip.AddrPort{netip.MustParseAddrPort(test.listener)}); got != test.want {
			t.Errorf("upstream %s, listening at %s: got %t, want %t", test.upstream, test.listener, got, test.want)
		}
	}
}
