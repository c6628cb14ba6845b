package format

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"telltale/dnswire"
	"telltale/sorting"
)

// A redirect is a local-zone of type redirect: how its names are answered stands
// in the local-data lines that follow.
type redirect struct {
	rule  Rule
	name  []byte
	texts []string // its line, and those of data it answers with
	data  bool     // a local-data line was seen, and refused or taken
	null  bool     // one of them leads nowhere
}

// unbound reads local-zone and local-data and reports whether the line was one
// of unbound's configuration.
func (p *parser) unbound(s string) bool {
	key, value, ok := strings.Cut(s, ":")
	if !ok || !isSetting(key) {
		return false
	}
	switch key {
	case "local-zone", "local-data", "local-data-ptr":
	default:
		if value != "" && value[0] != ' ' && value[0] != '\t' {
			return false // a scheme, a port, another tool's "domain:example.com"
		}
		value, _ = cutHash(" " + value)
		if value == "" {
			p.report.Ignored++ // "server:"
		} else {
			p.bad(NotHonoured, s, "the setting %s: blocks no name: only local-zone and local-data are read", key)
		}
		return true
	}
	words, comment, ok := quotedWords(value)
	s = strings.TrimSpace(strings.TrimSuffix(s, comment))
	p.annotate(comment)
	switch {
	case !ok:
		p.bad(NotARule, s, "a quote is not closed: close it")
	case key == "local-zone":
		p.localZone(s, words)
	case key == "local-data":
		p.localData(s, words)
	default:
		p.localPointer(s, words)
	}
	return true
}

func isSetting(key string) bool {
	return key != "" && strings.Trim(key, "abcdefghijklmnopqrstuvwxyz-0123456789") == "" && key[0] > '9'
}

// quotedWords splits a value at spaces that are not within quotes, and cuts off
// a comment.
func quotedWords(s string) (words []string, comment string, ok bool) {
	for {
		s = strings.TrimLeft(s, " \t")
		switch {
		case s == "":
			return words, "", true
		case s[0] == '#':
			return words, s, true
		case s[0] == '"' || s[0] == '\'':
			end := strings.IndexByte(s[1:], s[0])
			if end < 0 {
				return words, "", false
			}
			words = append(words, s[1:1+end])
			s = s[end+2:]
		default:
			end := strings.IndexAny(s, " \t")
			if end < 0 {
				end = len(s)
			}
			words = append(words, s[:end])
			s = s[end:]
		}
	}
}

// A transparentZone is an exception by a local-zone: of two lines for a name unbound
// 1.17 takes the last, so it waits for the end of the file.
type transparentZone struct {
	rule  Rule
	whole string
}

// addTransparent keeps an exception until no other local-zone of its name can come.
func (p *parser) addTransparent(r Rule, whole, name string) {
	wire, ok := p.name(name, oneLabel)
	if !ok {
		return
	}
	if p.transparent == nil {
		p.transparent = map[string]transparentZone{}
	}
	r.Line, r.Annotation, r.Name = p.line, p.current, append([]byte(nil), wire...)
	p.transparent[string(wire)] = transparentZone{r, strings.Clone(whole)}
}

// dropTransparent takes back the exception by an earlier local-zone of a name.
func (p *parser) dropTransparent(name string) {
	if len(p.transparent) == 0 {
		return
	}
	wire, ok := p.name(name, oneLabel)
	if z, found := p.transparent[string(wire)]; ok && found {
		delete(p.transparent, string(wire))
		line := p.line
		p.line = z.rule.Line
		p.bad(NotHonoured, z.whole, "line %d has another local-zone for the name: the last counts, remove one", line)
		p.line = line
	}
}

// endTransparent emits the exceptions that are left, in the order of their lines.
func (p *parser) endTransparent() {
	zones := slices.Collect(maps.Values(p.transparent))
	sorting.By(zones, func(a, b transparentZone) int { return cmp.Compare(a.rule.Line, b.rule.Line) })
	p.transparent = nil
	for i := range zones {
		p.putAt(zones[i].rule)
	}
}

// putAt emits a rule of an earlier line.
func (p *parser) putAt(r Rule) {
	line := p.line
	p.line = r.Line
	p.put(r)
	p.line = line
}

