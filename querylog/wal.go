package querylog

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ncruces/go-sqlite3"
)

// A checkpoint moves the pages that the store's write-ahead log has to the main
// file; when all are moved and nobody reads them, the log is begun anew. Until
// then a log that is damaged would do harm: SQLite reads it up to the damage, and
// puts the older pages that it finds there in front of the newer ones in the main
// file. So the lock's file says how much of which log is, or may be, in the main
// file, and what is damaged is set aside before SQLite reads it. Only the log's
// writer moves pages: readers' connections do not, and SQLite's own checkpoints
// are off.

// A walMark says how much of a write-ahead log is in the store's main file.
type walMark struct {
	salt   uint64 // which log: it has other salts each time it is begun anew
	moving int64  // frames that may be in the main file; 0 for none
	moved  bool   // all of them are: the main file alone is the store as it was then
}

// walLarge is how many pages the write-ahead log may have before they are moved.
const walLarge = 1000

// errMixed means that the store's main file and what can be read of its
// write-ahead log belong to different states of the store.
var errMixed = errors.New("its write-ahead log is damaged, and some of it had been moved to the main file")

// moveWAL moves the write-ahead log's pages to the store's main file, which also
// syncs it, as far as other processes' reading allows. It reports whether all are
// there.
func (s *storer) moveWAL() (all bool) {
	frames, _, err := s.store.conn.WALCheckpoint("", sqlite3.CHECKPOINT_NOOP)
	if err != nil {
		return false
	}
	s.store.frames = 0 // until the next commit
	if frames <= 0 {
		return true
	}
	mark := s.mark
	w, err := readWALHeader(s.store.path + "-wal")
	if errors.Is(err, fs.ErrNotExist) { // the store was moved away, and will not be opened here again
		mark, err = func(walMark) error { return nil }, nil
	}
	if err != nil || mark(walMark{w.salt, int64(frames), false}) != nil {
		return false
	}
	frames, moved, err := s.store.conn.WALCheckpoint("", sqlite3.CHECKPOINT_PASSIVE)
	if err != nil || moved < frames {
		return false
	}
	return mark(walMark{w.salt, int64(frames), true}) == nil
}

// emptyWAL moves the write-ahead log's pages, and cuts it where nobody reads it.
// It waits for nobody.
func (s *storer) emptyWAL() (all bool) {
	s.store.busyTimeout = 0
	defer func() { s.store.busyTimeout = busyTimeout }()
	if !s.moveWAL() {
		return false
	}
	if _, _, err := s.store.conn.WALCheckpoint("", sqlite3.CHECKPOINT_TRUNCATE); err == nil {
		s.mark(walMark{})
	}
	return true
}

// mark writes to the lock's file how much of the write-ahead log is moved, and
// syncs it: SQLite syncs what it moves.
func (s *storer) mark(m walMark) error {
	lock := s.lock.Load()
	if lock.get().wal == m {
		return nil
	}
	return errors.Join(lock.update(s.l.o.Now(), func(l *lockState) {
		if l.wal = m; m.moved {
			l.unmoved = 0
		}
	}), lock.sync())
}

// checkWAL reads the store's write-ahead log before SQLite does. One that is
// damaged, and all of it in the main file, is set aside: the main file has more.
// The error is errMixed where neither is whole.
func (s *storer) checkWAL(path string) error {
	mark := s.lock.Load().get().wal
	if mark.moving == 0 {
		return nil
	}
	w, err := readWAL(path + "-wal")
	if err != nil {
		return err
	}
	if w.size == 0 || w.valid && (w.salt != mark.salt || w.frames >= mark.moving) {
		return nil
	}
	if !mark.moved {
		return fmt.Errorf("%s: %w", path, errMixed)
	}
	to, err := setAside(path+"-wal", s.l.o.Now())
	if err == nil {
		err = os.Remove(path + "-shm") // it says what is in the log
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.l.o.Logger.Error("query log: the store's write-ahead log is damaged; it was set aside, as the store has what was in it, up to the last checkpoint", "file", to)
	s.l.addEvent(Event{Kind: KindStore, Subject: filepath.Base(to), Detail: "the write-ahead log is damaged and was set aside: the store has what was in it, up to the last checkpoint"})
	return nil
}

// A walFile is what can be read of a write-ahead log.
type walFile struct {
	size   int64
	valid  bool // the header is
	salt   uint64
	frames int64 // up to the last commit in front of the first damaged one

	pageSize int64
	order    binary.ByteOrder // of the words that are summed up
	sums     [2]uint32
}

const (
	walHeader      = 32
	walFrameHeader = 24
	walMagic       = 0x377f0682 // the lowest bit says in which order words are summed up
)

// readWAL reads a write-ahead log as SQLite does where no process has it open
// (https://sqlite.org/fileformat2.html#walformat).
func readWAL(path string) (w walFile, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return w, nil
	}
	if err != nil {
		return w, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return w, err
	}
	r := bufio.NewReaderSize(f, 256<<10)
	if err := w.readHeader(r); err != nil || !w.valid {
		w.size = info.Size()
		return w, err
	}
	w.size = info.Size()
	frame := make([]byte, walFrameHeader+w.pageSize)
	for n := int64(1); ; n++ {
		if _, err := io.ReadFull(r, frame); err == io.EOF || err == io.ErrUnexpectedEOF {
			return w, nil
		} else if err != nil {
			return w, err
		}
		w.sum(frame[:8])
		w.sum(frame[walFrameHeader:])
		if binary.BigEndian.Uint32(frame) == 0 || binary.BigEndian.Uint64(frame[8:]) != w.salt || !w.agrees(frame[16:]) {
			return w, nil
		}
		if binary.BigEndian.Uint32(frame[4:]) != 0 { // the last of a transaction
			w.frames = n
		}
	}
}

// readWALHeader reads the header alone.
func readWALHeader(path string) (w walFile, err error) {
	f, err := os.Open(path)
	if err != nil {
		return w, err
	}
	defer f.Close()
	if err := w.readHeader(f); err != nil {
		return w, err
	}
	if !w.valid {
		return w, fmt.Errorf("%s: not a write-ahead log", path)
	}
	return w, nil
}

func (w *walFile) readHeader(r io.Reader) error {
	var b [walHeader]byte
	if _, err := io.ReadFull(r, b[:]); err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	} else if err != nil {
		return err
	}
	magic := binary.BigEndian.Uint32(b[:])
	w.order = binary.LittleEndian
	if magic&1 != 0 {
		w.order = binary.BigEndian
	}
	w.pageSize = int64(binary.BigEndian.Uint32(b[8:]))
	w.salt = binary.BigEndian.Uint64(b[16:])
	w.sum(b[:24])
	w.valid = magic&^1 == walMagic && w.pageSize >= 512 && w.pageSize <= 65536 && w.pageSize&(w.pageSize-1) == 0 && w.agrees(b[24:])
	return nil
}

// sum adds bytes to the checksums.
func (w *walFile) sum(b []byte) {
	s0, s1 := w.sums[0], w.sums[1]
	for ; len(b) >= 8; b = b[8:] {
		s0 += w.order.Uint32(b) + s1
		s1 += w.order.Uint32(b[4:]) + s0
	}
	w.sums = [2]uint32{s0, s1}
}

// agrees reports whether the checksums at the beginning of b are those so far.
func (w *walFile) agrees(b []byte) bool {
	return binary.BigEndian.Uint32(b) == w.sums[0] && binary.BigEndian.Uint32(b[4:]) == w.sums[1]
}
