package rules

import (
	"fmt"

	"telltale/blocklists/format"
)

// What a rule costs in memory while a list is compiled and put in force, in octets.
// They are estimates, on the side of too much: texts are counted three times, since
// they are held, written as JSON, and read back.
const (
	ruleCost       = 12 // its share of the names' index while that is built
	detailCost     = 48
	annotationCost = 450
	extraCost      = 500
	patternCost    = 2000
	textCopies     = 3
)

func costOfAnnotation(n *format.Annotation) int64 {
	texts := len(n.Vendor) + len(n.Product) + len(n.Purpose) + len(n.Tier) + len(n.Region) + len(n.Source) +
		len(n.Breaks) + len(n.Since) + len(n.Confidence) + len(n.Claims) + len(n.Software)
	return annotationCost + int64(textCopies*texts)
}

func costOfExtra(x *format.Extra) int64 {
	cost := int64(extraCost + textCopies*len(x.Text) + 2*(len(x.Types)+len(x.NotTypes)))
	for _, name := range x.DenyAllow {
		cost += int64(24 + textCopies*len(name))
	}
	for _, who := range x.Clients {
		cost += int64(16 + textCopies*len(who))
	}
	for _, tag := range x.Tags {
		cost += int64(16 + textCopies*len(tag))
	}
	for i := range x.Records {
		cost += int64(32 + textCopies*len(x.Records[i].Data))
	}
	return cost
}

// Memory estimates what the set takes in memory, and what building the names'
// index takes for it, in octets.
func (s *Set) Memory() int64 { return s.memory }

// costOf is Memory for a set that was read from its file.
func costOf(s *Set) int64 {
	cost := int64(s.count)*ruleCost + int64(len(s.Details))*detailCost
	for _, n := range s.Annotations {
		cost += costOfAnnotation(n)
	}
	for _, x := range s.Extras {
		cost += costOfExtra(x)
	}
	return cost + int64(len(s.Patterns))*patternCost
}

// A budget is how much memory a list may take.
type budget struct {
	most    int64 // 0 for any
	used    int64
	lost    int // annotations that were left out
	refused int // rules that were
	line    int // of the first of either
}

// take spends cost and reports whether there was so much. Half of what there is
// stays for rules that have nothing but a name.
func (b *budget) take(cost int64) bool {
	if b.most > 0 && b.used+cost > b.most/2 {
		return false
	}
	b.used += cost
	return true
}

// takeRule spends what a rule costs in any case.
func (b *budget) takeRule() error {
	if b.used += ruleCost; b.most > 0 && b.used > b.most {
		return fmt.Errorf("has too many rules for the memory there is (%d MB for this list): leave some out, or give Telltale more memory", b.most>>20)
	}
	return nil
}

// fits reports whether there is memory for all that a rule says. Without it the
// rule's annotation is left out; a rule with conditions or an answer is refused, as
// it would block more without them.
func (b *budget) fits(r *format.Rule, noted, shared bool) bool {
	cost := int64(0)
	if r.Extra != nil && !shared {
		cost = detailCost + costOfExtra(r.Extra)
	}
	if r.Match == format.Pattern {
		cost += patternCost
	}
	if cost > 0 && !b.take(cost) {
		b.refused++
		b.at(r.Line)
		return false
	}
	if r.Annotation == nil {
		return true
	}
	cost = detailCost
	if !noted {
		cost += costOfAnnotation(r.Annotation)
	}
	if !b.take(cost) {
		b.lost++
		b.at(r.Line)
		r.Annotation = nil
	}
	return true
}

func (b *budget) at(line int) {
	if b.line == 0 {
		b.line = line
	}
}

// problem says what was left out; "" for nothing.
func (b *budget) problem() string {
	if b.lost+b.refused == 0 {
		return ""
	}
	return fmt.Sprintf("%d annotations and %d rules with modifiers, from this line on, are left out: there is no more memory for them (%d MB for this list): give Telltale more memory, or take a smaller list",
		b.lost, b.refused, b.most>>20)
}
