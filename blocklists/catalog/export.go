package catalog

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Set is a part of the catalogue that cuts across vendors and is of use on its
// own, as a list for this or another program.
type Set struct {
	Name, Meaning string
	has           func(e *Entry) bool
}

// Sets are the sets, by purpose but for the SDKs. A set holds what is known, so
// of connectivity and canary nothing is blocked by default or should be.
var Sets = []Set{
	{"doh", "resolvers by which a device gets around this server: DoH, DoT, HTTPDNS", withPurpose("dns-bypass")},
	{"connectivity", "connectivity checks: which name says what system a device runs", withPurpose("connectivity")},
	{"canary", "names by whose answer a program leaves DNS to the network; answer NXDOMAIN", withPurpose("canary")},
	{"acr", "content recognition on TVs", withPurpose("acr")},
	{"crash", "crash reporters", withPurpose("crash")},
	{"ads", "advertising", withPurpose("ads", "attribution")},
	{"sdk", "collectors inside apps of others: analytics, attribution, crash reports, ads", isSDK},
}

func withPurpose(purposes ...string) func(*Entry) bool {
	return func(e *Entry) bool { return slices.Contains(purposes, e.Purpose) }
}

// sdks are the products that are SDKs but stand in their maker's own file.
var sdks = []string{
	"Google Analytics for Firebase", "Firebase", "Crashlytics", "Google Ads",
	"Application Insights", "App Center", "Clarity", "Flurry", "Bugly", "Beacon", "MTA", "Umeng",
	"AppMetrica", "MyTracker", "Audience Network", "Facebook SDK", "Pangle", "Baidu Tongji", "Baidu Union",
	"TalkingData", "Getui", "JPush", "GrowingIO", "Sensors Analytics", "Conviva", "CloudWatch RUM", "RUM", "HUAWEI Ads",
}

func isSDK(e *Entry) bool {
	return e.Tier != "owner" && (e.File == "sdk.txt" || slices.Contains(sdks, e.Product))
}

// Set returns the entries of a set; ok is false where there is none of the name.
func (c *Catalog) Set(name string) (entries []Entry, ok bool) {
	i := slices.IndexFunc(Sets, func(s Set) bool { return s.Name == name })
	if i < 0 {
		return nil, false
	}
	for _, e := range c.entries {
		if e.Tier != "owner" && Sets[i].has(&e) {
			entries = append(entries, e)
		}
	}
	return entries, true
}

// Tier returns what a tier blocks: the lines of tier telemetry, and for "mixed"
// those of both tiers; ok is false for any other word.
func (c *Catalog) Tier(tier string) (entries []Entry, ok bool) {
	if tier != "telemetry" && tier != "mixed" {
		return nil, false
	}
	for _, e := range c.entries {
		if e.listed && (e.Tier == "telemetry" || e.Tier == tier) {
			entries = append(entries, e)
		}
	}
	return entries, true
}

// A Format is how Export writes names: as its reader wants them.
type Format string

// Formats are the formats of Export. The first is Telltale's own.
var Formats = []Format{"telltale", "adblock", "pihole", "hosts", "domains", "dnsmasq", "rpz", "unbound"}

// A writer writes the names of one format.
type writer struct {
	comment string // begins a comment line
	head    []string
	subtree []string // for a name and everything below it; %s is the name
	exact   []string // for a name alone; none where the format cannot say so
	nested  bool     // names below others are written, too
}

var writers = map[Format]writer{
	"telltale": {"#", []string{"# name: it and everything below it; =name: it alone"}, []string{"%s"}, []string{"=%s"}, true},
	"adblock":  {"!", []string{"! for AdGuard Home, and others that read AdBlock rules for DNS"}, []string{"||%s^"}, []string{"|%s^"}, false},
	"pihole":   {"#", []string{"# for Pi-hole 6, and 5 from 5.22 on: a name alone, and ||name^ for it and everything below it"}, []string{"||%s^"}, []string{"%s"}, false},
	"hosts": {"#", []string{"# for hosts files: each name alone, as they have no way to say what is below it"},
		[]string{"0.0.0.0 %s"}, []string{"0.0.0.0 %s"}, true},
	"domains": {"#", []string{"# for programs that block a name with everything below it"}, []string{"%s"}, nil, false},
	// host-record= alone leaves HTTPS to the servers upstream, with the real addresses in it.
	"dnsmasq": {"#", []string{"# for dnsmasq 2.86 and later: conf-file=, or a file of conf-dir"}, []string{"local=/%s/"},
		[]string{"host-record=%[1]s,0.0.0.0,::", "local=/%[1]s/", "server=/*.%[1]s/#"}, false},
	"rpz": {";", []string{"; a response policy zone (BIND, Knot Resolver, PowerDNS Recursor, unbound)", "$TTL 300",
		"@ IN SOA localhost. hostmaster.localhost. 1 3600 600 86400 300", "@ IN NS localhost."},
		[]string{"%[1]s CNAME .", "*.%[1]s CNAME ."}, []string{"%s CNAME ."}, false},
	"unbound": {"#", []string{"# for unbound 1.10 and later: include: it outside of other clauses", "server:"},
		[]string{"local-zone: \"%s\" always_null"}, []string{"local-data: \"%[1]s A 0.0.0.0\"", "local-data: \"%[1]s AAAA ::\""}, false},
}

// Export writes names for a reader of the format, sorted and each once. A name below
// another that is written with everything below it is left out for most: in a response
// policy zone it would end the star above it (RFC 4592), and dnsmasq would answer it as
// if it stood alone. What the catalogue knows but never blocks (of a set) is written as a
// comment, unless all is true; so is a name that is meant alone where the format would
// take what is below it, too.
func Export(w io.Writer, f Format, title string, entries []Entry, all bool) error {
	wr, ok := writers[f]
	if !ok {
		return fmt.Errorf("there is no format %q", f)
	}
	covers := map[string]bool{}
	for i := range entries {
		e := &entries[i]
		if !e.Exact && (e.listed || all) {
			covers[e.Name] = true
		}
	}
	var blocked, others []string
	for i := range entries {
		e := &entries[i]
		lines := wr.subtree
		if e.Exact {
			lines = wr.exact
		}
		switch {
		case !e.listed && !all:
			others = append(others, wr.comment+" never blocked: "+e.String())
		case isCovered(covers, e, wr.nested):
		case len(lines) == 0:
			others = append(others, wr.comment+" left out, as it is meant without what is below it: "+e.Name)
		default:
			blocked = append(blocked, e.String())
		}
	}
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%[1]s %[2]s\n%[1]s From Telltale's catalogue. Apache-2.0.\n", wr.comment, title)
	for _, line := range wr.head {
		fmt.Fprintln(b, line)
	}
	for _, line := range sorted(others) {
		fmt.Fprintln(b, line)
	}
	for _, name := range sorted(blocked) {
		lines := wr.subtree
		alone, exact := strings.CutPrefix(name, "=")
		if exact {
			lines = wr.exact
		}
		for _, line := range lines {
			fmt.Fprintf(b, line+"\n", alone)
		}
	}
	return b.Flush()
}

// isCovered reports whether an entry says nothing that another does not say: that of
// the same name with everything below it, or one above it unless nested ones count.
func isCovered(covers map[string]bool, e *Entry, nested bool) bool {
	if e.Exact && covers[e.Name] {
		return true
	}
	for _, name, ok := strings.Cut(e.Name, "."); ok && !nested; _, name, ok = strings.Cut(name, ".") {
		if covers[name] {
			return true
		}
	}
	return false
}

func sorted(lines []string) []string {
	slices.Sort(lines)
	return slices.Compact(lines)
}
