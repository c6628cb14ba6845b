package blocklists

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"telltale/blocklists/rules"
)

// A mark lies beside the compiled files while a large list is compiled and put in
// force. One that is left says at the next start what ended the process, most
// likely for want of memory: that list is left out, or the process would end so at
// each start.
type mark struct {
	Size     int64
	Modified int64
	Inode    uint64
	At       time.Time
}

// Marks are named after the compiled file. The first is there while a list's text
// is read, the second until its names are in force.
const (
	readingMark = ".reading"
	placingMark = ".placing"
)

// loadMarks takes up the marks of a process that ended without removing them.
// Where the text of a list was being read, that list alone is to blame.
func (s *Store) loadMarks() {
	s.ended = map[string]mark{}
	for _, kind := range []string{readingMark, placingMark} {
		left, err := filepath.Glob(filepath.Join(s.setDir(), "*"+kind))
		if err != nil {
			return
		}
		for _, path := range left {
			b, err := os.ReadFile(path)
			os.Remove(path)
			var m mark
			if err != nil || json.Unmarshal(b, &m) != nil || kind == placingMark && len(s.ended) > 0 {
				continue
			}
			s.ended[strings.TrimSuffix(path, kind)] = m
		}
	}
}

// markLocked leaves a mark for a list, which is large.
func (s *Store) markLocked(src *source, seen look, kind string) {
	b, err := json.Marshal(mark{Size: seen.size, Modified: seen.modified, Inode: seen.inode, At: s.opts.now().Round(time.Second)})
	if err != nil {
		return
	}
	path := s.setPath(src)
	if os.WriteFile(path+kind, b, 0o600) != nil {
		return // then there is none
	}
	src.marked = true
	if kind == placingMark {
		os.Remove(path + readingMark)
	}
}

// unmarkLocked removes the marks of all lists: their names are in force, or they
// were refused.
func (s *Store) unmarkLocked() {
	for _, src := range s.sources {
		if src.marked {
			src.marked = false
			os.Remove(s.setPath(src) + readingMark)
			os.Remove(s.setPath(src) + placingMark)
		}
	}
}

// leftOutLocked reports whether a file is left out because compiling it ended an
// earlier process. Rules that were compiled before are in force, if there are any.
func (s *Store) leftOutLocked(src *source, seen look) bool {
	m, ok := s.ended[s.setPath(src)]
	if !ok || src.accepted {
		return false
	}
	if m.Size != seen.size || m.Modified != seen.modified || m.Inode != seen.inode {
		delete(s.ended, s.setPath(src)) // it is another file by now
		return false
	}
	src.look, src.read, src.readAt = seen, true, time.Now()
	if src.set == nil {
		set, st, err := rules.Open(s.setPath(src))
		if err == nil && (st.Size != m.Size || st.Modified != m.Modified) {
			src.set, src.stamp = set, st
		}
	}
	s.failedLocked(src, errors.New("it was being compiled when Telltale ended at "+m.At.Local().Format("2006-01-02 15:04:05")+
		", most likely for want of memory, and is left out until the file changes: make it smaller, give Telltale more memory, or try again with "+fmt.Sprintf("'telltale lists accept %s'", src.name)))
	return true
}
