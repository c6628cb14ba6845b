// Package watch tells when files may have changed.
//
// Directories are watched, not files: editors replace files, and Kubernetes and
// stow swap symbolic links. A change is reported once a burst of events is over. As
// bind mounts and network file systems send no events, a change is also assumed
// from time to time. A Watcher never reads a file: its user does, and compares.
package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	quiet    = 200 * time.Millisecond // without an event, before a change is reported
	longest  = 600 * time.Millisecond // after the first event, whatever else comes
	pollTime = 10 * time.Second       // between changes that are reported without an event
)

// Options are what a Watcher is configured with. The zero value is ready for use.
type Options struct {
	// Poll is the time between two changes that are reported without an event, or
	// zero for 10 s. A negative one means never.
	Poll time.Duration

	// Quiet is how long no event must have come before a change is reported, or
	// zero for 200 ms. At three times that a change is reported in any case.
	Quiet time.Duration

	// Failed is called when watching fails, so that changes are only found by
	// polling, with the reason, and with nil when it works again. It is called by
	// the goroutine that calls Follow.
	Failed func(error)
}

// A Watcher sends on C when something that is followed may have changed.
type Watcher struct {
	// C receives a value for each burst of events and for each poll. One that is
	// not received yet stands for those that follow.
	C <-chan struct{}

	changed chan struct{} // C
	added   chan struct{} // a directory is watched that was not before
	adopted chan *fsnotify.Watcher
	done    chan struct{}
	running sync.WaitGroup
	opts    Options

	// What follows belongs to the goroutine that calls Follow and Close.
	notify    *fsnotify.Watcher // nil where the system gives none
	following chan error        // of a call of follow that has not returned; nil for none

	watched map[string]bool // belongs to follow, of which one call runs at a time

	mu  sync.Mutex
	err error // why nothing is watched
}

// New starts a Watcher. It follows nothing until Follow is called.
func New(o Options) *Watcher {
	w := &Watcher{
		changed: make(chan struct{}, 1), added: make(chan struct{}, 1),
		adopted: make(chan *fsnotify.Watcher), done: make(chan struct{}), opts: o,
		watched: map[string]bool{},
	}
	w.C = w.changed
	w.running.Go(w.run)
	return w
}

// Close ends the Watcher. C receives nothing more.
func (w *Watcher) Close() {
	close(w.done)
	w.running.Wait()
	if w.notify != nil {
		w.notify.Close()
	}
}

// Err returns why changes are only found by polling, or nil where events tell
// of them. Any goroutine may call it.
func (w *Watcher) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Follow watches all directories in which a change can concern one of paths,
// which may be files or directories, and no others. It is to be called before
// the files are read, each time, since links may lead elsewhere and directories
// may have been replaced. Where a directory is new, a change is reported afterwards:
// what happens in it before it is watched is not missed. A file system that hangs
// is waited for a second; then what is watched stays as it is until it answers.
func (w *Watcher) Follow(paths ...string) {
	err := w.start()
	if err == nil {
		err = w.followInTime(paths)
	}
	w.mu.Lock()
	before := w.err
	w.err = err
	w.mu.Unlock()
	if w.opts.Failed != nil && text(err) != text(before) {
		w.opts.Failed(err)
	}
}

// followTime is how long Follow waits for a file system.
const followTime = time.Second

var errHangs = errors.New("a file system does not answer: files are only watched where they were before")

// followInTime calls follow, and waits for it for a while. While an earlier call
// has not returned, nothing is changed.
func (w *Watcher) followInTime(paths []string) error {
	late := w.following != nil
	if !late {
		w.following = make(chan error, 1)
		go func(done chan error) { done <- w.follow(directories(paths)) }(w.following)
	}
	wait := followTime
	if late {
		wait = 0 // it has been waited for
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case err := <-w.following:
		w.following = nil
		if late { // it was about the paths of then
			return w.followInTime(paths)
		}
		return err
	case <-timer.C:
		return errHangs
	case <-w.done:
		return nil
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// start asks the system for events, unless it gives them already.
func (w *Watcher) start() error {
	if w.notify != nil {
		return nil
	}
	n, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("changes are only found every %v: %w", w.pollTime(), explained(err))
	}
	w.notify = n
	select {
	case w.adopted <- n:
	case <-w.done:
	}
	return nil
}

func (w *Watcher) pollTime() time.Duration { return cmp.Or(w.opts.Poll, pollTime) }

// explained names the setting behind an errno that says something else.
func explained(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return errors.New("the system gives no more inotify watches (raise fs.inotify.max_user_watches)")
	case errors.Is(err, syscall.EMFILE):
		return errors.New("the system gives no more inotify instances (raise fs.inotify.max_user_instances, or the limit of open files)")
	}
	return err
}

// follow watches exactly the given directories. One that is watched already is
// watched again: it may be another one of the same name.
func (w *Watcher) follow(dirs map[string]bool) (failed error) {
	for dir := range w.watched {
		if !dirs[dir] {
			_ = w.notify.Remove(dir) // gone already, most of the time
		}
	}
	before := w.watched
	w.watched = map[string]bool{}
	for dir := range dirs {
		switch err := w.notify.Add(dir); {
		case err == nil:
			w.watched[dir] = true
			if !before[dir] {
				wake(w.added)
			}
		case errors.Is(err, fs.ErrNotExist): // removed since it was found; the one above tells
			wake(w.added)
		case failed == nil:
			failed = fmt.Errorf("changes in %s are only found every %v: %w", dir, w.pollTime(), explained(err))
		}
	}
	return failed
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run turns events into changes until Close.
func (w *Watcher) run() {
	var polls <-chan time.Time
	if every := w.pollTime(); every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		polls = ticker.C
	}
	quiet, longest := quiet, longest
	if w.opts.Quiet > 0 {
		quiet, longest = w.opts.Quiet, 3*w.opts.Quiet
	}
	var events chan fsnotify.Event
	var lost chan error
	var deadline time.Time // of a burst; zero between bursts
	timer := time.NewTimer(quiet)
	timer.Stop()
	defer timer.Stop()
	event := func() {
		now := time.Now()
		if deadline.IsZero() {
			deadline = now.Add(longest)
		}
		timer.Reset(max(0, min(quiet, deadline.Sub(now))))
	}
	for {
		select {
		case <-w.done:
			return
		case n := <-w.adopted:
			events, lost = n.Events, n.Errors
		case <-events:
			event()
		case <-w.added:
			event()
		case <-lost: // events were dropped; any file may have changed
			wake(w.changed)
		case <-polls:
			if deadline.IsZero() {
				wake(w.changed)
			}
		case <-timer.C:
			deadline = time.Time{}
			wake(w.changed)
		}
	}
}

// Run calls look at once, and again each time one of the paths may have changed,
// until ctx is done. paths is called before each look. All calls come from the
// calling goroutine.
func Run(ctx context.Context, o Options, paths func() []string, look func()) {
	w := New(o)
	defer w.Close()
	for {
		w.Follow(paths()...)
		look()
		select {
		case <-ctx.Done():
			return
		case <-w.C:
		}
	}
}
