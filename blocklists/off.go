package blocklists

import (
	"io"
	"io/fs"

	"telltale/blocklists/format"
)

// An OffList is a list that is not loaded, because it is off for everyone.
type OffList struct {
	Name   string
	Path   string // "" for a shipped list
	Kind   Kind
	Format format.Options // how its lines are read

	shipped fs.FS
	file    string // in shipped
}

// Open opens the text of the list.
func (l *OffList) Open() (io.ReadCloser, error) {
	if l.Kind == Shipped {
		return l.shipped.Open(l.file)
	}
	return OpenList(l.Path)
}

// Off returns the lists that are not loaded.
func (s *Store) Off() (off []OffList) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.endReadingLocked()
	for _, src := range s.sources {
		if !src.used {
			off = append(off, OffList{src.name, src.path, src.kind, s.formatOptions(src), s.opts.Shipped, src.shipped})
		}
	}
	return off
}
