package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"telltale/blocklists"
	"telltale/blocklists/format"
	"telltale/blocklists/inspect"
	"telltale/config"
	"telltale/devices"
	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver"
	"telltale/resolver/upstream"
	"telltale/web"
)

func (cl *cli) newExplain() *cobra.Command {
	device, typ, offline := "", "A", false
	c := cl.addJSON(&cobra.Command{
		Use:   "explain NAME",
		Short: "Say how a name is answered, and why",
		Long: `Ask the running server how it answers a name now, and why: by a rule for the name,
by one for a name or an address that its answer leads to, by itself (localhost), or
not at all (a public name that leads into the home, an upstream that fails). It goes
the way of a query, by the cache and the upstreams, and leaves no row in the log.

Then every rule that matches the name, by precedence, which one
decides, and who says what the name is for. Rules that match but have ended, were
removed by a $badfilter or stand in a list that is off come last, each with why it
does not count. With --device, as that device is answered. NAME may be the address
of a page.

With --offline, and with the server stopped, by rules alone: what the answer leads
to is not known then, and may decide too.`,
		Example: `  telltale explain data.mistat.xiaomi.com
  telltale explain https://shop.example/cart
  telltale explain --device living-room-tv --type AAAA ads.example`,
		Args: oneArg("name"),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseHost(args[0])
			if err != nil {
				return usage("%v", err)
			}
			qtype, err := parseType(typ)
			if err != nil {
				return usage("--type: %v", err)
			}
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			e, err := explain(c.Context(), cfg, &name, qtype, device, offline)
			if err != nil {
				return err
			}
			if cl.json {
				enc := cl.encoder()
				return enc.Encode(e)
			}
			_, err = io.WriteString(cl.out, explanationText(&e))
			return err
		},
	})
	c.Flags().StringVar(&device, "device", "", "as this device: its name, identity or MAC, or an address")
	c.Flags().StringVar(&typ, "type", typ, "record type")
	c.Flags().BoolVar(&offline, "offline", false, "by rules alone: do not ask what the answer leads to")
	complete(c, "type", "A", "AAAA", "HTTPS", "SVCB", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT")
	return c
}

// explain asks the server how a name is answered, and why; where none runs, by rules alone.
func explain(ctx context.Context, cfg *config.Config, name *dnswire.Name, qtype uint16, device string, offline bool) (e web.Explanation, err error) {
	query := url.Values{"name": {name.String()}, "type": {dnswire.TypeString(qtype)}, "device": {device}, "offline": {strconv.FormatBool(offline)}}
	err = newClient(cfg).get(ctx, "/explain?"+query.Encode(), &e)
	if errors.Is(err, errStopped) {
		return explainStopped(cfg, name, qtype, device)
	}
	return e, err
}

// askerStopped returns the settings and the address with which a device asks, by
// the settings alone and in the order in which the server knows devices: an
// address, then the longest prefix; "" is anybody.
func askerStopped(cfg *config.Config, s *membership, who string) (settings uint16, addr netip.Addr, err error) {
	if who == "" {
		return 0, addr, nil
	}
	number := func(d *config.Device, addr netip.Addr) uint16 {
		n, _ := s.of(&devices.Binding{Device: d.Name, Addr: addr})
		return n
	}
	addr, notAddr := netip.ParseAddr(who)
	longest := -1
	for i := range cfg.Devices {
		d := &cfg.Devices[i]
		named := d.Name == who || slices.Contains(d.MACs, who)
		if named && len(d.Addresses) > 0 {
			addr = d.Addresses[0]
		}
		if named || slices.Contains(d.Addresses, addr) {
			return number(d, addr), addr, nil
		}
		for _, p := range d.Prefixes {
			if p.Contains(addr) && p.Bits() > longest {
				settings, longest = number(d, addr), p.Bits()
			}
		}
	}
	if longest < 0 && notAddr == nil {
		settings = s.ofAddress(addr)
	}
	if notAddr != nil {
		return 0, addr, fmt.Errorf("no device %q is configured, and the server that could know it is not running", who)
	}
	return settings, addr, nil
}

