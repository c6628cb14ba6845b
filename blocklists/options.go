package blocklists

import (
	"io/fs"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"telltale/blocklists/format"
)

// Options says where lists are and what is done with what they match. Zero
// fields mean defaults.
type Options struct {
	Dir      string // list files; own.txt in it is the user's own
	CacheDir string // last good rules and compiled lists; "" for none

	Shipped    fs.FS                // shipped lists, *.txt at its root; nil for none
	Edition    string               // names the shipped lists: they are read again where it changes
	Claims     func() format.Claims // makes what reads claims of the shipped lists, for as long as they are read; nil for none
	Subscribed []Source             // downloaded lists, watched like those of Dir
	Local      []LocalList          // beside own.txt, what the user has answered; where two say different things of a name, the first counts
	Lists      []ListSettings       // by name; a list without settings is enforced as it is
	Groups     []GroupSettings

	Mode    Mode          // how blocked names are answered
	Custom4 netip.Addr    // for Mode Custom
	Custom6 netip.Addr    // for Mode Custom
	TTL     time.Duration // of blocked answers and local records; 0 for 10 s
	Tier    string        // "telemetry" (or ""), or "mixed" to enforce both
	Observe bool          // nothing is blocked, everything is recorded

	ObserveUntil time.Time // nothing is blocked until then; zero for never

	Temporary []Temporary     // changes that end by themselves
	Ended     func(Temporary) // is told of one that has ended, also before Open; nil for nobody. It must not call back into the Store

	// Report is told what belongs into the quality ledger: a kind such as
	// list-added, list-failed, list-held, list-recovered, list-accepted, reload, reload-failed,
	// rule-ended, observe-ended or schedule, the list it is about, and a
	// sentence. It must not call back into the Store.
	Report func(kind, subject, detail string)
	Logger *slog.Logger         // nil for none
	Now    func() time.Time     // the wall clock; nil for time.Now
	Steady func() time.Duration // a clock that nobody sets; nil for the time since the start
	Poll   time.Duration        // between looks at files no event told of; 0 for 10 s, negative for never

	Memory      int64         // that all lists may take, in octets; 0 for a half of the process's limit (GOMEMLIMIT)
	FileTimeout time.Duration // for one stat, open or read of a file; 0 for 5 s
}

// A Source is a list file outside of Options.Dir.
type Source struct {
	Name string // the list's name
	Path string
	Hash uint64 // XXH64 of what was put there; another text is held back. 0 for unknown
}

// A LocalList is a list of the user's own beside own.txt.
type LocalList struct {
	Name string // the list's name
	Path string // of a hosts file, watched like those of Dir; "" for Text
	Kind Kind   // OwnList: rules that are one with those of own.txt; Local: hosts lines alone; UserList: as a file of Dir
	Text string // its lines

	Group string // whose devices it holds for; "" for everybody

	// Moves says that Path is of a folder that is replaced whole: a list whose file has the
	// same name and kind there, for the same group, is the same list with other rules.
	Moves bool
}

// ListSettings are what the user says about one list. Zero fields leave the
// list as it is.
type ListSettings struct {
	Name       string
	Subscribed bool  // of the subscription of that name, and of no other list
	Enabled    *bool // nil for yes
	Observe    bool
	Mode       *Mode // nil for Options.Mode
	Custom4    netip.Addr
	Custom6    netip.Addr
	Exact      bool               // plain domain lines match the name alone
	Format     string             // "" for detection per line; "regex", "rpz", ...
	Answers    bool               // may answer with addresses and names of its own
	Suffixes   bool               // may block, or except, public suffixes
	Exceptions bool               // of a subscription: its exceptions hold for other lists' blocks, too
	Tier       string             // instead of Options.Tier
	Annotation *format.Annotation // of the whole list
	Order      int                // lists of a lower order win ties; then by name

	ObserveUntil time.Time // observe until then; zero for never
	Schedule     Schedule  // when it is in force; at other times only its annotations are
}

func (l *ListSettings) observes(now *instant) bool { return l.Observe || now.isBefore(l.ObserveUntil) }

// GroupSettings are what differs for a device, or for devices with the same settings.
type GroupSettings struct {
	Name         string    // of the device; "" for none
	Groups       []string  // the groups that it is in, of which the first goes before the others
	Observe      bool      // said of the device itself
	ObserveUntil time.Time // observe until then; zero for never

	GroupObserve      bool      // said of the group that the device is in
	GroupObserveUntil time.Time // observe until then; zero for never

	Schedule Schedule // when its names are blocked; at other times it is observed
	Mode     *Mode    // nil for the list's
	Tier     string   // instead of the list's; "" for that
	StripECH bool     // answers do not say how to hide a server's name when connecting to it
	Lists    []GroupList

	// What $client and $ctag of a rule are compared with.
	ClientNames []string
	Addresses   []netip.Prefix
	Tags        []string
}

// observedBy returns what makes the group observed at now, by settings.
func (g *GroupSettings) observedBy(now *instant) ObservedBy {
	switch {
	case g.Observe || now.isBefore(g.ObserveUntil):
		return ByDevice
	case g.GroupObserve || now.isBefore(g.GroupObserveUntil):
		return ByGroup
	case !g.Schedule.holds(now.wall):
		return BySchedule
	}
	return NotObserved
}

// A GroupList says how a list is for a group.
type GroupList struct {
	Name string
	Is   ListFor
}

// A ListFor is how a list is for a group.
type ListFor uint8

const (
	ListOnFor       ListFor = iota + 1 // as its settings say, also where those have it off
	ListOffFor                         // its annotations hold alone
	ListObservesFor                    // it only observes
)

func (o *Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

func (o *Options) steady() time.Duration {
	if o.Steady != nil {
		return o.Steady()
	}
	return time.Since(started())
}

// started is a time of the steady clock.
var started = sync.OnceValue(time.Now)

func (o *Options) report(kind, subject, detail string) {
	if o.Report != nil {
		o.Report(kind, subject, detail)
	}
}

// ttl returns the blocking TTL in seconds.
func (o *Options) ttl() uint32 {
	if o.TTL <= 0 {
		return 10
	}
	return uint32(max(1, min(o.TTL/time.Second, 1<<31-1)))
}
