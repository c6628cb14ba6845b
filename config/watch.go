package config

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/spf13/pflag"
)

const (
	quiet   = 200 * time.Millisecond // without an event, before a change is read
	patient = 600 * time.Millisecond // at most, after the first event
	poll    = 10 * time.Second       // beside the events, for bind mounts and network file systems
)

// Watch calls onChange with the new settings each time the file that Load
// would read has changed, until ctx is done. When the changed file is broken or
// gone it calls onChange with the error, once: what is in force stays. The calls
// come one after another, from the goroutine of Watch.
func Watch(ctx context.Context, path string, flags *pflag.FlagSet, env []string, onChange func(*Config, error)) {
	file, _ := locate(path, env)
	w := watching{file: file, flags: flags, env: env, onChange: onChange}
	w.text, w.failure = read(file)

	tick := time.NewTicker(poll)
	defer tick.Stop()
	notify, err := fsnotify.NewWatcher()
	if err != nil { // out of inotify instances: the poll has to do
		settle(ctx, nil, nil, tick.C, w.look)
		return
	}
	defer notify.Close()
	w.listen(notify)
	settle(ctx, notify.Events, notify.Errors, tick.C, func() {
		w.look()
		w.listen(notify)
	})
}

// settle calls look after each burst of events, after each lost event and at
// each tick, until ctx is done.
func settle(ctx context.Context, events <-chan fsnotify.Event, lost <-chan error, tick <-chan time.Time, look func()) {
	var deadline time.Time // of the burst; zero between bursts
	timer := time.NewTimer(0)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			now := time.Now()
			if deadline.IsZero() {
				deadline = now.Add(patient)
			}
			timer.Reset(min(quiet, deadline.Sub(now)))
			continue
		case <-lost:
		case <-tick:
		case <-timer.C:
		}
		deadline = time.Time{}
		timer.Stop()
		look()
	}
}

// watching is the state of one Watch. Its goroutine alone uses it.
type watching struct {
	file     string
	flags    *pflag.FlagSet
	env      []string
	onChange func(*Config, error)
	text     []byte // as last seen
	failure  error  // why it could not be read then
}

// look reads the file, and reports when it differs from what was last seen.
func (w *watching) look() {
	text, failure := read(w.file)
	if string(text) == string(w.text) && message(failure) == message(w.failure) {
		return
	}
	was := w.failure
	w.failure = failure
	switch {
	case failure == nil:
		w.text = text
		w.onChange(build(w.file, text, w.flags, w.env))
	case message(failure) != message(was):
		w.onChange(nil, unreadable(w.file, failure))
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// listen watches the directory of the file and, where that is a symbolic link,
// of everything it leads over: Kubernetes and stow swap links. Directories are
// watched, not files, since editors replace files.
func (w *watching) listen(notify *fsnotify.Watcher) {
	for _, dir := range directories(w.file) {
		// Adding a directory again does nothing. One that cannot be watched,
		// for example because it is not there yet, is left to the poll.
		_ = notify.Add(dir)
	}
}

// directories returns the directories whose changes can change what file reads:
// its own, and that of each link on the way to the text.
func directories(file string) []string {
	var dirs []string
	for range 40 { // as many links as Linux follows
		dir := filepath.Dir(file)
		dirs = append(dirs, dir)
		target, err := os.Readlink(file)
		if errors.Is(err, fs.ErrNotExist) || err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		file = target
	}
	return dirs
}
