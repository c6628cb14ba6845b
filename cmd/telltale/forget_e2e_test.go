//go:build e2e && linux

package main

import (
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/devices"
	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver/dnstest"
)

// TestE2EForgettingOutlivesKills kills the server again and again while it forgets a
// device of 60,000 rows, and asks it questions meanwhile. In the end the device is in no
// file, and all of the other one's lookups are there.
func TestE2EForgettingOutlivesKills(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	const mac, rows = "02:00:5e:10:00:01", 60_000
	gone := &devices.Binding{ID: 5, Device: "mac:" + mac, Name: "phone-of-anna", MAC: mac, Addr: netip.MustParseAddr("192.168.77.5"), Source: devices.Neighbour, Confidence: devices.High, From: time.Now()}
	stays := &devices.Binding{ID: 6, Device: "mac:02:00:5e:10:00:02", Name: "tablet-of-ben", MAC: "02:00:5e:10:00:02", Addr: netip.MustParseAddr("192.168.77.6"), Source: devices.Neighbour, Confidence: devices.High, From: time.Now()}
	l, err := querylog.Open(querylog.Options{Dir: data, MaxMemory: 256 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		name, err := dnswire.ParseName(fmt.Sprintf("n%d.example", i))
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range []*devices.Binding{gone, stays} {
			l.Append([]querylog.Record{{Time: time.Now(), Client: b.Addr, Binding: b, Name: name.Wire(), Type: dnswire.TypeA, Source: querylog.FromUpstream, Transport: querylog.UDP}})
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if len(filesWith(t, data, mac)) == 0 {
		t.Fatal("the device is in no file: the test looks for the wrong thing")
	}
	writeFile(t, filepath.Join(dir, "lists", "own.txt"), "blocked.example\n")
	pending := filepath.Join(data, forgettingFile)
	is := func() bool { _, err := os.Lstat(pending); return err == nil }
	start := func() *process {
		return startProcess(t, dir, nil, "--listen-dns", "127.0.0.1:0", "--upstreams", "127.0.0.1:1")
	}
	p := start()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		commandIn(t, dir, "devices", "forget", mac, "--yes")
	}()
	dnstest.WaitFor(t, is, func() string { return "forgetting never began:\n" + p.errs.String() })
	kills := 0
	for wait := time.Duration(0); is() && kills < 20; wait += 20 * time.Millisecond {
		time.Sleep(wait)
		if r, err := dns.Exchange(new(dns.Msg).SetQuestion("blocked.example.", dns.TypeA), p.addr.String()); err != nil || len(r.Answer) != 1 {
			t.Errorf("while it forgets: got %v, %v", r, err)
		}
		p.kill()
		kills++
		p = start()
	}
	<-asked
	dnstest.WaitFor(t, func() bool { return !is() }, func() string { return "it is never forgotten:\n" + p.errs.String() })
	for _, word := range []string{mac, gone.Name, gone.Addr.String()} {
		if in := filesWith(t, data, word); len(in) > 0 {
			t.Errorf("%s is in %v", word, in)
		}
	}
	p.stop()
	if _, err := os.Lstat(pending); err == nil || !os.IsNotExist(err) && err != fs.ErrNotExist {
		t.Errorf("%s: %v", pending, err)
	}
	n := 0
	for _, row := range p.rows("--device", stays.MAC) {
		n += int(row["count"].(float64))
	}
	t.Logf("killed %d times", kills)
	if n != rows || kills == 0 {
		t.Errorf("the other device has %d lookups after %d kills, want %d", n, kills, rows)
	}
}
