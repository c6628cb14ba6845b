package blocklists

import (
	"bytes"
	"log/slog"
	"net/netip"
	"slices"

	"telltale/blocklists/rules"
	"telltale/dnswire"
)

// A Preview decides as the lists would with another text in the place of a file of the
// user's own rules. It never changes.
type Preview struct {
	Bad []BadLine // lines of the text that are no rules

	now  *Policy
	own  *Policy // of the user's own lists alone, with the text
	mine []bool  // by list of now: it is one of the user's own
}

// PreviewOwn returns how the lists would decide with a text in the place of a file
// whose rules go before those of all lists: own.txt, or that of a group. It writes
// nothing, and reads no other list again.
func (s *Store) PreviewOwn(path, group string, text []byte) (*Preview, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &Preview{now: s.Current()}
	lists := make([]activeList, 0, len(s.lists)+1)
	var settings ListSettings
	name, at := ListName(path), -1
	if group != "" {
		name = GroupDir + "/" + name
	}
	for _, l := range s.lists {
		if !l.kind.isOwn() {
			continue
		}
		if l.path == path {
			at, settings, name = len(lists), l.settings, l.Name
		}
		lists = append(lists, l)
	}
	r, err := rules.Read(bytes.NewReader(text), rules.ReadOptions{Format: settings.FormatOptions(name, OwnList), AnySuffix: true, Plain: true})
	if err != nil {
		return nil, err
	}
	p.Bad = r.Set.Bad
	with := activeList{List: rules.List{Name: name, Set: r.Set}, path: path, kind: OwnList, settings: settings, group: group}
	if at < 0 {
		lists = append(lists, with)
	} else {
		lists[at] = with
	}
	for i := range lists {
		lists[i].List = rules.List{Name: lists[i].Name, Set: lists[i].Set}
	}
	names, err := assignIDs(rules.NewIndex("", true, nil, slog.New(slog.DiscardHandler)), lists)
	if err != nil {
		return nil, err
	}
	p.own = compile(&s.opts, lists, names, &s.asOf)
	for i := range p.now.lists {
		p.mine = append(p.mine, p.now.lists[i].kind.isOwn())
	}
	return p, nil
}

// Decide returns what is decided now for a question, and what would be. Settings are the
// number of who asks, from addr. What validators ask for (DS, DNSKEY) is said to stay as
// it is: that depends on the exceptions of all lists below the name.
func (p *Preview) Decide(name *dnswire.Name, qtype uint16, settings uint16, addr netip.Addr) (now, then Action) {
	g := p.now.GroupOf(settings, addr)
	now = p.now.Decide(name, qtype, g).Action
	if isDelegation(qtype) {
		return now, now
	}
	owner := name
	if isService(name, qtype) {
		if of, ok := name.PortOwner(); ok {
			owner = &of
		}
	}
	own := p.own.GroupOf(settings, addr)
	mine := p.own.matches(owner, qtype, own, nil)
	exceptRewrites(mine)
	if at, _, _ := decider(mine); at >= 0 {
		return now, p.own.decideAmong(mine, own).Action
	}
	others := slices.DeleteFunc(p.now.matches(owner, qtype, g, nil), func(m match) bool { return p.mine[m.list] })
	if v := p.now.decideAmong(others, g); v.Action != Pass || len(mine) == 0 {
		return now, v.Action
	}
	return now, p.own.decideAmong(mine, own).Action
}
