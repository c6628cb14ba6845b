package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"telltale/blocklists/matcher"
	"telltale/dnswire"
)

// An Index has the names of all lists: one large image, and small ones over it
// with what has changed since it was built. It is for one goroutine; the sets it
// gives out are for all.
type Index struct {
	dir      string // for the image; "" keeps it in memory
	readOnly bool
	fault    func(error)
	log      *slog.Logger

	base     *matcher.Image
	inBase   []placed // as it was built
	baseID   uint64
	overlays []overlay
	current  []placement // of the lists as they were placed last
	next     ID          // the first id not in use
}

// NewIndex returns an index that keeps its image in dir, or in memory where dir is
// empty. A read-only one takes up the image that is there and writes none. Fault is
// told by a lookup that the image's file can no longer be read; it must not wait.
func NewIndex(dir string, readOnly bool, fault func(error), log *slog.Logger) *Index {
	return &Index{dir: dir, readOnly: readOnly, fault: fault, log: log, next: FirstID}
}

// Image returns the large image; nil before there is one.
func (x *Index) Image() *matcher.Image { return x.base }

// A List is a list whose rules get ids.
type List struct {
	Name    string
	Set     *Set
	Extents []Extent // where its rules are; given by AssignIDs

	Before *Set  // what it was when it was given ids last; nil for nothing
	Same   []Run // by Before and Set
}

// placed is where the base has the rules of a list.
type placed struct {
	Sum   uint64 // of the set
	First ID
	Count int
}

func (p placed) extent() Extent { return Extent{Count: uint32(p.Count), ID: p.First} }

// A placement is where all the rules of a list are.
type placement struct {
	Sum     uint64 // of the set
	Count   int
	Extents []Extent
}

// An overlay is a small image with the rules of some extents.
type overlay struct {
	image    *matcher.Image
	from, to ID // ids in it; to is behind the last
}

const (
	imageName   = "names.image"
	maxOverlay  = 50_000 // rules that go into one overlay
	maxOverlays = 10     // merged into one from then on
	idleMost    = 4      // overlays that stay when there is time to build a new base
	idleRules   = 20_000 // rules in overlays that stay then
	FirstID     = ID(1)
	maxID       = ID(1) << 29 // so that an id with its kind fits into 32 bits
	metaVersion = 2
)

type imageMeta struct {
	Version int
	Build   uint64
	ID      uint64 // no other image has it
	Lists   []placed
}

// Load takes up the image that an earlier run left.
func (x *Index) Load() error {
	x.next = FirstID
	if x.dir == "" {
		return nil
	}
	image, err := matcher.Open(filepath.Join(x.dir, imageName))
	if err != nil {
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}
	b, err := image.Meta()
	if err != nil {
		return err
	}
	var meta imageMeta
	if err := json.Unmarshal(b, &meta); err != nil || meta.Version != metaVersion || meta.Build != programStamp() {
		return nil
	}
	x.Install(Base{image, meta})
	x.loadExtents()
	return nil
}

// A Base is an image with the names of whole lists, and where it has them.
type Base struct {
	image *matcher.Image
	meta  imageMeta
}

// Install makes b the base. The overlays go.
func (x *Index) Install(b Base) {
	x.base, x.inBase, x.baseID, x.overlays, x.current = b.image, b.meta.Lists, b.meta.ID, nil, nil
	x.next = x.baseEnd()
}

// baseEnd is the first id behind those of the base.
func (x *Index) baseEnd() ID {
	end := FirstID
	for _, p := range x.inBase {
		end = max(end, p.extent().End())
	}
	return end
}

// Drop forgets all images, so that the next AssignIDs builds them again.
func (x *Index) Drop() {
	x.Install(Base{})
	if x.dir != "" && !x.readOnly {
		os.Remove(filepath.Join(x.dir, imageName)) // it is replaced in any case
	}
}

