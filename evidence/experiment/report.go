package experiment

import (
	"time"

	"telltale/querylog"
)

// A Report is what an experiment shows. Its keys are those of --json and do not change
// within a version.
type Report struct {
	Version    int            `json:"version"`
	Experiment *Experiment    `json:"experiment"`
	State      string         `json:"state"`
	Until      querylog.Time  `json:"until"` // what is reported of: its end, or now
	Unit       string         `json:"unit"`  // attempts, or lookups where attempts were not counted
	Phases     []PhaseSeen    `json:"phases"`
	Departures []string       `json:"departures"` // from the plan
	Changed    []string       `json:"changed"`    // what the ledger has that may have changed how names were answered
	Caveats    []string       `json:"caveats"`
	Devices    []DeviceResult `json:"devices"`
	Limits     []string       `json:"limits"`
}

// A PhaseSeen is a phase as it was.
type PhaseSeen struct {
	Condition string        `json:"condition"`
	Says      string        `json:"says"`
	Since     querylog.Time `json:"since"`
	Until     querylog.Time `json:"until"`
	Planned   int64         `json:"planned"` // seconds; 0 for a phase that is not in the plan
	Lasted    int64         `json:"lasted"`  // seconds
	Excluded  []Excluded    `json:"excluded"`
}

// Excluded is how much of a phase is not compared, and why.
type Excluded struct {
	Seconds int64  `json:"seconds"`
	Why     string `json:"why"`
	Device  string `json:"device,omitempty"` // of this one alone
}

// A DeviceResult is what is seen of one device, or of two that are compared.
type DeviceResult struct {
	Device   string       `json:"device"`
	Name     string       `json:"name"`
	Total    Comparison   `json:"total"` // all names that are compared
	Purposes []Comparison `json:"purposes"`
	Products []Comparison `json:"products"`
	Names    []Comparison `json:"names"`
	Vanished []string     `json:"vanished"` // names asked for in A and not in B; none unless it is over and both were observed
	Appeared []string     `json:"appeared"` // the other way round
	More     int          `json:"more_names,omitempty"`

	Planned string `json:"-"` // its identity in the plan
}

// Verdicts on a comparison: the closed set. "" where the experiment is not over.
const (
	HasStopped = "stopped"
	Fell       = "fell"
	NoChange   = "no change seen"
	Rose       = "rose"
	TooLittle  = "too little data to say"
)

// A Comparison says how often something was asked for in A, and in B.
type Comparison struct {
	What    string   `json:"what"`              // a name, a purpose, a product
	Vendor  string   `json:"vendor,omitempty"`  // of a name and of a product
	Purpose string   `json:"purpose,omitempty"` // of a name
	A       Rate     `json:"a"`
	B       Rate     `json:"b"`
	Ratio   *float64 `json:"ratio"` // B to A; null where A has none
	Low     *float64 `json:"low"`   // 95 % interval; null without a bound
	High    *float64 `json:"high"`
	P       float64  `json:"p"`          // of this alone
	Q       float64  `json:"q"`          // with regard to how many are compared
	Spread  float64  `json:"dispersion"` // the variance, as a multiple of that of independent attempts
	Power   float64  `json:"power"`      // to see a halving
	Verdict string   `json:"verdict"`
	Why     string   `json:"why,omitempty"`  // of too little data: what would be enough
	Note    string   `json:"note,omitempty"` // names were answered otherwise in B

	Back *Comparison `json:"back,omitempty"` // B as A, and the first condition come back to as B
}

// A Rate is how often something was asked for in a condition.
type Rate struct {
	Count   float64 `json:"count"` // in the hours that are compared
	Hours   float64 `json:"hours"`
	PerHour float64 `json:"per_hour"`
	Blocked float64 `json:"blocked"` // the part of Count that was blocked
}

// Options say how a log is read.
type Options struct {
	Now  time.Time
	Zone *time.Location // nil for UTC

	// Device returns which device it is today that had an identity when the plan was made,
	// what it is called, and all that it was. Nil: as the plan has it.
	Device func(identity string, at time.Time) (today, name string, was []querylog.DeviceSpan)
}

const reportVersion = 1

// limits are what no experiment shows.
var limits = []string{
	"That a connection was made, or what it carried: a lookup is a question for an address.",
	"That nothing was sent where nothing was asked for: devices keep answers, have addresses built in, ask other servers, and use mobile data.",
	"The cause. What else changed between the phases changed as well; coming back to the first condition, and doing it again, make chance and coincidence less likely.",
}
