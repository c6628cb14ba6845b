package format

import (
	"fmt"
	"slices"

	"telltale/dnswire"
)

// AppendText appends the rule in the spelling of its form: as its author wrote
// it where that was kept, else in canonical spelling, which is read back to the
// same rule.
func (r *Rule) AppendText(dst []byte) []byte {
	if r.Extra != nil && r.Extra.Text != "" {
		return append(dst, r.Extra.Text...)
	}
	if r.Action == Allow && r.Form != Dnsmasq && r.Form != Unbound && r.Form != Zone {
		dst = append(dst, "@@"...)
	}
	before, after := "", ""
	switch r.Form {
	case Exactly:
		before = "="
	case Wildcard:
		before = "*."
	case Hosts:
		before = "0.0.0.0 "
	case AdBlock:
		before, after = "||", "^"
		switch r.Match {
		case Exact:
			before = "|"
		case Below:
			before = "||*."
		}
		if r.Important {
			after = "^$important"
		}
	case Dnsmasq:
		before, after = "local=/", "/"
		if r.Action == Allow {
			before, after = "server=/", "/#"
		}
		if r.Match == Below {
			before += "*."
		}
	case Unbound:
		before, after = `local-zone: "`, `" `+unboundType(r)
		if r.Match == Exact {
			before, after = `local-data: "`, ` A 0.0.0.0"`
		}
	case Zone:
		if r.Match == Below {
			before = "*."
		}
		after = " " + rpzRecord(r)
	case RegexForm:
		return append(append(append(dst, '/'), r.Regex...), '/')
	case Comment:
		before = "#@ name="
		if r.Match == Exact {
			before = "#@ name=="
		}
	}
	if r.Match == Address && r.Extra != nil {
		return append(append(dst, r.Extra.Prefix.String()...), after...)
	}
	return append(dnswire.AppendText(append(dst, before...), r.Name), after...)
}

func unboundType(r *Rule) string {
	if r.Action == Allow {
		return "transparent"
	}
	switch replyOf(r.Extra) {
	case NXDomain:
		return "always_nxdomain"
	case NoData:
		return "always_nodata"
	case Refuse:
		return "always_refuse"
	case Drop:
		return "always_deny"
	}
	return "always_null"
}

func rpzRecord(r *Rule) string {
	if r.Action == Allow {
		return "CNAME rpz-passthru."
	}
	switch replyOf(r.Extra) {
	case NoData:
		return "CNAME *."
	case Drop:
		return "CNAME rpz-drop."
	case Truncate:
		return "CNAME rpz-tcp-only."
	case NXDomain:
		return "CNAME ."
	}
	return "A 0.0.0.0"
}

// Key is the same for two rules that mean the same, however they are written:
// it leaves out line, form and annotation. The Key of a $badfilter rule is that
// of the rule it removes.
func (r *Rule) Key() string {
	x := Extra{}
	if r.Extra != nil {
		x = *r.Extra
	}
	action := r.Action
	if action == Cancel {
		action = x.Cancels
	}
	x.Types, x.NotTypes = slices.Sorted(slices.Values(x.Types)), slices.Sorted(slices.Values(x.NotTypes)) // shared: sort copies
	return fmt.Sprintf("%d %d %t %q %q %v %v %q %q %q %d %v %t %v", action, r.Match, r.Important, r.Name, r.Regex,
		x.Types, x.NotTypes, x.DenyAllow, x.Clients, x.Tags, x.Reply, x.Records, x.Invert, x.Prefix)
}