// localZone reads NAME and TYPE. Every type that has a meaning here holds for
// the name and everything below it.
func (p *parser) localZone(whole string, words []string) {
	p.endRedirect()
	if len(words) != 2 {
		p.bad(NotARule, whole, `a local-zone is a name and a type: write local-zone: "example.com" always_null`)
		return
	}
	r := Rule{Form: Unbound}
	switch typ := words[1]; typ {
	case "always_null":
	case "static", "always_nxdomain", "inform_deny":
		r.Extra = repliesNXDomain
		if typ == "inform_deny" {
			r.Extra = repliesDrop
		}
	case "always_nodata":
		r.Extra = repliesNoData
	case "refuse", "always_refuse":
		r.Extra = repliesRefuse
	case "deny", "always_deny":
		r.Extra = repliesDrop
	case "block_a", "block_a_wdata":
		r.Extra = &Extra{Text: strings.Clone(whole), Types: []uint16{dnswire.TypeA}, Reply: NoData}
	case "block_aaaa", "block_aaaa_wdata":
		r.Extra = &Extra{Text: strings.Clone(whole), Types: []uint16{dnswire.TypeAAAA}, Reply: NoData}
	case "transparent", "typetransparent", "always_transparent":
		r.Action = Allow
		p.addTransparent(r, whole, words[0])
		return
	case "redirect", "inform_redirect":
		p.dropTransparent(words[0])
		if name, ok := p.name(words[0], oneLabel); ok {
			r.Line, r.Annotation = p.line, p.current
			p.redirect = &redirect{rule: r, name: append([]byte(nil), name...), texts: []string{strings.Clone(whole)}}
		}
		return
	case "inform", "nodefault", "noview":
		p.bad(NotHonoured, whole, "the type %s neither blocks nor allows: remove the line", typ)
		return
	default:
		p.bad(NotHonoured, whole, "the type %s is unknown: always_null, always_nxdomain, refuse and the like block, transparent allows", printable(typ))
		return
	}
	p.dropTransparent(words[0])
	p.putName(r, words[0], oneLabel)
}

// localData reads a record. Within the redirect zone just above it says how the
// whole zone is answered, elsewhere how the name alone is.
func (p *parser) localData(whole string, words []string) {
	if len(words) == 1 {
		words, _, _ = quotedWords(words[0])
	}
	rr, problem := parseRecord(words)
	if problem != "" {
		p.bad(BadRecord, whole, "%s", problem)
		return
	}
	name, ok := p.name(rr.owner, oneLabel)
	if !ok {
		return
	}
	if z := p.redirect; z != nil && string(z.name) == string(name) {
		p.redirectData(z, whole, rr.record)
		return
	}
	x := &Extra{Text: strings.Clone(whole)}
	r := Rule{Form: Unbound, Match: Exact, Name: name}
	if leadsNowhere(rr.record) {
		p.put(r)
		return
	}
	if !p.reply(x, whole, rr.record, p.mayAnswer()) {
		return
	}
	r.Action, r.Extra = Answer, x
	r.Name = append([]byte(nil), name...)
	p.put(r)
	if p.Own {
		p.pointers(r.Name, x.Records, x.Text)
	}
}

// redirectData takes a record that a redirect zone answers with.
func (p *parser) redirectData(z *redirect, whole string, rec Record) {
	z.data = true
	x := z.rule.Extra
	if x == nil {
		x = &Extra{}
	}
	if x.Reply != Records && leadsNowhere(rec) {
		z.null = true
	} else if p.reply(x, whole, rec, p.mayAnswer()) {
		z.rule.Extra = x
		z.texts = append(z.texts, strings.Clone(whole))
	}
}

// leadsNowhere reports whether answering with the record blocks a name.
func leadsNowhere(rec Record) bool {
	a, ok := recordAddr(rec)
	return ok && isNowhere(a.Unmap())
}

// endRedirect emits the redirect zone whose data are complete.
func (p *parser) endRedirect() {
	z := p.redirect
	if z == nil {
		return
	}
	p.redirect = nil
	switch {
	case z.rule.Extra != nil:
		z.rule.Action, z.rule.Extra.Text = Answer, strings.Join(z.texts, "\n")
	case z.null: // a plain block
	case z.data:
		return // its answer was refused, and reported
	default:
		z.rule.Extra = repliesNoData // as unbound answers a zone without data
	}
	z.rule.Name = z.name
	p.putAt(z.rule)
}

// localPointer reads "ADDRESS NAME".
func (p *parser) localPointer(whole string, words []string) {
	if len(words) == 1 {
		words = strings.Fields(words[0])
	}
	if len(words) == 3 { // a TTL between
		words = []string{words[0], words[2]}
	}
	if len(words) != 2 {
		p.bad(BadRecord, whole, `an address and a name: write local-data-ptr: "192.0.2.1 host.example.com"`)
		return
	}
	a, err := netip.ParseAddr(words[0])
	if err != nil || a.Zone() != "" {
		p.bad(BadRecord, whole, "%s is no address: write one", printable(words[0]))
		return
	}
	if !p.mayAnswer() {
		p.refuseAnswer(whole)
		return
	}
	name, ok := p.name(words[1], oneLabel)
	if !ok {
		return
	}
	target := append([]byte(nil), name...)
	p.put(Rule{Form: Unbound, Match: Exact, Action: Answer, Name: reverseName(a.Unmap()),
		Extra: &Extra{Text: strings.Clone(whole), Reply: Records, Records: []Record{{Type: dnswire.TypePTR, Data: target}}}})
}
