package querylog

import (
	"encoding/binary"
	"slices"

	"telltale/blocklists"
)

// textRows is for so many rows at once that rules are read. They come in the
// order of the lists' files then, and many with each read; one by one, the read
// would cost more than all else that is done for a row.
const textRows = 8192

// ruleTexts are the rules of some rows of a fold that follow each other.
type ruleTexts struct {
	from, to int // places of the rows
	rules    []ruleText
	uses     []uint16 // of each row the deciding rule and the attributing one: place in rules + 1, or 0
}

// A ruleUse is a rule to be read and what for: number of the policy (16 bits),
// rule (32), row (15) and whether it attributes (1).
type ruleUse uint64

func useOf(policy uint16, rule uint32, row int, attr uint64) ruleUse {
	return ruleUse(policy)<<48 | ruleUse(rule)<<16 | ruleUse(row)<<1 | ruleUse(attr)
}

func (u ruleUse) policy() uint16          { return uint16(u >> 48) }
func (u ruleUse) rule() blocklists.RuleID { return blocklists.RuleID(u >> 16) }
func (u ruleUse) use() int                { return int(u & (1<<16 - 1)) }

// rulesOf returns the deciding and the attributing rule of the row at place i.
// It may read files, for this row and those that follow.
func (f *fold) rulesOf(i int) (rule, attr ruleText) {
	t := f.texts
	if i < t.from || i >= t.to {
		t.read(f, i)
	}
	if n := t.uses[2*(i-t.from)]; n > 0 {
		rule = t.rules[n-1]
	}
	if n := t.uses[2*(i-t.from)+1]; n > 0 {
		attr = t.rules[n-1]
	}
	return rule, attr
}

// read reads the rules of textRows rows from place from on.
func (t *ruleTexts) read(f *fold, from int) {
	t.from, t.to = from, min(from+textRows, len(f.rows))
	t.rules = t.rules[:0]
	t.uses = append(t.uses[:0], make([]uint16, 2*(t.to-t.from))...)
	wanted := f.uses(t.from, t.to)
	slices.Sort(wanted)
	var ids []blocklists.RuleID
	for len(wanted) > 0 {
		n, policy := 0, wanted[0].policy()
		for ids = ids[:0]; n < len(wanted) && wanted[n].policy() == policy; n++ {
			if id := wanted[n].rule(); n == 0 || id != ids[len(ids)-1] {
				ids = append(ids, id)
			}
			t.uses[wanted[n].use()] = uint16(len(t.rules) + len(ids))
		}
		f.policies[policy].policy.Rules(ids, func(_ int, r blocklists.Rule) {
			t.rules = append(t.rules, ruleText{r.List, r.Line, r.Text})
		})
		wanted = wanted[n:]
	}
}

// uses returns the rules that rows refer to.
func (f *fold) uses(from, to int) []ruleUse {
	wanted := make([]ruleUse, 0, to-from)
	for at := from; at < to; at++ {
		if f.rows[at].state == moved {
			continue
		}
		k := f.keyOf(&f.rows[at])
		policy, rule, attr := binary.LittleEndian.Uint16(k[14:]), binary.LittleEndian.Uint32(k[4:]), binary.LittleEndian.Uint32(k[8:])
		if f.policies[policy].texts != nil {
			continue
		}
		if rule != 0 {
			wanted = append(wanted, useOf(policy, rule, at-from, 0))
		}
		if attr != 0 {
			wanted = append(wanted, useOf(policy, attr, at-from, 1))
		}
	}
	return wanted
}

// forget lets go of what was read.
func (t *ruleTexts) forget() { *t = ruleTexts{} }
