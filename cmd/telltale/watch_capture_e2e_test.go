//go:build e2e

package main

import (
	"context"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"time"
)

// What is sent while the server is started again is stored once it is back.
func TestE2EWatchCaptureOutlivesARestartOfTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := startTestServer(t, dir, everything(t), keepAll)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	var out lockedBuffer
	done := make(chan int, 1)
	go func() {
		done <- commandWith(ctx, r, append([]string{"watch-capture", "-"}, srv.flags...), &out, &out, srv.env)
	}()
	packets := peerSample(t, "loopback.pcap")
	first := 24 + 2*16 + captureSizes(packets, 2)
	if _, err := w.Write(packets[:first]); err != nil { // by then it has asked whether a server runs
		t.Fatal(err)
	}
	hasRows(t, srv, "shop.example")
	srv.stop()
	if _, err := w.Write(packets[first:]); err != nil {
		t.Fatal(err)
	}
	w.Close()
	soon(t, "what waits", "waits", func() string {
		select {
		case exit := <-done:
			t.Fatalf("it ended with %d:\n%s", exit, out.String())
		case <-time.After(1500 * time.Millisecond): // it tries again each second
		}
		return "waits"
	})
	srv.start()
	if exit := <-done; exit != 0 || !strings.Contains(out.String(), ": 7 lookups imported") {
		t.Errorf("got exit status %d and\n%s", exit, out.String())
	}
	hasRows(t, srv, "lost.example")
}

// captureSizes returns how many octets the first n packets of a pcap file have.
func captureSizes(text []byte, n int) (sum int) {
	at := 24
	for range n {
		size := int(binary.LittleEndian.Uint32(text[at+8:]))
		sum += size
		at += 16 + size
	}
	return sum
}
