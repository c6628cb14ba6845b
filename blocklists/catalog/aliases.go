package catalog

import (
	"slices"
	"strings"
)

// An alias is one step: a name that was seen to be an alias (CNAME) of another.
type alias struct {
	name, target string
	source       *Source
	date         string
	line         int // in its table
}

const (
	aliasesFile      = "aliases.tsv"
	aliasSourcesFile = "alias-sources.tsv"
)

// aliases are the steps by name. A name may have been an alias of several.
type aliases map[string][]alias

// readAliases reads the table of aliases. A step that closes a circle is a mistake,
// and is left out.
func readAliases(files fileSet, sources map[string]*Source, bad func(file string, line int, what string)) aliases {
	all := aliases{}
	files.table(aliasesFile, 4, bad, func(line int, row []string) {
		a := alias{row[0], row[1], sources[row[2]], row[3], line}
		say := func(what string) { bad(aliasesFile, line, a.name+": "+what) }
		switch {
		case !isName(a.name) || !isName(a.target):
			say("write both names in lower case, without a dot at the end")
		case a.source == nil:
			say("the source " + row[2] + " is not in " + aliasSourcesFile + ": add it there")
		case !day.MatchString(a.date):
			say(a.date + " is no date: write on which day it was seen, 2026-05-16")
		case all.leads(a.target, a.name):
			say("leads to itself by way of " + a.target + ": one of the steps was seen at another time, remove it")
		default:
			all[a.name] = append(all[a.name], a)
		}
	})
	return all
}

// leads reports whether a name leads to another, or is it.
func (all aliases) leads(name, to string) bool {
	return name == to || slices.Contains(all.targets(name), to)
}

// targets are the names that a name leads to, on whatever way, each once.
func (all aliases) targets(name string) (targets []string) {
	seen := map[string]bool{name: true}
	for at := -1; at < len(targets); at++ {
		if at >= 0 {
			name = targets[at]
		}
		for _, a := range all[name] {
			if !seen[a.target] {
				seen[a.target] = true
				targets = append(targets, a.target)
			}
		}
	}
	return targets
}

func isName(s string) bool {
	return s != "" && s == strings.ToLower(s) && !strings.HasPrefix(s, ".") && !strings.HasSuffix(s, ".") && !strings.ContainsAny(s, " =*/")
}

// blocker returns the entry that blocks a name by default, nil for none.
func (c *Catalog) blocker(name string) *Entry {
	for _, e := range c.Name(name) {
		if e.listed && e.Tier == "telemetry" {
			return &e
		}
	}
	return nil
}

// aliases checks the table, and that no observed or essential name is blocked by
// what it leads to: other programs that read the lists would block it.
func (c *checker) aliases(files fileSet) {
	say := func(file string, line int, what string) { c.say(file, line, "%s", what) }
	sources := readSourceTable(files, aliasSourcesFile, say)
	c.checkSources(aliasSourcesFile, sources)
	all := readAliases(files, sources, say)
	for name, steps := range all {
		found := c.catalog.Name(name)
		if len(found) == 0 || found[0].Tier != "mixed" && found[0].Tier != "essential" {
			continue
		}
		for _, target := range all.targets(name) {
			if e := c.catalog.blocker(target); e != nil {
				c.say(e.File, e.Line, "%s blocks %s, to which %s leads (%s:%d), which is %s (%s:%d): give it the same tier, and what breaks",
					e, target, name, aliasesFile, steps[0].line, found[0].Tier, found[0].File, found[0].Line)
			}
		}
	}
}
