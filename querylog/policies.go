package querylog

import (
	"encoding/binary"
	"math"
	"strings"

	"telltale/blocklists"
	"telltale/blocklists/format"
)

// A foldPolicy is a policy that rows of a fold refer to. A window that cannot be
// closed, because nothing takes it, must not keep each policy that was in force
// meanwhile: a policy is memory, open files and mapped ones. Such a policy is
// released once another is in force, and what rows say of it is kept instead.
type foldPolicy struct {
	policy *blocklists.Policy // nil once it is released
	closed bool               // no row is added any more
	texts  *policyTexts       // what its rows say, once it is released
}

// policy returns the number of p within the fold, or false where there is none
// left.
func (f *fold) policy(p *blocklists.Policy) (n uint16, ok bool) {
	for i := len(f.policies) - 1; i > 0; i-- {
		if have := &f.policies[i]; have.policy == p && !have.closed {
			return uint16(i), true
		}
		if i < len(f.policies)-8 { // stragglers of an old policy: a number each
			break
		}
	}
	if len(f.policies) > math.MaxUint16 {
		return 0, false
	}
	f.policies = append(f.policies, foldPolicy{policy: p})
	return uint16(len(f.policies) - 1), true
}

// held returns how many policies the fold keeps from being released.
func (f *fold) held() (n int) {
	for i := range f.policies {
		if f.policies[i].policy != nil {
			n++
		}
	}
	return n
}

// closePolicies ends the policies of the fold but the newest, or all, so that
// they can be released. It is called under the lock that guards the fold.
func (f *fold) closePolicies(all bool) (closed []uint16) {
	last := len(f.policies) - 1
	for i := 1; i <= last; i++ {
		if p := &f.policies[i]; p.policy != nil && (all || i < last) {
			p.closed = true
			closed = append(closed, uint16(i))
		}
	}
	return closed
}

// A policyTexts is what the rows of a released policy say.
type policyTexts struct {
	rules       map[blocklists.RuleID]ruleText
	annotations map[attribution]*format.Annotation
	lists       map[blocklists.RuleID]string // of rules whose list attributes
	bytes       int
}

// An attribution is what an annotation is found by.
type attribution struct {
	rule, attr blocklists.RuleID
	level      blocklists.Level
}

// textsOf returns what rows say of closed policies, by their numbers. It reads
// files, and nothing that Append changes.
func (f *fold) textsOf(closed []uint16) map[uint16]*policyTexts {
	all := make(map[uint16]*policyTexts, len(closed))
	for _, n := range closed {
		all[n] = &policyTexts{rules: map[blocklists.RuleID]ruleText{}, annotations: map[attribution]*format.Annotation{},
			lists: map[blocklists.RuleID]string{}}
	}
	for i := range f.rows {
		if f.rows[i].state == moved {
			continue
		}
		k := f.keyOf(&f.rows[i])
		n := binary.LittleEndian.Uint16(k[14:])
		t := all[n]
		if t == nil {
			continue
		}
		rule, attr := blocklists.RuleID(binary.LittleEndian.Uint32(k[4:])), blocklists.RuleID(binary.LittleEndian.Uint32(k[8:]))
		e := entry{Level: blocklists.Level(k[16] & 15)}
		e.Rule, e.Attr = f.rulesOf(i)
		t.addRule(rule, e.Rule)
		t.addRule(attr, e.Attr)
		describeRule(f.policies[n].policy, &e, rule, attr)
		t.addAttribution(&e, rule, attr)
	}
	f.texts.forget()
	return all
}

func (t *policyTexts) addRule(id blocklists.RuleID, r ruleText) {
	if _, known := t.rules[id]; known || id == 0 {
		return
	}
	r.List, r.Text = strings.Clone(r.List), strings.Clone(r.Text) // they may be of the policy's files
	t.rules[id] = r
	t.bytes += 128 + len(r.List) + len(r.Text)
}

func (t *policyTexts) addAttribution(e *entry, rule, attr blocklists.RuleID) {
	if attr == 0 && e.Level == blocklists.ByList {
		t.lists[rule] = strings.Clone(e.Attr.List)
	}
	key := attribution{rule, attr, e.Level}
	if _, known := t.annotations[key]; known || e.Annotation == nil {
		return
	}
	var a format.Annotation
	from := annotationTexts(e.Annotation)
	for i, s := range annotationTexts(&a) {
		*s = strings.Clone(*from[i])
		t.bytes += len(*s)
	}
	t.annotations[key] = &a
	t.bytes += 256
}

// fill sets what an entry says of the policy.
func (t *policyTexts) fill(e *entry, rule, attr blocklists.RuleID) {
	e.Rule, e.Attr = t.rules[rule], t.rules[attr]
	if attr == 0 && e.Level == blocklists.ByList {
		e.Attr = ruleText{List: t.lists[rule]}
	}
	e.Annotation = t.annotations[attribution{rule, attr, e.Level}]
}

// release lets go of closed policies whose texts were read. It is called under
// the lock that guards the fold.
func (f *fold) release(texts map[uint16]*policyTexts) {
	for n, t := range texts {
		f.policies[n] = foldPolicy{closed: true, texts: t}
		f.released += t.bytes
	}
}

// describeRule sets what an entry says of the policy that is not a rule's text.
func describeRule(p *blocklists.Policy, e *entry, rule, attr blocklists.RuleID) {
	if attr == 0 && e.Level == blocklists.ByList {
		e.Attr = ruleText{List: p.ListName(rule)}
	}
	if e.Level != blocklists.Unattributed {
		e.Annotation = p.Attribution(blocklists.Verdict{Policy: p, Rule: rule, Attr: attr, Level: e.Level})
	}
}
