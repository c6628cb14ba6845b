package blocklists

import (
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	"telltale/blocklists/format"
	"telltale/blocklists/matcher"
	"telltale/blocklists/rules"
	"telltale/sorting"
)

// A Policy decides which names to block. It never changes, and any number of
// goroutines may use it. A nil Policy passes everything.
type Policy struct {
	generation uint32
	ttl        uint32
	mode       Mode
	observedBy ObservedBy // everything; else NotObserved
	custom4    netip.Addr
	custom6    netip.Addr

	zones  bool          // a list holds a response policy zone
	lists  []policyList  // the order in which they win ties
	firsts []RuleID      // ascending: the first id of each span
	spans  []span        // beside firsts
	groups []policyGroup // the first is that of who has no settings
	ofs    []uint16      // by number of settings: which of groups

	temporary []Temporary // in force, pauses first
	vendors   bool        // some of them are of vendors

	names     *matcher.Set // payloads are RuleID<<kindBits | kind
	patterns  []pattern
	steps     int                    // of all patterns, see patternSteps
	addresses *addressRules          // nil for none
	servers   *serverRules           // nil for none
	answers   map[RuleID]*answer     // of rules with Action Answer
	parents   map[string]struct{}    // names above theirs, in wire form
	limited   map[RuleID]*limit      // for whom a rule with $client or $ctag holds
	ranges    clientRanges           // the addresses that those rules name
	clients   map[string]struct{}    // that they name
	dead      map[RuleID]struct{}    // rules that have ended
	cancelled map[RuleID]RuleID      // rules that a $badfilter removes, and which one
	custom    map[uint16]customAddrs // by list
}

// A policyList is what Decide needs to know of a list.
type policyList struct {
	name       string
	path       string
	set        *rules.Set
	extents    []rules.Extent // where its ids are
	steps      int            // of its patterns, see patternSteps
	tooDear    int            // of its patterns, which are not in force as all would take over maxSteps
	tooMany    int            // of its patterns, which are not in force
	unlimited  int            // of its rules for clients, which hold for nobody
	kind       Kind
	flags      uint16     // of each of its rules
	by         ObservedBy // what makes it only observe; NotObserved where nothing does
	zone       bool       // it holds a response policy zone
	confined   bool       // its exceptions hold for its own blocks alone
	off        bool       // but for groups that have it on
	group      string     // whose devices it holds for; "" for everybody
	outside    string     // why it is not in force now: its schedule; "" where it is
	mixed      bool       // rules of tier mixed are enforced
	plainBlock [2]effect  // of its plain blocks: where rules of tier mixed are observed, and where they are enforced
	annotation *format.Annotation
	mode       Mode
	hasMode    bool
}

// A span is a run of ids of one list.
type span struct {
	list int
	rule uint32 // that its first id names
	end  RuleID
}

// id returns the id of a rule.
func (l *policyList) id(rule uint32) RuleID { return rules.IDOf(l.extents, rule) }

type customAddrs struct{ v4, v6 netip.Addr }

// A policyGroup is what a policy has of settings: one for all that have the same.
type policyGroup struct {
	observedBy ObservedBy
	outside    string // that it observes by its schedule; "" where it does not
	mode       Mode
	hasMode    bool
	stripECH   bool
	mixed      bool // with hasTier: rules of tier mixed are enforced
	hasTier    bool
	lists      []listState // by list; nil: all are as they are
	device     string      // GroupSettings.Name, where a Temporary is of it
	groups     []string    // GroupSettings.Groups
}

// A listState is what a group makes of a list.
type listState uint8

const (
	listIsAsItIs listState = iota
	listIsOff
	listObserves
)

// state returns what the group makes of a list.
func (g *policyGroup) state(list int) listState {
	if g.lists == nil {
		return listIsAsItIs
	}
	return g.lists[list]
}

// A pattern is a rule with a regular expression.
type pattern struct {
	re      *regexp.Regexp
	literal []byte // that every name it matches contains; empty for none known
	id      RuleID
	invert  bool // it matches all other names
}

