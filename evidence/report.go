// Package evidence says what the log shows: reports that a stranger can read and a
// sceptic can check. It reads the store, and never stands in the way of a query.
package evidence

import (
	"time"

	"telltale/evidence/rhythm"
	"telltale/querylog"
)

// Version is that of a Report as JSON. It grows where a key changes its meaning or
// goes; docs/report.schema.json describes it.
const Version = 1

// A Report is what the log says of a period. Every format shows this and nothing
// else, so that a number in one is the number in all. Keys and words of its JSON
// never change their meaning.
type Report struct {
	Version int           `json:"version"`
	Made    querylog.Time `json:"made"`
	Program string        `json:"program"` // and its version, and that of the lists that it has today
	About   About         `json:"about"`
	Since   querylog.Time `json:"since"`
	Until   querylog.Time `json:"until"`
	Zone    string        `json:"zone"` // of days, hours, and nights

	Coverage Coverage `json:"coverage"`
	Attempts Attempts `json:"attempts"`
	Unit     string   `json:"unit"` // attempts or lookups: what shares, rates and orders are of

	Asked   Counts   `json:"asked"`    // all
	Deleted uint64   `json:"deleted"`  // lookups of Asked of before there were totals, whose rows are deleted: only their hour and device are kept
	Totals  Totals   `json:"totals"`   // the part of these numbers that is of hourly totals
	Listed  Counts   `json:"listed"`   // those of names that a rule or a list says to be a vendor's
	Tiers   []Tier   `json:"tiers"`    // of Listed
	PerHour float64  `json:"per_hour"` // of Listed that was recorded here, per hour of Rated; 0 where that is 0
	Rated   int64    `json:"rated"`    // seconds recorded that rates are of: without hours of totals that may have imported lookups
	Night   Night    `json:"night"`    // of Listed
	Silent  *Silent  `json:"silent"`   // of Listed; null where only a vendor's lookups were read, or rows of others are deleted that no total replaces
	Before  *Before  `json:"before"`   // null: not compared
	Vendors []Vendor `json:"vendors"`  // the busiest first
	Owners  []Owner  `json:"owners"`   // of domains of other names, the busiest first
	Devices []Device `json:"devices"`  // the busiest first
	Flows   []Flow   `json:"flows"`    // from devices to vendors to purposes, the largest first

	Timeline Timeline `json:"timeline"` // of Listed
	Hours    []Cell   `json:"hours"`    // of Listed: Monday 0 to Sunday 23 o'clock

	New  []Change `json:"new"`  // names listed that the period before has not
	Gone []Change `json:"gone"` // and those that this period has not

	Identity     []Identity   `json:"identity"`      // of the device
	IdentityMore int          `json:"identity_more"` // older ones that are left out
	Confidence   []Confidence `json:"confidence"`    // of all lookups, by how surely their device is known

	Rhythm *rhythm.Findings `json:"rhythm"` // of listed names; null where it was not wanted

	Destinations []Destination `json:"destinations"` // where listed names lead; none where Telltale did not ask
	Countries    []Country     `json:"countries"`    // that names led to, the busiest first

	Markers     []Marker `json:"markers"`
	MarkersMore int      `json:"markers_more"` // earlier ones that are left out

	Caveats []string `json:"caveats"` // what bears on this report
	Proves  []string `json:"proves"`
	Limits  []string `json:"limits"` // what DNS cannot prove

	Location *time.Location `json:"-"` // Zone
}

// About is what a report is about: of a household both words are empty.
type About struct {
	Kind   string `json:"kind"`   // household, device, vendor, or vendor-of-device
	Device string `json:"device"` // its identity today
	Label  string `json:"label"`  // the device as shown
	Vendor string `json:"vendor"`
}

// A Count is lookups as received, and the attempts that they are.
type Count struct {
	Attempts uint64 `json:"attempts"`
	Lookups  uint64 `json:"lookups"`

	importedAttempts, importedLookups uint64 // of them, what another server recorded
}

func countOf(r *querylog.Row) Count {
	c := Count{Attempts: uint64(r.Attempts), Lookups: r.Count}
	if r.Imported != "" {
		c.importedAttempts, c.importedLookups = c.Attempts, c.Lookups
	}
	return c
}

func (c *Count) add(d Count) {
	c.Attempts += d.Attempts
	c.Lookups += d.Lookups
	c.importedAttempts += d.importedAttempts
	c.importedLookups += d.importedLookups
}

// In returns the count in a unit.
func (c Count) In(unit string) uint64 {
	if unit == UnitAttempts {
		return c.Attempts
	}
	return c.Lookups
}

// OwnIn returns of the count in a unit what was recorded here: rates are of that alone,
// as nobody knows for how long another server recorded.
func (c Count) OwnIn(unit string) uint64 {
	if unit == UnitAttempts {
		return c.Attempts - c.importedAttempts
	}
	return c.Lookups - c.importedLookups
}

