package blocklists

import "time"

// A Kind is where a list comes from.
type Kind uint8

const (
	UserList   Kind = iota // a file of lists.dir
	OwnList                // own.txt
	Shipped                // built in
	Subscribed             // downloaded
)

// String returns the kind as `telltale lists` shows it.
func (k Kind) String() string {
	switch k {
	case OwnList:
		return "own"
	case Shipped:
		return "shipped"
	case Subscribed:
		return "subscription"
	}
	return "user"
}

// A ListStatus is how one list stands.
type ListStatus struct {
	Name    string
	Path    string // "" for a shipped list
	Kind    Kind
	Enabled bool
	Observe bool
	Mode    string         // of its blocked answers, where it has one of its own
	Rules   int            // in force
	ByForm  map[string]int // rules by the form they are written in
	Bad     []BadLine      // the first of them
	BadSeen int            // how many there are

	Modified  time.Time // of the file; zero for a shipped list
	Reloaded  time.Time // when its rules came in force
	Added     int       // at the last reload
	Removed   int
	Held      string // why what the file holds now is not in force; "" where it is
	HeldSince time.Time
	Failed    string   // why the file cannot be read; its last good rules are in force
	Warnings  []string // essential names that it blocks, and what breaks
}

// A BadLine is a line that is no rule.
type BadLine struct {
	Line int
	Text string // the beginning of the line, for showing
	Why  string
}
