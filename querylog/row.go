package querylog

import (
	"net/netip"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists"
	"telltale/dnswire"
)

// A Row is the lookups of one name, by one device from one address, that were
// decided and answered alike within one window (10 to 60 s). A closed row never
// changes.
type Row struct {
	Time  Time   `json:"time"`  // of the first lookup
	Last  Time   `json:"last"`  // of the last
	Count uint64 `json:"count"` // lookups, as received
	Node  string `json:"node"`

	Device string `json:"device"` // the binding's stable identity; "addr:..." where there was none
	Client string `json:"client"` // the address that asked
	Name   string `json:"name"`   // lower case, no trailing dot; "" in a folded row
	Type   string `json:"type"`   // "" in a folded row

	Verdict string `json:"verdict"` // pass, allow, block, observe, answer
	List    string `json:"list"`    // the deciding rule's; "" for none
	Line    int    `json:"line"`
	Rule    string `json:"rule"` // as Policy.Rule spells it

	Vendor  string `json:"vendor"`
	Product string `json:"product"`
	Purpose string `json:"purpose"`
	Tier    string `json:"tier"`
	Source  string `json:"source"` // who makes the claim that the annotation is

	Rcode        string `json:"rcode"`
	AnsweredFrom string `json:"answered_from"` // policy, cache, upstream, error, rebind, shed, failure
	Transport    string `json:"transport"`     // udp, tcp

	TTL     uint32  `json:"ttl"`     // the largest TTL served, seconds
	Elapsed float64 `json:"elapsed"` // the longest time to an answer, milliseconds

	Region          string `json:"region,omitempty"`
	Confidence      string `json:"confidence,omitempty"` // the annotation's: stated or name
	Breaks          string `json:"breaks,omitempty"`
	Attribution     string `json:"attribution,omitempty"` // rule, list or owner; "" for none
	AttributionList string `json:"attribution_list,omitempty"`
	AttributionLine int    `json:"attribution_line,omitempty"`
	Alias           string `json:"alias,omitempty"` // the alias in the answer that decided

	DeviceName        string `json:"device_name,omitempty"` // as shown when the lookup came
	MAC               string `json:"mac,omitempty"`
	Binding           uint64 `json:"binding,omitempty"` // its number; 0 for none
	BindingSource     string `json:"binding_source,omitempty"`
	BindingConfidence string `json:"binding_confidence,omitempty"`

	Folded bool `json:"folded,omitempty"` // names were counted together, see docs/querylog.md
	Open   bool `json:"open,omitempty"`   // its window is not closed: the count may still grow

	ID int64 `json:"id"` // unique and ascending within the node: window<<20 | place in it
}

// A Time is written as RFC 3339 in UTC with milliseconds, which is as exact as
// the log is.
type Time struct{ time.Time }

const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// String returns the time as JSON has it, without quotes.
func (t Time) String() string { return t.UTC().Format(timeFormat) }

// MarshalText implements encoding.TextMarshaler.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) { return []byte(`"` + t.String() + `"`), nil }

// UnmarshalJSON implements json.Unmarshaler.
func (t *Time) UnmarshalJSON(b []byte) error { return t.Time.UnmarshalJSON(b) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *Time) UnmarshalText(b []byte) error { return t.Time.UnmarshalText(b) }

// row returns the entry as a reader sees it.
func (e *entry) row(id int64, node string) Row {
	r := Row{
		ID: id, Time: Time{time.UnixMilli(e.First)}, Last: Time{time.UnixMilli(e.Last)}, Count: e.Count, Node: node,
		Client: addrText(e.Addr), Verdict: verdictWords.of(int64(e.Action)),
		List: e.Rule.List, Line: e.Rule.Line, Rule: e.Rule.Text,
		Rcode: dnswire.RcodeString(e.Rcode), AnsweredFrom: e.Source.String(), Transport: e.Transport.String(),
		TTL: e.TTL, Elapsed: float64(e.Elapsed) / 1000,
		Attribution: e.Level.String(), AttributionList: e.Attr.List, AttributionLine: e.Attr.Line,
		Folded: e.Grain != byName, Open: true,
	}
	if len(e.Name) > 0 {
		r.Name, r.Type = string(dnswire.AppendText(nil, e.Name)), dnswire.TypeString(e.Type)
	}
	if len(e.Alias) > 0 {
		r.Alias = string(dnswire.AppendText(nil, e.Alias))
	}
	if a := e.Annotation; a != nil {
		r.Vendor, r.Product, r.Purpose, r.Tier, r.Source = a.Vendor, a.Product, a.Purpose, a.Tier, a.Source
		r.Region, r.Confidence, r.Breaks = a.Region, a.Confidence, a.Breaks
	}
	if b := e.Binding; b != nil {
		r.Device, r.DeviceName, r.MAC, r.Binding = b.Device, b.Name, b.MAC, b.ID
		r.BindingSource, r.BindingConfidence = bindingSourceWords.of(int64(b.Source)), confidenceWords.of(int64(b.Confidence))
	} else if e.Addr.IsValid() {
		r.Device = bareDevice(e.Addr)
	}
	return r
}

// bareDevice is the identity of who has no binding.
func bareDevice(addr netip.Addr) string { return "addr:" + addr.String() }

// scanRow reads the columns of selectRow.
func scanRow(s *sqlite3.Stmt) Row {
	r := Row{
		ID: s.ColumnInt64(0), Time: Time{time.UnixMilli(s.ColumnInt64(1))}, Last: Time{time.UnixMilli(s.ColumnInt64(2))},
		Count: uint64(s.ColumnInt64(3)), Node: s.ColumnText(4), Client: s.ColumnText(5), Name: s.ColumnText(6),
		Verdict: verdictWords.of(s.ColumnInt64(8)),
		List:    s.ColumnText(9), Line: s.ColumnInt(10), Rule: s.ColumnText(11),
		Vendor: s.ColumnText(12), Product: s.ColumnText(13), Purpose: s.ColumnText(14), Tier: s.ColumnText(15), Source: s.ColumnText(16),
		Rcode: dnswire.RcodeString(uint8(s.ColumnInt(17))), AnsweredFrom: Source(s.ColumnInt(18)).String(),
		Transport: Transport(s.ColumnInt(19)).String(), TTL: uint32(s.ColumnInt64(20)), Elapsed: float64(s.ColumnInt64(21)) / 1000,
		Region: s.ColumnText(22), Confidence: s.ColumnText(23), Breaks: s.ColumnText(24),
		Attribution: blocklists.Level(s.ColumnInt(25)).String(), AttributionList: s.ColumnText(26), AttributionLine: s.ColumnInt(27),
		Alias: s.ColumnText(28), Device: s.ColumnText(29), DeviceName: s.ColumnText(30), MAC: s.ColumnText(31),
		Binding: uint64(s.ColumnInt64(32)), BindingSource: bindingSourceWords.of(s.ColumnInt64(33)),
		BindingConfidence: confidenceWords.of(s.ColumnInt64(34)), Folded: s.ColumnInt(35) != 0,
	}
	if r.Name != "" {
		r.Type = dnswire.TypeString(uint16(s.ColumnInt(7)))
	}
	return r
}
