package devices

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"telltale/devices/leases"
)

// A fakeKea answers commands on a control socket.
type fakeKea struct {
	mu     sync.Mutex
	ipv6   bool     // it knows the commands of IPv6 alone; else it answers both, as Kea does
	text   string   // said in place of an answer; "" for none
	silent bool     // it does not answer
	leases []string // as JSON, in the order of their addresses
	asked  int
}

func (k *fakeKea) set(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

// serve answers on a socket until the test ends, and returns its path.
func (k *fakeKea) serve(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "kea.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				if answer := k.answer(conn); answer != "" {
					io.WriteString(conn, answer)
				} else {
					io.Copy(io.Discard, conn) // until the other side gives up
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return path
}

func (k *fakeKea) answer(r io.Reader) string {
	var c struct {
		Command   string
		Arguments struct {
			From  string
			Limit int
		}
	}
	if json.NewDecoder(r).Decode(&c) != nil {
		return `{"result":1,"text":"malformed"}`
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked++
	switch {
	case k.silent:
		return ""
	case k.text != "":
		return k.text
	case c.Command != "lease6-get-page" && k.ipv6:
		return fmt.Sprintf(`{"result":2,"text":"'%s' command not supported."}`, c.Command)
	}
	var page []string
	from, _ := netip.ParseAddr(c.Arguments.From)
	for _, one := range k.leases {
		var l struct {
			Addr netip.Addr `json:"ip-address"`
		}
		if json.Unmarshal([]byte(one), &l) == nil && l.Addr.Is6() == (c.Command == "lease6-get-page") && (!from.IsValid() || l.Addr.Compare(from) > 0) && len(page) < c.Arguments.Limit {
			page = append(page, one)
		}
	}
	if len(page) == 0 {
		return `{"result":3,"text":"0 IPv4 lease(s) found.","arguments":{"count":0,"leases":[]}}`
	}
	return fmt.Sprintf(`{"result":0,"text":"%d IPv4 lease(s) found.","arguments":{"count":%[1]d,"leases":[%s]}}`, len(page), strings.Join(page, ","))
}

func keaLease4(addr, mac, host string) string {
	return fmt.Sprintf(`{"client-id":"","cltt":%d,"fqdn-fwd":false,"hostname":%q,"hw-address":%q,"ip-address":%q,"state":0,"subnet-id":1,"valid-lft":600}`, time.Now().Unix(), host, mac, addr)
}

func TestKeasControlSocketIsAsked(t *testing.T) {
	k := &fakeKea{leases: []string{keaLease4("192.168.1.20", tvMAC, "bravia"), keaLease4("192.168.1.21", phoneMAC, "pixel.home")}}
	path := k.serve(t)
	look, l, _ := lookedAt(t, path, "")
	now := time.Now()
	if again := look(now); again <= 0 || again > socketPoll {
		t.Errorf("asked again after %v, want at most %v", again, socketPoll)
	}
	tv, phone := "mac:"+tvMAC+" lease medium bravia (00:00:01)", "mac:"+phoneMAC+" lease medium pixel (00:00:02)"
	soon(t, l, "192.168.1.20", tv)
	soon(t, l, "192.168.1.21", phone)
	look(now.Add(socketPoll / 2))
	k.set(func() {
		if k.asked != 2 { // once for each family
			t.Errorf("it was asked %d times", k.asked)
		}
	})
	k.set(func() {
		k.leases = []string{keaLease4("192.168.1.20", phoneMAC, "pixel"), keaLease4("192.168.1.21", tvMAC, "bravia")}
	})
	look(now.Add(socketPoll))
	soon(t, l, "192.168.1.20", phone)
	soon(t, l, "192.168.1.21", tv)
	k.set(func() { k.silent = true })
	began := time.Now()
	look(now.Add(2 * socketPoll))
	if took := time.Since(began); took > 5*socketAnswer {
		t.Errorf("a silent server was waited for %v", took)
	}
	soon(t, l, "192.168.1.20", phone) // it is believed for a while
	if s := l.LeaseStatus(); len(s) != 1 || s[0].Kind != "kea" || s[0].Leases != 2 || !strings.HasPrefix(s[0].Problem, "the server does not answer within 3s: what it said before is believed") {
		t.Errorf("got %+v", s)
	}
	look(now.Add(3 * socketPoll)) // not yet
	k.set(func() { k.silent, k.leases = false, nil })
	look(now.Add(2*socketPoll + socketRetry))
	look(now.Add(3*socketPoll + socketRetry))
	soon(t, l, "192.168.1.20", "addr:192.168.1.20 bare-address low 192.168.1.20")
	if s := l.LeaseStatus(); s[0].Leases != 0 || s[0].Problem != "" {
		t.Errorf("got %+v", s)
	}
}

func TestWhatKeasControlSocketSays(t *testing.T) {
	var many []string
	for i := range 2*leases.KeaPage + 1 {
		many = append(many, keaLease4(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String(), tvMAC, ""))
	}
	const v6 = `{"cltt":1795830000,"duid":"00:03:00:01:02:00:5e:10:00:05","hostname":"","iaid":7,"ip-address":"2001:db8::20","preferred-lft":300,"state":0,"type":"IA_NA","valid-lft":600}`
	for _, test := range []struct {
		name    string
		k       *fakeKea
		leases  int
		problem string
	}{
		{"pages", &fakeKea{leases: many}, len(many), ""},
		{"a page that is full to the end", &fakeKea{leases: many[:leases.KeaPage]}, leases.KeaPage, ""},
		{"no lease", &fakeKea{}, 0, ""},
		{"a server of IPv6", &fakeKea{ipv6: true, leases: []string{v6, strings.ReplaceAll(strings.ReplaceAll(v6, "::20", ":1::"), "IA_NA", "IA_PD")}}, 1, ""},
		{"a server without the hook", &fakeKea{text: `{"result":2,"text":"'lease4-get-page' command not supported."}`}, 0, "libdhcp_lease_cmds.so"},
		{"a refusal", &fakeKea{text: `{"result":1,"text":"no\u001b[2J rights"}`}, 0, "the server refuses: no[2J rights"},
		{"something else", &fakeKea{text: "HTTP/1.1 400 Bad Request\r\n\r\n"}, 0, "is not JSON"},
		{"a page without an end", &fakeKea{text: `{"result":0,"arguments":{"leases":[` + strings.Repeat(many[0]+",", leases.KeaPage-1) + many[0] + `]}}`}, 0, "goes back in its list"},
		{"leases of nothing", &fakeKea{text: `{"result":0,"arguments":{"leases":[{"ip-address":"nowhere"},{"ip-address":"192.168.1.20","hw-address":"` + tvMAC + `","valid-lft":4294967295,"cltt":1}]}}`}, 1, "lines are no leases"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &leaseFile{LeaseFile: LeaseFile{Path: test.k.serve(t)}, content: map[netip.Addr]leases.Lease{}, missing: map[netip.Addr]time.Time{}}
			problem := s.read(t.Context(), time.Now())
			if len(s.content) != test.leases || !strings.Contains(problem, test.problem) || problem != "" && test.problem == "" {
				t.Errorf("got %d leases and %q, want %d and %q", len(s.content), problem, test.leases, test.problem)
			}
		})
	}
}

// A socket that nobody listens on any more, as a killed server leaves it.
func TestAControlSocketThatNobodyServes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kea.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	look, ledger, _ := lookedAt(t, path, "")
	if again := look(time.Now()); again < socketPoll {
		t.Errorf("it is asked again after %v", again)
	}
	if s := ledger.LeaseStatus(); s[0].Problem != "connection refused" {
		t.Errorf("got %+v", s)
	}
}
