// Package format reads list files: text in, rules out. It is pure: no files, no
// clock, no policy. Every form of line that docs/lists.md describes is read
// here, and what a line means is decided here and nowhere else.
package format

import "time"

// A Form is how the author wrote a rule, so that it can be shown as written.
type Form uint8

const (
	Domain         Form = iota // example.com
	Exactly                    // =example.com
	Wildcard                   // *.example.com
	Hosts                      // 0.0.0.0 example.com
	AdBlock                    // ||example.com^ and its relatives
	Dnsmasq                    // local=/example.com/, or server=, which is the same option
	DnsmasqAddress             // address=/example.com/
	Unbound                    // local-zone: "example.com" always_null
	Zone                       // an RPZ record
	RegexForm                  // /regex/
	Comment                    // #@ name=example.com

	NumForms = int(Comment) + 1
)

// String names the form, for counts. Forms of one program share a name.
func (f Form) String() string {
	switch f {
	case Domain:
		return "domain"
	case Exactly:
		return "exact"
	case Wildcard:
		return "wildcard"
	case Hosts:
		return "hosts"
	case AdBlock:
		return "adblock"
	case Dnsmasq, DnsmasqAddress:
		return "dnsmasq"
	case Unbound:
		return "unbound"
	case Zone:
		return "rpz"
	case RegexForm:
		return "regex"
	case Comment:
		return "known"
	}
	return "unknown"
}

// A Match is which names a rule matches.
type Match uint8

const (
	Subtree Match = iota // Name and everything below it
	Exact                // Name alone
	Below                // everything below Name, not Name itself (RPZ wildcards)
	Pattern              // names whose presentation form Rule.Regex matches
	Address              // answers with an address in Extra.Prefix (rpz-ip)
	Server               // answers from zones with a name server of that name in Extra.Server, or address in Extra.Prefix (rpz-nsdname, rpz-nsip)
)

// An Action is what a rule wants.
type Action uint8

const (
	Block    Action = iota
	Allow           // an exception
	Known           // attributes, never blocks (#@ name=...)
	Answer          // answers with Extra.Records
	Cancel          // $badfilter: removes the rule that is otherwise the same (Rule.Key)
	Unanswer        // @@...$dnsrewrite: rules with a Reply of their own do not hold; others do
)

// An Annotation says who wants a name, for what, and who says so. Empty fields
// are unknown. It is shared between rules and never changed once parsed.
type Annotation struct {
	Vendor, Product string
	Purpose         string // from the vocabulary of docs/catalogue.md
	Tier            string // telemetry, mixed, essential, owner; "" where the list is not tiered
	Region          string
	Source          string    // who says so: a URL or repository:path; several separated by spaces
	Breaks          string    // what breaks when blocked
	Since           string    // year or date the claim dates from
	Confidence      string    // as Confidence.String writes it, or in a list's own words
	Software        string    // whose collector runs there, when not the vendor's own
	Claims          string    // sources by kind of claim, where Options.Claims was nil
	Until           time.Time // the rule ends then; zero for never
}

// A Rule is one rule of a list. Parse reuses it: whoever keeps a field copies it.
type Rule struct {
	Line       int
	Form       Form
	Match      Match
	Action     Action
	Important  bool        // $important
	Name       []byte      // wire form, lower case; valid until emit returns; nil for Pattern, Address and Server
	Regex      string      // RE2 on the presentation form without trailing dot, for Pattern
	Literal    string      // a text that every name Regex matches contains; "" for none known
	Extra      *Extra      // nil for nearly every rule
	Annotation *Annotation // nil for none
}
