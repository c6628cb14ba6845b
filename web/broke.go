package web

import "time"

// A Breakage is what was blocked of a device lately.
type Breakage struct {
	Device   string    `json:"device" doc:"Its identity."`
	Name     string    `json:"name"`
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until"`
	Suspects []Suspect `json:"suspects" doc:"The names, the likeliest cause of a breakage first."`
	Missed   int       `json:"missed,omitempty" doc:"Blocked lookups of all devices in that time which there was no room to keep apart. The log has them."`
	Search   *Search   `json:"search,omitempty" doc:"The search on the device that runs, or that ended not long ago."`
}

// A Suspect is a blocked name that a device may need.
type Suspect struct {
	Name    string    `json:"name"`
	Weight  float64   `json:"weight" doc:"How likely it is the cause, against the others. It is no probability."`
	Reasons []Reason  `json:"reasons" doc:"Why it is more or less likely."`
	First   time.Time `json:"first" doc:"In the period."`
	Last    time.Time `json:"last"`
	Lookups int       `json:"lookups" doc:"In the period."`
	Alias   string    `json:"alias,omitempty" doc:"The name in the answer that decided."`
	List    string    `json:"list" doc:"Of the rule that decided, as the next two."`
	Line    int       `json:"line,omitempty"`
	Rule    string    `json:"rule,omitempty"`
	Vendor  string    `json:"vendor,omitempty"`
	Product string    `json:"product,omitempty"`
	Purpose string    `json:"purpose,omitempty"`
	Tier    string    `json:"tier,omitempty"`
}

// A Reason is why a name is more or less likely the cause of a breakage.
type Reason struct {
	Code string `json:"code" doc:"essential, breaks-reported, breaks-presumed, mixed, unknown, first, burst, just-asked, rule-added, list-changed, steady or own-rule."`
	Text string `json:"text" doc:"For people."`
}

// A NewSearch says on which device to search for the name it needs, and what is written
// in the end.
type NewSearch struct {
	Device  string `json:"device" minLength:"1" doc:"The device: its name, identity, MAC or address."`
	Last    int64  `json:"last,omitempty" minimum:"0" maximum:"3600" doc:"Seconds in which a name was blocked that may be it; 0: 900."`
	Seconds int64  `json:"seconds,omitempty" minimum:"0" maximum:"315360000" doc:"How long the rule holds that the search ends with; 0: for good."`
	Comment string `json:"comment,omitempty" maxLength:"500" doc:"Behind that rule."`
}

// A SearchAnswer says whether it works now.
type SearchAnswer struct {
	Device   string `json:"device" minLength:"1" doc:"The device: its name, identity, MAC or address."`
	Works    bool   `json:"works" doc:"What did not work does, while the names of the question are let through."`
	Question int    `json:"question,omitempty" minimum:"0" doc:"Which question this answers: another one is refused. 0: the one that is asked."`
}

// What Search.State says. The words never change.
const (
	SearchAsks    = "asks"    // the names of the trial are let through, and an answer is waited for
	SearchOverdue = "overdue" // the time of the trial is over: an answer begins it again
	SearchFound   = "found"   // it is over, and a rule lets the name through
	SearchNone    = "none"    // it is over: none of the names alone is the cause
)

// A Search finds by trying which blocked name a device needs.
type Search struct {
	Device   string    `json:"device" doc:"Identity of the device."`
	Name     string    `json:"name" doc:"What it is called."`
	State    string    `json:"state" enum:"asks,overdue,found,none"`
	Begun    time.Time `json:"begun"`
	Question int       `json:"question" doc:"The number of the question, from 1; of a search that is over, how many were answered."`
	Most     int       `json:"most" doc:"How many questions there are at most."`
	Trial    []string  `json:"trial" doc:"The names that are let through on the device while its person tries."`
	Until    time.Time `json:"until,omitzero" doc:"Until when they are; while overdue, until when they were."`
	Left     []string  `json:"left" doc:"The names that it may still be."`
	Again    bool      `json:"again,omitempty" doc:"The answer does not count: it came when the time was over, or while something is not blocked that is not tried. The same names are let through again."`
	Why      string    `json:"why,omitempty" doc:"What is not blocked although it is not tried, so that the answer does not count, and what ends that."`

	Found     *Suspect   `json:"found,omitempty" doc:"The name that the device needs."`
	File      string     `json:"file,omitempty" doc:"The file that the rule was written to."`
	RuleUntil *time.Time `json:"rule_until,omitempty" doc:"When the rule ends."`
	Breaks    string     `json:"breaks,omitempty" doc:"What the catalogue says that blocking the name breaks."`
	Report    string     `json:"report,omitempty" doc:"A report for the catalogue, where it does not know that this breaks something. It names no device and no address."`
}
