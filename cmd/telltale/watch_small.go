//go:build small

package main

import (
	"context"
	"errors"
)

// draw says that this program has no view in the terminal.
func (w *watcher) draw(context.Context, <-chan error) error {
	return errors.New("this program was built without the view in the terminal (-tags small): 'telltale log --follow' prints rows as they come")
}
