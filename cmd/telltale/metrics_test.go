//go:build !small

package main

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
)

// Metrics come and go with their settings; an address that cannot be had leaves what was in
// force. What is removed is not answered on, also not by a connection that was kept.
func TestMetricsFollowTheirSettings(t *testing.T) {
	dir := t.TempDir()
	srv := startTestServer(t, dir, netip.AddrPort{}, "")
	busy, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	first, second := freePort(t), freePort(t)
	if err := srv.with(dir, fmt.Sprintf("metrics: {listen: %q}", first)); err != nil {
		t.Fatal(err)
	}
	kept := &http.Transport{}
	defer kept.CloseIdleConnections()
	scrape := func(at string) string {
		t.Helper()
		client := http.Client{Timeout: patience, Transport: kept}
		resp, err := client.Get("http://" + at + "/metrics")
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		var page strings.Builder
		if err := resp.Write(&page); err != nil {
			t.Fatal(err)
		}
		return page.String()
	}
	has := func(at, line string) {
		t.Helper()
		soon(t, at, line, func() string {
			if page := scrape(at); strings.Contains(page, line) {
				return line
			} else {
				return page
			}
		})
	}
	srv.answersDNS()
	has(first, `telltale_queries_total{transport="udp",type="A",verdict=`)
	for _, wrong := range []string{fmt.Sprintf("metrics: {listen: [%q, %q]}", second, busy.Addr()), fmt.Sprintf("metrics: {listen: %q}\nweb: {listen: [%q]}", second, busy.Addr())} {
		if err := srv.with(dir, wrong); err == nil || !strings.Contains(err.Error(), "listen: ") || !strings.Contains(err.Error(), busy.Addr().String()) {
			t.Errorf("%s: got %v", wrong, err)
		}
		has(first, "telltale_settings_refused 1")
		if listening(t, second) {
			t.Errorf("%s: a part is in force", wrong)
		}
	}
	if err := srv.with(dir, fmt.Sprintf("metrics: {listen: %q, devices: true}\ndevices: [{name: box, address: 127.0.0.1}]", second)); err != nil {
		t.Fatal(err)
	}
	srv.answersDNS()
	has(second, `telltale_device_queries_total{device="box"`)
	soon(t, "the first address", "gone", func() string {
		if page := scrape(first); strings.Contains(page, "telltale_") {
			return page
		}
		return "gone"
	})
	if err := srv.with(dir, ""); err != nil {
		t.Fatal(err)
	}
	soon(t, "the second address", "gone", func() string {
		if page := scrape(second); strings.Contains(page, "telltale_") {
			return page
		}
		return "gone"
	})
	if srv.app.counts.Load() != nil {
		t.Error("lookups are counted though nobody can ask")
	}
	srv.answersDNS()
}

// Lookups go by dnstap to where the settings say now.
func TestDnstapFollowsItsSettings(t *testing.T) {
	dir := t.TempDir()
	srv := startTestServer(t, dir, netip.AddrPort{}, "")
	takes := func(name string) net.Listener {
		t.Helper()
		l, err := net.Listen("unix", filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := srv.with(dir, fmt.Sprintf("dnstap: {to: %q}", "unix:"+filepath.Join(dir, name))); err != nil {
			t.Fatal(err)
		}
		return l
	}
	for _, name := range []string{"first", "second"} {
		l := takes(name)
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 100)); n == 0 || err != nil { // its greeting
			t.Errorf("%s: got %d octets, %v", name, n, err)
		}
		c.Close()
		l.Close()
	}
	if err := srv.with(dir, ""); err != nil {
		t.Fatal(err)
	}
	if tap := srv.app.tap.Load(); tap != nil {
		t.Errorf("lookups go on to be sent: %+v", tap.Stats())
	}
	srv.answersDNS()
}
