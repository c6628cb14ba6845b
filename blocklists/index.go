package blocklists

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"telltale/blocklists/matcher"
)

// An index has the names of all lists: one large image, and small ones over it
// with what has changed since it was built. It is for one goroutine; the sets it
// gives out are for all.
type index struct {
	dir      string // for the image; "" keeps it in memory
	readOnly bool
	fault    func(error)
	log      *slog.Logger

	base     *matcher.Image
	inBase   []placed // as it was built
	baseID   uint64
	overlays []overlay
	current  []placement // of the lists as they were placed last
	next     RuleID      // the first id not in use
}

// placed is where the base has the rules of a list.
type placed struct {
	Sum   uint64 // of the set
	First RuleID
	Count int
}

func (p placed) part() part { return part{Count: uint32(p.Count), ID: p.First} }

// A placement is where all the rules of a list are.
type placement struct {
	Sum   uint64 // of the set
	Count int
	Parts []part
}

// An overlay is a small image with the rules of some parts.
type overlay struct {
	image    *matcher.Image
	from, to RuleID // ids in it; to is behind the last
}

const (
	imageName   = "names.image"
	maxOverlay  = 50_000 // rules that go into one overlay
	maxOverlays = 10     // merged into one from then on
	idleMost    = 4      // overlays that stay when there is time to build a new base
	idleRules   = 20_000 // rules likewise
	firstRuleID = RuleID(1)
	maxRuleID   = RuleID(1) << 29 // so that an id with its kind fits into 32 bits
	metaVersion = 2
)

type imageMeta struct {
	Version int
	Build   uint64
	ID      uint64 // no other image has it
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
	x.install(image, meta)
	x.loadPatches()
	return nil
}

// install makes an image the base. What is over it goes.
func (x *index) install(image *matcher.Image, meta imageMeta) {
	x.base, x.inBase, x.baseID, x.overlays, x.current = image, meta.Lists, meta.ID, nil, nil
	x.next = x.baseEnd()
}

// baseEnd is the first id behind those of the base.
func (x *index) baseEnd() RuleID {
	end := firstRuleID
	for _, p := range x.inBase {
		end = max(end, p.part().end())
	}
	return end
}

// drop forgets all images, so that the next place builds them again.
func (x *index) drop() {
	x.install(nil, imageMeta{})
	if x.dir != "" && !x.readOnly {
		os.Remove(filepath.Join(x.dir, imageName)) // it is replaced in any case
	}
}

// place gives all rules of the lists their ids, builds what is missing and
// returns the set of all names.
func (x *index) place(lists []activeList) (*matcher.Set, error) {
	fresh := x.keep(lists)
	var err error
	switch {
	case x.base == nil || x.next+RuleID(fresh) > maxRuleID || fresh > maxOverlay || x.void(lists) > x.base.Len()/4+maxOverlay:
		err = x.rebuild(lists)
	case fresh > 0 || !allPlaced(lists):
		err = x.cover(lists)
	}
	if err != nil {
		return nil, err
	}
	x.remember(lists)
	x.savePatches()
	return x.set(lists)
}

// keep gives each list the parts that are placed already and returns how many
// rules are not. A list without a part that is placed is one part as a whole.
func (x *index) keep(lists []activeList) (fresh int) {
	used := map[RuleID]bool{}
	for i := range lists {
		l := &lists[i]
		l.parts = x.known(l.set, used)
		if l.parts == nil && l.before != nil {
			if old := x.known(l.before, used); old != nil {
				l.parts = patch(old, l.set.records, l.same)
			}
		}
		if l.parts == nil {
			l.parts = whole(l.set)
		}
		for _, p := range l.parts {
			if p.ID == 0 {
				fresh += int(p.Count)
			} else {
				used[p.ID] = true
			}
		}
	}
	return fresh
}

// known returns the parts in which the rules of a set are placed; nil for none,
// or where another list has them.
func (x *index) known(set *ruleSet, used map[RuleID]bool) []part {
	for _, p := range x.current {
		if p.Sum == set.sum && p.Count == set.records && !isTaken(p.Parts, used) {
			return p.Parts
		}
	}
	for _, p := range x.inBase {
		if p.Sum == set.sum && p.Count == set.records && !used[p.First] {
			return []part{p.part()}
		}
	}
	return nil
}

func isTaken(parts []part, used map[RuleID]bool) bool {
	return slices.ContainsFunc(parts, func(p part) bool { return used[p.ID] })
}

func allPlaced(lists []activeList) bool {
	for i := range lists {
		for _, p := range lists[i].parts {
			if p.ID == 0 {
				return false
			}
		}
	}
	return true
}

// void returns how many entries of the base no list has any more.
func (x *index) void(lists []activeList) int {
	n := x.base.Len()
	end := x.baseEnd()
	for i := range lists {
		for _, p := range lists[i].parts {
			if p.ID != 0 && p.ID < end {
				n -= int(p.Count)
			}
		}
	}
	return n
}

