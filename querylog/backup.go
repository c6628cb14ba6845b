package querylog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A Copy says what Backup wrote.
type Copy struct {
	Store    string // the id of the store; "" where there was none yet
	Taken    Time
	Journals int
}

// errMigrating means that part of the log is in a store of version 1.
var errMigrating = errors.New("the store of an earlier version is still being copied: 'telltale status' shows how far; try again when it is done")

// backupPages is how much of a store is copied at a time.
const backupPages = 512

// Backup writes into a directory the log as it is at one moment, whether a server
// writes it or not. told, where not nil, is called with how many pages of the store are
// written, and how many it has.
func (r *Reader) Backup(ctx context.Context, to string, told func(done, all int)) (c Copy, err error) {
	windows, files, err := openJournals(r.dir) // before the store is: one that is stored meanwhile is in that
	defer closeFiles(files)
	if err != nil {
		return c, err
	}
	c.Taken = Time{time.Now()}
	position, err := r.backupStore(ctx, filepath.Join(to, storeName), &c, told)
	if err != nil {
		return c, err
	}
	if err := os.Mkdir(filepath.Join(to, journalDir), 0o700); err != nil {
		return c, err
	}
	for _, n := range windows {
		if f := files[n]; f != nil && n > position {
			if err := copyJournal(segmentPath(to, n), f, n); err != nil {
				return c, err
			}
			c.Journals++
		}
	}
	return c, nil
}

// backupStore copies the store, if there is one, and returns the position in the copy.
func (r *Reader) backupStore(ctx context.Context, to string, c *Copy, told func(done, all int)) (position int64, err error) {
	s := &snapshot{}
	defer s.close()
	if err := s.openStores(ctx, r, false); err != nil {
		return 0, err
	}
	if s.old != nil {
		return 0, errMigrating
	}
	if s.store == nil {
		return 0, nil
	}
	if err := s.store.conn.Exec(`BEGIN`); err != nil { // what is added while it is copied is not in it
		return 0, err
	}
	if position, err = s.store.number(`SELECT coalesce((SELECT value FROM meta WHERE key = 'position'), 0)`); err != nil {
		return 0, err
	}
	c.Store = s.id
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // SQLite would make it readable by others
	if err != nil {
		return 0, err
	}
	f.Close()
	b, err := s.store.conn.BackupInit("main", to)
	if err != nil {
		return 0, fmt.Errorf("copying the store to %s: %w", to, err)
	}
	defer b.Close()
	for done := false; !done; {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if done, err = b.Step(backupPages); err != nil {
			return 0, fmt.Errorf("copying the store to %s: %w", to, err)
		}
		if told != nil {
			told(b.PageCount()-b.Remaining(), b.PageCount())
		}
	}
	return position, nil
}

// copyJournal copies what is whole of a journal that may be growing.
func copyJournal(to string, f *os.File, window int64) error {
	tails := map[int64]*tail{}
	if _, err := readTail(f, window, tails); err != nil {
		return err
	}
	copied, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(copied, io.NewSectionReader(f, 0, tails[window].read))
	return joinClose(err, copied)
}

// IsLogFile reports whether a name in a data directory is one of the log's own.
func IsLogFile(name string) bool {
	if name == "lock" || name == journalDir {
		return true
	}
	for _, store := range []string{storeName, oldStoreName} {
		if rest, ok := strings.CutPrefix(name, store); ok && (rest == "" || rest[0] == '-' || rest[0] == '.') {
			return true
		}
	}
	return false
}

// Restore puts the log in a directory, which Backup wrote, in place of the one in dir,
// whose files go to the directory aside. All three are on one file system. From then on
// it is another store than the one that was copied, which may go on elsewhere: a line of
// the ledger says so. node is that of the line. The error is an *InUseError where a
// server runs on dir.
func Restore(dir, from, aside string, taken time.Time, node string) error {
	lock, _, err := lockDir(dir, time.Now())
	if err != nil {
		return err
	}
	given, err := handOver(from, taken, node)
	if err != nil {
		return errors.Join(err, lock.f.Close())
	}
	err = moveLog(dir, aside)
	if err == nil {
		err = moveLog(from, dir)
	}
	if err != nil {
		return errors.Join(err, lock.f.Close())
	}
	lock.mu.Lock()
	lock.lockState = lockState{pid: os.Getpid(), given: given}
	lock.mu.Unlock()
	return lock.release(time.Now())
}

// moveLog moves the files of a log, but for its lock.
func moveLog(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, f := range files {
		if !IsLogFile(f.Name()) || f.Name() == "lock" {
			continue
		}
		if err := os.Rename(filepath.Join(from, f.Name()), filepath.Join(to, f.Name())); err != nil {
			return err
		}
	}
	return nil
}

// handOver makes the log in dir another store, and returns the largest number of a
// window that is given in it.
func handOver(dir string, taken time.Time, node string) (given int64, err error) {
	windows, err := segments(dir)
	if err != nil {
		return 0, err
	}
	s, err := openStore(dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	given = s.position
	if len(windows) > 0 {
		given = max(given, slices.Max(windows))
	}
	given++ // behind all that is in journals
	now, id := time.Now(), newStoreID()
	e := Event{
		Time: Time{now}, Kind: KindRestored, Since: Time{taken}, Until: Time{now}, Subject: s.id,
		Detail: fmt.Sprintf("restored from a backup: rows below number %d are those of store %s; from here on this is store %s", given<<rowBits, s.id, id),
	}
	if err := writeEvent(dir, given, &e, node); err != nil {
		return 0, err
	}
	return given, s.transact(func() error { return s.becomeOther(given, id) })
}

// writeEvent makes the journal of a window that has one event.
func writeEvent(dir string, window int64, e *Event, node string) error {
	seg, err := createSegment(dir, window)
	if err != nil {
		return err
	}
	defer seg.discard()
	seg.enc.window(e.Time.UnixMilli(), node)
	seg.enc.event(e)
	if err := seg.write(seg.enc.take()); err != nil {
		return err
	}
	return seg.rename()
}