// explainStopped explains without a server. Only configured devices have
// settings of their own.
func explainStopped(cfg *config.Config, name *dnswire.Name, qtype uint16, device string) (web.Explanation, error) {
	selected := newNumbers(cfg)
	settings, addr, err := askerStopped(cfg, selected, device)
	if err != nil {
		return web.Explanation{}, err
	}
	o := stoppedListOptions(cfg)
	lists, err := blocklists.OpenReadOnly(o)
	if err != nil {
		return web.Explanation{}, err
	}
	defer lists.Close()
	e := inspect.Explain(lists, name, qtype, lists.Current().GroupOf(settings, addr))
	server, asked := serverSettings(cfg), upstream.Options{Servers: upstreams(cfg)}
	all, err := upstream.NewZones(forwards(cfg, selected))
	if err != nil {
		return web.Explanation{}, err
	}
	zones, private := all.Of(settings), asked.HasPrivate(cfg.Listen.DNS)
	if own := zones.All(); own != nil && !private {
		asked.Servers = own.Servers
		private = asked.HasPrivate(cfg.Listen.DNS)
	}
	special := resolver.SpecialOf(name, qtype, e.Verdict.Action, &server, private, zones)
	out := explanationOf(e, special, zoneFor(zones, name))
	out.Edition = o.Edition
	return out, nil
}

// explanationOf puts together what lists say of a name, what the server makes of it by
// itself, and the zone with servers of its own that it is in; nil for none.
func explanationOf(e inspect.Explanation, special resolver.Special, zone *upstream.Zone) web.Explanation {
	switch {
	case special.Rule != 0:
		e.AnswerBy(special.Rule, special.Reply.String())
	case special.Reply == resolver.PrivateOnly:
		e.Why += "; only upstreams with a private address are asked"
	case zone != nil && e.Verdict.Action != blocklists.Block && e.Verdict.Action != blocklists.Answer:
		e.Why += "; " + forwardText(zone)
	}
	out := web.Explanation{
		Name: e.Name, Type: e.Type, Verdict: e.Verdict.Action.String(), Why: e.Why, Attribution: e.Verdict.Level.String(),
		Matches: []web.Match{}, Shipped: noteJSON(e.Shipped), User: noteJSON(e.User),
	}
	switch {
	case special.Rule != 0:
		out.Mode = special.Reply.String()
	case e.Verdict.Action == blocklists.Block:
		out.Mode = e.Verdict.Mode.String()
	}
	out.Class, out.ObservedBy = e.Verdict.Class.String(), e.Verdict.ObservedBy.String()
	for i := range e.Matches {
		out.Matches = append(out.Matches, *matchOf(&e.Matches[i]))
	}
	if e.Decider != nil {
		out.Decider = matchOf(e.Decider)
	}
	if e.Attr != nil {
		out.Attributing = matchOf(e.Attr)
	}
	if p := e.Verdict.Policy; p != nil {
		out.About = noteJSON(p.Attribution(e.Verdict))
	}
	return out
}

// zoneFor returns the zone with servers of their own that decides about name; nil for none.
func zoneFor(zones upstream.DeviceZones, name *dnswire.Name) *upstream.Zone {
	if zone := zones.Find(name); zone != nil {
		return zone
	}
	return zones.All()
}

// forwardText says who is asked for names of a zone, and for whom.
func forwardText(zone *upstream.Zone) string {
	text := "names of " + zone.Name + " are forwarded"
	if zone.Name == "" {
		text = "all names are forwarded"
	}
	if len(zone.For) > 0 {
		text += " for " + strings.Join(zone.For, ", ")
	}
	return text + ": only " + zone.Asks() + " is asked"
}

// addStory adds to what rules say of a name how the running server answers it, for
// a member of group.
func addStory(out *web.Explanation, story *resolver.Story, group blocklists.Group) {
	v := &story.Verdict
	out.Reply = replyOf(story)
	switch {
	case story.Alias != "":
		explainAlias(out, story, group)
	case story.Address.IsValid():
		out.Address = story.Address.String()
		out.Decider = deciderOf(v)
		out.Why = fmt.Sprintf("the answer holds %s, and a rule for it decides: %s", story.Address, because(v, group))
	case story.Server != "":
		out.Decider = deciderOf(v)
		out.Why = fmt.Sprintf("the name's zone is served by %s, and a rule for that server decides: %s", story.Server, because(v, group))
	}
	if story.Alias != "" || story.Address.IsValid() || story.Server != "" {
		out.Verdict, out.Class, out.ObservedBy, out.Mode = v.Action.String(), v.Class.String(), v.ObservedBy.String(), ""
		if v.Action == blocklists.Block {
			out.Mode = v.Mode.String()
		}
	}
	out.Why += after(story)
}

// because says why a rule of a verdict for a member of group decided.
func because(v *blocklists.Verdict, group blocklists.Group) string {
	return inspect.Reason(v, v.Policy.Because(*v, group))
}

// deciderOf returns the rule of a verdict that something in the answer got.
func deciderOf(v *blocklists.Verdict) *web.Match {
	r := v.Policy.Rule(v.Rule)
	return &web.Match{List: r.List, Line: r.Line, Rule: r.Text, Action: actionWord(format.Block), Enforced: true, About: noteJSON(r.Annotation)}
}

