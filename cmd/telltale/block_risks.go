package main

import (
	"cmp"
	"fmt"
	"strings"

	"telltale/blocklists/catalog"
	"telltale/blocklists/suffixes"
	"telltale/config"
	"telltale/dnswire"
)

// blockRisks says what may break where a name and everything below it is blocked.
func blockRisks(known *catalog.Catalog, name *dnswire.Name) []string {
	text := name.String()
	var risks []string
	if suffixes.Is(name.Wire()) || !strings.Contains(text, ".") {
		risks = append(risks, fmt.Sprintf("%s is a public suffix: all domains below it are blocked, whoever they belong to", text))
	}
	type claim struct{ vendor, tier, what string }
	var claims []claim // in the order of the lists
	names := map[claim][]string{}
	for _, e := range known.Entries() {
		below := e.Name == text || strings.HasSuffix(e.Name, "."+text)
		switch {
		case e.Tier == "owner" && e.Name == text:
			risks = append(risks, fmt.Sprintf("%s is a whole domain of %s: its websites, apps and logins are blocked, too", text, e.Vendor))
		case e.Tier == "essential" && (below || e.Covers(text)), e.Tier == "mixed" && e.Name == text && e.Breaks != "":
			c := claim{e.Vendor, e.Tier, cmp.Or(e.Breaks, e.Purpose)}
			if names[c] == nil {
				claims = append(claims, c)
			}
			names[c] = append(names[c], e.Name)
		}
	}
	for _, c := range claims {
		which := names[c][0]
		if more := len(names[c]) - 1; more > 0 {
			which += fmt.Sprintf(" and %d more", more)
		}
		risks = append(risks, fmt.Sprintf("%s (%s, %s): blocking breaks %s", which, c.vendor, c.tier, c.what))
	}
	return risks
}

// confirmBlock shows what a block may break, and asks whether it is meant. Where
// nobody can be asked, it is an error.
func (cl *cli) confirmBlock(cfg *config.Config, name *dnswire.Name) error {
	known, err := cl.editionOf(cfg).Load()
	if err != nil {
		return err
	}
	risks := blockRisks(known, name)
	if len(risks) == 0 {
		return nil
	}
	const most = 8
	for i, r := range risks {
		if i == most {
			fmt.Fprintf(cl.err, "and %d more\n", len(risks)-most)
			break
		}
		fmt.Fprintln(cl.err, printable(r))
	}
	if !isTerminalInput(cl.in) {
		return fmt.Errorf("%s is not blocked: --force blocks it all the same", name)
	}
	q := questioner{in: cl.in, out: cl.err}
	if sure, err := q.ask("Block "+name.String()+" all the same?", false); err != nil || !sure {
		if err == nil {
			err = fmt.Errorf("%s is not blocked", name)
		}
		return err
	}
	return nil
}
