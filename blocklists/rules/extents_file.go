package rules

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	"telltale/atomicfile"
)

// An extentsFile says where the rules of edited lists are, so that the next start
// need not build the base again. What is not in the base goes into a new overlay.
type extentsFile struct {
	Build uint64
	Base  uint64 // the image's ID
	Lists []placement
}

const extentsName = "names.extents"

func newImageID() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// saveExtents keeps where patched lists are. It may fail: the next start takes
// longer then.
func (x *Index) saveExtents() {
	if x.ImageDir() == "" {
		return
	}
	path := filepath.Join(x.dir, extentsName)
	p := extentsFile{Build: programStamp(), Base: x.baseID}
	for _, l := range x.current {
		if len(l.Extents) > 1 {
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
	f, err := atomicfile.Create(x.dir)
	if err != nil {
		return
	}
	if _, err := f.Write(b); err != nil {
		atomicfile.Discard(f)
		return
	}
	_ = atomicfile.Rename(f, path) // what a power cut leaves is no JSON
	_ = f.Close()
}

// loadExtents takes up what saveExtents left, where it is of the image in use.
func (x *Index) loadExtents() {
	b, err := os.ReadFile(filepath.Join(x.dir, extentsName))
	if err != nil {
		return
	}
	var p extentsFile
	if json.Unmarshal(b, &p) != nil || p.Build != programStamp() || p.Base != x.baseID {
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
// whether the extents are all rules of the list, once each.
func (l *placement) isWhole(end ID) bool {
	rule := uint32(0)
	for i := range l.Extents {
		p := &l.Extents[i]
		if p.Rule != rule || p.Count == 0 {
			return false
		}
		if p.ID >= end || p.End() > end {
			p.ID = 0
		}
		rule += p.Count
	}
	return int(rule) == l.Count && slices.ContainsFunc(l.Extents, func(p Extent) bool { return p.ID != 0 })
}
