package config

import (
	"context"

	"github.com/spf13/pflag"

	"telltale/watch"
)

// Watch calls onChange with the new settings each time the file that Load
// would read has changed, until ctx is done. When the changed file is broken or
// gone it calls onChange with the error, once: what is in force stays. The calls
// come one after another, from the goroutine of Watch. failed is called with the
// reason when changes are only found by polling, and with nil when that is over.
func Watch(ctx context.Context, path string, flags *pflag.FlagSet, env []string, failed func(error), onChange func(*Config, error)) {
	file, _ := locate(path, env)
	w := watching{file: file, flags: flags, env: env, onChange: onChange}
	w.text, w.failure = read(file)
	watch.Run(ctx, watch.Options{Failed: failed}, func() []string { return []string{file} }, w.look)
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
