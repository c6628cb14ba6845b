package querylog

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telltale/blocklists"
	"telltale/devices"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file in testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s has changed: what is stored already would be read wrongly.\ngot:\n%s\nwant:\n%s", name, got, want)
	}
}

// What a number in the store or in the journal means must never change: not in
// this package's tables, and not in the packages that the numbers come from.
func TestStoredNumbersNeverChange(t *testing.T) {
	var b strings.Builder
	for _, table := range []struct {
		name string
		w    words
		of   func(uint8) string // as the package has it that the number comes from
	}{
		{"verdict", verdictWords, func(n uint8) string { return blocklists.Action(n).String() }},
		{"reason", classWords, func(n uint8) string { return blocklists.Class(n).String() }},
		{"observed_by", observedByWords, func(n uint8) string { return blocklists.ObservedBy(n).String() }},
		{"level", levelWords, func(n uint8) string { return blocklists.Level(n).String() }},
		{"answered_from", sourceWords, func(n uint8) string { return Source(n).String() }},
		{"transport", transportWords, func(n uint8) string { return Transport(n).String() }},
		{"binding_source", bindingSourceWords, func(n uint8) string { return devices.Source(n).String() }},
		{"binding_confidence", confidenceWords, func(n uint8) string { return devices.Confidence(n).String() }},
	} {
		for n, word := range table.w {
			if word == "" {
				continue
			}
			fmt.Fprintf(&b, "%s %d %s\n", table.name, n, word)
			if got := table.of(uint8(n)); got != word {
				t.Errorf("%s %d: got %q from the package that the number is of, want %q", table.name, n, got, word)
			}
		}
	}
	fmt.Fprintf(&b, "folded %d by name\nfolded %d by rule\nfolded %d by device\nfolded %d all devices\n", byName, byRule, byDevice, byNobody)
	for _, c := range []struct {
		name string
		n    uint8
	}{
		{"pass", uint8(blocklists.Pass)}, {"allow", uint8(blocklists.Allow)}, {"block", uint8(blocklists.Block)},
		{"observe", uint8(blocklists.Observe)}, {"answer", uint8(blocklists.Answer)}, {"unknown", uint8(UnknownVerdict)},
		{"owner", uint8(blocklists.ByOwner)}, {"list", uint8(blocklists.ByList)}, {"rule", uint8(blocklists.ByRule)},
		{"policy", uint8(FromPolicy)}, {"cache", uint8(FromCache)}, {"upstream", uint8(FromUpstream)}, {"error", uint8(FromError)},
		{"rebind", uint8(FromRebind)}, {"shed", uint8(Shed)}, {"failure", uint8(FromFailure)}, {"stale", uint8(FromStale)},
		{"udp", uint8(UDP)}, {"tcp", uint8(TCP)}, {"tls", uint8(TLS)}, {"https", uint8(HTTPS)}, {"quic", uint8(QUIC)},
		{"configured-mac", uint8(devices.ConfiguredMAC)}, {"configured-address", uint8(devices.ConfiguredAddress)},
		{"configured-prefix", uint8(devices.ConfiguredPrefix)}, {"neighbour", uint8(devices.Neighbour)},
		{"bare-address", uint8(devices.BareAddress)}, {"this-host", uint8(devices.ThisHost)},
		{"lease", uint8(devices.Lease)}, {"forwarder", uint8(devices.Forwarder)},
		{"low", uint8(devices.Low)}, {"medium", uint8(devices.Medium)}, {"high", uint8(devices.High)},
	} {
		fmt.Fprintf(&b, "constant %s %d\n", c.name, c.n)
	}
	golden(t, "numbers.golden", b.String())
}
