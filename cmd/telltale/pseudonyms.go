package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"telltale/config"
	"telltale/evidence"
	"telltale/querylog"
	"telltale/web"
)

// Pseudonyms are other words for what says whose a log is: devices, addresses, and
// names of the home. They are the same ones in all of one export, and others in the
// next, so that two exports cannot be put together by them.
type pseudonyms struct {
	ids   *identities
	zones []string // domains in which names are the home's, lower case
	given map[string]string
	n     map[string]int // how many of each kind
}

func newPseudonyms(l *openedLog) *pseudonyms {
	return &pseudonyms{ids: l.ids, zones: slices.Concat(homeSuffixes, homeZones(l.cfg)), given: map[string]string{}, n: map[string]int{}}
}

// homeZones are the domains that the settings say to be the home's.
func homeZones(cfg *config.Config) (zones []string) {
	add := func(zone string) {
		if zone = strings.Trim(strings.ToLower(zone), "."); zone != "" && strings.ContainsFunc(zone, func(r rune) bool { return r != '*' }) {
			zones = append(zones, strings.TrimPrefix(zone, "*."))
		}
	}
	add(cfg.Local.DeviceSuffix)
	for _, record := range cfg.Local.Records {
		if fields := strings.Fields(record); len(fields) > 0 {
			add(fields[0])
		}
	}
	for i := range cfg.Forward {
		for _, zone := range cfg.Forward[i].Zones {
			add(zone)
		}
	}
	return zones
}

// of returns the word for a value of a kind, such as device-1.
func (p *pseudonyms) of(kind, value string) string {
	if value == "" {
		return ""
	}
	key := kind + " " + value
	word, ok := p.given[key]
	if !ok {
		p.n[kind]++
		word = fmt.Sprintf("%s-%d", kind, p.n[kind])
		p.given[key] = word
	}
	return word
}

// device returns the word for the device that had an identity at a time.
func (p *pseudonyms) device(identity string, at time.Time) string {
	if identity == "" {
		return ""
	}
	return p.of("device", p.ids.now(identity, at))
}

// homeSuffixes are domains in which networks name their devices.
var homeSuffixes = []string{
	"lan", "local", "localdomain", "home", "home.arpa", "internal", "intranet", "private", "corp", "workgroup", "localhost", "fritz.box", "arpa",
}

// name returns a name as it is, or another word where it is one of the home: it has
// one label, is below a domain in which networks name their devices or which the
// settings say to be the home's, or was answered here.
func (p *pseudonyms) name(name, verdict string) string {
	name = strings.ToLower(name)
	if name == "" {
		return ""
	}
	suffix := ""
	for _, s := range p.zones {
		if (name == s || strings.HasSuffix(name, "."+s)) && len(s) > len(suffix) {
			suffix = s
		}
	}
	if suffix == "" && verdict != "answer" && strings.Contains(name, ".") {
		return name
	}
	return p.of("host", name)
}

// rule returns a rule's text where it says nothing of the home: rules for single
// devices name them.
func (p *pseudonyms) rule(rule string, named bool) string {
	if named || strings.ContainsAny(rule, "$ ") {
		return ""
	}
	return rule
}

// row returns a row in other words.
func (p *pseudonyms) row(r *querylog.Row) querylog.Row {
	out := *r
	out.Device = p.device(r.Device, r.Time.Time)
	out.DeviceName = ""
	if r.DeviceName != "" {
		out.DeviceName = out.Device
	}
	out.Client, out.MAC, out.ClientID = p.of("address", r.Client), p.of("mac", r.MAC), p.of("client-id", r.ClientID)
	out.Node, out.Store, out.Upstream = p.of("server", r.Node), p.of("store", r.Store), p.of("upstream", r.Upstream)
	out.Name, out.Alias = p.name(r.Name, r.Verdict), p.name(r.Alias, r.Verdict)
	out.Rule = p.rule(r.Rule, out.Name != r.Name || out.Alias != r.Alias)
	return out
}

// covers returns the word for what a binding covers: an address, a prefix, or nothing
// but client ids.
func (p *pseudonyms) covers(text string) string {
	if _, err := netip.ParseAddr(text); err == nil {
		return p.of("address", text)
	}
	if _, err := netip.ParsePrefix(text); err == nil {
		return p.of("prefix", text)
	}
	return text
}

// event returns a line of the ledger without what it was about: people's words are in
// most of them.
func (p *pseudonyms) event(e *querylog.Event) querylog.Event {
	return querylog.Event{Time: e.Time, Node: p.of("server", e.Node), Kind: e.Kind, Since: e.Since, Until: e.Until}
}

// shown returns a device of the running server in other words. How it calls itself, what
// people said of it but its kind, and reasons with names in them are left out.
func (p *pseudonyms) shown(d *web.Device) web.Device {
	out := *d
	out.Device = p.of("device", d.Device)
	out.Name, out.Notes, out.Tags, out.Bindings = out.Device, nil, nil, []web.Binding{}
	if d.Kind != nil {
		kind := *d.Kind
		kind.Reasons = []web.KindReason{}
		out.Kind = &kind
	}
	if d.Perhaps != nil {
		other := p.of("device", d.Perhaps.Device)
		out.Perhaps = &web.PerhapsIs{Device: other, Name: other, Reasons: []string{}}
	}
	for _, b := range d.Bindings {
		covers := p.covers(b.Addr)
		if covers == b.Addr && covers != "" { // a MAC, or a client id
			covers = p.of("client", b.Addr)
		}
		p.n["binding"]++
		b.ID = uint64(p.n["binding"]) // the store's is the same in all exports
		b.Addr, b.MAC, b.Lease, b.Announced = covers, p.of("mac", b.MAC), nil, nil
		if b.Device != "" {
			b.Device = p.device(b.Device, b.From)
		}
		out.Bindings = append(out.Bindings, b)
	}
	return out
}

// options has a report made with other words for devices.
func (p *pseudonyms) options(o *evidence.Options) {
	o.Name = func(device string) string { return p.of("device", device) }
	o.Notes = nil // people write names in them
}

// report puts other words in what options leaves as it is.
func (p *pseudonyms) report(r *evidence.Report) {
	about := func(device string) string { return p.of("device", device) }
	if _, err := netip.ParseAddr(r.About.Device); err == nil {
		about = func(address string) string { return p.of("address", address) }
	}
	r.About.Device = about(r.About.Device)
	r.About.Label = r.About.Device
	for i := range r.Devices {
		d := &r.Devices[i]
		d.Device = p.of("device", d.Device)
	}
	for i := range r.Vendors {
		for j := range r.Vendors[i].Names {
			n := &r.Vendors[i].Names[j]
			n.Name, n.Alias = p.name(n.Name, ""), p.name(n.Alias, "")
		}
	}
	for _, changes := range [][]evidence.Change{r.New, r.Gone} {
		for i := range changes {
			changes[i].Name = p.name(changes[i].Name, "")
		}
	}
	for i := range r.Identity {
		d := &r.Identity[i]
		d.Device, d.Covers, d.MAC = p.device(d.Device, d.From.Time), p.covers(d.Covers), p.of("mac", d.MAC)
	}
	for i := range r.Markers {
		r.Markers[i].Text, _, _ = strings.Cut(r.Markers[i].Text, ":") // what happened, and not to whom
	}
	for i := range r.Coverage.Gaps {
		if g := &r.Coverage.Gaps[i]; g.Kind != querylog.GapUnknown {
			g.Subject, g.Detail = "", ""
		}
	}
	r.Caveats = append(r.Caveats, "devices, addresses and names of the home have other words here, the same ones in all of this report; notes are left out, and of events what they were about")
}