// Units of a report.
const (
	UnitAttempts = "attempts"
	UnitLookups  = "lookups"
)

// Counts are a count, and its parts by what was decided.
type Counts struct {
	Count
	Blocked  Count `json:"blocked"`
	Observed Count `json:"observed"` // would be blocked, was answered
	Allowed  Count `json:"allowed"`  // by an exception
	Passed   Count `json:"passed"`
	Answered Count `json:"answered"` // here: local and special names
	Unknown  Count `json:"unknown"`  // imported from a log that does not say what was decided
}

func (c *Counts) add(verdict string, d Count) {
	c.Count.add(d)
	switch verdict {
	case "block":
		c.Blocked.add(d)
	case "observe":
		c.Observed.add(d)
	case "allow":
		c.Allowed.add(d)
	case "answer":
		c.Answered.add(d)
	case "unknown":
		c.Unknown.add(d)
	default:
		c.Passed.add(d)
	}
}

// Totals are the part of a report's numbers that is of hourly totals, since rows are
// deleted or too many to be read. They have no names.
type Totals struct {
	Why    string `json:"why"`    // none; deleted: the rows are; long: the period is
	Asked  Count  `json:"asked"`  // of Report.Asked
	Listed Count  `json:"listed"` // of Report.Listed
}

// Coverage is what of a period was recorded.
type Coverage struct {
	Length   int64          `json:"length"`   // seconds
	Recorded int64          `json:"recorded"` // seconds in which a server recorded lookups
	Whole    bool           `json:"whole"`    // no lookup of a listed name is known to be missing: only then is "none" said
	Text     string         `json:"text"`     // for people
	Gaps     []querylog.Gap `json:"gaps"`

	Listed   querylog.Time `json:"listed,omitzero"`   // the log's oldest row of a listed name
	Unlisted querylog.Time `json:"unlisted,omitzero"` // and of any other
}

// Attempts say how attempts were counted.
type Attempts struct {
	Counted string        `json:"counted"`        // all, part, or none: of the period
	Since   querylog.Time `json:"since,omitzero"` // from when on
	Gap     float64       `json:"gap"`            // seconds of silence that end one
}

// A Tier is a tier's part.
type Tier struct {
	Tier string `json:"tier"`
	Count
}

// Night is what fell between midnight and six o'clock.
type Night struct {
	Count
	Share    float64 `json:"share"`    // of the unit, 0 to 1
	Recorded float64 `json:"recorded"` // the night's part of the time recorded, 0 to 1
}

// Silent is what fell in hours in which the device asked for nothing else.
type Silent struct {
	Count
	Share float64 `json:"share"`
	Hours int     `json:"hours"` // of all devices together
}

// Before is the period of the same length before.
type Before struct {
	Since    querylog.Time `json:"since"`
	Until    querylog.Time `json:"until"`
	Coverage Coverage      `json:"coverage"`
	Rated    int64         `json:"rated"` // as Report.Rated
	Unit     string        `json:"unit"`  // in which the two are compared
	Listed   Count         `json:"listed"`
	Trend    Trend         `json:"trend"`
}

// A Trend compares the rates of two periods.
type Trend struct {
	Before float64  `json:"before"` // per hour recorded
	Now    float64  `json:"now"`
	Change *float64 `json:"change"` // 0.5: half as much again; null where there is nothing to compare with
}

// A Vendor is what was asked of one vendor's listed names.
type Vendor struct {
	Vendor   string        `json:"vendor"`
	Counts   Counts        `json:"counts"`
	PerHour  float64       `json:"per_hour"`
	Night    float64       `json:"night"` // share
	First    querylog.Time `json:"first"`
	Last     querylog.Time `json:"last"`
	Tiers    []Tier        `json:"tiers"`
	Products []string      `json:"products"`
	Purposes []Purpose     `json:"purposes"`
	Names    []Name        `json:"names"` // the busiest first

	NamesLeast uint64 `json:"names_at_least"` // different ones; there may be more where hourly totals were read

	Sources []string `json:"sources"` // documents by which names are listed
	Devices []string `json:"devices"` // as shown
	Series  []uint64 `json:"series"`  // in the timeline's slots
	Trend   *Trend   `json:"trend"`   // null: not compared
}

// A Purpose is what names are said to be for.
type Purpose struct {
	Purpose string `json:"purpose"` // "" where nothing is said
	Tier    string `json:"tier"`
	Count
}

