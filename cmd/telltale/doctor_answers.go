package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"telltale/blocklists/suffixes"
	"telltale/dnswire"
	"telltale/querylog"
	"telltale/sorting"
)

// A failing is what became of the lookups of a domain in the last day.
type failing struct {
	names    map[string]bool // that were not answered
	rebound  uint64          // refused: a private address in a public name
	failed   uint64          // the upstream itself said SERVFAIL
	answered uint64
}

// mostDomains bounds the domains that a finding names.
const mostDomains = 5

// refusals says which names lead into the network and were refused for that, and
// which the upstreams cannot answer: a person sees neither, only that something
// does not work.
func (d *doctor) refusals(f *facts) {
	if f.day == nil {
		return // clients says why
	}
	rebound := named(f.day.domains, func(f *failing) uint64 { return f.rebound })
	if len(rebound) > 0 {
		d.finds(stateWarning, "rebinding-refused", "", fmt.Sprintf("names of %s were refused in the last day since they lead to private addresses", strings.Join(rebound, ", ")),
			"if a domain is yours, or your company's, put it into rebind.allow; 'telltale explain NAME' says more")
	} else if f.status != nil && f.status.Server.Rebound > 0 {
		d.finds(stateWarning, "rebinding-refused", "", fmt.Sprintf("%s with private addresses in public names were refused since the start; the log has no names of them", number(f.status.Server.Rebound, "answer")),
			"if something of yours does not work, 'telltale explain NAME' says whether it is that")
	}
	const enough = 5 // lookups from which a domain without an answer is odd
	failed := named(f.day.domains, func(f *failing) uint64 {
		if f.answered > 0 || f.failed < enough {
			return 0
		}
		return f.failed
	})
	if len(failed) > 0 {
		d.finds(stateWarning, "answers-failed", "", fmt.Sprintf("the upstreams answer SERVFAIL for all names of %s", strings.Join(failed, ", ")),
			"if only a server of your network or company knows them (split horizon), that server must be asked: put the zone into forward, or records into own.txt")
	}
}

// named writes the domains that have a count, those with the most first.
func named(domains map[string]*failing, count func(*failing) uint64) (text []string) {
	all := mostFirst(domains, count, len(domains))
	for i, name := range all {
		if i == mostDomains {
			return append(text, fmt.Sprintf("%d domains more", len(all)-i))
		}
		f := domains[name]
		example := slices.Min(slices.Collect(maps.Keys(f.names)))
		text = append(text, fmt.Sprintf("%s (%s, %d lookups)", name, example, count(f)))
	}
	return text
}

// mostFirst returns the names that have a count, at most so many, those with the most first.
func mostFirst[T any](all map[string]T, count func(T) uint64, most int) []string {
	names := slices.DeleteFunc(slices.Collect(maps.Keys(all)), func(name string) bool { return count(all[name]) == 0 })
	sorting.By(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(count(all[b]), count(all[a])), cmp.Compare(a, b))
	})
	return names[:min(len(names), most)]
}

// addFailing counts a row by what became of its lookups.
func (y *day) addFailing(row *querylog.Row) {
	name := domainOf(row.Name)
	f := y.domains[name]
	if f == nil {
		f = &failing{names: map[string]bool{}}
		y.domains[name] = f
	}
	switch from := row.AnsweredFrom; {
	case from == querylog.FromRebind.String():
		f.rebound += row.Count
		f.names[row.Name] = true
	case from != querylog.FromUpstream.String() && from != querylog.FromCache.String():
	case row.Rcode == "SERVFAIL":
		f.failed += row.Count
		f.names[row.Name] = true
	default:
		f.answered += row.Count
	}
}

// domainOf returns the registrable domain of a name: a public suffix and one label.
// Of other names it is the last label.
func domainOf(name string) string {
	n, err := dnswire.ParseName(name)
	if err != nil {
		return name
	}
	for k := n.Labels(); k > 0; k-- {
		if suffixes.Is(n.Suffix(k)) {
			return string(dnswire.AppendText(nil, n.Suffix(k+1)))
		}
	}
	return string(dnswire.AppendText(nil, n.Suffix(1)))
}
