//go:build !small

package main

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"telltale/fleet/roster"
)

func TestHowANodeStandsIsOneWord(t *testing.T) {
	t.Parallel()
	now := time.Now()
	entry := func(seen time.Duration, policy, refused string) *roster.Entry {
		return &roster.Entry{Seen: now.Add(-seen), State: roster.State{Policy: policy, Refused: refused}}
	}
	for _, c := range []struct {
		want string
		line nodeLine
	}{
		{"current", nodeLine{Wanted: "v2", Entry: entry(time.Second, "v2", "")}},
		{"current", nodeLine{Wanted: "v2", Entry: entry(time.Second, "", "")}}, // it follows nothing
		{"behind", nodeLine{Wanted: "v2", Entry: entry(time.Second, "v1", "")}},
		{"refuses", nodeLine{Wanted: "v2", Entry: entry(time.Second, "v1", "v2")}},
		{"behind", nodeLine{Wanted: "v3", Entry: entry(time.Second, "v1", "v2")}},
		{"silent", nodeLine{Wanted: "v2", Entry: entry(time.Hour, "v2", "")}},
		{"waiting", nodeLine{Wanted: "v2"}},
		{"unknown", nodeLine{Wanted: "v2", Entry: &roster.Entry{Changed: "unknown: its file is damaged"}}},
		{"revoked", nodeLine{Wanted: "v2", Revoked: &now, Entry: entry(time.Second, "v2", "")}},
	} {
		if got := c.line.is(now); got != c.want {
			t.Errorf("got %s, want %s of %+v", got, c.want, c.line)
		}
	}
	gone := entry(time.Hour, "v1", "v2")
	if got := (&nodeLine{Revoked: &now, Entry: gone}).note(); got != "" {
		t.Errorf("a revoked node has the note %q", got)
	}
	var out bytes.Buffer
	changed := entry(time.Second, "v2", "")
	changed.Changed, changed.Ahead = "its sealed log has 3 leaves, and had 9 before", 3600
	changed.State.Program, changed.State.Policy = "telltale\x1b]0;owned\a", "v2\x1b[2J" // as a file may have it
	if err := (&cli{out: &out}).showNodes([]nodeLine{{Node: "attic", Is: "current", Entry: changed}, {Node: "cellar", Is: "waiting"}}, now); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\a") {
		t.Errorf("control characters of a node reach the terminal: %q", out.String())
	}
	for _, want := range []string{"attic", "+3600 s", "CHANGED: its sealed log has 3 leaves", "cellar", "never"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

func TestACenterIsReachedByAddressesOfThisMachine(t *testing.T) {
	t.Parallel()
	all := ownCenters(addrPorts("192.0.2.1:5390", "[2001:db8::1]:5391"))
	if got, want := strings.Join(all, " "), "https://192.0.2.1:5390 https://[2001:db8::1]:5391"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, address := range ownCenters(addrPorts("0.0.0.0:5390")) {
		if strings.Contains(address, "127.0.0.1") {
			t.Errorf("%s is of no use to another machine", address)
		}
	}
}

func addrPorts(texts ...string) (all []netip.AddrPort) {
	for _, text := range texts {
		all = append(all, netip.MustParseAddrPort(text))
	}
	return all
}
