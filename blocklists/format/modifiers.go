package format

import (
	"strings"

	"telltale/dnswire"
)

// modifiers reads what stands behind "$" of an AdBlock rule into r and reports
// whether all of it is honoured.
func (p *parser) modifiers(r *Rule, whole, s string) bool {
	x := &Extra{}
	rewrite := false
	for _, m := range splitEscaped(s, ',') {
		name, value, valued := strings.Cut(strings.TrimSpace(m), "=")
		switch name {
		case "important", "badfilter":
			if valued {
				p.bad(Modifier, whole, "$%s takes no value: leave out =%s", name, printable(value))
				return false
			}
			if name == "important" {
				r.Important = true
			} else {
				x.Cancels = r.Action
				r.Action = Cancel
			}
		case "denyallow":
			if !p.denyAllow(x, whole, value) {
				return false
			}
		case "dnstype":
			if !p.dnsType(x, whole, value) {
				return false
			}
		case "client":
			x.Clients = values(value)
		case "ctag":
			x.Tags = values(value)
		case "all":
			if r.Action == Allow || valued {
				p.bad(Modifier, whole, "$all is for blocking: leave it out")
				return false
			}
		case "document", "doc":
			p.bad(Modifier, whole, "$%s blocks a page that is opened, not what other pages load from there: leave it out to block the name for both", name)
			return false
		case "dnsrewrite":
			rewrite = true
			if !p.dnsRewrite(x, whole, value, r.Action) {
				return false
			}
		default:
			p.bad(Modifier, whole, "the modifier $%s is not honoured in DNS: without it the rule would block more than its author meant", printable(m))
			return false
		}
		if (name == "client" && x.Clients == nil) || (name == "ctag" && x.Tags == nil) {
			p.bad(Modifier, whole, "$%s names nobody: write $%s=NAME", name, name)
			return false
		}
	}
	if rewrite {
		action := &r.Action
		if r.Action == Cancel {
			action = &x.Cancels
		}
		switch {
		case *action == Allow:
			*action = Unanswer
		case x.Reply == Records:
			*action = Answer
		}
	}
	r.Extra = x
	if len(x.Types)+len(x.NotTypes)+len(x.DenyAllow)+len(x.Clients)+len(x.Tags) == 0 && !rewrite && r.Action != Cancel {
		r.Extra = nil // $important alone
	}
	return true
}

// denyAllow reads the names below which a rule does not hold.
func (p *parser) denyAllow(x *Extra, whole, value string) bool {
	for _, s := range values(value) {
		wire, _, problem := appendName(nil, s, oneLabel)
		if problem != "" {
			p.bad(Modifier, whole, "$denyallow=%s: %s", printable(s), problem)
			return false
		}
		x.DenyAllow = append(x.DenyAllow, wire)
	}
	if x.DenyAllow == nil {
		p.bad(Modifier, whole, "$denyallow names nothing: write $denyallow=example.com")
		return false
	}
	return true
}

// dnsType reads the query types a rule holds for, or does not hold for.
func (p *parser) dnsType(x *Extra, whole, value string) bool {
	for _, s := range values(value) {
		name, not := strings.CutPrefix(s, "~")
		t, ok := dnswire.ParseType(name)
		if !ok {
			p.bad(Modifier, whole, "$dnstype=%s is no record type: write A, AAAA, HTTPS, or TYPE and a number", printable(s))
			return false
		}
		if not {
			x.NotTypes = append(x.NotTypes, t)
		} else {
			x.Types = append(x.Types, t)
		}
	}
	switch {
	case len(x.Types) > 0 && len(x.NotTypes) > 0:
		p.bad(Modifier, whole, "$dnstype mixes types with ~ and without: write one kind")
		return false
	case len(x.Types)+len(x.NotTypes) == 0:
		p.bad(Modifier, whole, "$dnstype names no type: write $dnstype=AAAA")
		return false
	}
	return true
}

// values takes a modifier's value apart at "|". Quotes around one are taken
// off; \, and \| and the like stand for themselves, and ” within quotes for '.
func values(s string) (all []string) {
	for _, v := range splitEscaped(s, '|') {
		v = strings.TrimSpace(v)
		not := strings.HasPrefix(v, "~")
		v = strings.TrimPrefix(v, "~")
		if n := len(v); n >= 2 && (v[0] == '\'' || v[0] == '"') && v[n-1] == v[0] {
			v = strings.ReplaceAll(v[1:n-1], v[:1]+v[:1], v[:1])
		}
		if v = unescape(v); v == "" {
			continue
		}
		if not {
			v = "~" + v
		}
		all = append(all, strings.Clone(v))
	}
	return all
}

// splitEscaped splits s at sep, but not where a backslash or a quote protects
// it. Escapes stay as they are.
func splitEscaped(s string, sep byte) (parts []string) {
	start := 0
	var quote byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case quote != 0:
			if c == quote && i+1 < len(s) && s[i+1] == quote { // a quote within quotes is written twice
				i++
			} else if c == quote {
				quote = 0
			}
		case (c == '\'' || c == '"') && (i == start || s[i-1] == '=' || s[i-1] == '|' || s[i-1] == '~'):
			quote = c
		case c == sep:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
