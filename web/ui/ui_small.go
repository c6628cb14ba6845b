//go:build small

// Package ui is the console, which this program was built without.
package ui

import "io/fs"

// Files returns nil: there is no console.
func Files() fs.FS { return nil }
