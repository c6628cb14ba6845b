package metrics

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/dnswire"
	"telltale/querylog"
)

// Bounds on how many values a label has. What comes beyond has the value others.
const (
	mostVendors = 1000
	mostDevices = 200
	others      = "other"
)

// Counts are lookups by what became of them, since the start. Any goroutine may use them.
//
// Readers must not wait for each other: each batch is counted in whichever of a few shards is
// free, under its lock and without atomic operations, and the shards are added up when
// somebody asks. That is one lock for a batch of up to 64 lookups.
type Counts struct {
	vendors labelNumbers
	devices *labelNumbers // nil: they are not told apart
	shards  [shardCount]shard
}

const shardCount = 4

// NewCounts returns counts of nothing. byDevice says that devices are told apart which have a
// name of the settings.
func NewCounts(byDevice bool) *Counts {
	c := &Counts{vendors: labelNumbers{most: mostVendors}}
	if byDevice {
		c.devices = &labelNumbers{most: mostDevices}
	}
	return c
}

// A shard is a part of the counts.
type shard struct {
	mu        sync.Mutex
	queries   [transportCount][typeCount][verdictCount]uint64
	responses [sourceCount][rcodeCount]uint64
	durations [sourceCount]durations
	vendors   byLabel
	devices   byLabel
	_         [64]byte // no two shards share a line of the processor's cache
}

const (
	transportCount = int(querylog.QUIC) + 1
	verdictCount   = int(blocklists.Answer) + 1
	sourceCount    = int(querylog.FromStale) + 1
	rcodeCount     = 16 + 1
	noReply        = rcodeCount - 1
)

// verdictCounts are lookups by their verdict.
type verdictCounts [verdictCount]uint64

// durations are how many responses took how long.
type durations struct {
	counts [len(bounds) + 1]uint64 // each above the bound before, and at most its own
	sum    uint64                  // nanoseconds
}

// bounds are those of histograms. Answers of this machine's own take microseconds, those of
// upstreams milliseconds, and one that is retried seconds.
var bounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second,
}

func (d *durations) add(took time.Duration) {
	took = max(took, 0)
	i := 0
	for i < len(bounds) && took > bounds[i] {
		i++
	}
	d.counts[i]++
	d.sum += uint64(took)
}

// A byLabel is what a shard has of each value of a label.
type byLabel struct {
	numbers map[string]int // of values that this shard has met
	counts  []verdictCounts
}

func (b *byLabel) add(all *labelNumbers, value string, verdict blocklists.Action) {
	n, known := 0, value == ""
	if !known {
		n, known = b.numbers[value]
	}
	if !known {
		n = all.of(value)
		if n != 0 { // values without a number of their own may be any number of
			if b.numbers == nil {
				b.numbers = map[string]int{}
			}
			b.numbers[strings.Clone(value)] = n
		}
	}
	for len(b.counts) <= n {
		b.counts = append(b.counts, verdictCounts{})
	}
	b.counts[n][verdict]++
}

// labelNumbers give the values of a label their numbers, from 1, as they come. Number 0 is of
// all that came when there were most already.
type labelNumbers struct {
	most int

	mu     sync.Mutex
	values []string
	number map[string]int
}

func (l *labelNumbers) of(value string) int {
	value = labelValue(value)
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.number[value]; n != 0 {
		return n
	}
	if value == "" || value == others || len(l.values) >= l.most {
		return 0
	}
	if l.number == nil {
		l.number = map[string]int{}
	}
	value = strings.Clone(value)
	l.values = append(l.values, value)
	l.number[value] = len(l.values)
	return len(l.values)
}

// forget has a value be among the others.
func (l *labelNumbers) forget(value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.number[labelValue(value)]; n != 0 {
		delete(l.number, l.values[n-1])
		l.values[n-1] = ""
	}
}

// Add counts the lookups of a batch. It keeps nothing of it.
func (c *Counts) Add(recs []querylog.Record) {
	s := c.free()
	defer s.mu.Unlock()
	for i := range recs {
		c.addTo(s, &recs[i])
	}
}

// free returns a shard that is free, locked; the first where none is.
func (c *Counts) free() *shard {
	for i := range c.shards {
		if s := &c.shards[i]; s.mu.TryLock() {
			return s
		}
	}
	c.shards[0].mu.Lock()
	return &c.shards[0]
}

func (c *Counts) addTo(s *shard, r *querylog.Record) {
	verdict, source, rcode := r.Verdict.Action, r.Source, int(r.Rcode&0xf)
	s.queries[r.Transport][typeNumber(r.Type)][verdict]++
	if source == querylog.Shed {
		rcode = noReply
	} else {
		s.durations[source].add(r.Elapsed)
	}
	s.responses[source][rcode]++
	if r.Verdict.Level >= blocklists.ByList {
		if a := r.Verdict.Policy.Attribution(r.Verdict); a != nil && a.Vendor != "" {
			s.vendors.add(&c.vendors, a.Vendor, verdict)
		}
	}
	if c.devices != nil {
		s.devices.add(c.devices, named(r.Binding), verdict)
	}
}

