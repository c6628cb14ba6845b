package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telltale/peerlogs"
	"telltale/querylog"
)

// keepAll has a log keep lookups of any time.
const keepAll = "log: {unlisted: 9999d, listed: 9999d, totals: 9999d}\n"

func peerSample(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../../peerlogs/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// hasRows waits until the log has texts.
func hasRows(t *testing.T, srv *testServer, texts ...string) {
	t.Helper()
	want := strings.Join(texts, ", ")
	soon(t, "the log", want, func() string {
		out, _ := srv.run("log", "--limit", "0", "--answered-by")
		for _, text := range texts {
			if !strings.Contains(out, text) {
				return "no " + text + " in\n" + out
			}
		}
		return want
	})
}

// A capture of packets is imported as other logs are: once, and marked.
func TestACaptureIsImported(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "lists", "ads.txt"), "#@ vendor=Acme tier=telemetry source=https://example.org/\ntracker.example\n")
	srv := startTestServer(t, dir, everything(t), keepAll)
	out, exit := srv.run("import", "../../peerlogs/testdata/loopback.pcap")
	if exit != 0 || !strings.Contains(out, "(capture of packets): 7 lookups imported") || !strings.Contains(out, "2 DNS messages on port 53 were left out") || !strings.Contains(out, "what was asked over encrypted transports") {
		t.Errorf("got exit status %d and\n%s", exit, out)
	}
	hasRows(t, srv, "192.0.2.7", "data.tracker.example", "Acme", "(imported: capture)", "(by [2001:db8::1]:53)")
	if out, exit := srv.run("import", "../../peerlogs/testdata/loopback.pcap"); exit != 0 || !strings.Contains(out, ": 0 lookups imported") || !strings.Contains(out, "7 were imported before") {
		t.Errorf("again: got exit status %d and\n%s", exit, out)
	}
}

// What programs send to the socket is in the log while the command runs: dnstap and captures,
// of several programs, with the server running; what is sent wrong is told.
func TestWatchCaptureOfASocket(t *testing.T) {
	dir := t.TempDir()
	srv := startTestServer(t, dir, everything(t), keepAll)
	socket := filepath.Join(dir, "tap.sock")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errs lockedBuffer
	done := make(chan int, 1)
	go func() {
		done <- command(ctx, append([]string{"watch-capture", socket, "--socket-mode", "0600"}, srv.flags...), &out, &errs, srv.env)
	}()
	soon(t, "the socket", "there", func() string {
		if strings.Contains(errs.String(), "takes dnstap") {
			return "there"
		}
		return errs.String()
	})
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	if said, exit := srv.run("watch-capture", socket); exit != 1 || !strings.Contains(said, "is the socket of a program that runs") {
		t.Errorf("a second one: exit status %d and %s", exit, said)
	}
	for _, text := range [][]byte{peerSample(t, "clients.dnstap"), peerSample(t, "any.pcap"), []byte("GET / HTTP/1.1\r\n\r\n")} {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.UnixConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	hasRows(t, srv, "none.example", "(imported: dnstap)", "data.tracker.example", "(imported: capture)")
	soon(t, "what is no log", "told", func() string {
		if strings.Contains(errs.String(), "neither dnstap nor a capture") {
			return "told"
		}
		return errs.String()
	})
	cancel()
	if exit := <-done; exit != 0 || !strings.Contains(out.String(), "11 lookups imported") || !strings.Contains(out.String(), "it has no DNS message") {
		t.Errorf("got exit status %d and\n%s%s", exit, out.String(), errs.String())
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket is still there")
	}
}

// The standard input is read to its end, also with no server, and nothing that is there is
// replaced by a socket.
func TestWatchCaptureOfTheInput(t *testing.T) {
	dir := t.TempDir()
	srv := startTestServer(t, dir, everything(t), keepAll)
	srv.stop()
	run := func(in []byte, args ...string) (string, int) {
		var out lockedBuffer
		exit := commandWith(t.Context(), bytes.NewReader(in), append(append([]string{"watch-capture"}, args...), srv.flags...), &out, &out, srv.env)
		return out.String(), exit
	}
	out, exit := run(peerSample(t, "cooked.pcap"), "-")
	if exit != 0 || !strings.Contains(out, "standard input (capture of packets): 7 lookups imported") {
		t.Errorf("got exit status %d and\n%s", exit, out)
	}
	hasRows(t, srv, "data.tracker.example", "(imported: capture)")
	file := filepath.Join(dir, "telltale.yaml")
	for _, c := range []struct {
		in, arg, mode, want string
		exit                int
	}{
		{"", "-", "0660", "the standard input has nothing in it", 1},
		{"hello, hello, hello", "-", "0660", "neither dnstap nor a capture", 1},
		{"", file, "0660", "'telltale import " + file + "' takes it over", 1},
		{"", dir, "0660", "is there, and no socket", 1},
		{"", filepath.Join(dir, "nowhere", "x.sock"), "0660", "no such file or directory", 1},
		{"", "-", "999", `"999" is no mode of a file`, 2},
	} {
		if out, exit := run([]byte(c.in), c.arg, "--socket-mode", c.mode); exit != c.exit || !strings.Contains(out, c.want) {
			t.Errorf("%s: got exit status %d and %s, want %s", c.arg, exit, out, c.want)
		}
	}
	old := filepath.Join(dir, "old.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: old, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if made, err := listenUnix(old, 0o600); err != nil {
		t.Error(fmt.Errorf("a socket that a program left: %w", err))
	} else {
		made.Close()
	}
	srv.start()
}

// A program that connects when a person has ended the command is turned away: nobody would
// end its connection any more.
func TestWatchCaptureTakesNobodyInWhenItIsEnded(t *testing.T) {
	w := &captureWatch{open: map[net.Conn]bool{}}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	ctx, cancel := context.WithCancel(t.Context())
	if !w.begin(ctx, a) {
		t.Error("a program was turned away")
	}
	cancel()
	if w.begin(ctx, b) || w.open[b] {
		t.Error("a program was taken in after the end")
	}
}

// Where the log cannot be written, the loss is that of all formats, and of what was on its way.
func TestWatchCaptureTellsAllThatIsLost(t *testing.T) {
	full := errors.New("no room")
	w := &captureWatch{lookups: make(chan sentLookup, 2), batches: map[string]*querylog.ImportBatch{}, im: &importer{send: func(context.Context, *querylog.ImportBatch) (querylog.Imported, error) {
		return querylog.Imported{}, full
	}}}
	for _, name := range []string{"dnstap", "capture", "capture"} {
		w.add(&sentLookup{format: &peerlogs.Format{Name: name}})
	}
	w.lookups <- sentLookup{}
	if err := w.flush(t.Context(), nil, false); !errors.Is(err, full) || !strings.HasPrefix(err.Error(), "4 lookups were not stored") {
		t.Error(err)
	}
}
