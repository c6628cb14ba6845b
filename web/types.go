package web

import (
	"reflect"
	"time"

	"telltale/querylog"
)

// What requests and responses hold. The keys are the API's: they do not change
// within a version of it.

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// A Status is how the server does.
type Status struct {
	Version      string         `json:"version"`
	PID          int            `json:"pid" doc:"The server's process."`
	Started      time.Time      `json:"started"`
	Settings     Settings       `json:"settings"`
	Catalogue    Catalogue      `json:"catalogue"`
	Listen       []string       `json:"listen" doc:"Addresses and ports that DNS is answered on; those of encrypted transports as URLs such as tls://192.0.2.1:853."`
	Certificates []Certificate  `json:"certificates" doc:"Those that clients of encrypted transports are shown."`
	Temporary    []Temporary    `json:"temporary" doc:"Pauses, and times in which something is only observed, that are in force."`
	Ending       []EndingRule   `json:"ending" doc:"Rules of the person's own that are in force until some time."`
	Unwatched    []Unwatched    `json:"unwatched" doc:"Files of which changes are only found by polling."`
	Server       Counters       `json:"server"`
	Upstreams    []Upstream     `json:"upstreams"`
	Log          querylog.Stats `json:"log"`
	Gateways     []string       `json:"gateways" doc:"Addresses of this network's routers."`
	Leases       []LeaseFile    `json:"leases" doc:"The files of DHCP servers that are read."`
	Reports      []Report       `json:"reports" doc:"The reports of the settings, which are made again and again."`
	Witnesses    []Witness      `json:"witnesses" doc:"Where checkpoints of the sealed log go."`
	Alerts       []AlertPlace   `json:"alerts" doc:"Where alerts go."`
	Discovery    []Discovery    `json:"discovery" doc:"Devices whose rows of names that no list has are kept as long as those of listed names."`

	Streams LogStreams `json:"streams" doc:"Who follows the log."`
	Console Console    `json:"console" doc:"How the API and the console are reached from the network."`

	Announcements Announcements `json:"announcements" doc:"How far what devices say of themselves on the network is heard."`
	Makers        MakerFiles    `json:"makers" doc:"The copy of the IEEE's registry that says who made a device."`
}

// An Overview is on one screen how the server does, and what the log has of today.
type Overview struct {
	Running   bool           `json:"running" doc:"True in what the server answers; false in what telltale status prints where none runs."`
	Version   string         `json:"version,omitempty"`
	PID       int            `json:"pid,omitempty"`
	Started   time.Time      `json:"started,omitzero"`
	Listen    []string       `json:"listen,omitempty"`
	Console   []string       `json:"console,omitempty" doc:"Where a browser finds it."`
	Settings  string         `json:"settings" doc:"The settings file; empty where there is none."`
	Catalogue string         `json:"catalogue" doc:"The edition of the shipped lists that is in force."`
	Forward   []Upstream     `json:"forward,omitempty" doc:"Upstreams of zones of their own."`
	Temporary []Temporary    `json:"temporary" doc:"Pauses, and times in which something is only observed, that are in force."`
	Ending    []EndingRule   `json:"ending" doc:"Rules of the person's own that are in force until some time."`
	Discovery []Discovery    `json:"discovery" doc:"Devices whose rows of names that no list has are kept longer."`
	Today     *DayCounts     `json:"today,omitempty" doc:"None where the log cannot be read."`
	Vendors   []TopLine      `json:"vendors" doc:"Whose names were asked for today."`
	Gaps      []querylog.Gap `json:"gaps" doc:"Of the last 7 days, in which lookups may be missing."`
	Attention []Finding      `json:"attention" doc:"Findings that are not ok, the most urgent first; the upstreams were not asked for them."`
}

// DayCounts are the lookups since midnight.
type DayCounts struct {
	Since   time.Time `json:"since"`
	Count   uint64    `json:"count" doc:"Lookups."`
	Blocked uint64    `json:"blocked"`
	Devices int       `json:"devices"`
}

// A Console says how the API and the console are reached from the network.
type Console struct {
	URLs       []string `json:"urls" doc:"None where web.listen is not set."`
	NeedsSetUp bool     `json:"needs_setup,omitempty" doc:"No administrator can log in yet."`
	Problem    string   `json:"problem,omitempty" doc:"Why nobody gets in."`
}

// A Report is one that the server makes by itself.
type Report struct {
	Name    string    `json:"name"`
	When    string    `json:"when" doc:"As in the settings, such as mon 06:00."`
	Next    time.Time `json:"next"`
	Dir     string    `json:"dir"`
	File    string    `json:"file,omitempty" doc:"The last one that was made since the start."`
	Problem string    `json:"problem,omitempty" doc:"Why the last one could not be made."`
}

// A Witness is where checkpoints of the sealed log go.
type Witness struct {
	To      string     `json:"to" doc:"A directory, or the scheme and host of a URL."`
	Leaves  int64      `json:"leaves" doc:"Of the last checkpoint that it took since the start; 0 for none."`
	Time    *time.Time `json:"time,omitempty" doc:"When that was."`
	Problem string     `json:"problem,omitempty" doc:"Why it did not take the last one."`
	Since   *time.Time `json:"since,omitempty" doc:"Since when it takes none."`
	Late    bool       `json:"late,omitempty" doc:"It has taken none for an hour or more."`
}

