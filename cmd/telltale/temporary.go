package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"telltale/atomicfile"
	"telltale/blocklists"
	"telltale/config"
	"telltale/web"
)

// Changes that end by themselves: pauses, and times in which something is observed. The
// running server keeps all of them in one file of data.dir, so that they survive it.

const (
	temporaryName = "temporary.json"
	mostTemporary = 200
)

func temporaryPath(cfg *config.Config) string { return filepath.Join(cfg.Data.Dir, temporaryName) }

// A temporaryChange is one of them. Its keys never change.
type temporaryChange struct {
	Kind  blocklists.TemporaryKind `json:"kind"`
	Of    blocklists.Scope         `json:"of"`
	Name  string                   `json:"name,omitempty"`  // identity of the device, or name of the group, list or vendor
	Shown string                   `json:"shown,omitempty"` // what people call the device
	From  time.Time                `json:"from"`
	Until time.Time                `json:"until"`
}

// inLists returns the change as the lists take it.
func (c *temporaryChange) inLists() blocklists.Temporary {
	return blocklists.Temporary{Kind: c.Kind, Of: c.Of, Name: c.Name, Shown: c.Shown, Until: c.Until}
}

// subject returns what the change is of, as the ledger says it.
func (c *temporaryChange) subject() string { t := c.inLists(); return t.String() }

// is reports whether two changes are of the same.
func (c *temporaryChange) is(o *temporaryChange) bool {
	return c.Kind == o.Kind && c.Of == o.Of && strings.EqualFold(c.Name, o.Name)
}

// A temporaryFile keeps the changes in force. Any goroutine may use it.
type temporaryFile struct {
	path string

	mu      sync.Mutex
	changes []temporaryChange
}

// readTemporary returns what is kept, as it was written. A change that began in what is the
// future by now lasts no longer than it was to.
func readTemporary(path string, now time.Time) (changes []temporaryChange, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &changes)
	}
	if err != nil {
		return nil, fmt.Errorf("pauses and the like of an earlier run are not in force: %s: %w", path, err)
	}
	for i := range changes {
		if c := &changes[i]; now.Before(c.From) {
			c.From, c.Until = now, now.Add(c.Until.Sub(c.From))
		}
	}
	return changes[:min(len(changes), mostTemporary)], nil
}

// openTemporary takes up the changes of an earlier run. On an error there are none.
func openTemporary(path string, now time.Time) (*temporaryFile, error) {
	changes, err := readTemporary(path, now)
	return &temporaryFile{path: path, changes: changes}, err
}

// all returns the changes in force.
func (f *temporaryFile) all() []temporaryChange {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.changes)
}

// inLists returns changes as the lists take them: of devices of today.
func (s *membership) inLists(changes []temporaryChange) (all []blocklists.Temporary) {
	for i := range changes {
		c := changes[i].named(func(device string) string { return cmp.Or(s.today[device], device) })
		all = append(all, c.inLists())
	}
	return all
}

// named returns the change with the identity that its device has today.
func (c temporaryChange) named(today func(device string) string) temporaryChange {
	if device := today(c.Name); c.Of == blocklists.OfDevice && device != c.Name {
		c.Name, c.Shown = device, ""
	}
	return c
}

var errTooMany = fmt.Errorf("%d pauses and the like are in force already: 'telltale resume' ends some", mostTemporary)

// add puts a change in the place of the one that is of the same. Where it cannot be kept
// on disk it is there nevertheless.
func (f *temporaryFile) add(c temporaryChange) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(f.changes), func(o temporaryChange) bool { return o.is(&c) })
	if len(left) >= mostTemporary {
		return errTooMany
	}
	f.changes = append(left, c)
	if err := f.saveLocked(); err != nil {
		return fmt.Errorf("in force until %s, but a restart would end that: %w", when(c.Until), err)
	}
	return nil
}

// remove takes out the changes that end says, and returns them.
func (f *temporaryFile) remove(end func(*temporaryChange) bool) (ended []temporaryChange, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := f.changes[:0:0]
	for _, c := range f.changes {
		if end(&c) {
			ended = append(ended, c)
		} else {
			left = append(left, c)
		}
	}
	if len(ended) == 0 {
		return nil, nil
	}
	f.changes = left
	if err := f.saveLocked(); err != nil {
		return ended, fmt.Errorf("ended, but it may come back with a restart: %w", err)
	}
	return ended, nil
}

