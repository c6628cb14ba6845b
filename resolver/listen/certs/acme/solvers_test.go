package acme

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"telltale/resolver/dnstest"
)

// A zone is a server that has the zone dns.example, and takes updates of it.
type zone struct {
	addr   netip.AddrPort
	key    TSIGKey
	hooked string // a file that a program writes records to
	silent atomic.Bool

	mu  sync.Mutex
	txt map[string][]string
}

func startZone(t *testing.T) *zone {
	t.Helper()
	z := &zone{key: TSIGKey{"telltale.", dns.HmacSHA256, "c2VjcmV0IG9mIGEgdGVzdA=="}, hooked: filepath.Join(t.TempDir(), "hooked"), txt: map[string][]string{}}
	udp, tcp := dnstest.ListenBoth(t)
	z.addr = udp.LocalAddr().(*net.UDPAddr).AddrPort()
	var servers sync.WaitGroup
	t.Cleanup(servers.Wait) // the last
	for _, s := range []*dns.Server{{PacketConn: udp}, {Listener: tcp}} {
		started := make(chan struct{})
		s.Handler, s.TsigSecret, s.NotifyStartedFunc = z, map[string]string{z.key.Name: z.key.Secret}, func() { close(started) }
		s.MsgAcceptFunc = func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept } // also updates
		servers.Go(func() { s.ActivateAndServe() })
		<-started
		t.Cleanup(func() { s.Shutdown() })
	}
	return z
}

func (z *zone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	r := new(dns.Msg).SetReply(q)
	soa, _ := dns.NewRR("dns.example. 60 SOA ns.dns.example. hostmaster.dns.example. 1 2 3 4 5")
	name := strings.ToLower(q.Question[0].Name)
	switch {
	case q.Opcode == dns.OpcodeUpdate:
		if q.IsTsig() == nil || w.TsigStatus() != nil || name != "dns.example." {
			r.Rcode = dns.RcodeRefused
			break
		}
		for _, rr := range q.Ns {
			txt := rr.(*dns.TXT)
			at := strings.ToLower(txt.Hdr.Name)
			if txt.Hdr.Class == dns.ClassNONE {
				z.txt[at] = slices.DeleteFunc(z.txt[at], func(v string) bool { return v == txt.Txt[0] })
			} else {
				z.txt[at] = append(z.txt[at], txt.Txt[0])
			}
		}
		r.SetTsig(z.key.Name, z.key.Algorithm, 300, int64(q.IsTsig().TimeSigned))
	case q.Question[0].Qtype == dns.TypeSOA && name == "dns.example.":
		r.Answer = append(r.Answer, soa)
	case q.Question[0].Qtype == dns.TypeTXT && !z.silent.Load():
		for _, v := range z.recordsLocked()[strings.TrimSuffix(name, ".")] {
			r.Answer = append(r.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{v}})
		}
	}
	if len(r.Answer) == 0 && q.Opcode == dns.OpcodeQuery {
		r.Ns = append(r.Ns, soa)
	}
	w.WriteMsg(r)
}

// records returns what the zone has, by name.
func (z *zone) records() map[string][]string {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.recordsLocked()
}

func (z *zone) recordsLocked() map[string][]string {
	all := map[string][]string{}
	for name, values := range z.txt {
		if len(values) > 0 {
			all[strings.TrimSuffix(name, ".")] = slices.Clone(values)
		}
	}
	text, _ := os.ReadFile(z.hooked)
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if words[0] == "present" {
			all[words[1]] = append(all[words[1]], words[2])
			continue
		}
		if all[words[1]] = slices.DeleteFunc(all[words[1]], func(v string) bool { return v == words[2] }); len(all[words[1]]) == 0 {
			delete(all, words[1])
		}
	}
	return all
}