// An AlertPlace is where alerts go.
type AlertPlace struct {
	Name    string     `json:"name" doc:"log, webhook, ntfy, mqtt or smtp."`
	To      string     `json:"to" doc:"The server, without what may be secret."`
	Waiting int        `json:"waiting" doc:"Alerts that it is still to be told, at once or in the digest."`
	Time    *time.Time `json:"time,omitempty" doc:"When it took some last since the start."`
	Problem string     `json:"problem,omitempty" doc:"Why it did not take the last ones."`
	Since   *time.Time `json:"since,omitempty" doc:"Since when it takes none."`
	Late    bool       `json:"late,omitempty" doc:"It has taken none for an hour or more."`
}

// A Certificate is by what clients of encrypted transports know this server.
type Certificate struct {
	File       string    `json:"file"`
	Names      []string  `json:"names" doc:"Names and addresses that it is for."`
	Issuer     string    `json:"issuer"`
	NotBefore  time.Time `json:"not_before"`
	NotAfter   time.Time `json:"not_after"`
	Authority  bool      `json:"authority,omitempty" doc:"It is the server's own authority, whose root clients are given."`
	NotRenewed string    `json:"not_renewed,omitempty" doc:"Why the authority gives no new one."`
	Refused    string    `json:"refused,omitempty" doc:"Why what the file holds now is not in use."`
}

// An Unwatched is files that the system does not report changes of.
type Unwatched struct {
	Files string `json:"files" doc:"settings, lists or resolv.conf."`
	Why   string `json:"why"`
}

// Settings says which settings are in force.
type Settings struct {
	File     string     `json:"file,omitempty" doc:"The settings file; none where there is none."`
	Overlay  string     `json:"overlay" doc:"The file of what commands set. It may not be there."`
	LastGood *time.Time `json:"last_good,omitempty" doc:"The settings kept then are in force, since those on disk had mistakes at the start."`
	Refused  string     `json:"refused,omitempty" doc:"Why the settings on disk are not in force."`
}

// A Catalogue is the edition of the shipped lists that is in force, and where later
// ones come from.
type Catalogue struct {
	Edition    string     `json:"edition" doc:"A date, with a number where there are several of a day: of two editions the later one is newer."`
	Version    string     `json:"version" doc:"Identifies its text."`
	Fetched    bool       `json:"fetched" doc:"It was fetched. Else it is the one in the program."`
	Program    string     `json:"program" doc:"The edition in the program."`
	URL        string     `json:"url,omitempty" doc:"Where later ones come from. Not there: nowhere."`
	Key        string     `json:"key,omitempty" doc:"The public key that they must be signed by."`
	Checked    *time.Time `json:"checked,omitempty" doc:"When the server of the URL last said that the copy is current."`
	Next       time.Time  `json:"next,omitzero" doc:"When it is asked next."`
	Failures   int        `json:"failures,omitempty" doc:"Attempts since the last that went well."`
	Error      string     `json:"error,omitempty" doc:"Of the last attempt."`
	Held       string     `json:"held,omitempty" doc:"Why what there is at the URL is not in force."`
	Acceptable bool       `json:"acceptable,omitempty" doc:"What is held back can be put in force by hand."`
}

// A CatalogueUpdate is how an update of the catalogue ended.
type CatalogueUpdate struct {
	Catalogue Catalogue `json:"catalogue" doc:"As it is in force now."`
	Outcome   string    `json:"outcome" doc:"updated, unchanged, held back or failed."`
	Error     string    `json:"error,omitempty"`
}

// Counters count since the start of the server.
type Counters struct {
	Queries         uint64 `json:"queries"`
	Dropped         uint64 `json:"dropped" doc:"Packets that were no query."`
	Malformed       uint64 `json:"malformed"`
	NotImplemented  uint64 `json:"not_implemented"`
	Refused         uint64 `json:"refused" doc:"Queries of clients that may not ask."`
	RefusedShared   uint64 `json:"refused_shared" doc:"Those from 100.64.0.0/10, where the machines of a Tailscale network have their addresses."`
	LastShared      string `json:"last_shared,omitempty" doc:"The last address of those."`
	Shed            uint64 `json:"shed" doc:"Queries dropped because too many were waiting."`
	Unread          uint64 `json:"dropped_unread" doc:"Queries dropped by the kernel, because more came than could be answered."`
	Truncated       uint64 `json:"truncated"`
	Rebound         uint64 `json:"rebound" doc:"Answers with private addresses that were refused."`
	Stale           uint64 `json:"stale" doc:"Answers served after their time, because upstreams gave none."`
	Prefetched      uint64 `json:"prefetched" doc:"Names asked for again before their time was over; no query of a client's."`
	Hedged          uint64 `json:"hedged" doc:"Queries that went to another upstream, too, since one took longer than usual."`
	Invalid         uint64 `json:"invalid_upstream_replies"`
	Unsent          uint64 `json:"unsent"`
	StreamsRefused  uint64 `json:"streams_refused"`
	StreamsReplaced uint64 `json:"streams_replaced" doc:"Idle connections closed to make room for others."`
	StreamsCut      uint64 `json:"streams_cut"`
	AcceptsFailed   uint64 `json:"accepts_failed" doc:"Connections that could not be taken at once: too many open files."`
	ProxiesRefused  uint64 `json:"proxies_refused" doc:"Connections of listen.proxy_protocol that did not say by the PROXY protocol whose they are."`

	Handshakes        uint64 `json:"tls_handshakes" doc:"Handshakes of TLS that were completed."`
	HandshakesResumed uint64 `json:"tls_handshakes_resumed" doc:"Those of clients that were here before."`
	HandshakesFailed  uint64 `json:"tls_handshakes_failed"`

	RequestsBad     uint64 `json:"requests_bad" doc:"Requests of HTTPS and QUIC that are no query."`
	RequestsRefused uint64 `json:"requests_refused" doc:"Requests of HTTPS and QUIC that were not answered: too many were under way."`

	OptionsIgnored uint64 `json:"options_ignored" doc:"Queries whose sender said by EDNS whose they are, and is none of identity.forwarders."`
	InternalErrors uint64 `json:"internal_errors" doc:"Queries that met an internal error."`
	Waiting        int    `json:"waiting"`
	Streams        int    `json:"streams"`
	CacheEntries   int    `json:"cache_entries"`
	CacheBytes     int64  `json:"cache_bytes"`
}

