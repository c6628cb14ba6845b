package blocklists

import (
	"os"
	"path/filepath"
)

// A ListFile is a file, and how it is read.
type ListFile struct {
	Path     string
	Kind     Kind
	Settings ListSettings // named, where they are those of a list
}

// FileOf returns how a file is read: by the settings of the list that it belongs
// to, or else as a list that has those given.
func (o *Options) FileOf(path string, settings ListSettings) ListFile {
	f := ListFile{Path: path, Kind: UserList, Settings: settings}
	if filepath.Base(path) == ownFile {
		f.Kind = OwnList
	}
	info, err := os.Stat(path)
	if err != nil {
		return f
	}
	s := &Store{opts: *o}
	s.opts.Shipped = nil
	if s.scanLocked() != nil {
		return f
	}
	for _, src := range s.sources {
		if is, err := os.Stat(src.path); err == nil && os.SameFile(info, is) {
			f.Kind, f.Settings = src.kind, src.settings
			f.Settings.Name = src.name
		}
	}
	return f
}
