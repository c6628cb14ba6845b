package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"telltale/blocklists"
	"telltale/blocklists/format"
	"telltale/blocklists/inspect"
	"telltale/config"
	"telltale/dnswire"
	"telltale/resolver"
	"telltale/resolver/upstream"
	"telltale/web"
)

func (cl *cli) newExplain() *cobra.Command {
	device, typ := "", "A"
	c := cl.addJSON(&cobra.Command{
		Use:   "explain NAME",
		Short: "Say what would be decided for a name, and why",
		Long: `Show every rule that matches a name, in the order of their weight, which one
decides, and who says what the name is for. Rules that match but have ended, were
removed by a $badfilter or stand in a list that is off come last, each with why it
does not count. Names that the server answers by itself, such as localhost, say so.
With --device, as that device would be answered. It works with the server stopped,
too: then by the lists as they are on disk.`,
		Example: `  telltale explain data.mistat.xiaomi.com
  telltale explain --device living-room-tv --type AAAA ads.example`,
		Args: oneArg("name"),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseName(args[0])
			if err != nil {
				return usage("%v", err)
			}
			qtype, ok := dnswire.ParseType(typ)
			if !ok {
				return usage("%q is no record type", typ)
			}
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			var e web.Explanation
			query := url.Values{"name": {name.String()}, "type": {dnswire.TypeString(qtype)}, "device": {device}}
			err = newClient(cfg).get(c.Context(), "/explain?"+query.Encode(), &e)
			if errors.Is(err, errStopped) {
				e, err = explainStopped(cfg, &name, qtype, device)
			}
			if err != nil {
				return err
			}
			if cl.json {
				enc := json.NewEncoder(cl.out)
				enc.SetEscapeHTML(false)
				return enc.Encode(e)
			}
			return cl.printExplanation(&e)
		},
	})
	c.Flags().StringVar(&device, "device", "", "as this device: its name, identity or MAC, or an address")
	c.Flags().StringVar(&typ, "type", typ, "record type")
	complete(c, "type", "A", "AAAA", "HTTPS", "SVCB", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT")
	return c
}

// askerStopped returns the settings and the address with which a device asks, by
// the settings alone and in the order in which the server knows devices: an
// address, then the longest prefix; "" is anybody.
func askerStopped(cfg *config.Config, who string) (settings uint16, addr netip.Addr, err error) {
	if who == "" {
		return 0, addr, nil
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
			return uint16(i + 1), addr, nil
		}
		for _, p := range d.Prefixes {
			if p.Contains(addr) && p.Bits() > longest {
				settings, longest = uint16(i+1), p.Bits()
			}
		}
	}
	if notAddr != nil {
		return 0, addr, fmt.Errorf("no device %q is configured, and the server that could know it is not running", who)
	}
	return settings, addr, nil
}

// explainStopped explains without a server. Only configured devices have
// settings of their own.
func explainStopped(cfg *config.Config, name *dnswire.Name, qtype uint16, device string) (web.Explanation, error) {
	settings, addr, err := askerStopped(cfg, device)
	if err != nil {
		return web.Explanation{}, err
	}
	lists, err := blocklists.OpenReadOnly(stoppedListOptions(cfg))
	if err != nil {
		return web.Explanation{}, err
	}
	defer lists.Close()
	e := inspect.Explain(lists, name, qtype, lists.Current().GroupOf(settings, addr))
	server, asked := serverSettings(cfg), upstream.Options{Servers: upstreams(cfg)}
	special := resolver.SpecialOf(name, qtype, e.Verdict.Action, &server, asked.HasPrivate(cfg.Listen.DNS))
	return explanationOf(e, special), nil
}

// explanationOf puts together what lists say of a name and what the server makes
// of it by itself.
func explanationOf(e inspect.Explanation, special resolver.Special) web.Explanation {
	switch {
	case special.Rule != 0:
		e.AnswerBy(special.Rule, special.Reply.String())
	case special.Reply == resolver.PrivateOnly:
		e.Why += "; only upstreams with a private address are asked"
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
	for k, v := range map[string]string{
		"vendor": n.Vendor, "product": n.Product, "purpose": n.Purpose, "tier": n.Tier, "region": n.Region, "source": n.Source,
		"breaks": n.Breaks, "since": n.Since, "confidence": n.Confidence, "software": n.Software,
	} {
		if v != "" {
			m[k] = v
		}
	}
	return m
}

func (cl *cli) printExplanation(e *web.Explanation) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s", e.Name, e.Type, e.Verdict)
	if e.Mode != "" {
		fmt.Fprintf(&b, " (answered %s)", e.Mode)
	}
	fmt.Fprintf(&b, "\n  %s\n", printable(e.Why))
	if len(e.About) > 0 {
		fmt.Fprintf(&b, "\nAttributed by %s:\n", e.Attribution)
		printNote(&b, e.About)
	}
	if e.Shipped != nil && e.User != nil {
		b.WriteString("\nThe shipped lists say:\n")
		printNote(&b, e.Shipped)
		b.WriteString("Your lists say:\n")
		printNote(&b, e.User)
	}
	if len(e.Matches) > 0 {
		b.WriteString("\nRules that match, the weightiest first:\n")
	}
	for i := range e.Matches {
		m := &e.Matches[i]
		mark := " "
		if e.Decider != nil && m.List == e.Decider.List && m.Line == e.Decider.Line && m.Rule == e.Decider.Rule {
			mark = "*"
		}
		b.WriteString(mark + " ")
		printMatch(&b, m)
	}
	_, err := cl.out.Write([]byte(b.String()))
	return err
}

// printMatch prints a rule that matches, with its place and what limits it.
func printMatch(b *strings.Builder, m *web.Match) {
	fmt.Fprintf(b, "%-28s %-7s %s", printable(place(m.List, m.Line)), m.Action, printable(m.Rule))
	if m.Note != "" {
		fmt.Fprintf(b, "  (%s)", printable(m.Note))
	}
	if m.More > 0 {
		fmt.Fprintf(b, "  and %d more of this list to the same end", m.More)
	}
	b.WriteByte('\n')
}

// printNote prints an annotation in the order in which people ask, each source on
// a line of its own.
func printNote(b *strings.Builder, note map[string]string) {
	for _, k := range []string{"vendor", "product", "purpose", "tier", "region", "software", "breaks", "since", "confidence", "source"} {
		v := note[k]
		if k != "source" {
			printPair(b, k, v)
			continue
		}
		for _, source := range strings.Fields(v) {
			printPair(b, k, source)
			k = ""
		}
	}
}

func printPair(b *strings.Builder, key, value string) {
	if value != "" {
		fmt.Fprintf(b, "  %-11s %s\n", key, printable(value))
	}
}
