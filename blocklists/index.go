package blocklists

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"telltale/blocklists/matcher"
)

// An index has the names of all lists: one large image, and small ones over it
// with the lists that have changed since it was built. It is for one goroutine;
// the sets it gives out are for all.
type index struct {
	dir      string // for the image; "" keeps it in memory
	readOnly bool
	fault    func(error)

	base     *matcher.Image
	inBase   []placed
	overlays []overlay
	next     RuleID // the first id not in use
}

// placed is where the rules of a list are.
type placed struct {
	Sum   uint64 // of the set
	First RuleID
	Count int
}

type overlay struct {
	image *matcher.Image
	lists []placed
}

const (
	imageName   = "names.image"
	maxOverlay  = 50_000          // rules of lists that go into an overlay
	maxOverlays = 10              // merged into one from then on
	maxRuleID   = RuleID(1) << 29 // so that an id with its kind fits into 32 bits
	firstRuleID = RuleID(1)
	metaVersion = 1
	smallerBase = 4 // a base of which so many parts in one are void is built again
)

type imageMeta struct {
	Version int
	Build   uint64
	Lists   []placed
}

// load takes up the image that an earlier run left.
func (x *index) load() error {
	x.next = firstRuleID
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
	if err := json.Unmarshal(b, &meta); err != nil || meta.Version != metaVersion || meta.Build != buildStamp() {
		return nil
	}
	x.base, x.inBase = image, meta.Lists
	for _, p := range meta.Lists {
		x.next = max(x.next, p.First+RuleID(p.Count))
	}
	return nil
}

// drop forgets all images, so that the next place builds them again.
func (x *index) drop() {
	x.base, x.inBase, x.overlays, x.next = nil, nil, nil, firstRuleID
	if x.dir != "" && !x.readOnly {
		os.Remove(filepath.Join(x.dir, imageName)) // it is replaced in any case
	}
}

// place gives each list its ids, builds what is missing and returns the set of
// all names.
func (x *index) place(lists []activeList) (*matcher.Set, error) {
	fresh := x.keep(lists)
	var err error
	switch {
	case len(fresh) == 0 && x.base != nil:
	case x.wantsBase(lists, fresh):
		err = x.rebuild(lists)
	default:
		err = x.overlay(lists, fresh)
	}
	if err != nil {
		return nil, err
	}
	return x.set(lists)
}

// keep gives each list that is placed already its ids, drops overlays that no
// list needs, and returns the indices of the other lists.
func (x *index) keep(lists []activeList) (fresh []int) {
	used := map[RuleID]bool{}
	needed := make([]bool, len(x.overlays))
	for i := range lists {
		lists[i].first = 0
		for at := range x.overlays {
			if first, ok := find(x.overlays[at].lists, lists[i].set, used); ok {
				lists[i].first, needed[at] = first, true
				break
			}
		}
		if lists[i].first == 0 {
			lists[i].first, _ = find(x.inBase, lists[i].set, used)
		}
		if lists[i].first == 0 {
			fresh = append(fresh, i)
		}
		used[lists[i].first] = true
	}
	kept := x.overlays[:0:0]
	for i, o := range x.overlays {
		if needed[i] {
			kept = append(kept, o)
		}
	}
	x.overlays = kept
	return fresh
}

func find(in []placed, set *ruleSet, used map[RuleID]bool) (RuleID, bool) {
	for _, p := range in {
		if p.Sum == set.sum && p.Count == set.records && !used[p.First] {
			return p.First, true
		}
	}
	return 0, false
}

// wantsBase reports whether the whole is better built again than covered.
func (x *index) wantsBase(lists []activeList, fresh []int) bool {
	count := 0
	for _, i := range fresh {
		count += lists[i].set.records
	}
	return x.base == nil || count > maxOverlay || x.next+RuleID(count) > maxRuleID || x.stale(lists) > x.base.Len()/smallerBase+maxOverlay
}