// A Name is one that was asked for, and what is said of it, as its last row has it.
type Name struct {
	Name        string        `json:"name"` // "": several names that were counted together, or are not known any more
	Alias       string        `json:"alias,omitempty"`
	Product     string        `json:"product"`
	Purpose     string        `json:"purpose"`
	Tier        string        `json:"tier"`
	Region      string        `json:"region,omitempty"`
	Breaks      string        `json:"breaks,omitempty"`
	Attribution string        `json:"attribution"` // rule or list
	ListedBy    string        `json:"listed_by"`   // list and line
	Sources     []string      `json:"sources"`
	Confidence  string        `json:"confidence"`
	Independent int           `json:"independent"` // sources that do not copy one another; 0 for unknown
	Contested   bool          `json:"contested"`   // what breaks is
	Counts      Counts        `json:"counts"`
	First       querylog.Time `json:"first"`
	Last        querylog.Time `json:"last"`
	Devices     int           `json:"devices"`
}

// An Owner is a company to which domains of names that nobody lists belong.
type Owner struct {
	Owner  string `json:"owner"`
	Counts Counts `json:"counts"`
}

// A Device is one that asked.
type Device struct {
	Device     string        `json:"device"` // identity today
	Label      string        `json:"label"`
	Asked      Counts        `json:"asked"`
	Listed     Counts        `json:"listed"`
	PerHour    float64       `json:"per_hour"` // of Listed
	Vendors    []VendorPart  `json:"vendors"`  // the busiest first
	Confidence []string      `json:"confidence"`
	First      querylog.Time `json:"first"`
	Last       querylog.Time `json:"last"`
	Trend      *Trend        `json:"trend"`
}

// A VendorPart is a vendor's part of a device.
type VendorPart struct {
	Vendor string `json:"vendor"`
	Count
}

// A Flow is from a device to a vendor to a purpose.
type Flow struct {
	Device  string `json:"device"` // as shown
	Vendor  string `json:"vendor"`
	Purpose string `json:"purpose"`
	Count
}

// A Timeline is a period in slots.
type Timeline struct {
	Step  string `json:"step"` // hour, day or week
	Slots []Slot `json:"slots"`
}

// A Slot is one of them.
type Slot struct {
	Since    querylog.Time `json:"since"`
	Until    querylog.Time `json:"until"`
	Recorded int64         `json:"recorded"`         // seconds
	Unrated  int64         `json:"unrated,omitzero"` // of Recorded, seconds that are not of Report.Rated
	Count
	Blocked Count `json:"blocked"`
	Unknown Count `json:"unknown,omitzero"` // imported from a log that does not say what was decided
}

// A Cell is an hour of a weekday.
type Cell struct {
	Weekday  int   `json:"weekday"`          // 0 Monday to 6 Sunday
	Hour     int   `json:"hour"`             // 0 to 23
	Recorded int64 `json:"recorded"`         // seconds
	Unrated  int64 `json:"unrated,omitzero"` // as that of a Slot
	Count
}

// A Change is a listed name that one of two periods has and the other has not.
type Change struct {
	Name    string        `json:"name"`
	Vendor  string        `json:"vendor"`
	Tier    string        `json:"tier"`
	Purpose string        `json:"purpose"`
	First   querylog.Time `json:"first"`
	Last    querylog.Time `json:"last"`
	Count                 // in the period that has it
}

// An Identity is what a device was known by, and how surely.
type Identity struct {
	Device     string        `json:"device"` // identity then
	Covers     string        `json:"covers"` // address, prefix, or the word for client ids
	MAC        string        `json:"mac,omitempty"`
	Source     string        `json:"source"`
	Confidence string        `json:"confidence"`
	From       querylog.Time `json:"from"`
	Until      querylog.Time `json:"until,omitzero"` // left out while it lasts
}

// A Confidence is the part of lookups whose device is known so surely.
type Confidence struct {
	Confidence string `json:"confidence"` // high, medium, low; "" where nothing but the address is known
	Count
}

// A Destination is where a listed name led when Telltale itself asked last: no lookup of a
// device's.
type Destination struct {
	Name      string        `json:"name"` // of the catalogue; names below it are asked for, too
	Vendor    string        `json:"vendor"`
	Since     querylog.Time `json:"since"` // from when on it led there
	Asked     querylog.Time `json:"asked"` // when it was asked for last
	Operators []string      `json:"operators"`
	Countries []string      `json:"countries"` // by databases, which Text names
	Text      []string      `json:"text"`      // for people
}

// A Country is what was asked of listed names that lead to it. What leads to several countries counts
// in each.
type Country struct {
	Country string `json:"country"` // ISO 3166-1, as a database has it
	Names   int    `json:"names"`   // also of those that Destinations have no room for
	Count          // of the report's names that are one of these, or below it
}

// A Marker is an event that may explain a change.
type Marker struct {
	Time querylog.Time `json:"time"`
	Kind string        `json:"kind"` // of the ledger's event
	Text string        `json:"text"`
}
