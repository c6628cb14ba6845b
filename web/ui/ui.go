//go:build !small

// Package ui is the console: pages for a browser, which show what the API answers. What
// is in dist is built of src by 'make ui'; it is committed, so that a build of the program
// needs Go alone.
package ui

import (
	"embed"
	"io/fs"
)

//go:embed dist
var dist embed.FS

// Files returns the console's files, each compressed as NAME.gz. nil: this program was
// built without it.
func Files() fs.FS {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		return nil // "dist" is a valid name
	}
	return files
}
