// Package roster is what a center knows of how each of its nodes stands: which policy is
// in force there, how far the merged log is behind, how its clock differs. It keeps the
// signed checkpoints of their sealed logs, too, and finds a node whose past is another
// one than it was.
package roster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"telltale/atomicfile"
	"telltale/querylog/seal"
)

// Path is where nodes report. It never changes.
const Path = "/v1/state"

// A State is what a node says of itself. The keys of its JSON never change.
type State struct {
	Time    time.Time `json:"time"` // by the node's clock
	Program string    `json:"program"`
	Started time.Time `json:"started"`

	Policy  string `json:"policy,omitempty"`  // the version in force; "" for none
	Refused string `json:"refused,omitempty"` // the version that was not put in force
	Why     string `json:"why,omitempty"`

	Lists   []List   `json:"lists"`
	Shipped Shipping `json:"shipped"`

	Checkpoint string `json:"checkpoint,omitempty"` // signed, of its sealed log
	Key        string `json:"key,omitempty"`        // by which that is verified
}

// A List is one that is in force on a node.
type List struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Rules int    `json:"rules"`
	Hash  string `json:"hash,omitempty"` // of its text; "" where it is not known
}

// Shipping is how far a node's log has been sent.
type Shipping struct {
	Until   time.Time `json:"until,omitzero"`    // all before it is at the center
	Waiting int64     `json:"waiting"`           // windows of rows that are not
	Problem string    `json:"problem,omitempty"` // why nothing is sent
}

// An Entry is what the center knows of a node. The keys of its JSON never change.
type Entry struct {
	Node    string    `json:"node"`
	Seen    time.Time `json:"seen"` // when it reported last
	From    string    `json:"from"` // its address
	Ahead   Seconds   `json:"clock_ahead"`
	State   State     `json:"state"`
	Sealed  int64     `json:"sealed"` // leaves of the largest checkpoint
	Root    string    `json:"root,omitempty"`
	Origin  string    `json:"origin,omitempty"`  // of its sealed log
	Key     string    `json:"key,omitempty"`     // with which the node's checkpoints are verified
	Changed string    `json:"changed,omitempty"` // how its past is another one than it was; "" where it is not
	Since   time.Time `json:"changed_since,omitzero"`

	damaged bool // its file cannot be read
}

// Seconds is a time by which clocks differ.
type Seconds float64

// An Options is what a Roster needs.
type Options struct {
	Dir string // its own: a file for each node, and a folder of its checkpoints

	// Changed is told of a node whose past is another one than it was; nil for nobody.
	Changed func(node, how string)

	// Damaged is told of a file that could not be read, and was moved aside; nil for nobody.
	Damaged func(node, aside string)

	Now func() time.Time // nil for time.Now
}

// A Roster keeps entries. It may be used by any goroutine; one process alone writes.
type Roster struct {
	o Options

	mu  sync.Mutex
	all map[string]*kept
}

type kept struct {
	Entry
	written time.Time
}

// Open opens a roster to write to it.
func Open(o Options) (*Roster, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := os.MkdirAll(filepath.Join(o.Dir, checkpoints), 0o700); err != nil {
		return nil, err
	}
	entries, err := Read(o.Dir)
	if err != nil {
		return nil, err
	}
	r := &Roster{o: o, all: map[string]*kept{}}
	for _, e := range entries {
		if e.damaged {
			if err := r.moveAside(&e); err != nil {
				return nil, err
			}
		}
		r.all[e.Node] = &kept{Entry: e}
	}
	return r, nil
}

// moveAside moves a damaged file aside, and puts one in its place that says so.
func (r *Roster) moveAside(e *Entry) error {
	path := filepath.Join(r.o.Dir, e.Node+ending)
	if err := os.Rename(path, path+aside); err != nil {
		return err
	}
	e.Since = r.o.Now().UTC()
	e.Changed = fmt.Sprintf("unknown since %s: the file of this node at the center was damaged, and is kept as %s", e.Since.Format(time.RFC3339), path+aside)
	if r.o.Damaged != nil {
		r.o.Damaged(e.Node, path+aside)
	}
	return r.write(e)
}

func (r *Roster) write(e *Entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return atomicfile.Replace(filepath.Join(r.o.Dir, e.Node+ending), append(b, '\n'), 0o600)
}

const (
	ending      = ".json"
	accepted    = ".accepted"
	aside       = ".damaged"
	checkpoints = "checkpoints" // a folder for each node
)

// Read returns the entries of a directory, by name, also while a center writes them. One
// whose file is damaged says that alone.
func Read(dir string) ([]Entry, error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Entry
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ending)
		if !ok || atomicfile.IsUnfinished(f.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		var e Entry
		if err := json.Unmarshal(text, &e); err != nil || e.Node != name {
			e = Entry{Node: name, damaged: true, Changed: fmt.Sprintf("unknown: %s is damaged, and is moved aside with the next start of the center", filepath.Join(dir, f.Name()))}
		}
		all = append(all, e)
	}
	return all, nil
}