// stale returns how many entries of the base are void.
func (x *index) stale(lists []activeList) int {
	n := 0
	for _, p := range x.inBase {
		n += p.Count
	}
	for i := range lists {
		if lists[i].first != 0 && x.isInBase(lists[i].first) {
			n -= lists[i].set.records
		}
	}
	return n
}

func (x *index) isInBase(first RuleID) bool {
	for _, p := range x.inBase {
		if p.First == first {
			return true
		}
	}
	return false
}

// overlay covers the base with the given lists; when there are too many
// overlays already, with one for all that they have.
func (x *index) overlay(lists []activeList, fresh []int) error {
	if len(x.overlays) >= maxOverlays {
		x.overlays = nil
		fresh = fresh[:0]
		count := 0
		for i := range lists {
			if !x.isInBase(lists[i].first) {
				fresh = append(fresh, i)
				count += lists[i].set.records
			}
		}
		if count > maxOverlay {
			return x.rebuild(lists)
		}
	}
	b := matcher.NewBuilder(matcher.Options{Like: x.base})
	defer b.Close()
	o := overlay{}
	for _, i := range fresh {
		p, err := x.add(b, &lists[i])
		if err != nil {
			return err
		}
		o.lists = append(o.lists, p)
	}
	image, err := b.Build()
	if err != nil {
		return err
	}
	o.image = image
	x.overlays = append(x.overlays, o)
	return nil
}

// rebuild makes a new base of all lists.
func (x *index) rebuild(lists []activeList) error {
	spill := x.dir
	if x.readOnly {
		spill = ""
	}
	b := matcher.NewBuilder(matcher.Options{Dir: spill})
	defer b.Close()
	x.next = firstRuleID
	meta := imageMeta{Version: metaVersion, Build: buildStamp()}
	for i := range lists {
		p, err := x.add(b, &lists[i])
		if err != nil {
			return err
		}
		meta.Lists = append(meta.Lists, p)
	}
	text, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	b.SetMeta(text)
	var image *matcher.Image
	if spill == "" {
		image, err = b.Build()
	} else {
		image, err = b.WriteFile(filepath.Join(spill, imageName))
	}
	if err != nil {
		return err
	}
	x.base, x.inBase, x.overlays = image, meta.Lists, nil
	return nil
}

// add adds the names of a list under new ids.
func (x *index) add(b *matcher.Builder, l *activeList) (placed, error) {
	l.first = x.next
	err := l.set.each(func(r record) error {
		if len(r.name) == 0 {
			return nil
		}
		return b.Add(r.name, matcher.Payload(l.first+RuleID(r.rule))<<kindBits|r.kind())
	})
	if err != nil {
		return placed{}, &listError{list: l.name, err: err}
	}
	x.next += RuleID(max(1, l.set.records)) // an empty list has an id of its own, too
	return placed{Sum: l.set.sum, First: l.first, Count: l.set.records}, nil
}

// A listError is an error of one list, which is then read again from its text.
type listError struct {
	list string
	err  error
}

func (e *listError) Error() string { return fmt.Sprintf("list %s: %v", e.list, e.err) }
func (e *listError) Unwrap() error { return e.err }

// set returns all layers as one set.
func (x *index) set(lists []activeList) (*matcher.Set, error) {
	l := matcher.Layers{Base: x.base, Fault: x.fault}
	inForce := map[RuleID]bool{}
	for i := range lists {
		inForce[lists[i].first] = true
	}
	for _, p := range x.inBase {
		if p.Count > 0 && !inForce[p.First] {
			l.Masked = append(l.Masked, payloads(p))
		}
	}
	for _, o := range x.overlays {
		l.Overlays = append(l.Overlays, o.image)
	}
	return matcher.NewSet(l)
}

func payloads(p placed) matcher.Range {
	first := matcher.Payload(p.First) << kindBits
	return matcher.Range{First: first, Last: first + matcher.Payload(p.Count)<<kindBits - 1}
}
