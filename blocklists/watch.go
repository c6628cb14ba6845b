package blocklists

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	quiet    = 200 * time.Millisecond // without an event, before files are read
	longest  = 600 * time.Millisecond // after the first event, whatever else comes
	pollTime = 10 * time.Second       // between looks at files no event told of
	idleTime = 30 * time.Second       // without a change, before the index is tidied
)

// A watcher tells of changes in the directories of the list files. It belongs
// to the goroutine of Store.run.
type watcher struct {
	fs   *fsnotify.Watcher // nil where the system has none to give: files are only polled
	dirs map[string]bool
}

func newWatcher(s *Store) (*watcher, error) {
	w := &watcher{dirs: map[string]bool{}}
	n, err := fsnotify.NewWatcher()
	if err != nil {
		return w, err
	}
	w.fs = n
	w.follow(s.watched())
	return w, nil
}

func (w *watcher) close() {
	if w.fs != nil {
		w.fs.Close()
	}
}

// events and errors are nil channels where there is nothing to tell.
func (w *watcher) events() <-chan fsnotify.Event {
	if w.fs == nil {
		return nil
	}
	return w.fs.Events
}

func (w *watcher) errors() <-chan error {
	if w.fs == nil {
		return nil
	}
	return w.fs.Errors
}

// follow watches exactly the given directories. One that is watched already is
// watched again: it may be another one of the same name.
func (w *watcher) follow(dirs map[string]bool) {
	if w.fs == nil {
		return
	}
	for dir := range w.dirs {
		if !dirs[dir] {
			_ = w.fs.Remove(dir) // gone already, most of the time
		}
	}
	w.dirs = map[string]bool{}
	for dir := range dirs {
		if w.fs.Add(dir) == nil { // else the poll sees to it
			w.dirs[dir] = true
		}
	}
}

// watched returns the directories in which a change may concern a list: those of
// the files, and those of every symbolic link on the way to them.
func (s *Store) watched() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	dirs := map[string]bool{}
	if s.opts.Dir != "" {
		addLinks(dirs, filepath.Join(s.opts.Dir, "."))
		dirs[existing(s.opts.Dir)] = true
	}
	for _, src := range s.sources {
		if src.path != "" {
			dirs[filepath.Dir(src.path)] = true
			addLinks(dirs, src.path)
		}
	}
	return dirs
}

// existing returns dir, or the lowest directory above it that is there: what
// has been removed may come back in it.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// addLinks adds the directory of each symbolic link that path goes through, and
// that of what it ends at.
func addLinks(dirs map[string]bool, path string) {
	const mostLinks = 40 // as the kernel allows
	abs, err := filepath.Abs(path)
	if err != nil {
		return
	}
	rest := strings.Split(strings.Trim(abs, "/"), "/")
	at := "/"
	linked := false
	for links := 0; len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		target, err := os.Readlink(next)
		if err != nil {
			at = next
			continue
		}
		if links++; links > mostLinks {
			return
		}
		linked = true
		dirs[at] = true
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(strings.Trim(filepath.Clean(target), "/"), "/"), rest...)
	}
	if linked {
		dirs[filepath.Dir(at)] = true
	}
}

// run keeps the policy in step until Close.
func (s *Store) run(w *watcher) {
	defer w.close()
	poll := s.opts.Poll
	if poll == 0 {
		poll = pollTime
	}
	var polls <-chan time.Time
	if poll > 0 {
		ticker := time.NewTicker(poll)
		defer ticker.Stop()
		polls = ticker.C
	}
	timer := time.NewTimer(s.untilDue())
	defer timer.Stop()
	var settling *time.Timer // while events come
	var settled <-chan time.Time
	var began time.Time
	idle := time.NewTimer(idleTime)
	defer idle.Stop()
	tidied := make(chan struct{}, 1)
	tidied <- struct{}{}
	look := func() {
		settling, settled = nil, nil
		dirs := s.watched() // before the files are read, lest a change in between be missed
		w.follow(dirs)
		if s.reload() {
			idle.Reset(idleTime)
		}
		if !maps.Equal(dirs, s.watched()) { // there are others now
			began, settling = time.Now(), time.NewTimer(quiet)
			settled = settling.C
		}
		timer.Reset(s.untilDue())
	}
	look() // files may have changed since they were loaded
	for {
		select {
		case <-s.done:
			return
		case _, ok := <-w.events():
			if !ok {
				return
			}
			now := time.Now()
			if settling == nil {
				began = now
				settling = time.NewTimer(quiet)
				settled = settling.C
				continue
			}
			settling.Reset(max(0, min(quiet, longest-now.Sub(began))))
		case err := <-w.errors():
			s.log.Warn("watching list files", "err", err) // an overflow: look at all of them
			look()
		case <-settled:
			look()
		case <-polls:
			if settling == nil {
				look()
			}
		case <-s.wake:
			timer.Reset(s.untilDue())
		case <-timer.C:
			look()
		case <-idle.C:
			select {
			case <-tidied:
				s.running.Go(func() { s.tidy(); tidied <- struct{}{} })
			default: // still at it
			}
		case err := <-s.faults:
			s.rebuild(err)
		}
	}
}

// rebuild replaces an image whose file can no longer be read.
func (s *Store) rebuild(fault error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Error("compiled names cannot be read any more and are built again", "err", fault)
	s.opts.report("cache-damaged", "names", fault.Error())
	s.index.drop()
	if err := s.publishLocked(); err != nil {
		s.failLocked("names", err)
	}
}

// untilDue returns how long nothing is to be done unless a file changes.
func (s *Store) untilDue() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	const longestWait = time.Hour // clocks may jump
	due := s.due
	for _, src := range s.sources {
		if src.oddSince.IsZero() || src.held {
			continue
		}
		if t := src.oddSince.Add(patience); due.IsZero() || t.Before(due) {
			due = t
		}
	}
	if due.IsZero() {
		return longestWait
	}
	return max(10*time.Millisecond, min(due.Sub(s.opts.now()), longestWait))
}
