//go:build unix

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// checkDataDir refuses a data directory that everybody may write to: anybody could
// put files and links in the place of the log's.
func checkDataDir(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // it is made, for this user alone
	case err != nil:
		return fmt.Errorf("data.dir: %w", err)
	case !info.IsDir():
		return fmt.Errorf("data.dir: %s is no directory", dir)
	case info.Mode().Perm()&0o002 != 0:
		return fmt.Errorf("data.dir: everybody may write to %s (mode %04o): chmod o-w %s, or set data.dir to a directory of its own", dir, info.Mode().Perm(), dir)
	}
	return nil
}
