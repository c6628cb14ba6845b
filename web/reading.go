package web

import (
	"telltale/blocklists/catalog"
	"telltale/evidence"
	"telltale/evidence/destination"
	"telltale/evidence/experiment"
	"telltale/querylog"
)

// What is read from the log, and of it. The same types are what --json prints.

// A Period says which time is meant.
type Period struct {
	From  string `query:"from" maxLength:"64" doc:"From then on: RFC 3339, a date, or as commands take it: 7d, yesterday."`
	Until string `query:"until" maxLength:"64" doc:"Until then. Without it: now."`
	Zone  string `query:"tz" maxLength:"64" doc:"The zone in which days and hours are meant, such as Europe/Berlin. Without it: the server's."`
}

// Whose says whose lookups are meant.
type Whose struct {
	Device  string `query:"device" maxLength:"256" doc:"Of one device: its identity, name, MAC or address."`
	Vendor  string `query:"vendor" maxLength:"256" doc:"Of one vendor."`
	Ignored bool   `query:"ignored" doc:"Also of devices that are ignored."`
}

// Which says which rows of the log are meant.
type Which struct {
	Period
	Whose
	Name    string `query:"name" maxLength:"256" doc:"Names that contain this; with * or ? a pattern of the whole name; with a dot before it a name and all below it; with = before it that name alone."`
	Verdict string `query:"verdict" enum:"pass,allow,block,observe,answer,unknown"`
}

// A LogQuery asks for a page of the log.
type LogQuery struct {
	Which
	Listed bool   `query:"listed" doc:"Of listed names alone: those that a report counts as listed."`
	Order  string `query:"order" enum:"newest,oldest" default:"newest" doc:"Which rows come first. With oldest, rows that are still open are left out, so that each row comes once."`
	Cursor string `query:"cursor" maxLength:"20" doc:"The next of the page before: the id of a row."`
	Limit  int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Rows of a page."`
}

// A LogPage is a part of the log.
type LogPage struct {
	Rows []Row  `json:"rows"`
	More bool   `json:"more" doc:"There are further rows."`
	Next string `json:"next,omitempty" doc:"The cursor of the next page; with order oldest also where more is to come. Not there: of an empty log."`
}

// A Row is one of the log as it was written, and beside it what people corrected since.
type Row struct {
	querylog.Row
	Corrected *CorrectedRow `json:"corrected,omitempty"`
}

// A CorrectedRow is what people's corrections say of a row's device.
type CorrectedRow struct {
	Device string `json:"device" doc:"Its identity today."`
	Name   string `json:"name"`
}

// A RowStory is a row with all that is known of it.
type RowStory struct {
	Row     Row            `json:"row"`
	Device  string         `json:"device" doc:"The identity today of the device that asked."`
	Called  string         `json:"called" doc:"What the device is called today."`
	Entries []CatalogEntry `json:"entries" doc:"What the shipped lists have of the name, or of the alias that decided, the most specific first."`
	Today   *Explanation   `json:"today,omitempty" doc:"What would be decided today, by rules alone. Not there for a row without a name."`
}

// A TopQuery asks who or what asked most.
type TopQuery struct {
	Which
	Of    string `query:"of" required:"true" enum:"names,devices,vendors,purposes"`
	Limit int    `query:"limit" default:"100" minimum:"0" maximum:"100000" doc:"The busiest so many; 0 for all."`
}

// A SlotsQuery asks the same by hour or day.
type SlotsQuery struct {
	Which
	Of    string `query:"of" required:"true" enum:"names,devices,vendors,purposes"`
	By    string `query:"by" required:"true" enum:"hour,day" doc:"By hours or days of the zone."`
	Limit int    `query:"limit" default:"10" minimum:"0" maximum:"100000" doc:"The busiest so many of each hour or day; 0 for all."`
}

// A TopLine is what is counted of a name, a device, a vendor or a purpose.
type TopLine struct {
	querylog.TopRow
	Totals uint64 `json:"totals,omitempty" doc:"Of count, lookups of which only the hour is kept."`
}

// A ReportQuery asks for a report.
type ReportQuery struct {
	Period
	Whose
	Compare string `query:"compare" enum:"before,none" default:"before" doc:"With the period of the same length before."`
	Rhythm  bool   `query:"rhythm" doc:"Say by which rhythm names are asked for; a report of one device and of 8 days at most does so anyway."`
}

// A VendorLine is a vendor of the shipped lists or of the log.
type VendorLine struct {
	catalog.Count
	Asked *TopLine `json:"asked,omitempty" doc:"What devices asked of it in the period; not there: nothing that the log has."`
}

// VendorsQuery asks for vendors.
type VendorsQuery struct {
	Period
	Asked bool `query:"asked" doc:"Those alone that were asked."`
}

// A PartQuery asks for what the log has of one thing in a period.
type PartQuery struct {
	Period
	Limit int `query:"limit" default:"100" minimum:"1" maximum:"10000" doc:"Names, devices or vendors at most, the busiest."`
}