// An Upstream is a resolver that is asked.
type Upstream struct {
	ID        string        `json:"id" doc:"Names the upstream: its address, or a URL such as tls://192.0.2.1:853#dns.example."`
	Addr      string        `json:"addr" doc:"Of one by name the address that worked last; empty while there is none."`
	Transport string        `json:"transport" doc:"How it is asked: udp (and TCP where that is needed), tcp, tls for DNS over TLS, https for DNS over HTTPS, h3 for that by HTTP/3, or quic for DNS over QUIC."`
	Source    string        `json:"from" doc:"configured, forward, bootstrap (asked for the addresses of upstreams by name alone), or the path of a resolv.conf."`
	Zones     []string      `json:"zones,omitempty" doc:"The zones of forward for which alone it is asked; none: all other names."`
	For       []string      `json:"for,omitempty" doc:"The devices and groups of forward for which alone it is asked, such as group work; none: everybody."`
	Router    bool          `json:"router,omitempty" doc:"It is the default gateway, which is followed: addr is where that is now."`
	TrustAD   bool          `json:"trust_ad"`
	Private   bool          `json:"private" doc:"It has an address of a private network."`
	State     string        `json:"state" doc:"up, failing, down or looped."`
	Why       string        `json:"why,omitempty" doc:"Why it is not up."`
	Since     time.Time     `json:"since" doc:"When the state last changed."`
	Queries   uint64        `json:"queries"`
	Failures  uint64        `json:"failures"`
	Returned  uint64        `json:"returned" doc:"Questions that it asked this server while it was being asked them."`
	Strays    uint64        `json:"strays" doc:"Packets from its address that fitted no query."`
	SRTT      time.Duration `json:"srtt" doc:"Smoothed time to an answer in nanoseconds; 0 for none yet."`

	Answers   uint64            `json:"answers" doc:"Clients' queries that it answered."`
	Latency   Latency           `json:"latency" doc:"How long its last answers took."`
	ByKind    map[string]uint64 `json:"failures_by_kind" doc:"What the failures are: servfail, refused, format, timeout, network, connection, certificate, tls, wrong-reply or unsent."`
	LastError string            `json:"last_error,omitempty" doc:"What became of the last query that it did not answer."`
	LastAt    time.Time         `json:"last_error_at,omitzero"`
	Hedged    uint64            `json:"hedged" doc:"Those of the queries that went to another upstream, too, since this one took longer than usual."`
}

// A Latency is how long answers took, in nanoseconds.
type Latency struct {
	P50     time.Duration `json:"p50"`
	P90     time.Duration `json:"p90"`
	P99     time.Duration `json:"p99"`
	Answers int           `json:"answers" doc:"The last answers that this rests on; 0 for none yet."`
}

// A Health is the answer of the server's own listeners.
type Health struct {
	Version  string        `json:"version"`
	Listener string        `json:"listener" doc:"The address that was asked."`
	Took     time.Duration `json:"took" doc:"Nanoseconds until the answer."`
}

// A Finding is one thing that was looked at.
type Finding struct {
	Code    string `json:"code,omitempty" doc:"Names the finding, as docs/doctor.md explains it; not there where all is well."`
	What    string `json:"what" doc:"What it is about: upstreams, lists, clients and so on."`
	State   string `json:"state" enum:"ok,warning,wrong"`
	Subject string `json:"subject,omitempty" doc:"Which one, where there can be several: an upstream, a list, an address."`
	Says    string `json:"says" doc:"What is so."`
	Cure    string `json:"cure,omitempty" doc:"What to do."`

	At time.Time `json:"at,omitzero" doc:"When the last day of a log with many rows was read for it, a minute ago at most; not there where it was read for this answer, or not at all."`
}

// NetworkFindings are what somebody who may open raw sockets found of the network.
type NetworkFindings struct {
	Findings []Finding `json:"findings" maxItems:"100" doc:"All there are now; those of before are over."`
}