// named returns the name that a device has by the settings; "" for none, and where the device
// opted out of the log.
func named(b *devices.Binding) string {
	if b == nil || b.NoLog {
		return ""
	}
	switch b.Source {
	case devices.ConfiguredMAC, devices.ConfiguredAddress, devices.ConfiguredPrefix, devices.ConfiguredClientID:
		return b.Device
	}
	return ""
}

// Forget has a device be among the others, with what was counted of it.
func (c *Counts) Forget(device string) {
	if c.devices == nil {
		return
	}
	c.devices.forget(device)
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		delete(s.devices.numbers, device)
		s.mu.Unlock()
	}
}

// typeWords are the types that are told apart, in the order of their numbers here.
var typeWords = [...]string{others, "A", "AAAA", "HTTPS", "SVCB", "PTR", "TXT", "SRV", "MX", "NS", "SOA", "CNAME", "DS", "DNSKEY", "ANY"}

const typeCount = len(typeWords)

func typeNumber(t uint16) int {
	switch t {
	case dnswire.TypeA:
		return 1
	case dnswire.TypeAAAA:
		return 2
	case dnswire.TypeHTTPS:
		return 3
	case dnswire.TypeSVCB:
		return 4
	case dnswire.TypePTR:
		return 5
	case dnswire.TypeTXT:
		return 6
	case dnswire.TypeSRV:
		return 7
	case dnswire.TypeMX:
		return 8
	case dnswire.TypeNS:
		return 9
	case dnswire.TypeSOA:
		return 10
	case dnswire.TypeCNAME:
		return 11
	case dnswire.TypeDS:
		return 12
	case dnswire.TypeDNSKEY:
		return 13
	case dnswire.TypeANY:
		return 14
	}
	return 0
}

// Write adds the counts to a page. A series without a lookup is left out, but for those of
// histograms and verdicts.
func (c *Counts) Write(p *Page) {
	sum := c.sum()
	for t := 1; t < transportCount; t++ {
		for typ := range typeCount {
			for v, n := range sum.queries[t][typ] {
				if n > 0 {
					p.Add(&Queries, float64(n), querylog.Transport(t).String(), typeWords[typ], blocklists.Action(v).String())
				}
			}
		}
	}
	for s := 1; s < sourceCount; s++ {
		for r, n := range sum.responses[s] {
			if n > 0 {
				word := "none"
				if r != noReply {
					word = dnswire.RcodeString(uint8(r))
				}
				p.Add(&Responses, float64(n), querylog.Source(s).String(), word)
			}
		}
	}
	for s := 1; s < sourceCount; s++ {
		if querylog.Source(s) != querylog.Shed {
			p.addHistogram(&ResponseTime, &sum.durations[s], querylog.Source(s).String())
		}
	}
	addByLabel(p, &VendorQueries, &c.vendors, sum.vendors.counts)
	if c.devices != nil {
		addByLabel(p, &DeviceQueries, c.devices, sum.devices.counts)
	}
}

// sum adds up the shards.
func (c *Counts) sum() *shard {
	sum := new(shard)
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for t := range s.queries {
			for typ := range s.queries[t] {
				for v, n := range s.queries[t][typ] {
					sum.queries[t][typ][v] += n
				}
			}
		}
		for from := range s.responses {
			for r, n := range s.responses[from] {
				sum.responses[from][r] += n
			}
			for b, n := range s.durations[from].counts {
				sum.durations[from].counts[b] += n
			}
			sum.durations[from].sum += s.durations[from].sum
		}
		sum.vendors.addAll(&s.vendors)
		sum.devices.addAll(&s.devices)
		s.mu.Unlock()
	}
	return sum
}

func (b *byLabel) addAll(of *byLabel) {
	for len(b.counts) < len(of.counts) {
		b.counts = append(b.counts, verdictCounts{})
	}
	for n := range of.counts {
		for v, count := range of.counts[n] {
			b.counts[n][v] += count
		}
	}
}

// addByLabel adds what was counted of each value, by its verdict. What is of no value any
// more is nobody's.
func addByLabel(p *Page, f *Family, numbers *labelNumbers, counts []verdictCounts) {
	numbers.mu.Lock()
	byName := maps.Clone(numbers.number)
	numbers.mu.Unlock()
	type valued struct {
		value string
		n     int
	}
	all := []valued{{others, 0}}
	for value, n := range byName {
		all = append(all, valued{value, n})
	}
	slices.SortFunc(all, func(a, b valued) int { return cmp.Compare(a.value, b.value) })
	for _, of := range all {
		if of.n >= len(counts) {
			continue
		}
		for v, n := range counts[of.n] {
			if n > 0 {
				p.Add(f, float64(n), of.value, blocklists.Action(v).String())
			}
		}
	}
}
