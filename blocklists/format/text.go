package format

import (
	"fmt"
	"slices"
)

// AppendText appends the rule in the spelling of its form: as its author wrote
// it where that was kept, else in canonical spelling. Either is read back to the
// same rule, by the options of its list. It is one line, but for rules that take
// several to write.
func (r *Rule) AppendText(dst []byte) []byte {
	if r.Extra != nil && r.Extra.Text != "" {
		return append(dst, r.Extra.Text...)
	}
	before, after := r.around()
	return append(appendPlain(append(dst, before...), r.Name), after...)
}

// around returns what stands before and behind the name.
func (r *Rule) around() (before, after string) {
	except := ""
	if r.Action == Allow {
		except = "@@"
	}
	switch r.Form {
	case Exactly:
		return except + "=", ""
	case Wildcard:
		return except + "*.", ""
	case Hosts:
		return except + "0.0.0.0 ", ""
	case AdBlock:
		return except + adBlockAnchors[r.Match], r.adBlockEnd()
	case Dnsmasq, DnsmasqAddress:
		return r.aroundDnsmasq()
	case Unbound:
		if r.Match == Exact {
			return `local-data: "`, ` A 0.0.0.0"`
		}
		return `local-zone: "`, `" ` + unboundType(r)
	case Zone:
		if r.Match == Below {
			return "*.", " " + rpzRecord(r)
		}
		return "", " " + rpzRecord(r)
	case Comment:
		if r.Match == Exact {
			return "#@ name==", ""
		}
		return "#@ name=", ""
	}
	return except, ""
}

var adBlockAnchors = map[Match]string{Subtree: "||", Exact: "|", Below: "||*."}

func (r *Rule) adBlockEnd() string {
	if r.Important {
		return "^$important"
	}
	return "^"
}

func (r *Rule) aroundDnsmasq() (before, after string) {
	before, after = "local=/", "/"
	switch {
	case r.Action == Allow:
		before, after = "server=/", "/#"
	case r.Form == DnsmasqAddress:
		before = "address=/"
	}
	if r.Match == Below {
		before += "*."
	}
	return before, after
}

// appendPlain appends a wire name in presentation form, with every octet escaped
// that would have a meaning in a list.
func appendPlain(dst, wire []byte) []byte {
	for off := 0; off < len(wire) && wire[off] != 0; {
		if off > 0 {
			dst = append(dst, '.')
		}
		end := off + 1 + int(wire[off])
		for _, c := range wire[off+1 : end] {
			if lowered[c] == c {
				dst = append(dst, c)
				continue
			}
			dst = append(dst, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
		}
		off = end
	}
	return dst
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
	return fmt.Sprintf("%d %d %t %q %q %v %v %q %q %q %d %v %t %v %q %t", action, r.Match, r.Important, r.Name, r.Regex,
		x.Types, x.NotTypes, x.DenyAllow, x.Clients, x.Tags, x.Reply, x.Records, x.Invert, x.Prefix, x.Server, x.Servers)
}
