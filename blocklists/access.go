package blocklists

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// fileTimeout is how long one call for a file may take: stat, open, or a read. A
// network file system that hangs must not keep the other lists from being read.
const fileTimeout = 5 * time.Second

var errClosing = errors.New("the server is stopping")

// An access reads files, and waits for no call longer than limit. A call that
// does not return is left behind, and its file is not touched again before it has.
type access struct {
	limit time.Duration
	done  <-chan struct{} // nothing is waited for any more

	mu   sync.Mutex
	hung map[string]time.Time // files for which a call has not returned, and since when
}

func newAccess(limit time.Duration, done <-chan struct{}) *access {
	return &access{limit: cmp.Or(limit, fileTimeout), done: done, hung: map[string]time.Time{}}
}

// within calls f, which may hang on path. Where f returns too late, late is called
// with what it returned.
func within[T any](a *access, path string, f func() T, late func(T)) (got T, err error) {
	a.mu.Lock()
	since, hangs := a.hung[path]
	a.mu.Unlock()
	if hangs {
		return got, fmt.Errorf("reading it has not returned since %s: is its file system there?", since.Format(time.TimeOnly))
	}
	result := make(chan T)
	given := make(chan struct{})
	go func() {
		v := f()
		select {
		case result <- v:
		case <-given:
			late(v)
			a.mu.Lock()
			delete(a.hung, path)
			a.mu.Unlock()
		}
	}()
	timer := time.NewTimer(a.limit)
	defer timer.Stop()
	select {
	case v := <-result:
		return v, nil
	case <-timer.C:
		err = fmt.Errorf("reading it has not returned for %v: is its file system there?", a.limit)
	case <-a.done:
		err = errClosing
	}
	a.mu.Lock()
	a.hung[path] = time.Now().Add(-a.limit)
	a.mu.Unlock()
	close(given)
	return got, err
}

// lookAt returns what can be seen of a file.
func (a *access) lookAt(path string) look {
	seen, err := within(a, path, func() look { return lookAt(path) }, func(look) {})
	if err != nil {
		return look{err: err.Error()}
	}
	return seen
}

// readDir returns what is in a directory that only its owner and group may write to.
func (a *access) readDir(dir string) ([]fs.DirEntry, error) {
	type listing struct {
		entries []fs.DirEntry
		err     error
	}
	got, err := within(a, dir, func() listing {
		entries, err := readDir(dir)
		return listing{entries, err}
	}, func(listing) {})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return got.entries, got.err
}

// open opens a list file, see openList.
func (a *access) open(path string) (*listReader, look, error) {
	type opened struct {
		f    *os.File
		seen look
		err  error
	}
	got, err := within(a, path, func() opened {
		f, seen, err := openList(path)
		return opened{f, seen, err}
	}, func(o opened) {
		if o.f != nil {
			o.f.Close()
		}
	})
	if err = cmp.Or(err, got.err); err != nil {
		return nil, look{}, err
	}
	return &listReader{access: a, path: path, f: got.f, buf: make([]byte, 64<<10)}, got.seen, nil
}

// A listReader reads a file and gives up where a read does not return.
type listReader struct {
	access *access
	path   string
	f      *os.File
	buf    []byte // for the reads: one that is left behind may still write to it
	rest   []byte // of buf, not given out yet
	err    error
}

func (r *listReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 && r.err == nil {
		r.fill()
	}
	if len(r.rest) == 0 {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *listReader) fill() {
	type chunk struct {
		n   int
		err error
	}
	f, buf := r.f, r.buf
	got, err := within(r.access, r.path, func() chunk {
		n, err := f.Read(buf)
		return chunk{n, err}
	}, func(chunk) { f.Close() })
	if err != nil {
		r.f, r.err = nil, err // closed when the read returns
		return
	}
	r.rest, r.err = buf[:got.n], got.err
}

func (r *listReader) Close() error {
	if r.f == nil {
		return nil
	}
	return r.f.Close()
}