func TestUpdates(t *testing.T) {
	dnstest.CheckLeaks(t)
	z := startZone(t)
	closed := netip.MustParseAddrPort("127.0.0.1:1")
	u := Update{Servers: []netip.AddrPort{closed, z.addr}, Key: z.key} // the first does not answer
	const name = "_acme-challenge.phone.dns.example"
	for _, value := range []string{"one", "two"} {
		if err := u.Present(t.Context(), name, value); err != nil {
			t.Fatal(err)
		}
	}
	if got := z.records()[name]; !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("%v, want both records", got)
	}
	if err := u.CleanUp(t.Context(), name, "one"); err != nil {
		t.Fatal(err)
	}
	if got := z.records()[name]; !slices.Equal(got, []string{"two"}) {
		t.Errorf("%v, want the other alone", got)
	}
	other := u
	other.Key.Secret = "b3RoZXI="
	if err := other.Present(t.Context(), name, "three"); err == nil || len(z.records()[name]) != 1 {
		t.Errorf("by another key: %v, %v", err, z.records())
	}
	if err := u.Present(t.Context(), "_acme-challenge.elsewhere.test", "x"); err == nil || !strings.Contains(err.Error(), "no zone with _acme-challenge.elsewhere.test.") {
		t.Errorf("a name of another zone: %v", err)
	}
}

func TestHooks(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "hook")
	write := func(text string) {
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write("echo \"$#\" \"$@\" >> " + dir + "/said\n")
	h := Hook{program}
	if err := h.Present(t.Context(), "_acme-challenge.dns.example", "a value"); err != nil {
		t.Fatal(err)
	}
	if err := h.CleanUp(t.Context(), "_acme-challenge.dns.example", "a value"); err != nil {
		t.Fatal(err)
	}
	if said, _ := os.ReadFile(dir + "/said"); string(said) != "3 present _acme-challenge.dns.example a value\n3 cleanup _acme-challenge.dns.example a value\n" {
		t.Errorf("called with %q", said)
	}
	write("echo the provider says no >&2; exit 3\n")
	if err := h.Present(t.Context(), "x", "y"); err == nil || !strings.Contains(err.Error(), "exit status 3: the provider says no") {
		t.Errorf("%v", err)
	}
	write("sleep 60\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Present(ctx, "x", "y"); err == nil {
		t.Error("it was not ended")
	}
}

func TestKeysOfTSIG(t *testing.T) {
	for text, want := range map[string]string{
		"key \"telltale\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0\";\n};\n": "telltale. hmac-sha256. c2VjcmV0",
		"key telltale.example. { algorithm HMAC-SHA512; secret c2VjcmV0; };":         "telltale.example. hmac-sha512. c2VjcmV0",
		"key \"k\" { algorithm hmac-md5; secret \"c2VjcmV0\"; };":                    "the algorithm hmac-md5: expected hmac-sha256",
		"key \"k\" { algorithm hmac-sha256; secret \"c2V\"; };":                      "the secret is not base64",
		"c2VjcmV0": "no key as tsig-keygen writes it",
		"":         "no key as tsig-keygen writes it",
	} {
		k, err := parseTSIGKey(text)
		got := fmt.Sprintf("%s %s %s", k.Name, k.Algorithm, k.Secret)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("key k { algorithm hmac-sha256; secret c2VjcmV0; };"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadTSIGKey(file); err == nil || !strings.Contains(err.Error(), "run chmod 0600") {
		t.Errorf("a key that others can read: %v", err)
	}
	os.Chmod(file, 0o600)
	if k, err := ReadTSIGKey(file); err != nil || k.Name != "k." {
		t.Errorf("%+v, %v", k, err)
	}
	if _, err := ReadTSIGKey(filepath.Dir(file)); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("a directory: %v", err)
	}
}

// FuzzTSIGKey finds that what is taken for a key can be used as one.
func FuzzTSIGKey(f *testing.F) {
	f.Add("key \"telltale\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0\";\n};\n")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := parseTSIGKey(text)
		if err != nil {
			return
		}
		m := new(dns.Msg).SetUpdate("example.")
		m.SetTsig(k.Name, k.Algorithm, 300, 1000)
		if _, _, err := dns.TsigGenerate(m, k.Secret, "", false); err != nil {
			t.Fatalf("%+v: %v", k, err)
		}
	})
}
