package main

import (
	"context"
	"errors"
	"fmt"

	"telltale/blocklists"
	"telltale/blocklists/inspect"
	"telltale/blocklists/subscribe"
	"telltale/web"
)

// listMistakes returns the bad lines of a list.
func (a *app) listMistakes(name string, limit int) (out web.ListMistakes, err error) {
	bad, all, ok, err := a.lists.Mistakes(name, limit)
	if !ok && err == nil {
		err = web.NotFound(fmt.Errorf("no list called %s: 'telltale lists' shows which there are", printable(name)))
	}
	return web.ListMistakes{Name: name, Total: all, Bad: badLinesOf(bad)}, err
}

// presets are the lists that can be subscribed to by name.
func presets() []web.Preset {
	all := []web.Preset{}
	for _, p := range subscribe.Presets {
		all = append(all, web.Preset{Name: p.Name, URL: p.URL, Title: p.Title})
	}
	return all
}

// checkList looks a text over as a list, one at a time.
func (a *app) checkList(ctx context.Context, l web.ListText) (out web.CheckedText, err error) {
	settings, err := otherSettings(l.Format, l.Match)
	if err != nil {
		return out, web.Invalid(err)
	}
	f := blocklists.ListFile{Path: "text", Kind: blocklists.UserList, Settings: settings, Text: []byte(l.Text)}
	if l.Own {
		f.Kind = blocklists.OwnList
	}
	a.checking.Lock()
	defer a.checking.Unlock()
	if err := ctx.Err(); err != nil {
		return out, err
	}
	reports, err := inspect.Lint(ctx, []blocklists.ListFile{f}, a.edition.Load().FS())
	if err != nil {
		return out, err
	}
	r := &reports[0]
	if r.Failed != "" {
		return out, web.Invalid(errors.New(r.Failed))
	}
	out = web.CheckedText{Rules: r.Rules, Forms: r.ByForm, Missing: r.Missing, BadLines: r.BadSeen, Bad: badLinesOf(r.Bad), Findings: []web.RuleFinding{}, Seen: map[string]int{}}
	for _, f := range r.Findings {
		out.Findings = append(out.Findings, web.RuleFinding{Line: f.Line, Text: f.Text, Kind: string(f.Kind), Why: f.Why})
	}
	for kind, n := range r.Seen {
		out.Seen[string(kind)] = n
	}
	return out, nil
}
