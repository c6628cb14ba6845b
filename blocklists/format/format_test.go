package format

import (
	"fmt"
	"io"
	"strings"

	"telltale/dnswire"
)

// writeRule writes all of a rule on one line.
func writeRule(w io.Writer, r *Rule) {
	fmt.Fprintf(w, "%d %s %s %s", r.Line, r.Form, actions[r.Action], matches[r.Match])
	if r.Name != nil {
		fmt.Fprintf(w, " %s", dnswire.AppendText(nil, r.Name))
	}
	if r.Regex != "" {
		fmt.Fprintf(w, " /%s/", r.Regex)
	}
	if r.Literal != "" {
		fmt.Fprintf(w, " with %q", r.Literal)
	}
	if r.Important {
		fmt.Fprint(w, " important")
	}
	if r.Extra != nil {
		writeExtra(w, r.Extra)
	}
	if r.Annotation != nil {
		writeNote(w, r.Annotation)
	}
	fmt.Fprintln(w)
}

var (
	actions = []string{Block: "block", Allow: "allow", Known: "known", Answer: "answer", Cancel: "cancel", Unanswer: "unanswer"}
	matches = []string{Subtree: "subtree", Exact: "exact", Below: "below", Pattern: "pattern", Address: "address", Server: "server"}
	replies = []string{Default: "default", NullIP: "null", NXDomain: "nxdomain", NoData: "nodata", Refuse: "refuse", Drop: "drop", Truncate: "truncate", Records: "records"}
)

func writeExtra(w io.Writer, x *Extra) {
	for _, t := range x.Types {
		fmt.Fprintf(w, " type=%s", dnswire.TypeString(t))
	}
	for _, t := range x.NotTypes {
		fmt.Fprintf(w, " type=~%s", dnswire.TypeString(t))
	}
	for _, name := range x.DenyAllow {
		fmt.Fprintf(w, " not-below=%s", dnswire.AppendText(nil, name))
	}
	for _, c := range x.Clients {
		fmt.Fprintf(w, " client=%q", c)
	}
	for _, c := range x.Tags {
		fmt.Fprintf(w, " tag=%q", c)
	}
	if x.Cancels == Allow {
		fmt.Fprint(w, " cancels=allow")
	}
	if x.Reply != Default {
		fmt.Fprintf(w, " reply=%s", replies[x.Reply])
	}
	for _, rec := range x.Records {
		fmt.Fprintf(w, " %s:%x", dnswire.TypeString(rec.Type), rec.Data)
	}
	if x.Invert {
		fmt.Fprint(w, " invert")
	}
	if x.Server != nil {
		fmt.Fprintf(w, " by=%s", dnswire.AppendText(nil, x.Server))
	}
	if x.Servers {
		fmt.Fprint(w, " below")
	}
	if x.Prefix.IsValid() {
		fmt.Fprintf(w, " %v", x.Prefix)
	}
}

func writeNote(w io.Writer, a *Annotation) {
	for _, kv := range []struct{ key, value string }{
		{"vendor", a.Vendor}, {"product", a.Product}, {"purpose", a.Purpose}, {"tier", a.Tier}, {"region", a.Region}, {"source", a.Source},
		{"breaks", a.Breaks}, {"since", a.Since}, {"confidence", a.Confidence}, {"claims", a.Claims}, {"software", a.Software},
	} {
		if kv.value != "" {
			fmt.Fprintf(w, " %s=%q", kv.key, kv.value)
		}
	}
	if !a.Until.IsZero() {
		fmt.Fprintf(w, " until=%s", a.Until.UTC().Format("2006-01-02T15:04:05Z"))
	}
}

// rules writes the rules of a text, without their line numbers, and its bad
// lines.
func rules(text string, o Options) string {
	var b strings.Builder
	report := Parse(strings.NewReader(text), o, func(r *Rule) {
		var line strings.Builder
		writeRule(&line, r)
		_, rest, _ := strings.Cut(line.String(), " ")
		b.WriteString(rest)
	})
	for _, bad := range report.Bad {
		fmt.Fprintf(&b, "bad %s: %s\n", bad.Reason, bad.Problem)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
