package blocklists

import (
	"telltale/blocklists/format"
	"telltale/dnswire"
)

// text returns a rule in canonical spelling, or as its author wrote it where
// that says more.
func (s *ruleSet) text(r *record, d detail) string {
	if x := s.extraOf(d); x != nil && x.Text != "" {
		return x.Text
	}
	if r.detailed && d.match == format.Pattern {
		return "/" + s.regex(d.rule) + "/"
	}
	action := format.Block
	if r.allow {
		action = format.Allow
	}
	m := r.match
	if r.detailed {
		action, m = d.action, d.match
	}
	name := string(dnswire.AppendText(nil, r.name))
	text := spell(name, r.form, m, action)
	if d.important {
		text += "$important"
	}
	return text
}

// spell writes a rule in its author's form.
func spell(name string, form format.Form, m format.Match, action format.Action) string {
	allow := action == format.Allow
	switch form {
	case format.Exactly:
		return except(allow) + "=" + name
	case format.Wildcard:
		return except(allow) + "*." + name
	case format.Hosts:
		return except(allow) + "0.0.0.0 " + name
	case format.AdBlock:
		if m == format.Exact {
			return except(allow) + "|" + name + "^"
		}
		return except(allow) + "||" + name + "^"
	case format.Dnsmasq:
		if allow {
			return "server=/" + name + "/#"
		}
		return "address=/" + name + "/"
	case format.Unbound:
		if allow {
			return `local-zone: "` + name + `." always_transparent`
		}
		return `local-zone: "` + name + `." always_null`
	case format.Zone:
		if m == format.Below {
			name = "*." + name
		}
		if allow {
			return name + " CNAME rpz-passthru."
		}
		return name + " CNAME ."
	case format.Comment:
		return "#@ name=" + name
	}
	return except(allow) + name
}

func except(allow bool) string {
	if allow {
		return "@@"
	}
	return ""
}
