package metrics

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/dnswire"
	"telltale/querylog"
)

// series returns the lines of a page that are values, by what stands before them.
func series(t *testing.T, p *Page) map[string]string {
	t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(string(p.Bytes())) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(strings.TrimSuffix(line, "\n"), ' ')
		if _, twice := all[line[:at]]; twice {
			t.Errorf("%s is there twice", line[:at])
		}
		all[line[:at]] = strings.TrimSpace(line[at:])
	}
	return all
}

// The counts are those of a slow twin that keeps each lookup, though many count at once.
func TestCountsAgreeWithASlowTwin(t *testing.T) {
	c := NewCounts(true)
	tv := &devices.Binding{Device: "tv", Source: devices.ConfiguredMAC}
	bindings := []*devices.Binding{nil, tv, {Device: "mac:02:00:5e:10:00:01", Source: devices.Neighbour}, {Device: "hidden", Source: devices.ConfiguredMAC, NoLog: true}}
	var work sync.WaitGroup
	var mu sync.Mutex
	want := map[string]int{}
	for seed := range uint64(8) {
		work.Go(func() {
			random := rand.New(rand.NewPCG(seed, 1))
			for range 50 {
				batch := make([]querylog.Record, 1+random.IntN(64))
				mu.Lock()
				for i := range batch {
					r := &batch[i]
					r.Transport = querylog.Transport(1 + random.IntN(5))
					r.Type = []uint16{dnswire.TypeA, dnswire.TypeHTTPS, 999}[random.IntN(3)]
					r.Verdict.Action = blocklists.Action(random.IntN(5))
					r.Source = querylog.Source(1 + random.IntN(8))
					r.Rcode = []uint8{0, 2, 3}[random.IntN(3)]
					r.Elapsed = time.Duration(random.IntN(10_000)) * time.Millisecond
					r.Binding = bindings[random.IntN(len(bindings))]
					word, rcode := map[uint16]string{dnswire.TypeA: "A", dnswire.TypeHTTPS: "HTTPS", 999: "other"}[r.Type], dnswire.RcodeString(r.Rcode)
					want[fmt.Sprintf(`telltale_queries_total{transport="%s",type="%s",verdict="%s"}`, r.Transport, word, r.Verdict.Action)]++
					device := "other"
					if r.Binding == tv {
						device = "tv"
					}
					want[fmt.Sprintf(`telltale_device_queries_total{device="%s",verdict="%s"}`, device, r.Verdict.Action)]++
					if r.Source == querylog.Shed {
						rcode = "none"
					} else {
						want[fmt.Sprintf(`telltale_response_duration_seconds_count{source="%s"}`, r.Source)]++
						for _, bound := range bounds {
							if r.Elapsed <= bound {
								want[fmt.Sprintf(`telltale_response_duration_seconds_bucket{source="%s",le="%s"}`, r.Source, number(bound.Seconds()))]++
							}
						}
					}
					want[fmt.Sprintf(`telltale_responses_total{source="%s",rcode="%s"}`, r.Source, rcode)]++
				}
				mu.Unlock()
				c.Add(batch)
			}
		})
	}
	work.Wait()
	var p Page
	c.Write(&p)
	got := series(t, &p)
	for name, n := range want {
		if got[name] != fmt.Sprint(n) {
			t.Errorf("%s: got %q, want %d", name, got[name], n)
		}
	}
	for name := range got {
		if _, known := want[name]; !known && got[name] != "0" && !strings.Contains(name, "+Inf") && !strings.Contains(name, "_sum") {
			t.Errorf("%s %s is of no lookup", name, got[name])
		}
	}
}

