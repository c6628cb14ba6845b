package catalog

import (
	"bufio"
	"fmt"
	"io"
	"slices"
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
	"TalkingData", "Getui push", "JPush", "GrowingIO", "Sensors Analytics", "Conviva", "CloudWatch RUM", "HUAWEI Ads",
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

// Export writes names as a plain list, one a line, sorted and each once, that
// any program reads: a name means its subtree, "=name" the name alone. What the
// catalogue knows but never blocks (of a set) is written as a comment, unless
// all is true.
func Export(w io.Writer, title string, entries []Entry, all bool) error {
	lines := make([]string, 0, len(entries))
	for i := range entries {
		if e := &entries[i]; e.listed || all {
			lines = append(lines, e.String())
		} else {
			lines = append(lines, "# never blocked: "+e.String())
		}
	}
	slices.Sort(lines)
	lines = slices.Compact(lines)
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "# %s\n# From Telltale's catalogue. Apache-2.0.\n", title)
	fmt.Fprint(b, "# name: it and everything below it; =name: it alone (a program without this form skips it)\n")
	for _, line := range lines {
		fmt.Fprintln(b, line)
	}
	return b.Flush()
}
