package config

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"telltale/watch"
)

// Watch calls onChange each time the settings file or an overlay of c differs
// from what it was, until ctx is done. What c was read from is what they were at
// first, so that a change before Watch is called is reported, too. The calls come
// one after another, from the goroutine of Watch. failed is called with the
// reason when changes are only found by polling, and with nil when that is over.
// beside, which may be nil, returns what else decides whether settings are
// valid; a change of it is reported, too.
func Watch(ctx context.Context, path string, env []string, c *Config, beside func() string, failed func(error), onChange func()) {
	file, _ := locate(path, env)
	w := watching{onChange: onChange, beside: beside, files: []watched{{path: file, text: c.origin.text, missing: c.File == ""}}}
	if c.Overlay != "" {
		w.files = append(w.files, watched{path: c.Overlay, text: c.origin.overlay, missing: c.origin.overlay == nil})
		w.files = append(w.files, watched{path: c.SettingsOverlay, text: c.origin.settings, missing: c.origin.settings == nil})
	}
	watch.Run(ctx, watch.Options{Failed: failed}, w.paths, w.look)
}

// watching is the state of one Watch. Its goroutine alone uses it.
type watching struct {
	files    []watched
	begun    bool
	onChange func()
	beside   func() string
	besides  string // as last seen
}

// watched is one file, as last seen.
type watched struct {
	path    string
	text    []byte
	failure string // why it could not be read then; "" where it could
	missing bool   // it may be missing, and was
}

func (w *watching) paths() []string {
	var all []string
	for i := range w.files {
		all = append(all, w.files[i].path)
	}
	return all
}

// look compares the files, but not at its first call: an edit may be under way
// then, and another call follows once the directories have been quiet.
func (w *watching) look() {
	if w.begun {
		w.compare()
	} else if w.beside != nil {
		w.besides = w.beside()
	}
	w.begun = true
}

// compare reads the files, and reports when one differs from what was last seen.
func (w *watching) compare() {
	changed := false
	for i := range w.files {
		f := &w.files[i]
		now := watched{path: f.path}
		text, err := read(f.path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && f.missing:
			now.missing = true
		case err != nil:
			now.failure = err.Error()
		default:
			now.text = text
		}
		if string(now.text) != string(f.text) || now.failure != f.failure || now.missing != f.missing {
			*f, changed = now, true
		}
	}
	if w.beside != nil {
		if now := w.beside(); now != w.besides {
			w.besides, changed = now, true
		}
	}
	if changed {
		w.onChange()
	}
}

// steps returns file and, where that is a symbolic link, the path of each file
// that it leads over.
func steps(file string) []string {
	var all []string
	for range 40 { // as many links as Linux follows
		all = append(all, file)
		target, err := os.Readlink(file)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(file), target)
		}
		file = target
	}
	return all
}
