package rules

import (
	"io/fs"
	"syscall"
)

// changeTime returns when a file or what is known of it was last changed, in Unix
// nanoseconds. Nobody can set it back.
func changeTime(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return syscall.TimespecToNsec(st.Ctim)
	}
	return 0
}
