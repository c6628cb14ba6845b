//go:build unix

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
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

// checkSameUser refuses to write into a directory of another user: the server, which
// is that one, could not read what is written. Directories that are not there yet are
// made by whoever comes first.
func checkSameUser(dirs ...string) error {
	for _, dir := range dirs {
		var st unix.Stat_t
		if unix.Stat(dir, &st) == nil && int(st.Uid) != os.Geteuid() {
			return fmt.Errorf("%s belongs to the user with the number %d: run this as that user (sudo -u '#%d' telltale ...), or start the server and run it again", dir, st.Uid, st.Uid)
		}
	}
	return nil
}

// giveToOwner gives a file, or a directory with what is in it, to whom another
// directory belongs, where this is root: the server, which is that user, must be able
// to write there.
func giveToOwner(path, of string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Stat(of, &st); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return giveAll(path, int(st.Uid), int(st.Gid))
}
