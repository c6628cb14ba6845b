package blocklists

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ListEndings are the endings by which a file of the lists directory is known to
// be a list. Behind them may stand that of a packed file.
const ListEndings = ".txt .list .hosts .conf .zone .rpz"

// subscriptionsFile and settingsFile lie beside the lists and are read by others.
const (
	subscriptionsFile = "subscriptions.yaml"
	settingsFile      = "settings.yaml"
)

// IsListFile reports whether a directory entry is to be read as a list, by its
// name alone.
func IsListFile(name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") {
		return false
	}
	end := filepath.Ext(unpackedName(name))
	return end != "" && slices.Contains(strings.Fields(ListEndings), strings.ToLower(end))
}

// isLeftOver reports whether a directory entry that is no list is nobody's
// mistake: hidden, what editors leave behind, or somebody else's.
func isLeftOver(name string) bool {
	switch {
	case strings.HasPrefix(name, "."), strings.HasPrefix(name, "#"), strings.HasSuffix(name, "~"), name == "4913", name == subscriptionsFile, name == settingsFile:
		return true
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".swp", ".swo", ".swx", ".tmp", ".part", ".lock":
		return true
	}
	return false
}

// ListName returns the name of the list that a file holds: the file's, without its
// ending.
func ListName(path string) string {
	file := unpackedName(filepath.Base(path))
	if stem := strings.TrimSuffix(file, filepath.Ext(file)); stem != "" {
		return stem
	}
	return file
}

// unpackedName returns a file's name without the ending of a packed one.
func unpackedName(file string) string {
	for _, packed := range []string{".gz", ".xz", ".zip"} {
		if len(file) > len(packed) && strings.EqualFold(file[len(file)-len(packed):], packed) {
			return file[:len(file)-len(packed)]
		}
	}
	return file
}

// A ListFile is a file, and how it is read.
type ListFile struct {
	Path     string
	Kind     Kind
	Settings ListSettings // named, where they are those of a list
	Text     []byte       // instead of the file's; nil for that
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
	s := &Store{opts: *o, files: newAccess(o.FileTimeout, nil)}
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
