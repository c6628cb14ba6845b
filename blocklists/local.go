package blocklists

import (
	"cmp"
	"slices"

	"telltale/blocklists/format"
	"telltale/dnswire"
)

// An answer is the records of a rule that answers, in order of their type.
type answer struct{ all []Record }

// newAnswer makes an answer of a rule's records; those without a TTL get ttl.
func newAnswer(records []format.Record, ttl uint32) *answer {
	a := &answer{}
	for _, r := range records {
		a.add(Record{Type: r.Type, TTL: cmp.Or(r.TTL, ttl), Data: r.Data})
	}
	return a
}

func (a *answer) add(r Record) {
	for _, have := range a.all {
		if have.Type == r.Type && string(have.Data) == string(r.Data) {
			return
		}
	}
	at, _ := slices.BinarySearchFunc(a.all, r.Type+1, func(r Record, t uint16) int { return cmp.Compare(r.Type, t) })
	a.all = slices.Insert(a.all, at, r)
}

// records returns the records of type qtype, or else the CNAME.
func (a *answer) records(qtype uint16) []Record {
	if a == nil {
		return nil
	}
	if found := a.ofType(qtype); len(found) > 0 {
		return found
	}
	return a.ofType(dnswire.TypeCNAME)
}

func (a *answer) ofType(t uint16) []Record {
	for i := range a.all {
		if a.all[i].Type != t {
			continue
		}
		end := i + 1
		for end < len(a.all) && a.all[end].Type == t {
			end++
		}
		return a.all[i:end:end]
	}
	return nil
}

// mergeAnswers gives each rule that answers the records of all rules of its
// list for the same name: an address of each family is a line of its own. Those of
// own.txt and of the settings are one list in this. The name of an address that follows
// from a record gives way to one that is said, and else the first counts.
func (p *Policy) mergeAnswers() {
	type key struct {
		list  int
		match format.Match
		name  string
	}
	type merging struct {
		*answer
		follows bool
	}
	merged := map[key]*merging{}
	for i := range p.lists {
		l := &p.lists[i]
		list := i
		if l.kind == OwnList && l.group == "" {
			list = -1
		}
		for _, d := range l.set.Details {
			id := l.id(d.Rule)
			a := p.answers[id]
			if a == nil {
				continue
			}
			rec, err := l.set.Record(d.Rule)
			if err != nil {
				continue
			}
			p.addParents(rec.Name)
			k := key{list, d.Match, string(rec.Name)}
			first := merged[k]
			switch {
			case first == nil:
				merged[k] = &merging{a, d.Synthetic}
				continue
			case d.Synthetic: // an address has one name
			case first.follows:
				first.all, first.follows = a.all, false
			default:
				for _, r := range a.all {
					first.add(r)
				}
			}
			p.answers[id] = first.answer
		}
	}
}

// addParents notes that the names above a name, in wire form, have something below
// them.
func (p *Policy) addParents(name []byte) {
	for len(name) > 1 && int(name[0]) < len(name) {
		if name = name[1+int(name[0]):]; len(name) > 1 {
			p.parents[string(name)] = struct{}{}
		}
	}
}

// HasAnswersBelow reports whether a rule answers for a name below name. Whatever
// others say, name is there then: a resolver that hears of NXDOMAIN may conclude
// that there is nothing below it either (RFC 8020).
func (p *Policy) HasAnswersBelow(name *dnswire.Name) bool {
	if p == nil || len(p.parents) == 0 {
		return false
	}
	_, ok := p.parents[string(name.Wire())]
	return ok
}
