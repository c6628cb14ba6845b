package querylog

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"
)

// Reader returns a reader of this log that keeps its store open from one call to the next, until a minute
// after the last: opening the file anew, for each part of an answer, takes longer than most answers.
// What waits for the next call has no transaction, and so holds up neither writing nor deleting. Close ends it with the log.
func (l *Log) Reader() *Reader { return &Reader{dir: l.o.Dir, kept: &l.readers} }

const (
	storesKept    = 4 // connections that wait for the next call
	storesKeptFor = time.Minute
	stmtsKept     = 64 // of a connection
)

// keptStores are connections that read a log's store, and wait for the next call of a reader. Any goroutine may use
// them; one that is taken is its taker's alone. The zero value is ready.
type keptStores struct {
	mu   sync.Mutex
	idle []*database
	drop *time.Timer // closes them; nil until one waits
	end  bool        // none is kept any more
}

// A keptFile says which files a connection that is kept has open.
type keptFile struct {
	path       string
	store, wal os.FileInfo
}

// fileAt returns which files are at a store's path; false where the store has no write-ahead log: who has it
// open then believes that nobody changes it.
func fileAt(path string) (f keptFile, ok bool) {
	store, err := os.Stat(path)
	if err != nil {
		return f, false
	}
	wal, err := os.Stat(path + "-wal")
	return keptFile{path, store, wal}, err == nil
}

// isThere reports whether what a connection has open is at its path yet.
func (f *keptFile) isThere() bool {
	now, ok := fileAt(f.path)
	return ok && os.SameFile(now.store, f.store) && os.SameFile(now.wal, f.wal)
}

// open returns a connection to the store at a path: one that waited, where it is of the file that is there now.
func (k *keptStores) open(ctx context.Context, path string, l *layout) (*database, error) {
	if k == nil {
		return openDatabase(ctx, path, l)
	}
	for {
		db := k.take()
		if db == nil {
			break
		}
		if db.file.path == path && db.file.isThere() && db.again(ctx) == nil {
			return db, nil
		}
		db.closeFile()
	}
	file, ok := fileAt(path) // before it is opened: of what is put in its place meanwhile it is not
	db, err := openDatabase(ctx, path, l)
	if err != nil || db == nil {
		return nil, err
	}
	if ok {
		db.file, db.kept = file, k
		db.changes, err = db.number(`PRAGMA data_version`)
	}
	if err != nil {
		db.closeFile()
		return nil, err
	}
	return db, nil
}

func (k *keptStores) take() *database {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := len(k.idle)
	if n == 0 {
		return nil
	}
	db := k.idle[n-1]
	k.idle = k.idle[:n-1]
	return db
}

// put keeps a connection for the next call, and reports whether it did: not one whose call failed, nor one
// to a file that is not the store any more.
func (k *keptStores) put(db *database) bool {
	if db.failed || db.rows.err != nil || !db.rest() || !db.file.isThere() {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.end || len(k.idle) >= storesKept {
		return false
	}
	db.waits = time.Now()
	k.idle = append(k.idle, db)
	if k.drop == nil {
		k.drop = time.AfterFunc(storesKeptFor, func() { k.closeUnused(time.Now()) })
	} else if len(k.idle) == 1 {
		k.drop.Reset(storesKeptFor)
	}
	return true
}

// closeUnused closes the connections that wait for a minute.
func (k *keptStores) closeUnused(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.idle) > 0 && now.Sub(k.idle[0].waits) >= storesKeptFor { // the last one is taken first: these wait longest
		k.idle[0].closeFile()
		k.idle = slices.Delete(k.idle, 0, 1)
	}
	if len(k.idle) > 0 && !k.end {
		k.drop.Reset(max(k.idle[0].waits.Add(storesKeptFor).Sub(now), time.Second))
	}
}

// closeAll closes the connections that wait.
func (k *keptStores) closeAll() {
	for db := k.take(); db != nil; db = k.take() {
		db.closeFile()
	}
}

// close is closeAll for ever: the connection that writes is to be the last one.
func (k *keptStores) close() {
	k.mu.Lock()
	k.end = true
	if k.drop != nil {
		k.drop.Stop()
	}
	k.mu.Unlock()
	k.closeAll()
}

var errOtherVersion = errors.New("the store is of another version by now")

// again makes a connection that waited ready for a call. What it knows of rows holds while nothing was changed.
func (db *database) again(ctx context.Context) error {
	db.conn.SetInterrupt(ctx)
	version, err := db.number(`PRAGMA user_version`)
	if err == nil && version != db.version {
		err = errOtherVersion
	}
	if err != nil {
		return err
	}
	changes, err := db.number(`PRAGMA data_version`)
	if changes != db.changes || db.rows.ordered != nil || db.rows.err != nil {
		db.changes, db.windows, db.rows = changes, nil, rowReader{db: db}
	}
	return err
}

// rest ends what a call left unfinished, and reports whether the connection can wait for another.
func (db *database) rest() bool {
	db.conn.SetInterrupt(context.Background())
	if !db.conn.GetAutocommit() && db.conn.Exec(`ROLLBACK`) != nil {
		return false
	}
	if len(db.stmts) > stmtsKept {
		for _, stmt := range db.stmts {
			stmt.Close()
		}
		clear(db.stmts)
	}
	return true
}
