package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/offered"
	"telltale/web"
)

func TestDoctorBeforeTheFirstStartFindsNothingWrong(t *testing.T) {
	dir := t.TempDir()
	out, exit := doctorOf(dir, "--listen-dns", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "a", "data"), "--lists-dir", filepath.Join(dir, "a", "lists"))
	if exit != 0 || strings.Contains(out, "\nwrong ") || strings.Count(out, "made at the first start") != 2 {
		t.Errorf("exit status %d, got\n%s", exit, out)
	}
}

func doctorOf(dir string, args ...string) (out string, exit int) {
	var b bytes.Buffer
	exit = command(context.Background(), append([]string{"doctor"}, args...), &b, &b, []string{"XDG_RUNTIME_DIR=" + dir})
	return b.String(), exit
}

func TestDoctorNamesWhoHasThePort(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	holder := startProcess(t, filepath.Join(dir, "other"), nil, "--listen-dns", "127.0.0.1:0")
	out, exit := doctorOf(dir, "--listen-dns", holder.addr.String(), "--data-dir", filepath.Join(dir, "data"), "--lists-dir", filepath.Join(dir, "lists"), "--json")
	found := findingsOf(t, out)
	taken := found["port-taken"]
	if exit != 1 || !strings.Contains(taken.Says, fmt.Sprintf("(process %d)", holder.cmd.Process.Pid)) || !strings.Contains(taken.Cure, "stop or move that program") {
		t.Errorf("exit status %d, got %+v\n%s", exit, taken, out)
	}
	if _, ok := found["server-stopped"]; !ok {
		t.Errorf("got\n%s", out)
	}
	holder.stop()
}

// findingsOf reads what doctor --json prints, by code.
func findingsOf(t *testing.T, out string) map[string]web.Finding {
	t.Helper()
	found := map[string]web.Finding{}
	for line := range strings.Lines(out) {
		var f web.Finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		found[f.Code] = f
	}
	return found
}

func TestDoctorOfFilesThatAreNotThere(t *testing.T) {
	dir := t.TempDir()
	d := &doctor{}
	d.willBeMade("data", "data.dir", "/dev/null/data")
	d.willBeMade("lists", "lists.dir", "/dev/null/lists")
	if got := fmt.Sprint(d.findings); !strings.Contains(got, "data-missing") || !strings.Contains(got, "lists-missing") || !strings.Contains(got, "lists.dir (/dev/null/lists) is not there") {
		t.Errorf("got %s", got)
	}
	cfg := filepath.Join(dir, "telltale.yaml")
	text := "listen: {dns: [\"127.0.0.1:0\"], tls: [\"127.0.0.1:0\"]}\ntls: {certificates: [{certificate: " + dir + "/none.pem, key: " + dir + "/none.key}]}\n"
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := doctorOf(dir, "--config", cfg, "--data-dir", filepath.Join(dir, "data"), "--lists-dir", filepath.Join(dir, "lists"), "--json")
	if f := findingsOf(t, out)["tls-unread"]; !strings.Contains(f.Says, "none.pem") {
		t.Errorf("got\n%s", out)
	}
}

// A server whose socket answers, and nothing else.
func TestDoctorOfAServerThatDoesNotAnswer(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(data, "telltale.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/status") {
			http.NotFound(w, r)
			return
		}
		json.NewEncoder(w).Encode(web.Status{PID: 1, Started: time.Now()})
	})}
	done := make(chan struct{})
	go func() { server.Serve(l); close(done) }()
	defer func() { server.Close(); <-done }()
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := closed.LocalAddr().String()
	closed.Close()
	out, exit := doctorOf(dir, "--listen-dns", addr, "--data-dir", data, "--lists-dir", filepath.Join(dir, "lists"), "--json")
	found := findingsOf(t, out)
	if exit != 1 || found["port-silent"].State != stateWrong || found["server-silent"].State != stateWrong {
		t.Errorf("exit status %d, got\n%s", exit, out)
	}
}

func TestForeignServersAreFound(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("192.168.1.2"), netip.MustParseAddr("fe80::2")}
	from := netip.MustParseAddr("192.168.1.1")
	d := &doctor{}
	d.offered([]offered.Server{
		{Addr: own[0], From: from, MAC: "00:1a:11:00:00:01", Interface: "eth0"},
		{Addr: netip.MustParseAddr("8.8.8.8"), From: from, MAC: "00:1a:11:00:00:01", Interface: "eth0"},
		{Addr: own[1], Way: offered.RouterAdvertisement, From: netip.MustParseAddr("fe80::1"), Interface: "eth0"},
		{Addr: netip.MustParseAddr("fe80::1"), Way: offered.RouterAdvertisement, From: netip.MustParseAddr("fe80::1"), Interface: "eth0"},
	}, own)
	var foreign []string
	for _, f := range d.findings {
		if f.State != stateOK {
			foreign = append(foreign, f.Code+" "+f.Subject+": "+f.Says)
		}
	}
	want := []string{
		"network-foreign-dns 8.8.8.8 by DHCP: 192.168.1.1 (00:1a:11:00:00:01) on eth0 hands out 8.8.8.8 as DNS server, by DHCP: devices that ask it are not blocked, and not in the log",
		"network-foreign-dns fe80::1 by router advertisement: fe80::1 () on eth0 hands out fe80::1 as DNS server, by router advertisement: devices that ask it are not blocked, and not in the log",
	}
	if !slices.Equal(foreign, want) {
		t.Errorf("got %q, want %q", foreign, want)
	}
}

// An examination that is cancelled has seen nothing that the ledger may have.
func TestACancelledExaminationLeavesTheLedger(t *testing.T) {
	a := startTestServer(t, t.TempDir(), netip.MustParseAddrPort("127.0.0.1:1"), "").app
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	a.findings(ctx, true)
	if len(a.marked) > 0 {
		t.Errorf("the ledger has %v", a.marked)
	}
}

// Upstreams that use up their time take none of what shows whether this server is reached.
func TestSilentUpstreamsLeaveTimeForOtherProbes(t *testing.T) {
	f := &facts{status: &web.Status{}, listens: []netip.AddrPort{netip.MustParseAddrPort("[fe80::1]:53")}} // without a zone: refused at once
	(&app{}).probe(context.Background(), f, 0)
	if len(f.reached) != 1 || f.reached[0].err == nil || errors.Is(f.reached[0].err, context.DeadlineExceeded) {
		t.Errorf("got %+v", f.reached)
	}
}