var generations atomic.Uint32

// An activeList is a list that goes into a policy.
type activeList struct {
	rules.List
	path     string
	kind     Kind
	settings ListSettings
	group    string // whose devices it holds for; "" for everybody
}

// A NamedSet is the rules of one list.
type NamedSet struct {
	Name string
	Kind Kind
	Set  *rules.Set
}

// PolicyOf makes a policy of sets alone, all of them enforced by default settings.
func PolicyOf(sets []NamedSet) (*Policy, error) {
	lists := make([]activeList, len(sets))
	for i, s := range sets {
		lists[i] = activeList{List: rules.List{Name: s.Name, Set: s.Set}, path: s.Name, kind: s.Kind}
	}
	names, err := assignIDs(rules.NewIndex("", true, nil, slog.New(slog.DiscardHandler)), lists)
	if err != nil {
		return nil, err
	}
	return compile(&Options{}, lists, names, &instant{wall: time.Now()}), nil
}

// compile makes the policy of the given lists, in the order in which they win
// ties. Names has all their rules with names.
func compile(o *Options, lists []activeList, names *matcher.Set, now *instant) *Policy {
	p := &Policy{
		generation: generations.Add(1),
		ttl:        o.ttl(),
		mode:       o.Mode,
		custom4:    o.Custom4,
		custom6:    o.Custom6,
		names:      names,
		answers:    map[RuleID]*answer{},
		parents:    map[string]struct{}{},
		limited:    map[RuleID]*limit{},
		clients:    map[string]struct{}{},
		dead:       map[RuleID]struct{}{},
		cancelled:  map[RuleID]RuleID{},
		custom:     map[uint16]customAddrs{},
	}
	p.addTemporary(o, now)
	if p.observedBy = p.temporaryBy(Everything, ""); p.observedBy == NotObserved && (o.Observe || now.isBefore(o.ObserveUntil)) {
		p.observedBy = ByEverything
	}
	for i := range lists {
		p.addList(o, uint16(i), &lists[i], now)
	}
	p.sortSpans()
	p.addGroups(o, now)
	for i := range p.lists {
		p.addDetails(o, &p.lists[i], now)
		p.addPatterns(&p.lists[i])
	}
	p.mergeAnswers()
	p.cancel()
	return p
}

func (p *Policy) addList(o *Options, i uint16, a *activeList, now *instant) {
	l := policyList{
		name: a.Name, path: a.path, group: a.group, set: a.Set, extents: a.Extents, kind: a.kind,
		by: p.temporaryBy(OfList, a.Name), off: !a.settings.enabled(), annotation: a.settings.Annotation,
		outside: a.settings.Schedule.outside(now.wall), confined: a.kind == Subscribed && !a.settings.Exceptions,
		zone: a.Set.Forms[format.Zone] > 0,
	}
	if a.settings.observes(now) {
		l.by = ByListObserve
	}
	tier := a.settings.Tier
	if tier == "" {
		tier = o.Tier
	}
	l.mixed = tier == "mixed"
	if a.settings.Mode != nil {
		l.mode, l.hasMode = *a.settings.Mode, true
	}
	if a.settings.Custom4.IsValid() || a.settings.Custom6.IsValid() {
		p.custom[i] = customAddrs{a.settings.Custom4, a.settings.Custom6}
	}
	l.plainBlock, l.flags = [2]effect{l.blockEffect(nil, false), l.blockEffect(nil, true)}, l.commonFlags()
	p.zones = p.zones || l.zone
	p.lists = append(p.lists, l)
}

func (p *Policy) sortSpans() {
	type run struct {
		first RuleID
		span
	}
	var runs []run
	for i := range p.lists {
		for _, e := range p.lists[i].extents {
			runs = append(runs, run{e.ID, span{list: i, rule: e.Rule, end: e.ID + RuleID(e.Count)}})
		}
	}
	sorting.By(runs, func(a, b run) int { return int(a.first) - int(b.first) })
	for _, r := range runs {
		p.firsts = append(p.firsts, r.first)
		p.spans = append(p.spans, r.span)
	}
}

