package main

import (
	"fmt"
	"strconv"
	"strings"

	"telltale/blocklists/format"
	"telltale/querylog"
	"telltale/web"
)

// explanationText is an explanation as people read it.
func explanationText(e *web.Explanation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s", e.Name, e.Type, e.Verdict)
	if e.Mode != "" {
		fmt.Fprintf(&b, " (answered %s)", e.Mode)
	}
	fmt.Fprintf(&b, "\n  %s\n", printable(e.Why))
	if e.Reply != nil {
		printReply(&b, e.Reply)
	} else {
		printOffline(&b, e)
	}
	if len(e.Settings) > 0 {
		b.WriteString("\nSettings of who asks:\n")
	}
	for _, line := range e.Settings {
		fmt.Fprintf(&b, "  %s\n", printable(line))
	}
	if len(e.About) > 0 {
		fmt.Fprintf(&b, "\nAttributed by %s:\n", e.Attribution)
		printAnnotation(&b, e.About)
	}
	if e.Shipped != nil && e.User != nil {
		fmt.Fprintf(&b, "\nThe shipped lists of %s say:\n", e.Edition)
		printAnnotation(&b, e.Shipped)
		b.WriteString("Your lists say:\n")
		printAnnotation(&b, e.User)
	}
	printMatches(&b, e.AliasMatches, e.Decider, "Rules that match "+e.Alias)
	printMatches(&b, e.Matches, e.Decider, "Rules that match")
	return b.String()
}

// printOffline says what was not looked at.
func printOffline(b *strings.Builder, e *web.Explanation) {
	b.WriteString("  By rules alone: no server was asked how it answers")
	if e.Verdict != "block" && e.Verdict != "answer" {
		b.WriteString(", and a name or an address to which the answer leads may decide too")
	}
	b.WriteString(".\n")
}

// printMatches prints rules that match, with a mark at the one that decides.
func printMatches(b *strings.Builder, matches []web.Match, decider *web.Match, head string) {
	if len(matches) > 0 {
		fmt.Fprintf(b, "\n%s, by precedence:\n", printable(head))
	}
	for i := range matches {
		m := &matches[i]
		mark := " "
		if decider != nil && m.List == decider.List && m.Line == decider.Line && m.Rule == decider.Rule {
			mark = "*"
		}
		b.WriteString(mark + " ")
		printMatch(b, m)
	}
}

// mostRecords bounds the records of an answer that are printed.
const mostRecords = 8

// printReply prints what a client gets.
func printReply(b *strings.Builder, r *web.Reply) {
	from := r.From
	if from == querylog.FromUpstream.String() {
		from += " " + printable(r.Upstream)
	}
	fmt.Fprintf(b, "  Answered %s (%s)", r.Rcode, strings.TrimSpace(from))
	if r.Error != "" {
		fmt.Fprintf(b, ": %s", printable(r.Error))
	}
	b.WriteByte('\n')
	for i, line := range r.Answer {
		if i == mostRecords {
			fmt.Fprintf(b, "    and %d records more\n", len(r.Answer)-i)
			break
		}
		fmt.Fprintf(b, "    %s\n", printable(line))
	}
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

// printAnnotation prints an annotation in the order in which people ask, each source on
// a line of its own.
func printAnnotation(b *strings.Builder, annotation map[string]string) {
	for _, k := range []string{"vendor", "product", "purpose", "tier", "region", "software", "breaks", "since", "confidence", "source"} {
		v := annotation[k]
		if k == "confidence" {
			v = trustOf(annotation).Text()
		}
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

// trustOf returns the confidence that a note has in parts.
func trustOf(note map[string]string) format.Confidence {
	n, _ := strconv.Atoi(note["independent"])
	return format.Confidence{Word: note["confidence"], Independent: n, Contested: note["contested"] != ""}
}

func printPair(b *strings.Builder, key, value string) {
	if value != "" {
		fmt.Fprintf(b, "  %-11s %s\n", key, printable(value))
	}
}