// Adopt writes entries that another center had into a directory, for a roster that is opened later.
func Adopt(dir string, entries []Entry) error {
	if err := os.MkdirAll(filepath.Join(dir, checkpoints), 0o700); err != nil {
		return err
	}
	for i := range entries {
		name := entries[i].Node + ending
		if entries[i].Node == "" || filepath.Base(name) != name || atomicfile.IsUnfinished(name) {
			return fmt.Errorf("%q is no name of a node", entries[i].Node)
		}
		text, err := json.Marshal(&entries[i])
		if err != nil {
			return err
		}
		text = append(text, '\n')
		path := filepath.Join(dir, name)
		if was, err := os.ReadFile(path); err == nil && string(was) == string(text) {
			continue
		}
		if err := atomicfile.Replace(path, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Entries returns what is known of each node, in no order.
func (r *Roster) Entries() []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Entry, 0, len(r.all))
	for _, k := range r.all {
		all = append(all, k.Entry)
	}
	return all
}

// Bounds of a report.
const (
	mostReport = 1 << 20
	mostText   = 2000
	mostLists  = 1000
	writeEvery = 30 * time.Second // where nothing but times changed
)

// Handler takes reports; nodeOf says of which node a request is.
func (r *Roster) Handler(nodeOf func(*http.Request) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		text, err := io.ReadAll(http.MaxBytesReader(w, q.Body, mostReport))
		var st State
		if err == nil {
			err = json.Unmarshal(text, &st)
		}
		if err != nil || q.Method != http.MethodPost {
			http.Error(w, "this is no report of a node", http.StatusBadRequest)
			return
		}
		if err := r.Take(nodeOf(q), q.RemoteAddr, st); err != nil {
			http.Error(w, "the center cannot keep this: its messages say why", http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

// Take keeps what a node, from an address, says of itself.
func (r *Roster) Take(node, from string, st State) error {
	now := r.o.Now()
	st.bound()
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.all[node]
	if k == nil {
		k = &kept{Entry: Entry{Node: node}}
		r.all[node] = k
	}
	was := k.Entry
	if k.Changed != "" && os.Remove(filepath.Join(r.o.Dir, node+accepted)) == nil {
		k.Changed, k.Since = "", time.Time{}
	}
	k.Seen, k.From, k.Ahead = now.UTC(), from, Seconds(st.Time.Sub(now).Round(time.Millisecond).Seconds())
	grown := k.judge(&st, now)
	if k.Changed != "" && was.Changed != k.Changed && r.o.Changed != nil {
		r.o.Changed(node, k.Changed)
	}
	text := st.Checkpoint
	st.Checkpoint = ""
	k.State = st
	if grown {
		if err := r.keepCheckpoint(node, k.Sealed, text); err != nil {
			return err
		}
	}
	sameSaid := was.State.Policy == st.Policy && was.State.Refused == st.Refused && was.State.Shipped.Problem == st.Shipped.Problem && was.Changed == k.Changed && was.State.Program == st.Program
	if sameSaid && !grown && now.Sub(k.written).Abs() < writeEvery {
		return nil
	}
	k.written = now
	return r.write(&k.Entry)
}

// bound takes from what a node says what is too long, or would be more than text on a
// terminal.
func (st *State) bound() {
	texts := []*string{&st.Program, &st.Policy, &st.Refused, &st.Why, &st.Shipped.Problem, &st.Key}
	st.Lists = slices.Clone(st.Lists[:min(len(st.Lists), mostLists)])
	for i := range st.Lists {
		texts = append(texts, &st.Lists[i].Name, &st.Lists[i].Kind, &st.Lists[i].Hash)
	}
	for _, text := range texts {
		*text = strings.Map(textAlone, strings.ToValidUTF8((*text)[:min(len(*text), mostText)], "?"))
	}
}

// textAlone drops what is not shown by itself: control characters and those that turn
// the direction of text. Ends of lines become spaces.
func textAlone(r rune) rune {
	switch {
	case r == '\n', r == '\t':
		return ' '
	case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
		return -1
	}
	return r
}

// judge compares a checkpoint with the largest that the center has, and reports whether
// it is a larger one. A node's log only grows: a smaller one, or another one of the same
// size, is another past.
func (k *kept) judge(st *State, now time.Time) (grown bool) {
	if st.Checkpoint == "" {
		return false
	}
	differs := func(format string, args ...any) bool {
		if k.Changed == "" {
			k.Changed, k.Since = fmt.Sprintf(format, args...), now.UTC()
		}
		return false
	}
	c, err := seal.OpenCheckpoint([]byte(st.Checkpoint), st.Key)
	if err != nil {
		return differs("its checkpoint is not signed with the key that it names: %v", err)
	}
	root := c.Root.String()
	switch {
	case k.Origin != "" && k.Origin != c.Origin:
		differs("its sealed log is another one, %s, since %s: it was restored, or begun anew ('telltale ledger' on the node says which)", c.Origin, now.UTC().Format(time.RFC3339))
	case k.Origin == "":
	case k.Key != st.Key:
		differs("its sealed log is signed with another key since %s: 'telltale evidence seal' on the node says whether the old one handed over", now.UTC().Format(time.RFC3339))
	case c.Size < k.Sealed:
		return differs("its sealed log has %d leaves, and had %d before", c.Size, k.Sealed)
	case c.Size == k.Sealed && k.Root != root:
		return differs("its sealed log of %d leaves has another root than it had before", c.Size)
	case c.Size == k.Sealed:
		return false
	}
	k.Origin, k.Key = c.Origin, st.Key
	k.Sealed, k.Root = c.Size, root
	return true
}

// keepCheckpoint keeps a checkpoint as 'telltale evidence verify --checkpoint' reads it:
// one for each hour and node, the largest.
func (r *Roster) keepCheckpoint(node string, size int64, text string) error {
	dir := filepath.Join(r.o.Dir, checkpoints, node)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	name := r.o.Now().UTC().Format("2006-01-02T15") + ".checkpoint"
	return atomicfile.Replace(filepath.Join(dir, name), []byte(text), 0o600)
}

// Accept says that a node's past is as it is now, since somebody found out why. A running
// center knows it with the node's next report.
func Accept(dir, node string) error {
	if _, err := os.Stat(filepath.Join(dir, node+ending)); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, node+accepted), nil, 0o600)
}