// policyOf returns a policy with a list.
func policyOf(t testing.TB, text string) *blocklists.Policy {
	t.Helper()
	s, err := blocklists.Open(blocklists.Options{Shipped: fs.FS(fstest.MapFS{"ads.txt": {Data: []byte(text)}})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s.Current()
}

func decided(p *blocklists.Policy, name string) querylog.Record {
	n, _ := dnswire.ParseName(name)
	return querylog.Record{Verdict: p.Decide(&n, dnswire.TypeA, 0), Type: dnswire.TypeA, Transport: querylog.UDP, Source: querylog.FromPolicy}
}

func TestLookupsOfAVendor(t *testing.T) {
	p := policyOf(t, "#@ vendor=Acme tier=telemetry source=https://example.org\ntracker.example\n#@ vendor=\"A \\\"B\\\"\" tier=telemetry source=https://example.org\nother.example\n")
	c := NewCounts(false)
	c.Add([]querylog.Record{decided(p, "tracker.example"), decided(p, "a.tracker.example"), decided(p, "www.example")})
	var page Page
	c.Write(&page)
	got := series(t, &page)
	if n := got[`telltale_vendor_queries_total{vendor="Acme",verdict="block"}`]; n != "2" {
		t.Errorf("got %q lookups of Acme, want 2\n%s", n, page.Bytes())
	}
	for name := range got {
		if strings.Contains(name, "example") || strings.Contains(name, "device") {
			t.Errorf("%s is on the page", name)
		}
	}
}

func TestVendorsAreAtMostSoMany(t *testing.T) {
	c := NewCounts(false)
	var s shard
	for i := range mostVendors + 500 {
		s.vendors.add(&c.vendors, fmt.Sprintf("vendor %d", i), blocklists.Block)
		s.vendors.add(&c.vendors, strings.Repeat("long", 500), blocklists.Block)
	}
	var page Page
	addByLabel(&page, &VendorQueries, &c.vendors, s.vendors.counts)
	got := series(t, &page)
	if len(got) != mostVendors+1 || got[`telltale_vendor_queries_total{vendor="other",verdict="block"}`] != "501" {
		t.Errorf("got %d series, of which other has %s", len(got), got[`telltale_vendor_queries_total{vendor="other",verdict="block"}`])
	}
	if n := len(s.vendors.numbers); n > mostVendors {
		t.Errorf("a shard remembers %d vendors", n)
	}
}

func TestAForgottenDeviceIsOnNoPage(t *testing.T) {
	c := NewCounts(true)
	of := func(name string) querylog.Record {
		return querylog.Record{Transport: querylog.UDP, Source: querylog.FromCache, Binding: &devices.Binding{Device: name, Source: devices.ConfiguredMAC}}
	}
	c.Add([]querylog.Record{of("tv"), of("tv"), of("phone")})
	c.Forget("tv")
	page := func() string {
		var page Page
		c.Write(&page)
		return string(page.Bytes())
	}
	if got := page(); strings.Contains(got, `"tv"`) || !strings.Contains(got, `device="phone"`) {
		t.Errorf("got\n%s", got)
	}
	c.Add([]querylog.Record{of("tv")})
	if got := page(); !strings.Contains(got, `{device="tv",verdict="pass"} 1`) {
		t.Errorf("after another lookup: got\n%s", got)
	}
}

func TestAddDoesNotAllocate(t *testing.T) {
	p := policyOf(t, "#@ vendor=Acme tier=telemetry source=https://example.org\ntracker.example\n")
	c := NewCounts(true)
	batch := []querylog.Record{decided(p, "tracker.example"), decided(p, "www.example")}
	batch[0].Binding = &devices.Binding{Device: "tv", Source: devices.ConfiguredMAC}
	if n := testing.AllocsPerRun(1000, func() { c.Add(batch) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	p := policyOf(b, "#@ vendor=Acme tier=telemetry source=https://example.org\ntracker.example\n")
	c := NewCounts(true)
	batch := make([]querylog.Record, 16)
	for i := range batch {
		batch[i] = decided(p, []string{"tracker.example", "www.example", "a.example", "b.example"}[i%4])
	}
	for b.Loop() {
		c.Add(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/lookup")
}
