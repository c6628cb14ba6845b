//go:build unix

package main

import (
	"fmt"
	"os"
)

// checkDataDir refuses a data directory that everybody may write to: anybody could
// put files and links in the place of the log's. One that cannot be used at all is
// no reason to end: DNS goes on, and the log says what is wrong.
func checkDataDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o002 == 0 {
		return nil
	}
	return fmt.Errorf("data.dir: everybody may write to %s (mode %04o): chmod o-w %s, or set data.dir to a directory of its own", dir, info.Mode().Perm(), dir)
}