// addGroups makes a group of each combination of settings there is, which all that have
// the same share.
func (p *Policy) addGroups(o *Options, now *instant) {
	everyone := policyGroup{}
	everyone.lists = p.listStates(nil)
	p.groups = []policyGroup{everyone}
	p.ofs = make([]uint16, len(o.Groups)+1)
	known := map[string]uint16{}
	for i := range o.Groups {
		g := p.groupOf(&o.Groups[i], now)
		key := g.key()
		at, ok := known[key]
		if !ok {
			at = uint16(len(p.groups))
			known[key] = at
			p.groups = append(p.groups, g)
		}
		p.ofs[i+1] = at
	}
}

// groupOf returns what a policy has of settings.
func (p *Policy) groupOf(s *GroupSettings, now *instant) policyGroup {
	g := policyGroup{
		observedBy: s.observedBy(now), outside: s.Schedule.outside(now.wall), stripECH: s.StripECH,
		mixed: s.Tier == "mixed", hasTier: s.Tier != "", lists: p.listStates(s), groups: s.Groups,
	}
	if s.Mode != nil {
		g.mode, g.hasMode = *s.Mode, true
	}
	if by := p.temporaryFor(s); by != NotObserved {
		g.observedBy = by
		if by == ByDevicePause || by == ByDeviceWindow {
			g.device = s.Name
		}
	}
	return g
}

// key returns a text that two groups share if they are the same.
func (g *policyGroup) key() string {
	return fmt.Sprintf("%d %q %d %t %t %t %t %d %q %q", g.observedBy, g.outside, g.mode, g.hasMode, g.stripECH, g.mixed, g.hasTier, g.lists, g.device, g.groups)
}

// listStates returns what settings, nil for none, make of the lists; nil where all are as
// they are.
func (p *Policy) listStates(s *GroupSettings) (states []listState) {
	for at := range p.lists {
		is := p.listStateFor(&p.lists[at], s)
		if is == listIsAsItIs {
			continue
		}
		if states == nil {
			states = make([]listState, len(p.lists))
		}
		states[at] = is
	}
	return states
}

func (p *Policy) listStateFor(l *policyList, s *GroupSettings) listState {
	if l.outside != "" || l.group != "" && (s == nil || !slices.Contains(s.Groups, l.group)) {
		return listIsOff
	}
	if s != nil {
		switch state, said := s.list(l.name); {
		case said && state == ListOffFor:
			return listIsOff
		case said && state == ListObservesFor:
			return listObserves
		case said:
			return listIsAsItIs
		}
	}
	if l.off {
		return listIsOff
	}
	return listIsAsItIs
}

// addDetails looks at every rule that is not plain.
func (p *Policy) addDetails(o *Options, l *policyList, now *instant) {
	for _, d := range l.set.Details {
		id := l.id(d.Rule)
		x := l.set.ExtraOf(d)
		if x != nil && len(x.Clients)+len(x.Tags) > 0 {
			if !p.addLimit(id, x, o.Groups) {
				l.unlimited++
			}
		}
		if n := l.set.AnnotationOf(d); n != nil && !n.Until.IsZero() && !now.isBefore(n.Until) {
			p.dead[id] = struct{}{}
			continue
		}
		if x == nil {
			continue
		}
		if d.Action == format.Answer {
			p.answers[id] = newAnswer(x.Records, p.ttl)
		}
		if d.Match == format.Address {
			if p.addresses == nil {
				p.addresses = newAddressRules()
			}
			p.addresses.add(x.Prefix, id)
		}
		if d.Match == format.Server {
			if p.servers == nil {
				p.servers = &serverRules{map[string][]RuleID{}, map[string][]RuleID{}, newAddressRules()}
			}
			p.servers.add(x, id)
		}
	}
}

// maxPatterns bounds what a question can cost.
const maxPatterns = 2000