func (f *temporaryFile) saveLocked() error {
	if len(f.changes) == 0 {
		err := os.Remove(f.path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	text, err := json.MarshalIndent(f.changes, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Replace(f.path, append(text, '\n'), 0o600)
}

// pause puts a pause in force, or a time in which something is observed.
func (a *app) pause(p web.Pause) (web.Temporary, error) {
	a.applying.Lock()
	defer a.applying.Unlock()
	c, err := a.temporaryOf(p.Kind, p.Of, p.Name)
	if err != nil {
		return web.Temporary{}, err
	}
	c.From = time.Now().Round(0)
	c.Until = c.From.Add(time.Duration(p.Seconds) * time.Second)
	unkept := a.temporary.add(c)
	if errors.Is(unkept, errTooMany) {
		return web.Temporary{}, unkept
	}
	if err := a.applyTemporaryLocked(); err != nil {
		return web.Temporary{}, err
	}
	until := "until " + c.Until.UTC().Format(time.RFC3339)
	if c.Kind == blocklists.Observing {
		a.log.Report("observe", c.subject(), until)
	} else {
		a.log.Report("pause", c.subject(), until)
	}
	t := c.inLists()
	return temporaryStatus(&t), unkept
}

// resume ends pauses, or times in which something is observed: that of a name, or all
// where of is "".
func (a *app) resume(p web.Resume) (web.Resumed, error) {
	a.applying.Lock()
	defer a.applying.Unlock()
	want := temporaryChange{Kind: blocklists.TemporaryKind(p.Kind)}
	if p.Of != "" {
		var err error
		if want, err = a.temporaryOf(p.Kind, p.Of, p.Name); err != nil {
			return web.Resumed{}, err
		}
	}
	_, ids := a.knownDevices()
	ended, unkept := a.temporary.remove(func(c *temporaryChange) bool {
		today := c.named(ids.last)
		return c.Kind == want.Kind && (p.Of == "" || today.is(&want))
	})
	out := web.Resumed{Ended: []web.Temporary{}}
	if len(ended) == 0 {
		return out, unkept
	}
	err := a.applyTemporaryLocked()
	for i := range ended {
		a.reportEnded(&ended[i], "by hand")
		t := ended[i].inLists()
		out.Ended = append(out.Ended, temporaryStatus(&t))
	}
	return out, errors.Join(err, unkept)
}

// applyTemporaryLocked puts the changes of the file in force.
func (a *app) applyTemporaryLocked() error {
	s, err := a.selectLocked(a.cfg.Load())
	if err != nil {
		return err
	}
	return a.applyMembershipLocked(a.cfg.Load(), s)
}

// temporaryEnded is told by the lists that a change has ended. The lists may know its device by
// an identity that is not the one in the file: what is of the same kind and time has ended, too.
func (a *app) temporaryEnded(t blocklists.Temporary) {
	ended, err := a.temporary.remove(func(c *temporaryChange) bool { return c.Kind == t.Kind && c.Of == t.Of && c.Until.Equal(t.Until) })
	for i := range ended {
		a.reportEnded(&ended[i], "its time was over: "+t.Until.UTC().Format(time.RFC3339))
	}
	if err != nil {
		a.logger.Warn("what ended stays in its file", "error", err)
	}
}

func (a *app) reportEnded(c *temporaryChange, how string) {
	if c.Kind == blocklists.Observing {
		a.log.Report("observe-ended", c.subject(), how)
	} else {
		a.log.Report("resume", c.subject(), how)
	}
}

// temporaryOf returns a change of what a person means.
func (a *app) temporaryOf(kind, of, name string) (c temporaryChange, err error) {
	c = temporaryChange{Kind: blocklists.TemporaryKind(kind), Of: blocklists.Scope(of)}
	if c.Kind != blocklists.Pause && c.Kind != blocklists.Observing {
		return c, web.Invalid(fmt.Errorf("%q is neither pause nor observe", kind))
	}
	if c.Of != blocklists.Everything && name == "" {
		return c, web.Invalid(fmt.Errorf("which %s is meant? Give its name", of))
	}
	cfg := a.cfg.Load()
	switch c.Of {
	case blocklists.Everything:
		return c, nil
	case blocklists.OfDevice:
		d, ids, err := a.findKnown(a.background, name)
		if err != nil {
			return c, err
		}
		c.Name = d.Device
		if shown := ids.name(d.Device); shown != d.Device {
			c.Shown = shown
		}
		return c, nil
	case blocklists.OfGroup:
		var known []string
		for i := range cfg.Groups {
			known = append(known, cfg.Groups[i].Name)
		}
		c.Name, err = oneOf("group", name, known, "telltale status")
	case blocklists.OfList:
		var known []string
		for _, l := range a.lists.Status() {
			known = append(known, l.Name)
		}
		c.Name, err = oneOf("list", name, known, "telltale lists")
	case blocklists.OfVendor:
		c.Name, err = oneOf("vendor", name, a.lists.Current().Vendors(), "telltale catalog")
	default:
		err = web.Invalid(fmt.Errorf("%q is not everything, device, group, list or vendor", of))
	}
	return c, err
}

// oneOf returns which of the known words is meant, in any case.
func oneOf(what, word string, known []string, listing string) (string, error) {
	for _, k := range known {
		if strings.EqualFold(k, word) {
			return k, nil
		}
	}
	return "", web.NotFound(unknown(what, word, known, listing))
}

// forgetTemporary takes out what is of devices, without a word to the ledger: they are to
// be in no file.
func (a *app) forgetTemporary(devices map[string]bool) error {
	a.applying.Lock()
	defer a.applying.Unlock()
	ended, err := a.temporary.remove(func(c *temporaryChange) bool { return c.Of == blocklists.OfDevice && devices[c.Name] })
	if err != nil || len(ended) == 0 {
		return err
	}
	return a.applyTemporaryLocked()
}

func temporaryStatus(t *blocklists.Temporary) web.Temporary {
	return web.Temporary{Kind: string(t.Kind), Of: string(t.Of), Name: t.Name, Shown: cmp.Or(t.Shown, t.Name), Until: t.Until.UTC()}
}

// temporaryText says of a change in force what it does, and what ends it.
func temporaryText(t *web.Temporary) (says, cure string) {
	of, verb, ends := "", "blocked", "telltale resume"
	if t.Kind == string(blocklists.Observing) {
		verb, ends = "blocked, all is recorded,", "telltale observe --end"
	}
	if t.Of != string(blocklists.Everything) {
		of = " of " + t.Of + " " + printable(t.Shown)
		ends += " --" + t.Of + " " + quoted(t.Shown)
	}
	return fmt.Sprintf("nothing%s is %s until %s", of, verb, when(t.Until)), fmt.Sprintf("'%s' ends it", ends)
}

// quoted returns a word as a shell takes it.
func quoted(word string) string {
	word = printable(word)
	if strings.ContainsAny(word, " '\"$&;()|<>*?!`\\") {
		return `"` + word + `"`
	}
	return word
}
