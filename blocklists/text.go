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
	if d.match == format.Pattern {
		return "/" + s.regex(d.rule) + "/"
	}
	text := spell(string(dnswire.AppendText(nil, r.name)), r.form, d.match, d.action, s.replyOf(r.kind, d))
	if d.important {
		text += "$important"
	}
	return text
}

// spell writes a rule in its author's form.
func spell(name string, form format.Form, m format.Match, action format.Action, reply format.Reply) string {
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
		return `local-zone: "` + name + `." ` + zoneTypes[reply]
	case format.Zone:
		if m == format.Below {
			name = "*." + name
		}
		if allow {
			return name + " CNAME rpz-passthru."
		}
		return name + " " + zoneTargets[reply]
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

// zoneTypes are unbound's words for a reply, zoneTargets those of an RPZ.
var (
	zoneTypes = map[format.Reply]string{
		format.Default: "always_null", format.NullIP: "always_null", format.NXDomain: "always_nxdomain",
		format.NoData: "always_nodata", format.Refuse: "always_refuse", format.Drop: "always_deny",
		format.Truncate: "always_null", format.Records: "redirect",
	}
	zoneTargets = map[format.Reply]string{
		format.Default: "A 0.0.0.0", format.NullIP: "A 0.0.0.0", format.NXDomain: "CNAME .",
		format.NoData: "CNAME *.", format.Refuse: "CNAME .", format.Drop: "CNAME rpz-drop.",
		format.Truncate: "CNAME rpz-tcp-only.", format.Records: "local data",
	}
)