func (p *Policy) addPatterns(l *policyList) {
	for _, r := range l.set.Patterns {
		id := l.id(r.Rule)
		if _, dead := p.dead[id]; dead {
			continue
		}
		if len(p.patterns) >= maxPatterns {
			l.tooMany++
			continue
		}
		steps := patternSteps(r.Regex, r.Literal)
		if p.steps+steps > maxSteps && l.kind != OwnList {
			l.tooDear++
			continue
		}
		re, literal := l.set.Compiled(r.Rule)
		if re == nil {
			continue
		}
		d, _ := l.set.Detail(r.Rule)
		x := l.set.ExtraOf(d)
		p.patterns = append(p.patterns, pattern{re: re, literal: literal, id: id, invert: x != nil && x.Invert})
		p.steps += steps
		l.steps += steps
	}
}

// find returns the index of the list that has the rule, -1 for none, and the
// number of the rule in it.
func (p *Policy) find(id RuleID) (list int, rule uint32) {
	if len(p.firsts) == 0 || id < p.firsts[0] {
		return -1, 0
	}
	at := 0 // the last run that begins at or before id; always as many steps, which processors guess
	for n := len(p.firsts); n > 1; {
		half := n / 2
		if next := at + half; p.firsts[next] <= id {
			at = next
		}
		n -= half
	}
	s := &p.spans[at]
	if id >= s.end {
		return -1, 0
	}
	return s.list, s.rule + uint32(id-p.firsts[at])
}

// Generation is a number no other policy of this process has; 0 for a nil Policy.
func (p *Policy) Generation() uint32 {
	if p == nil {
		return 0
	}
	return p.generation
}

// TTL returns the TTL of blocked answers, in seconds.
func (p *Policy) TTL() uint32 {
	if p == nil {
		return 10
	}
	return p.ttl
}

// Custom returns the addresses a verdict with Mode Custom is answered with; an
// invalid one where there is none of the family.
func (p *Policy) Custom(v Verdict) (v4, v6 netip.Addr) {
	if p == nil {
		return
	}
	if i, _ := p.find(v.Rule); i >= 0 {
		if c, ok := p.custom[uint16(i)]; ok {
			return c.v4, c.v6
		}
	}
	return p.custom4, p.custom6
}

// ListName returns the name of the list that a rule is in; "" for no rule. It
// does not allocate.
func (p *Policy) ListName(id RuleID) string {
	if _, ok := special(id); ok {
		return specialList
	}
	if p == nil {
		return ""
	}
	if i, _ := p.find(id); i >= 0 {
		return p.lists[i].name
	}
	return ""
}

// Rule returns the rule that id names, for showing. It may read a file.
func (p *Policy) Rule(id RuleID) Rule {
	if r, ok := special(id); ok {
		return r
	}
	if p == nil {
		return Rule{}
	}
	i, rule := p.find(id)
	if i < 0 {
		return Rule{}
	}
	l := &p.lists[i]
	rec, err := l.set.Record(rule)
	return l.rule(&rec, err)
}

// StripsECH reports whether answers to a group must not say how to hide a server's name
// when connecting to it.
func (p *Policy) StripsECH(g Group) bool { return p != nil && p.group(g).stripECH }

// Records returns the records a verdict with Mode Records is answered with:
// those of type qtype, or else a CNAME. It does not allocate.
func (p *Policy) Records(v Verdict, qtype uint16) []Record {
	if p == nil {
		return nil
	}
	return p.answers[v.Rule].records(qtype)
}

// Attribution returns the annotation behind v.Attr and v.Level; nil for none.
func (p *Policy) Attribution(v Verdict) *format.Annotation {
	if p == nil || v.Level == Unattributed {
		return nil
	}
	id := v.Attr
	if id == 0 {
		id = v.Rule
	}
	i, rule := p.find(id)
	if i < 0 {
		return nil
	}
	l := &p.lists[i]
	if v.Level == ByList {
		return l.annotation
	}
	d, _ := l.set.Detail(rule)
	return l.set.AnnotationOf(d)
}