// explainAlias says that a name to which the answer leads decided.
func explainAlias(out *web.Explanation, story *resolver.Story, group blocklists.Group) {
	v := &story.Verdict
	out.Alias = story.Alias
	out.Why = fmt.Sprintf("the answer leads to %s, and a rule for that name decides: %s", story.Alias, because(v, group))
	alias, err := dnswire.ParseName(story.Alias)
	qtype, ok := dnswire.ParseType(out.Type)
	if err != nil || !ok {
		return
	}
	e := inspect.ExplainPolicy(v.Policy, &alias, qtype, group)
	for i := range e.Matches {
		m := matchOf(&e.Matches[i])
		out.AliasMatches = append(out.AliasMatches, *m)
		if e.Matches[i].ID == v.Rule {
			out.Decider = m
		}
	}
	out.Attribution, out.About = v.Level.String(), noteJSON(v.Policy.Attribution(*v))
}

// replyOf is what a client gets.
func replyOf(story *resolver.Story) *web.Reply {
	r := &web.Reply{
		From: story.Source.String(), Rcode: dnswire.RcodeString(story.Rcode), Error: story.EDE.Text, Answer: []string{},
		Upstream: story.Upstream, Redirects: story.Redirects, LeadsTo: story.Leads,
	}
	r.Answer = append(r.Answer, story.Answer...)
	for _, a := range story.Private {
		r.Private = append(r.Private, a.String())
	}
	if len(r.Private) > 0 {
		r.Rebind = story.Rebind.String()
	}
	return r
}

// after continues the sentence of an explanation with what happens where no rule
// blocks.
func after(story *resolver.Story) string {
	var b strings.Builder
	if n := len(story.Redirects); n > 0 && story.Alias == "" {
		fmt.Fprintf(&b, "; it leads to %s", strings.Join(story.Redirects, ", then to "))
	}
	switch {
	case story.Source == querylog.FromRebind:
		fmt.Fprintf(&b, "; the answer leads to %v, a private address, and a public name must not: if that is meant, put its domain into rebind.allow", story.Private[0])
	case story.Source == querylog.FromError, story.Source == querylog.FromFailure:
		fmt.Fprintf(&b, "; no upstream gave an answer: %s", cmp.Or(story.EDE.Text, "no reason is known"))
	case story.Source == querylog.FromStale:
		fmt.Fprintf(&b, "; no upstream gives an answer: this is the last there was, after its time")
	case story.Verdict.Action != blocklists.Block && story.Rcode == dnswire.ServFail:
		fmt.Fprintf(&b, "; the upstream itself says SERVFAIL%s: it cannot answer this name. A name that only servers of a company or of the home know "+
			"must be asked of those (split horizon): put its zone into forward", inBrackets(story.EDE.Text))
	case len(story.Private) > 0 && story.Verdict.Action != blocklists.Block:
		fmt.Fprintf(&b, "; the answer leads to %v, a private address: %s", story.Private[0], story.Rebind)
	}
	return b.String()
}

func inBrackets(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

func matchOf(m *blocklists.Match) *web.Match {
	return &web.Match{
		List: m.Rule.List, Line: m.Rule.Line, Rule: m.Rule.Text, Action: actionWord(m.Action), Kind: m.Kind.String(),
		Enforced: m.Enforced, Note: inspect.Limit(m), More: m.More, About: noteJSON(m.Rule.Annotation),
	}
}

// actionWord says what a rule wants.
func actionWord(a format.Action) string {
	switch a {
	case format.Block:
		return "block"
	case format.Allow:
		return "allow"
	case format.Known:
		return "known"
	case format.Answer:
		return "answer"
	}
	return "cancel"
}

// noteJSON returns what an annotation says, without what it does not say.
func noteJSON(n *format.Annotation) map[string]string {
	if n == nil {
		return nil
	}
	m := map[string]string{}
	trust := format.ReadConfidence(n.Confidence)
	if trust.Independent > 0 {
		m["independent"] = strconv.Itoa(trust.Independent)
	}
	if trust.Contested {
		m["contested"] = "true"
	}
	for k, v := range map[string]string{
		"vendor": n.Vendor, "product": n.Product, "purpose": n.Purpose, "tier": n.Tier, "region": n.Region, "source": n.Source,
		"breaks": n.Breaks, "since": n.Since, "confidence": trust.Word, "software": n.Software,
	} {
		if v != "" {
			m[k] = v
		}
	}
	return m
}
