package blocklists

import (
	"regexp/syntax"
	"strings"
)

// maxSteps bounds what the patterns of all lists cost a name, in instructions that
// each octet of it may go through: about a millisecond in the worst case. One's own
// patterns count, and are in force in any case.
const maxSteps = 5000

// common are texts that many names contain: a pattern that needs one of them is
// tried on many names.
const common = "www. .com .net .org .info .de .fr .uk .co. .io .cn .ru .jp .br .app .dev .cloud .in-addr.arpa api. cdn. ads. "

// patternSteps returns what a pattern costs a name: the instructions of its program,
// as compiling it counts them, or a small part of them where few names contain the
// text that it needs.
func patternSteps(re, literal string) int {
	tree, err := syntax.Parse(re, syntax.Perl)
	if err != nil {
		return 0 // it is not in force
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return 0
	}
	if literal == "" || strings.Contains(common, literal) {
		return len(prog.Inst)
	}
	return len(prog.Inst)/100 + 1
}

// inverts reports whether a pattern matches all names but those of its expression.
func (p *Policy) inverts(id RuleID) bool {
	at, rule := p.find(id)
	if at < 0 {
		return false
	}
	d, _ := p.lists[at].set.Detail(rule)
	x := p.lists[at].set.ExtraOf(d)
	return x != nil && x.Invert
}