// A Vendor is what is known of one vendor.
type Vendor struct {
	Vendor  string          `json:"vendor"`
	Company *Company        `json:"company,omitempty" doc:"Who it is and what can be switched off, where the shipped lists know."`
	Brands  []catalog.Brand `json:"brands"`
	Entries []CatalogEntry  `json:"entries" doc:"Its names in the shipped lists."`
	Asked   *TopLine        `json:"asked,omitempty" doc:"All that was asked of it in the period."`
	Devices []TopLine       `json:"devices" doc:"Who asked."`
	Names   []TopLine       `json:"names" doc:"What was asked for."`
}

// A Company is a vendor with what the shipped lists have of it.
type Company struct {
	catalog.Company
	Count catalog.Count `json:"count"`
}

// A CatalogEntry is one of the shipped lists, with its sources as the log has them, too.
type CatalogEntry struct {
	*catalog.Entry
	Source string `json:"source"`
}

// A CatalogAnswer is what the shipped lists have of a word.
type CatalogAnswer struct {
	Found   []catalog.Match `json:"found" doc:"In what the word was found."`
	Entries []CatalogEntry  `json:"entries" doc:"Each once."`
}

// A NameStory is what is known of a name.
type NameStory struct {
	Name    string         `json:"name"`
	Entries []CatalogEntry `json:"entries" doc:"What the shipped lists have of it, the most specific first."`
	Today   Explanation    `json:"today" doc:"What is decided for it, by rules alone."`
	Asked   *TopLine       `json:"asked,omitempty" doc:"Lookups of it, and of names below it, in the period."`
	Devices []TopLine      `json:"devices" doc:"Who asked."`
	Leads   []Destination  `json:"leads" doc:"Where it leads, as upstreams said when Telltale itself asked."`
	evidence.Times
}

// A DeviceStory is what is known of a device.
type DeviceStory struct {
	History
	Asked   *TopLine  `json:"asked,omitempty" doc:"All that it asked in the period."`
	Vendors []TopLine `json:"vendors" doc:"Whose names it asked for."`
	Names   []TopLine `json:"names"`
}

// A Destination is where a name leads.
type Destination struct {
	Name    string            `json:"name"`
	Vendor  string            `json:"vendor"`
	Product string            `json:"product,omitempty"`
	Purpose string            `json:"purpose,omitempty"`
	Tier    string            `json:"tier"`
	Led     []DestinationTime `json:"led" doc:"The oldest first; without the history the last alone."`
}

// A DestinationTime is where a name led for a time.
type DestinationTime struct {
	First querylog.Time     `json:"first"`
	Last  querylog.Time     `json:"last"`
	Times int64             `json:"times"`
	Found destination.Found `json:"found"`
}

// DestinationsQuery asks where names lead.
type DestinationsQuery struct {
	Name    string `query:"name" maxLength:"256" doc:"This name alone; one that is below a name of the shipped lists is asked for as that."`
	Vendor  string `query:"vendor" maxLength:"256" doc:"Of one vendor's names alone."`
	History bool   `query:"history" doc:"With all that was found before."`
}

// A LedgerQuery asks for lines of the quality ledger.
type LedgerQuery struct {
	Period
	Kinds  []string `query:"kind" maxItems:"50" doc:"Of these kinds alone, such as crash,lost."`
	Order  string   `query:"order" enum:"newest,oldest" default:"newest"`
	Cursor string   `query:"cursor" maxLength:"20" doc:"The next of the page before."`
	Limit  int      `query:"limit" default:"100" minimum:"1" maximum:"10000" doc:"Lines of a page."`
}

// A LedgerPage is a part of the quality ledger.
type LedgerPage struct {
	Events []querylog.Event `json:"events"`
	More   bool             `json:"more" doc:"There are further lines."`
	Next   string           `json:"next,omitempty" doc:"The cursor of the next page."`
}

// A RhythmQuery asks by which rhythm devices ask.
type RhythmQuery struct {
	Period
	Whose
	Unlisted bool `query:"unlisted" doc:"Also of names that no list has, as long as their rows are kept."`
}

// A CandidatesQuery asks for names that may be telemetry.
type CandidatesQuery struct {
	Period
	Device  string `query:"device" maxLength:"256" doc:"Of one device: its identity, name, MAC or address."`
	Ignored bool   `query:"ignored" doc:"Also of devices that are ignored."`
}

// An Experiment is one of the ledger, and how far it is.
type Experiment struct {
	*experiment.Experiment
	State string `json:"state" enum:"planned,running,stopped,cancelled"`
}

// LogStreams say how many follow the log.
type LogStreams struct {
	Now     int    `json:"now"`
	Most    int    `json:"most" doc:"That may at once."`
	Refused uint64 `json:"refused" doc:"Since the start, because there were as many as there may be."`
	Ended   uint64 `json:"ended" doc:"Since the start, because who followed did not take what came."`
}