// cover puts over the base what is not placed yet; when there are too many
// overlays already, one with all that is not in the base.
func (x *index) cover(lists []activeList) error {
	x.dropUnused(lists)
	end := x.baseEnd()
	if len(x.overlays) >= maxOverlays {
		count := 0
		for i := range lists {
			lists[i].parts = slices.Clone(lists[i].parts) // the placement in force keeps its own
			for j := range lists[i].parts {
				if p := &lists[i].parts[j]; p.ID >= end || p.ID == 0 {
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
		lists[i].parts = slices.Clone(lists[i].parts)
		for j := range lists[i].parts {
			p := &lists[i].parts[j]
			if p.ID != 0 {
				continue
			}
			p.ID = next
			if err := addPart(b, &lists[i], *p); err != nil {
				return err
			}
			next = p.end()
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
func (x *index) dropUnused(lists []activeList) {
	x.overlays = slices.DeleteFunc(slices.Clone(x.overlays), func(o overlay) bool {
		for i := range lists {
			for _, p := range lists[i].parts {
				if p.ID >= o.from && p.ID < o.to {
					return false
				}
			}
		}
		return true
	})
}

// rebuild makes a new base of all lists.
func (x *index) rebuild(lists []activeList) error {
	image, meta, err := buildBase(x.spill(), lists)
	var broken *listError
	if err != nil && !errors.As(err, &broken) && x.spill() != "" {
		x.log.Warn("compiled names cannot be kept in the cache directory and are kept in memory", "err", err)
		image, meta, err = buildBase("", lists)
	}
	if err != nil {
		return err
	}
	x.install(image, meta)
	for i := range lists {
		lists[i].parts = []part{meta.Lists[i].part()}
	}
	return nil
}

// spill returns where a base is built; "" is in memory.
func (x *index) spill() string {
	if x.readOnly {
		return ""
	}
	return x.dir
}

// isUntidy reports whether a new base would be worth its time when there is
// nothing else to do.
func (x *index) isUntidy() bool {
	rules := 0
	for _, o := range x.overlays {
		rules += int(o.to - o.from)
	}
	if len(x.overlays) > idleMost || rules > idleRules {
		return true
	}
	for _, p := range x.current {
		if len(p.Parts) > 1 {
			return true
		}
	}
	return false
}

// buildBase makes an image of all rules of the lists. It touches nothing else, so
// any goroutine may do it.
func buildBase(dir string, lists []activeList) (*matcher.Image, imageMeta, error) {
	b := matcher.NewBuilder(matcher.Options{Dir: dir})
	defer b.Close()
	meta := imageMeta{Version: metaVersion, Build: buildStamp(), ID: newImageID()}
	next := firstRuleID
	for i := range lists {
		set := lists[i].set
		p := placed{Sum: set.sum, First: next, Count: set.records}
		if err := addPart(b, &lists[i], p.part()); err != nil {
			return nil, meta, err
		}
		next = p.part().end()
		meta.Lists = append(meta.Lists, p)
	}
	text, err := json.Marshal(meta)
	if err != nil {
		return nil, meta, err
	}
	b.SetMeta(text)
	var image *matcher.Image
	if dir == "" {
		image, err = b.Build()
	} else {
		image, err = b.WriteFile(filepath.Join(dir, imageName))
	}
	return image, meta, err
}

// addPart adds the names of a run of a list's rules.
func addPart(b *matcher.Builder, l *activeList, p part) error {
	err := l.set.eachOf(p.Rule, p.Count, func(r record) error {
		if len(r.name) == 0 {
			return nil
		}
		return b.Add(r.name, matcher.Payload(p.ID+RuleID(r.rule-p.Rule))<<kindBits|matcher.Payload(r.kind))
	})
	if err != nil {
		return &listError{list: l.name, err: err}
	}
	return nil
}

// A listError is an error of one list, which is then read again from its text.
type listError struct {
	list string
	err  error
}

func (e *listError) Error() string { return fmt.Sprintf("list %s: %v", e.list, e.err) }
func (e *listError) Unwrap() error { return e.err }

// remember keeps where the lists are.
func (x *index) remember(lists []activeList) {
	x.current = x.current[:0:0]
	for i := range lists {
		x.current = append(x.current, placement{lists[i].set.sum, lists[i].set.records, lists[i].parts})
	}
	x.dropUnused(lists)
}

// set returns all layers as one set. What no list has any more is masked.
func (x *index) set(lists []activeList) (*matcher.Set, error) {
	l := matcher.Layers{Base: x.base, Fault: x.fault, Masked: x.masked(lists)}
	for _, o := range x.overlays {
		l.Overlays = append(l.Overlays, o.image)
	}
	return matcher.NewSet(l)
}

// masked returns the ids of the base between those that lists have.
func (x *index) masked(lists []activeList) (void []matcher.Range) {
	var have []part
	end := x.baseEnd()
	for i := range lists {
		for _, p := range lists[i].parts {
			if p.ID < end {
				have = append(have, p)
			}
		}
	}
	slices.SortFunc(have, func(a, b part) int { return int(a.ID) - int(b.ID) })
	from := firstRuleID
	for _, p := range append(have, part{ID: end}) {
		if p.ID > from {
			void = append(void, matcher.Range{
				First: matcher.Payload(from) << kindBits, Last: matcher.Payload(p.ID)<<kindBits - 1,
			})
		}
		from = p.end()
	}
	return void
}