// AssignIDs gives all rules of the lists their ids, builds what is missing and
// returns the set of all names.
func (x *Index) AssignIDs(lists []List) (*matcher.Set, error) {
	fresh := x.keep(lists)
	var err error
	switch {
	case x.base == nil || x.next+ID(fresh) > maxID || fresh > maxOverlay || x.dead(lists) > x.base.Len()/4+maxOverlay:
		err = x.rebuild(lists)
	case fresh > 0 || !allPlaced(lists):
		err = x.addOverlay(lists)
	}
	if err != nil {
		return nil, err
	}
	x.remember(lists)
	x.saveExtents()
	return x.set()
}

// keep gives each list the extents that are placed already and returns how many
// rules are not. A list without an extent that is placed is one extent as a whole.
func (x *Index) keep(lists []List) (fresh int) {
	used := map[ID]bool{}
	for i := range lists {
		l := &lists[i]
		l.Extents = x.known(l.Set, used)
		if l.Extents == nil && l.Before != nil {
			if old := x.known(l.Before, used); old != nil {
				l.Extents = patch(old, l.Set.count, l.Same)
			}
		}
		if l.Extents == nil {
			l.Extents = wholeList(l.Set)
		}
		for _, p := range l.Extents {
			if p.ID == 0 {
				fresh += int(p.Count)
			} else {
				used[p.ID] = true
			}
		}
	}
	return fresh
}

// known returns the extents in which the rules of a set are placed; nil for none,
// or where another list has them.
func (x *Index) known(set *Set, used map[ID]bool) []Extent {
	for _, p := range x.current {
		if p.Sum == set.sum && p.Count == set.count && !isTaken(p.Extents, used) {
			return p.Extents
		}
	}
	for _, p := range x.inBase {
		if p.Sum == set.sum && p.Count == set.count && !used[p.First] {
			return []Extent{p.extent()}
		}
	}
	return nil
}

func isTaken(extents []Extent, used map[ID]bool) bool {
	return slices.ContainsFunc(extents, func(p Extent) bool { return used[p.ID] })
}

func allPlaced(lists []List) bool {
	for i := range lists {
		for _, p := range lists[i].Extents {
			if p.ID == 0 {
				return false
			}
		}
	}
	return true
}

// dead returns how many entries of the base no list has any more.
func (x *Index) dead(lists []List) int {
	n := x.base.Len()
	end := x.baseEnd()
	for i := range lists {
		for _, p := range lists[i].Extents {
			if p.ID != 0 && p.ID < end {
				n -= int(p.Count)
			}
		}
	}
	return n
}

// addOverlay puts over the base what is not placed yet; when there are too many
// overlays already, one with all that is not in the base.
func (x *Index) addOverlay(lists []List) error {
	x.dropUnused(lists)
	end := x.baseEnd()
	if len(x.overlays) >= maxOverlays {
		count := 0
		for i := range lists {
			lists[i].Extents = slices.Clone(lists[i].Extents) // the placement in force keeps its own
			for j := range lists[i].Extents {
				if p := &lists[i].Extents[j]; p.ID >= end || p.ID == 0 {
					p.ID = 0
					count += int(p.Count)
				}
			}
		}
		if count > maxOverlay {
			return x.rebuild(lists)
		}
		x.overlays = nil
	}
	b := matcher.NewBuilder(matcher.Options{Like: x.base})
	defer b.Close()
	o := overlay{from: x.next}
	next := x.next
	for i := range lists {
		lists[i].Extents = slices.Clone(lists[i].Extents)
		for j := range lists[i].Extents {
			p := &lists[i].Extents[j]
			if p.ID != 0 {
				continue
			}
			p.ID = next
			if err := addExtent(b, &lists[i], *p); err != nil {
				return err
			}
			next = p.End()
		}
	}
	image, err := b.Build()
	if err != nil {
		return err
	}
	o.image, o.to = image, next
	x.overlays, x.next = append(x.overlays, o), next
	return nil
}