// A List is how one list stands.
type List struct {
	Name     string         `json:"name"`
	Path     string         `json:"path,omitempty"`
	Kind     string         `json:"kind" doc:"user, own, shipped or subscription."`
	State    string         `json:"state" doc:"For people."`
	Enabled  bool           `json:"enabled"`
	Observe  bool           `json:"observe"`
	Mode     string         `json:"mode,omitempty" doc:"How its names are answered, where that is its own."`
	Schedule string         `json:"schedule,omitempty"`
	Outside  bool           `json:"outside,omitempty" doc:"Its schedule says that it is not in force now."`
	Turns    time.Time      `json:"turns,omitzero" doc:"When its schedule says otherwise next."`
	Rules    int            `json:"rules"`
	Forms    map[string]int `json:"forms" doc:"Rules by the form they are written in."`
	BadLines int            `json:"bad_lines"`
	Bad      []BadLine      `json:"bad" doc:"The first bad lines."`
	Modified time.Time      `json:"modified,omitzero"`
	Reloaded time.Time      `json:"reloaded,omitzero" doc:"When its rules came in force."`
	Added    int            `json:"added" doc:"Rules, at the last reload."`
	Removed  int            `json:"removed"`
	Held     string         `json:"held,omitempty" doc:"Why what there is now is not in force."`
	Missing  string         `json:"missing,omitempty" doc:"Why nothing of it is in force: it was never fetched."`
	Unkept   string         `json:"unkept,omitempty" doc:"Why its rules are in memory alone and not in the cache directory."`
	Unread   bool           `json:"unread,omitempty" doc:"A file of lists.dir that is not read, by its ending."`
	Failed   string         `json:"failed,omitempty" doc:"Why it cannot be read; its last good rules are in force."`
	Warnings []string       `json:"warnings,omitempty"`
}

// A BadLine is a line of a list that is no rule.
type BadLine struct {
	Line int    `json:"line" doc:"0 for the file as a whole."`
	Text string `json:"text"`
	Why  string `json:"why"`
}

// A ListName names a list.
type ListName struct {
	Name string `json:"name"`
}

// ListNames names lists; none stands for all.
type ListNames struct {
	Names []string `json:"names,omitempty" doc:"None: all."`
}

// A Diff is what an update of a list changed.
type Diff struct {
	Added        []string `json:"added" doc:"The first rules of them."`
	Removed      []string `json:"removed"`
	AddedTotal   int      `json:"added_total"`
	RemovedTotal int      `json:"removed_total"`
}

// A Refreshed is one step of a refresh.
type Refreshed struct {
	Name    string `json:"name"`
	Bytes   int64  `json:"bytes"`
	Total   int64  `json:"total,omitempty"`
	Done    bool   `json:"done,omitempty" doc:"The last step of this list."`
	Outcome string `json:"outcome,omitempty"`
	Rules   int    `json:"rules,omitempty" doc:"In force."`
	Bad     int    `json:"bad_lines,omitempty" doc:"Lines that are not in force."`
	Error   string `json:"error,omitempty"`
}

// A Subscription is a list that is fetched by URL.
type Subscription struct {
	Name string `json:"name" minLength:"1"`
	URL  string `json:"url" minLength:"1"`
}

// A Change says what was written, and that it is in force.
type Change struct {
	File    string `json:"file" doc:"The file that was changed."`
	Removed int    `json:"removed,omitempty" doc:"How many rules or entries were removed."`
	Rules   int    `json:"rules,omitempty" doc:"How many rules of a list are in force."`
	Note    string `json:"note,omitempty" doc:"What else is to be known, for people."`
}

// A Rule is a rule of the user's own.
type Rule struct {
	Name    string `json:"name" minLength:"1" doc:"The domain name. The rule holds for it and everything below it."`
	Action  string `json:"action" enum:"allow,block"`
	Device  string `json:"device,omitempty" doc:"For this device alone: its name or MAC in the settings, or an address."`
	Comment string `json:"comment,omitempty"`
	Seconds int64  `json:"seconds,omitempty" minimum:"0" maximum:"315360000" doc:"How long it holds; 0 for good."`
}

// An EndingRule is a rule of the person's own that is in force until some time.
type EndingRule struct {
	Rule  string    `json:"rule" doc:"As it is written."`
	List  string    `json:"list"`
	Line  int       `json:"line"`
	Until time.Time `json:"until"`
}

// A Pause asks for a time in which nothing is blocked.
type Pause struct {
	Kind    string `json:"kind,omitempty" enum:"pause,observe" default:"pause" doc:"Why: something is to work for now, or what is asked without blocking is to be seen."`
	Of      string `json:"of,omitempty" enum:"everything,device,group,list,vendor" default:"everything"`
	Name    string `json:"name,omitempty" doc:"Of the device, group, list or vendor."`
	Seconds int64  `json:"seconds" minimum:"1" maximum:"315360000" doc:"How long."`
}

// A Resume says what is to end.
type Resume struct {
	Kind string `query:"kind" enum:"pause,observe" default:"pause"`
	Of   string `query:"of" enum:"everything,device,group,list,vendor" doc:"Unless given: all of the kind."`
	Name string `query:"name" doc:"Of the device, group, list or vendor."`
}

// Resumed is what has ended.
type Resumed struct {
	Ended []Temporary `json:"ended"`
}

// A Temporary is a time in which nothing is blocked: what would be is answered normally,
// and recorded as observed.
type Temporary struct {
	Kind  string    `json:"kind" doc:"pause, or observe."`
	Of    string    `json:"of" doc:"everything, device, group, list or vendor."`
	Name  string    `json:"name,omitempty" doc:"The device's identity, or the name of the group, list or vendor."`
	Shown string    `json:"shown,omitempty" doc:"What people call it."`
	Until time.Time `json:"until"`
}

