package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"telltale/atomicfile"
	"telltale/config"
	"telltale/fleet"
	"telltale/fleet/authority"
)

// A device that a node forgets is forgotten at its center, too. What the center has not been told yet is in files.

func forgottenDir(cfg *config.Config) string { return filepath.Join(identityDir(cfg), "forgotten") }

// leaveToCenter keeps what was forgotten here until the center has it. A machine that is no node has no center.
func leaveToCenter(cfg *config.Config, f *forgetting, now time.Time) error {
	if authority.NodeName(identityDir(cfg)) == "" {
		return nil
	}
	text, err := json.Marshal(fleet.Forgetting{Devices: f.Devices, Words: f.Words, At: now.UTC()})
	if err == nil {
		err = os.MkdirAll(forgottenDir(cfg), 0o700)
	}
	if err == nil {
		err = atomicfile.Write(filepath.Join(forgottenDir(cfg), fmt.Sprintf("%020d.json", now.UnixNano())), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("the center of the fleet is not told what to forget: %w", err)
	}
	return nil
}

// nextForgotten returns what the center is to be told first, or nil, and what ends it.
func nextForgotten(cfg *config.Config) (f *fleet.Forgetting, done func() error, err error) {
	files, err := os.ReadDir(forgottenDir(cfg)) // in order
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("what the center is to forget cannot be read: %w", err)
	}
	files = slices.DeleteFunc(files, func(f fs.DirEntry) bool { return filepath.Ext(f.Name()) != ".json" })
	if len(files) == 0 {
		return nil, nil, nil
	}
	first := filepath.Join(forgottenDir(cfg), files[0].Name())
	text, err := os.ReadFile(first)
	f = &fleet.Forgetting{}
	if err == nil {
		err = json.Unmarshal(text, f)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("what the center is to forget cannot be read: %s: %w (remove the file, and run 'telltale center forget --device' at the center)", first, err)
	}
	return f, func() error { return os.Remove(first) }, nil
}

// removeForgotten forgets what a center was to be told: the next fleet has another one.
func removeForgotten(cfg *config.Config) error {
	return os.RemoveAll(forgottenDir(cfg))
}