// dropUnused drops the overlays of which no list has anything.
func (x *Index) dropUnused(lists []List) {
	x.overlays = slices.DeleteFunc(slices.Clone(x.overlays), func(o overlay) bool {
		for i := range lists {
			for _, p := range lists[i].Extents {
				if p.ID >= o.from && p.ID < o.to {
					return false
				}
			}
		}
		return true
	})
}

// rebuild makes a new base of all lists.
func (x *Index) rebuild(lists []List) error {
	base, err := BuildBase(x.ImageDir(), lists)
	var broken *ListError
	if err != nil && !errors.As(err, &broken) && x.ImageDir() != "" {
		x.log.Warn("compiled names cannot be kept in the cache directory and are kept in memory", "err", err)
		base, err = BuildBase("", lists)
	}
	if err != nil {
		return err
	}
	x.Install(base)
	for i := range lists {
		lists[i].Extents = []Extent{base.meta.Lists[i].extent()}
	}
	return nil
}

// ImageDir returns where a base is built; "" is in memory.
func (x *Index) ImageDir() string {
	if x.readOnly {
		return ""
	}
	return x.dir
}

// IsFragmented reports whether a new base would be worth its time when there is
// nothing else to do.
func (x *Index) IsFragmented() bool {
	rules := 0
	for _, o := range x.overlays {
		rules += int(o.to - o.from)
	}
	if len(x.overlays) > idleMost || rules > idleRules {
		return true
	}
	for _, p := range x.current {
		if len(p.Extents) > 1 {
			return true
		}
	}
	return false
}

// BuildBase makes an image of all rules of the lists. It touches nothing else, so
// any goroutine may do it.
func BuildBase(dir string, lists []List) (base Base, err error) {
	b := matcher.NewBuilder(matcher.Options{Dir: dir})
	defer b.Close()
	meta := imageMeta{Version: metaVersion, Build: programStamp(), ID: newImageID()}
	next := FirstID
	for i := range lists {
		set := lists[i].Set
		p := placed{Sum: set.sum, First: next, Count: set.count}
		if err := addExtent(b, &lists[i], p.extent()); err != nil {
			return base, err
		}
		next = p.extent().End()
		meta.Lists = append(meta.Lists, p)
	}
	text, err := json.Marshal(meta)
	if err != nil {
		return base, err
	}
	b.SetMeta(text)
	var image *matcher.Image
	if dir == "" {
		image, err = b.Build()
	} else {
		image, err = b.WriteFile(filepath.Join(dir, imageName))
	}
	return Base{image, meta}, err
}

// addExtent adds the names of a run of a list's rules.
func addExtent(b *matcher.Builder, l *List, p Extent) error {
	var full error // the builder has no room
	err := l.Set.eachFrom(p.Rule, p.Count, func(r Record) error {
		if len(r.Name) == 0 {
			return nil
		}
		err := b.Add(r.Name, Payload(p.ID+ID(r.Rule-p.Rule), r.Kind))
		if err != nil && !errors.Is(err, dnswire.ErrName) {
			full = err
		}
		return err
	})
	switch {
	case full != nil:
		return full
	case err != nil:
		return &ListError{List: l.Name, Err: err}
	}
	return nil
}

// A ListError is an error of one list, which is then read again from its text.
type ListError struct {
	List string
	Err  error
}

func (e *ListError) Error() string { return fmt.Sprintf("list %s: %v", e.List, e.Err) }
func (e *ListError) Unwrap() error { return e.Err }

// remember keeps where the lists are.
func (x *Index) remember(lists []List) {
	x.current = x.current[:0:0]
	for i := range lists {
		x.current = append(x.current, placement{lists[i].Set.sum, lists[i].Set.count, lists[i].Extents})
	}
	x.dropUnused(lists)
}

// set returns all layers as one set. Ids that no list has any more are in it still: whoever
// looks names up passes over them.
func (x *Index) set() (*matcher.Set, error) {
	l := matcher.Layers{Base: x.base, Fault: x.fault}
	for _, o := range x.overlays {
		l.Overlays = append(l.Overlays, o.image)
	}
	return matcher.NewSet(l)
}