// A Device is who is known.
type Device struct {
	Device     string      `json:"device" doc:"Its identity."`
	Name       string      `json:"name"`
	Configured bool        `json:"configured"`
	First      time.Time   `json:"first,omitzero"`
	Last       time.Time   `json:"last,omitzero"`
	Source     string      `json:"source,omitempty" doc:"What its strongest binding in force rests on."`
	Confidence string      `json:"confidence,omitempty"`
	Maker      string      `json:"maker,omitempty" doc:"Who made it, or its network interface, as the IEEE's registry has its MAC."`
	Kind       *DeviceKind `json:"kind,omitempty" doc:"What it is, or may be."`
	Tags       []string    `json:"tags,omitempty" doc:"What it is tagged with, by the settings and by people."`
	Perhaps    *PerhapsIs  `json:"perhaps,omitempty" doc:"Another device that it may be: it has made up its MAC, and came when the other left."`
	Ignored    bool        `json:"ignored,omitempty" doc:"A person wants it left out of what is shown."`
	Discovery  *time.Time  `json:"discovery,omitempty" doc:"Since when its rows of names that no list has are kept as long as those of listed names; not there where they are not."`
	Notes      []string    `json:"notes,omitempty" doc:"What people noted of it."`
	Bindings   []Binding   `json:"bindings"`
}

// A DeviceKind is what a device is, as a person confirmed it, or as it is guessed. A guess decides
// nothing.
type DeviceKind struct {
	Kind       string       `json:"kind,omitempty" doc:"phone, tablet, computer, tv and so on; not there where it cannot be told."`
	Vendor     string       `json:"vendor,omitempty"`
	Product    string       `json:"product,omitempty"`
	Confidence string       `json:"confidence,omitempty" doc:"low, medium or high, of a guess; confirmed, where a person or the settings said the kind."`
	Reasons    []KindReason `json:"reasons" doc:"What the guess rests on, the strongest first; also what speaks against it."`
}

// A KindReason is a signature that fits a device.
type KindReason struct {
	Reason string `json:"reason"`
	Source string `json:"source,omitempty" doc:"Where that is known from."`
}

// PerhapsIs says which other device a device may be. Only a person joins the two.
type PerhapsIs struct {
	Device  string   `json:"device" doc:"Identity of the other."`
	Name    string   `json:"name"`
	Reasons []string `json:"reasons"`
}

// A History is what is known of a device, and why.
type History struct {
	Device      Device       `json:"device" doc:"With all bindings that the log has, the earliest first."`
	Corrections []Correction `json:"corrections" doc:"What people said of it."`
}

// A Discovery is a device whose rows of names that no list has are kept longer.
type Discovery struct {
	Device string    `json:"device" doc:"Its identity."`
	Name   string    `json:"name"`
	Since  time.Time `json:"since"`
	Kept   bool      `json:"kept" doc:"False where log.unlisted is 0, so that such rows are written of no device."`
}

// A Correction is what a person said of a device. Rows of the log are not rewritten by
// it: it is applied when they are read.
type Correction struct {
	ID      uint64    `json:"id"`
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind" doc:"name, kind, tag, untag, merge, split, ignore, discover, discover-off or note; undo, of one that was taken back; forgot, of one whose device was forgotten."`
	Device  string    `json:"device,omitempty" doc:"Identity of the device."`
	Name    string    `json:"name,omitempty" doc:"What it is called from then on."`
	Other   string    `json:"other,omitempty" doc:"Identity of the device that was merged with it."`
	From    time.Time `json:"from,omitzero" doc:"Of split: from when on it is another device. Of note: when it was so."`
	Text    string    `json:"text,omitempty" doc:"A note."`
	Is      string    `json:"is,omitempty" doc:"Which kind of device it is."`
	Tag     string    `json:"tag,omitempty" doc:"What it is tagged with, or no more."`
	Of      uint64    `json:"of,omitempty" doc:"The correction that was taken back."`
	Undone  bool      `json:"undone,omitempty" doc:"It was taken back."`
	Created string    `json:"created,omitempty" doc:"Identity of the device that a split made."`
}

// A NewCorrection is what a person says of a device.
type NewCorrection struct {
	Kind   string    `json:"kind" enum:"name,kind,tag,untag,merge,split,ignore,discover,discover-off,note"`
	Device string    `json:"device,omitempty" doc:"The device: its name, identity, MAC or address. A note may have none: it is of the household."`
	Name   string    `json:"name,omitempty" doc:"Of name: what it is called. Of split: what the new device is called."`
	Other  string    `json:"other,omitempty" doc:"Of merge: the device that is the same one."`
	From   time.Time `json:"from,omitzero" doc:"Of split: from when on it is another device. Of note: when it was so, unless it is now."`
	Text   string    `json:"text,omitempty" doc:"Of note."`
	Is     string    `json:"is,omitempty" doc:"Of kind: phone, tablet, computer, tv and so on."`
	Tag    string    `json:"tag,omitempty" doc:"Of tag and untag: a word by which groups select devices, and rules ($ctag)."`
}

