package main

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/querylog"
)

// TestWhatIsDroppedUnreadIsSaid sends more to a server that stands still than the
// kernel holds for it. When it goes on it answers, doctor tells how much was
// lost, and the quality ledger when.
func TestWhatIsDroppedUnreadIsSaid(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "lists", "ads.txt"), "tracker.example\n")
	p := startProcess(t, dir, nil, "--listen-dns", "127.0.0.1:0")
	p.wantBlocked("tracker.example.")

	conn, err := net.Dial("udp", p.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	query, err := new(dns.Msg).SetQuestion("flood.tracker.example.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Process.Signal(syscall.SIGSTOP)
	for range 10_000 { // to one of the readers
		conn.Write(query)
	}
	p.cmd.Process.Signal(syscall.SIGCONT)

	said := func() string {
		var out, errs lockedBuffer
		command(context.Background(), append([]string{"doctor"}, p.args...), &out, &errs, nil)
		return out.String() + errs.String()
	}
	for end := time.Now().Add(patience); !strings.Contains(said(), "dropped unread"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("doctor says\n%s\nand the server\n%s", said(), p.errs.String())
		}
	}
	p.wantBlocked("after.tracker.example.")
	p.stop()

	r, err := querylog.OpenReader(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	notes, err := r.Ledger(context.Background(), time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range notes {
		if n.Kind == "overload" {
			return
		}
	}
	t.Errorf("the ledger says nothing of an overload: %+v", notes)
}
