package querylog

import (
	"net/netip"

	"telltale/blocklists"
	"telltale/blocklists/format"
	"telltale/devices"
)

// An entry is a row on its way from a fold or a journal to the store or to a
// reader: texts made, numbers not yet.
type entry struct {
	Count       uint64
	Attempts    uint32 // begun in the row; 0 where they were not counted
	AsLookups   uint32 // of them, lookups that each counted as one
	First, Last int64  // Unix milliseconds
	Elapsed     uint32
	TTL         uint32
	Addr        netip.Addr
	Binding     *devices.Binding // nil for none
	ClientID    string
	Rule, Attr  ruleText // deciding and attributing
	Annotation  *format.Annotation
	Name, Alias []byte // wire form; empty for none
	Type        uint16
	Rcode       uint8
	Action      blocklists.Action
	Level       blocklists.Level
	Class       blocklists.Class
	ObservedBy  blocklists.ObservedBy
	Overrode    bool // of an Allow: over a block
	Source      Source
	Transport   Transport
	Granularity granularity
	Upstream    string // that answered; "" for none, and where the row does not tell them apart
}

// A ruleText is what a row says of a rule; the zero value is no rule.
type ruleText struct {
	List string
	Line int
	Text string
}

// listed reports whether the row is of a listed name, as Verdict.Listed does.
func (e *entry) listed() bool {
	v := blocklists.Verdict{Action: e.Action, Level: e.Level, Overrode: e.Overrode}
	return v.Listed()
}

// table returns the table of rows that it belongs to.
func (e *entry) table() string {
	if e.listed() {
		return "listed"
	}
	return "unlisted"
}