// A NewExperiment is the plan of an experiment.
type NewExperiment struct {
	Name     string   `json:"name" minLength:"1" doc:"What it is called from then on: small letters, digits, '-' and '.'."`
	Template string   `json:"template" minLength:"1" doc:"What 'telltale experiment templates' lists."`
	Devices  []string `json:"devices" minItems:"1" maxItems:"8" doc:"Each by its name, identity, MAC or address."`
	Vendor   string   `json:"vendor,omitempty" doc:"Whose names alone are compared."`
	Seconds  int64    `json:"seconds,omitempty" minimum:"0" maximum:"5184000" doc:"Of each phase, unless it is the template's length."`
	Return   bool     `json:"return,omitempty" doc:"A third phase comes back to the first condition."`
	AlwaysOn bool     `json:"always_on,omitempty" doc:"The devices are there also while they ask for nothing."`
	Exclude  []string `json:"exclude,omitempty" maxItems:"100" doc:"Names that are not compared, with those below them."`
}

// An ExperimentStep goes on with an experiment.
type ExperimentStep struct {
	Name string    `json:"name,omitempty" doc:"Of the experiment; without it, the only one with which this can be done."`
	Do   string    `json:"do" enum:"start,mark,stop,cancel"`
	Says string    `json:"says,omitempty" maxLength:"300" doc:"Of mark: what was done. Of cancel: why."`
	At   time.Time `json:"at,omitzero" doc:"Of mark: when it was, unless it is now."`
	Stay bool      `json:"stay,omitempty" doc:"Of mark: the phase goes on."`
}

// An ExperimentLine is a line of the ledger that is an experiment's.
type ExperimentLine struct {
	Name   string    `json:"name"`
	Time   time.Time `json:"time"`
	Kind   string    `json:"kind"`
	Detail string    `json:"detail"`
}

// A Forget says which device to forget.
type Forget struct {
	Device string `json:"device" minLength:"1" doc:"The device: its name, identity, MAC or address."`
}

// Forgotten says what was deleted of a device.
type Forgotten struct {
	Name     string   `json:"name" doc:"What it was called."`
	Rows     int64    `json:"rows"`
	Lookups  int64    `json:"lookups" doc:"In those rows."`
	Bindings int64    `json:"bindings"`
	Hours    int64    `json:"hours" doc:"Hourly totals."`
	Lines    int64    `json:"lines" doc:"Lines of the ledger that do not name it any more."`
	Files    []string `json:"files,omitempty" doc:"Files in which it was and that were removed: damaged ones that had been set aside, and reports of the settings."`
	Rules    []int    `json:"rules,omitempty" doc:"Lines of own.txt that still name it."`
}

// Bypass says which devices may ask past this server. It is no proof of either.
type Bypass struct {
	Since   time.Time      `json:"since" doc:"Lookups from then on were looked at."`
	Until   time.Time      `json:"until"`
	Devices []DeviceBypass `json:"devices" doc:"Those with the lowest score first."`
	Servers []string       `json:"servers" doc:"Addresses of the server's machine, which alone should ask outside."`
}

// A DeviceBypass is what speaks for a device asking elsewhere.
type DeviceBypass struct {
	Device  string       `json:"device" doc:"Its identity."`
	Name    string       `json:"name"`
	MACs    []string     `json:"macs"`
	Score   int          `json:"score" doc:"100 less the points of all signs, at least 0."`
	Lookups uint64       `json:"lookups"`
	Last    time.Time    `json:"last,omitzero" doc:"Its last lookup; not there for none."`
	Seen    time.Time    `json:"seen,omitzero" doc:"When an address of it was last known to be in use."`
	Signs   []BypassSign `json:"signs"`
}

// A BypassSign is one reason to think that a device asks elsewhere.
type BypassSign struct {
	Code   string `json:"code" doc:"asks-resolver, asks-private-relay, silent, one-family or connectivity-only."`
	Points int    `json:"points" doc:"What it takes from the score."`
	Says   string `json:"says" doc:"For people."`
}

// An Undo says which correction to take back.
type Undo struct {
	ID uint64 `json:"id,omitempty" doc:"Its number; without it, the last one that holds."`
}

// MakerFiles are the copy of the IEEE's registry of MAC addresses that is read.
type MakerFiles struct {
	Files   []string  `json:"files" doc:"None where this machine has no copy."`
	Time    time.Time `json:"time,omitzero" doc:"When the newest was written."`
	Problem string    `json:"problem,omitempty"`
}

// A Binding is an address that a device has, or had.
type Binding struct {
	ID         uint64    `json:"id"`
	Addr       string    `json:"addr" doc:"An address, or a prefix."`
	MAC        string    `json:"mac,omitempty"`
	Maker      string    `json:"maker,omitempty" doc:"Whom the IEEE's registry has for the MAC."`
	MadeUp     bool      `json:"made_up,omitempty" doc:"Software chose the MAC, such as a phone's private address: it says nothing of the maker."`
	Device     string    `json:"device,omitempty" doc:"The identity under which it was written, in a history."`
	Source     string    `json:"source"`
	Confidence string    `json:"confidence"`
	From       time.Time `json:"from"`
	Until      time.Time `json:"until,omitzero" doc:"Not there while it is in force."`
	Lease      *Lease    `json:"lease,omitempty" doc:"What a DHCP server's file says of the address now."`

	Announced *Announced `json:"announced,omitempty" doc:"What the address said of itself within the last 24 hours, which anybody may say."`
}

