//go:build linux || darwin

package querylog

import (
	"math"
	"syscall"
)

// freeSpace returns the bytes that the disk of a directory has for this process,
// as many as can be where that is not known.
func freeSpace(dir string) uint64 {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return math.MaxUint64
	}
	return uint64(st.Bavail) * uint64(st.Bsize)
}
