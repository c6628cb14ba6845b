//go:build !linux

package querylog

// clockSynchronised is not known on this system.
func clockSynchronised() bool { return true }
