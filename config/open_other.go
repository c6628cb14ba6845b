//go:build !unix

package config

import (
	"io/fs"
	"os"
)

func openRegular(file string) (*os.File, error) { return os.Open(file) }

// replaceableByOthers knows nothing of permissions here.
func replaceableByOthers(string) (dir string, mode fs.FileMode, yes bool) {
	return "", 0, false
}