// Announced is what an address said of itself by multicast DNS or SSDP.
type Announced struct {
	Names    []string  `json:"names,omitempty" doc:"What people call the device, then its host names."`
	Models   []string  `json:"models,omitempty"`
	Services []string  `json:"services,omitempty" doc:"Types of its services."`
	Software []string  `json:"software,omitempty" doc:"What it says by SSDP that it runs."`
	Claims   []Claim   `json:"claims,omitempty" doc:"Names of others that it gave itself, and names that it gave others. Neither is believed."`
	Relays   bool      `json:"relays,omitempty" doc:"It passes on what others say: only what it says with its own address counts."`
	Heard    time.Time `json:"heard"`
}

// A Claim is a name that something gives itself, or another device, although that is not
// its.
type Claim struct {
	Name   string `json:"name"`
	Holder string `json:"holder" doc:"Identity of the device that has the name, or of the one that is said to be called so."`
	Of     bool   `json:"of,omitempty" doc:"It said that the holder is called so."`
}

// Announcements are how far what devices say of themselves is heard.
type Announcements struct {
	On        bool     `json:"on"`
	Links     []string `json:"links,omitempty" doc:"The interfaces that are listened on."`
	Addresses int      `json:"addresses" doc:"Those of which something was heard within 24 hours."`
	Packets   uint64   `json:"packets"`
	Foreign   uint64   `json:"foreign" doc:"Packets that are not of the network they came on, and do not count."`
	Malformed uint64   `json:"malformed"`
	Limited   uint64   `json:"limited" doc:"Packets that were not read, since too many came at once."`
	Beyond    uint64   `json:"beyond" doc:"Packets of addresses for which there was no room."`
	Problem   string   `json:"problem,omitempty"`
}

// A Lease is what a DHCP server's file says of an address.
type Lease struct {
	MAC       string    `json:"mac,omitempty" doc:"Not there where the file does not say it."`
	Host      string    `json:"host,omitempty" doc:"How the client calls itself."`
	Class     string    `json:"class,omitempty" doc:"The client's vendor class."`
	File      string    `json:"file"`
	Until     time.Time `json:"until,omitzero" doc:"Not there where it has no end."`
	Neighbour string    `json:"neighbour,omitempty" doc:"The MAC in the neighbour table, where it is another one."`
}

// A LeaseFile is a file in which a DHCP server keeps its leases.
type LeaseFile struct {
	Path    string `json:"path"`
	Kind    string `json:"kind,omitempty" doc:"Its format."`
	Leases  int    `json:"leases" doc:"Those in force."`
	Problem string `json:"problem,omitempty"`
}

// A Question is what to explain.
type Question struct {
	Name    string `query:"name" required:"true" doc:"The domain name."`
	Type    string `query:"type" default:"A" doc:"The record type."`
	Device  string `query:"device" doc:"As this device: its name, identity or MAC, or an address."`
	Offline bool   `query:"offline" doc:"By rules alone: neither the cache nor an upstream is asked, so that names and addresses in the answer are not known."`
}

// An Explanation is what is decided for a name, and why.
type Explanation struct {
	Name        string            `json:"name"`
	Type        string            `json:"type"`
	Verdict     string            `json:"verdict"`
	Mode        string            `json:"mode,omitempty" doc:"How a block, or a special name, is answered."`
	Why         string            `json:"why"`
	Class       string            `json:"class,omitempty" doc:"The class of the rule that decided, as in a row of the log."`
	ObservedBy  string            `json:"observed_by,omitempty" doc:"What turned a block into observe, as in a row of the log."`
	Alias       string            `json:"alias,omitempty" doc:"The name in the answer that decided."`
	Address     string            `json:"address,omitempty" doc:"The address in the answer that decided."`
	Decider     *Match            `json:"decider,omitempty"`
	Attribution string            `json:"attribution,omitempty" doc:"Its level: rule, list or owner."`
	Attributing *Match            `json:"attributing,omitempty"`
	About       map[string]string `json:"about,omitempty"`
	Matches     []Match           `json:"matches"`
	Settings    []string          `json:"settings,omitempty" doc:"From where the settings of who asks come: a line for each part."`
	Edition     string            `json:"edition" doc:"Of the shipped lists in force."`
	Shipped     map[string]string `json:"shipped,omitempty" doc:"What the shipped lists say of the name."`
	User        map[string]string `json:"user,omitempty" doc:"What the user's lists say."`

	AliasMatches []Match `json:"alias_matches,omitempty" doc:"The rules that match the alias that decided."`
	Reply        *Reply  `json:"reply,omitempty" doc:"What a client gets now. Not there where rules alone were looked at."`
}

// A Lookup is a question that a person asks the server.
type Lookup struct {
	Name     string `query:"name" required:"true" doc:"The domain name."`
	Type     string `query:"type" default:"A" doc:"The record type."`
	Device   string `query:"device" doc:"As this device: its name, identity or MAC, or an address."`
	Upstream string `query:"upstream" doc:"The id or address of the one upstream to ask, instead of the cache and whoever it takes."`
}

// A Resolution is how a question was answered, step by step.
type Resolution struct {
	Name    string        `json:"name"`
	Type    string        `json:"type"`
	Verdict string        `json:"verdict"`
	Mode    string        `json:"mode,omitempty" doc:"How a block, or a special name, is answered."`
	Why     string        `json:"why"`
	Reply   *Reply        `json:"reply"`
	Took    time.Duration `json:"took" doc:"Nanoseconds until the reply was made."`
	Steps   []Step        `json:"steps"`
}

