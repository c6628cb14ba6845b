package querylog

import (
	"time"
)

// A Row is the lookups of one name, by one device from one address, that were
// decided and answered alike within one window (10 to 60 s). A closed row never
// changes. docs/querylog.md says what each key means; columns.go has where each
// comes from.
type Row struct {
	Time  Time   `json:"time"`  // of the first lookup
	Last  Time   `json:"last"`  // of the last
	Count uint64 `json:"count"` // lookups, as received
	Node  string `json:"node"`

	Device string `json:"device"` // the binding's stable identity; "addr:..." where there was none
	Client string `json:"client"` // the address that asked
	Name   string `json:"name"`   // lower case, no trailing dot; "" in a folded row
	Type   string `json:"type"`   // "" in a folded row

	Verdict    string `json:"verdict"`               // pass, allow, block, observe, answer, unknown
	Reason     string `json:"reason,omitempty"`      // the class of the deciding rule
	ObservedBy string `json:"observed_by,omitempty"` // what made a block an observe
	List       string `json:"list"`                  // the deciding rule's; "" for none
	Line       int    `json:"line"`
	Rule       string `json:"rule"` // as Policy.Rule spells it

	Vendor  string `json:"vendor"`
	Product string `json:"product"`
	Purpose string `json:"purpose"`
	Tier    string `json:"tier"`
	Source  string `json:"source"` // who makes the claim that the annotation is

	Rcode        string `json:"rcode"`
	AnsweredFrom string `json:"answered_from"` // policy, cache, upstream, error, rebind, shed, failure
	Transport    string `json:"transport"`     // udp, tcp, tls, https, quic

	TTL     uint32  `json:"ttl"`     // the largest TTL served, seconds
	Elapsed float64 `json:"elapsed"` // the longest time to an answer, milliseconds

	Attempts        uint32 `json:"attempts,omitempty"`            // that began in this row; 0 also where they were not counted
	AsLookups       uint32 `json:"attempts_as_lookups,omitempty"` // of them, lookups that each counted as one
	Region          string `json:"region,omitempty"`
	Confidence      string `json:"confidence,omitempty"`  // the annotation's: a word of format.Confidence, or the list's own
	Independent     int    `json:"independent,omitempty"` // sources that do not copy one another, behind the confidence; 0 for unknown
	Contested       bool   `json:"contested,omitempty"`   // sources disagree on what breaks
	Breaks          string `json:"breaks,omitempty"`
	Attribution     string `json:"attribution,omitempty"` // rule, list or owner; "" for none
	AttributionList string `json:"attribution_list,omitempty"`
	AttributionLine int    `json:"attribution_line,omitempty"`
	Alias           string `json:"alias,omitempty"`     // the alias in the answer that decided
	ClientID        string `json:"client_id,omitempty"` // by which the client named itself
	Upstream        string `json:"upstream,omitempty"`  // the ID of the one that was asked for these lookups and gave the answer; "" also in a folded row

	DeviceName        string `json:"device_name,omitempty"` // as shown when the lookup came
	MAC               string `json:"mac,omitempty"`
	Binding           uint64 `json:"binding,omitempty"` // its number; 0 for none
	BindingSource     string `json:"binding_source,omitempty"`
	BindingConfidence string `json:"binding_confidence,omitempty"`

	Imported string `json:"imported,omitempty"` // the kind of log that it was imported from; "" for a row that was recorded here

	Folded bool `json:"folded,omitempty"` // names were counted together, see docs/querylog.md
	Open   bool `json:"open,omitempty"`   // its window is not closed: the count may still grow

	Store string `json:"store"` // random number of the store; "" while there is none
	ID    int64  `json:"id"`    // unique and ascending within the store: window<<20 | place in it
}

// Window returns the number of the window that the row is of.
func (r *Row) Window() int64 { return r.ID >> rowBits }

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
