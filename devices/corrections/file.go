package corrections

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"telltale/atomicfile"
)

// A File keeps corrections, a line of JSON each, in the order in which they were
// made. The running server owns it. It is replaced whole, so that it is never half
// written, and what was forgotten is in no part of it.
type File struct {
	path string
	now  func() time.Time

	mu      sync.Mutex
	all     []Correction
	damaged error // why the file cannot be read; nothing is written over it
}

// Open opens the file, which may not be there yet. The error says why it cannot be
// read: then there are no corrections, and none is made, until it can be.
func Open(path string, now func() time.Time) (*File, error) {
	f := &File{path: path, now: now}
	f.readLocked() // nobody else has it yet
	return f, f.damaged
}

// readLocked reads the file.
func (f *File) readLocked() { f.all, f.damaged = Read(f.path) }

// retryLocked reads a damaged file again, which may have been put right.
func (f *File) retryLocked() error {
	if f.damaged != nil {
		f.readLocked()
	}
	return f.damaged
}

// Read returns the corrections of a file; none where it is not there.
func Read(path string) ([]Correction, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) { // DNS goes on without a data directory
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parse(path, text)
}

func parse(path string, text []byte) (all []Correction, err error) {
	n, last := 0, uint64(0)
	for line := range bytes.Lines(text) {
		n++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var c Correction
		if err := json.Unmarshal(line, &c); err != nil {
			return nil, fmt.Errorf("%s:%d: this is no correction: %w (put the line right, or take it out)", path, n, err)
		}
		if c.ID <= last {
			return nil, fmt.Errorf("%s:%d: number %d comes after %d: numbers must ascend", path, n, c.ID, last)
		}
		last = c.ID
		all = append(all, c)
	}
	return all, nil
}

// All returns all corrections, those that were undone included.
func (f *File) All() []Correction {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.retryLocked()
	return slices.Clone(f.all)
}

// Add gives a correction its number and time, and keeps it.
func (f *File) Add(c Correction) (Correction, error) {
	if err := c.check(); err != nil {
		return c, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.retryLocked(); err != nil {
		return c, err
	}
	if len(f.all) >= maxCorrections {
		return c, fmt.Errorf("%s has %d corrections, which is as many as are kept", f.path, len(f.all))
	}
	c.ID, c.Time = 1, f.now().UTC().Truncate(time.Millisecond)
	if n := len(f.all); n > 0 {
		c.ID = f.all[n-1].ID + 1
	}
	return c, f.replaceLocked(append(slices.Clone(f.all), c))
}

// ErrNothing means that there is no correction to undo.
var ErrNothing = errors.New("there is no correction that could be undone")

// Undo makes a correction that takes back another: that with a number, or for 0 the
// last one in force. It returns the one that was taken back.
func (f *File) Undo(id uint64) (undone Correction, err error) {
	in := InForce(f.All())
	if id == 0 && len(in) > 0 {
		id = in[len(in)-1].ID
	}
	i := slices.IndexFunc(in, func(c Correction) bool { return c.ID == id })
	if i < 0 {
		return undone, ErrNothing
	}
	_, err = f.Add(Correction{Kind: Undo, Of: id})
	return in[i], err
}

// Forget takes out all that was said of the devices with these identities. Their
// numbers stay, so that none is given again.
func (f *File) Forget(identities map[string]bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.retryLocked(); err != nil {
		return err
	}
	kept, changed := slices.Clone(f.all), false
	for i := range kept {
		if c := &kept[i]; c.Mentions(identities) {
			*c, changed = Correction{ID: c.ID, Time: c.Time, Kind: Forgot}, true
		}
	}
	if !changed {
		return nil
	}
	return f.replaceLocked(kept)
}

func (f *File) replaceLocked(all []Correction) error {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	for i := range all {
		if err := enc.Encode(&all[i]); err != nil {
			return err
		}
	}
	if err := atomicfile.Write(f.path, text.Bytes(), 0o600); err != nil {
		return err
	}
	f.all = all
	return nil
}