// A Step is something that happened on the way to an answer.
type Step struct {
	At       time.Duration `json:"at" doc:"Nanoseconds since the beginning."`
	Step     string        `json:"step" doc:"lists, cache, sent, reply, overdue, given-up or answer."`
	Upstream string        `json:"upstream,omitempty" doc:"Of sent, reply, overdue and given-up."`
	Text     string        `json:"text" doc:"For people."`
}

// A Reply is what a client gets for a question.
type Reply struct {
	From      string   `json:"answered_from" doc:"As in a row of the log."`
	Upstream  string   `json:"upstream,omitempty" doc:"The ID of the upstream that was asked and gave the answer; left out where none was."`
	Rcode     string   `json:"rcode"`
	Error     string   `json:"error,omitempty" doc:"The text of its Extended DNS Error."`
	Answer    []string `json:"answer" doc:"Its records."`
	Redirects []string `json:"redirects,omitempty" doc:"The names to which rules of the user's own lead, one after another."`
	LeadsTo   []string `json:"leads_to,omitempty" doc:"The names to which the upstream's answer leads."`
	Private   []string `json:"private,omitempty" doc:"The private addresses in the upstream's answer."`
	Rebind    string   `json:"rebind,omitempty" doc:"Why the name may lead to private addresses, or may not."`
}

// A Match is a rule that matches.
type Match struct {
	List     string            `json:"list"`
	Line     int               `json:"line"`
	Rule     string            `json:"rule"`
	Action   string            `json:"action"`
	Kind     string            `json:"kind"`
	Enforced bool              `json:"enforced"`
	Note     string            `json:"note,omitempty"`
	More     int               `json:"more,omitempty" doc:"Rules of the list to the same end, on later lines."`
	About    map[string]string `json:"about,omitempty"`
}

// A CachedAnswer is an answer that is kept.
type CachedAnswer struct {
	Name             string    `json:"name"`
	Type             string    `json:"type" doc:"any: there is no such name, whatever type is asked for."`
	DNSSEC           bool      `json:"dnssec" doc:"It was asked for with DNSSEC records (DO), and is for who asks so."`
	CheckingDisabled bool      `json:"checking_disabled" doc:"It was asked for without validation (CD), and is for who asks so."`
	For              []string  `json:"for,omitempty" doc:"The devices and groups for which alone it is, as their servers gave it (forward); none: everybody."`
	State            string    `json:"state" enum:"fresh,failure,expired,deferred,over" doc:"fresh and failure are served; expired where upstreams give no answer; deferred without asking them, who gave none lately; over no more."`
	Left             int64     `json:"left" doc:"Seconds until its time is over; negative: since then."`
	Stored           time.Time `json:"stored" doc:"When it came."`
	Hits             int       `json:"hits" doc:"How often it was served since it came, up to 15."`
	Rcode            string    `json:"rcode"`
	Error            string    `json:"error,omitempty" doc:"The text of the Extended DNS Error that came with it."`
	Answer           []string  `json:"answer" doc:"Its records, with the TTLs that are left."`
}

// A Flushed says how much was forgotten.
type Flushed struct {
	Entries int `json:"entries"`
}

// A SealKey is the public key that others check the sealed log by.
type SealKey struct {
	Key    string `json:"key" doc:"NAME+HASH+BASE64, as docs/seals.md has it."`
	Before string `json:"before,omitempty" doc:"The key that signed until now, and has signed that this one takes over."`
}

// DestinationsAsked says what came of asking where names lead.
type DestinationsAsked struct {
	Names    int      `json:"names" doc:"That were asked for."`
	First    int      `json:"first" doc:"Of them, for the first time."`
	Changed  int      `json:"changed" doc:"Of them, with another answer than before that the ledger speaks of."`
	Moved    int      `json:"moved" doc:"Of Changed, to another operator or country."`
	Same     int      `json:"same"`
	Failed   int      `json:"failed" doc:"Of them, without an answer: what is known of them is of before."`
	Problems []string `json:"problems" doc:"Databases that could not be used, and what bears on the others."`
}

// CacheStats says what the cache holds, and what it did since the start.
type CacheStats struct {
	Entries    int            `json:"entries"`
	Bytes      int64          `json:"bytes" doc:"Memory in use."`
	Size       int64          `json:"size" doc:"Memory that may be in use; 0: nothing is kept."`
	States     map[string]int `json:"states" doc:"Entries in each state."`
	Evicted    uint64         `json:"evicted" doc:"Entries that had to go for others."`
	Stale      uint64         `json:"stale" doc:"Answers served after their time, because upstreams gave none."`
	Prefetched uint64         `json:"prefetched" doc:"Names asked for again before their time was over; no query of a client's."`
	Kept       *KeptAnswers   `json:"kept,omitempty" doc:"What has become of the file of cache.keep; none where it is off."`
}

// KeptAnswers is the file in which answers are kept for the next start.
type KeptAnswers struct {
	File     string     `json:"file"`
	Restored int        `json:"restored" doc:"Answers of before the start that were taken into use."`
	Age      int64      `json:"age" doc:"Seconds that the file was old then."`
	Waiting  string     `json:"waiting,omitempty" doc:"Why they are not in use yet."`
	Unused   string     `json:"unused,omitempty" doc:"Why they are not used."`
	Saved    *time.Time `json:"saved,omitempty" doc:"When the file was last written since the start."`
	Failed   string     `json:"failed,omitempty" doc:"Why it could not be written."`
}
