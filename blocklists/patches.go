package blocklists

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
)

// patches say of lists that were edited where their rules are, so that the next
// start need not build the base again. What is not in the base is covered anew.
type patches struct {
	Build uint64
	Base  uint64 // the image's ID
	Lists []placement
}

const patchesName = "names.patches"

func newImageID() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// savePatches keeps where patched lists are. It may fail: the next start takes
// longer then.
func (x *index) savePatches() {
	if x.spill() == "" {
		return
	}
	path := filepath.Join(x.dir, patchesName)
	p := patches{Build: buildStamp(), Base: x.baseID}
	for _, l := range x.current {
		if len(l.Parts) > 1 {
			p.Lists = append(p.Lists, l)
		}
	}
	if len(p.Lists) == 0 {
		os.Remove(path) // most of the time there is none
		return
	}
	b, err := json.Marshal(p)
	if err != nil {
		return
	}
	if err := os.WriteFile(path+".new", b, 0o600); err == nil {
		os.Rename(path+".new", path)
	}
}

// loadPatches takes up what savePatches left, where it is of the image in use.
func (x *index) loadPatches() {
	b, err := os.ReadFile(filepath.Join(x.dir, patchesName))
	if err != nil {
		return
	}
	var p patches
	if json.Unmarshal(b, &p) != nil || p.Build != buildStamp() || p.Base != x.baseID {
		return
	}
	for _, l := range p.Lists {
		if !l.isWhole(x.baseEnd()) {
			return
		}
		x.current = append(x.current, l)
	}
}

// isWhole makes what is not in a base with ids below end unplaced, and reports
// whether the parts are all rules of the list, once each.
func (l *placement) isWhole(end RuleID) bool {
	rule := uint32(0)
	for i := range l.Parts {
		p := &l.Parts[i]
		if p.Rule != rule || p.Count == 0 {
			return false
		}
		if p.ID >= end || p.end() > end {
			p.ID = 0
		}
		rule += p.Count
	}
	return int(rule) == l.Count && slices.ContainsFunc(l.Parts, func(p part) bool { return p.ID != 0 })
}
