//go:build !unix

package blocklists

import (
	"io/fs"
	"os"
)

func openNow(path string) (*os.File, error) { return os.Open(path) }

func inodeOf(fs.FileInfo) uint64 { return 0 }

func lockDir(string) (unlock func(), err error) { return func() {}, nil }

func onlyInPlace(error) bool { return false }
