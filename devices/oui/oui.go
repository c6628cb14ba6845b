// Package oui says who made a device, by the registry in which the IEEE keeps who got which
// beginnings of MAC addresses. The registry is a file of the machine: it is read when
// somebody asks, and nothing of it but the answers stays in memory.
package oui

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// usualPlaces are where distributions keep the registry. Each is one copy of it, in one
// file or in several. The newest that is there is read.
var usualPlaces = [][]string{
	{"/usr/lib/udev/hwdb.d/20-OUI.hwdb"},
	{"/lib/udev/hwdb.d/20-OUI.hwdb"},
	filesOf("/var/lib/ieee-data"), // where Debian's update-ieee-data writes
	filesOf("/usr/share/ieee-data"),
	{"/usr/share/nmap/nmap-mac-prefixes"},
}

// filesOf are the files of the IEEE in a directory: the beginnings of 24, 28 and 36 bits.
func filesOf(dir string) []string {
	return []string{filepath.Join(dir, "oui.csv"), filepath.Join(dir, "mam.csv"), filepath.Join(dir, "oui36.csv")}
}

// maxKnown is how many answers are kept.
const maxKnown = 1 << 16

// A Registry answers who made a device. Its methods may be called from any goroutine.
// The zero value reads the usual places.
type Registry struct {
	mu    sync.Mutex
	path  string
	stamp string            // of the files that known is from
	known map[string]string // answers, by the first 36 bits of a MAC; "" for no maker
	state Status
}

// A Status is what the registry was read from last.
type Status struct {
	Files   []string // none where there is no copy of the registry
	Time    time.Time
	Problem string // "" for none
}

// Use sets the file, or the directory of files, that is read; "" for the usual places.
func (r *Registry) Use(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.path = path
}

// Makers returns who made the devices with MACs, in lower case with colons. Those that
// are not in the registry, or that software chose, are not in the result.
func (r *Registry) Makers(macs []string) map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refreshLocked()
	wanted := map[string]string{} // by the first 36 bits
	for _, mac := range macs {
		if key := keyOf(mac); key != "" {
			if _, ok := r.known[key]; !ok {
				wanted[key] = ""
			}
		}
	}
	if len(wanted) > 0 && len(r.state.Files) > 0 {
		r.lookUpLocked(wanted)
	}
	makers := map[string]string{}
	for _, mac := range macs {
		if maker := r.known[keyOf(mac)]; maker != "" {
			makers[mac] = maker
		}
	}
	return makers
}

// Status says what the registry is read from.
func (r *Registry) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refreshLocked()
	s := r.state
	s.Files = slices.Clone(s.Files)
	return s
}

// keyOf returns the first nine digits of a MAC that a manufacturer gave, "" of another.
func keyOf(mac string) string {
	if len(mac) != len("00:00:00:00:00:00") && len(mac) != len("00:00:00:00:00:00:00:00") || strings.IndexByte("048c", mac[1]) < 0 {
		return ""
	}
	return strings.ToUpper(strings.ReplaceAll(mac, ":", "")[:9])
}

// refreshLocked forgets what is known where the files are others than before.
func (r *Registry) refreshLocked() {
	files, newest, stamp, err := r.find()
	if stamp == r.stamp && r.known != nil {
		return
	}
	r.stamp, r.known = stamp, map[string]string{}
	r.state = Status{Files: files, Time: newest}
	if err != nil {
		r.state.Problem = err.Error()
	}
}

// find returns the files to read, the time of the newest, and what changes when they do.
func (r *Registry) find() (files []string, newest time.Time, stamp string, err error) {
	places := usualPlaces
	if r.path != "" {
		places = [][]string{{r.path}}
		if info, err := os.Stat(r.path); err == nil && info.IsDir() {
			places = [][]string{filesOf(r.path)}
		}
	}
	for _, place := range places {
		var there []string
		var at time.Time
		text := ""
		for _, path := range place {
			info, statErr := os.Stat(path)
			if statErr == nil && !info.Mode().IsRegular() {
				statErr = errors.New("it is no file")
			}
			if statErr != nil {
				if r.path != "" && (path == r.path || len(there) == 0) {
					err = errors.Join(err, withPath(path, statErr))
				}
				continue
			}
			there = append(there, path)
			if info.ModTime().After(at) {
				at = info.ModTime()
			}
			text += fmt.Sprintln(path, info.Size(), info.ModTime().UnixNano())
		}
		if len(there) > 0 && (files == nil || at.After(newest)) {
			files, newest, stamp = there, at, text
		}
	}
	if err != nil {
		stamp += err.Error()
	}
	return files, newest, stamp, err
}

// withPath names the path in an error that may have it already.
func withPath(path string, err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// lookUpLocked finds who has the beginnings of wanted in the files, and keeps that.
func (r *Registry) lookUpLocked(wanted map[string]string) {
	var problems []error
	f := newFinder(wanted)
	for _, path := range r.state.Files {
		if err := f.read(path); err != nil {
			problems = append(problems, withPath(path, err))
		}
	}
	r.state.Problem = ""
	if err := errors.Join(problems...); err != nil {
		r.state.Problem = err.Error()
		r.stamp = "" // it is read again the next time
	} else if !f.any {
		r.state.Problem = strings.Join(r.state.Files, ", ") + ": no line says who has which MAC addresses"
	}
	if len(r.known)+len(wanted) > maxKnown {
		clear(r.known)
	}
	for key := range wanted {
		r.known[key] = f.maker(key)
	}
}
