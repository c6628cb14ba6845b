package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"telltale/atomicfile"
)

// Where a center answers. The paths never change.
const (
	ManifestPath = "/v1/policy"
	FilePath     = "/v1/policy/file/" // and the hash
)

// held is how long the center keeps a request for the next policy.
const held = 50 * time.Second

// A Publisher gives nodes the policy of their center. It may be used by any goroutine.
type Publisher struct {
	dir   string                 // copies of the files, by hash; the policies in two files
	early func(node string) bool // whether a node follows a change before all others
	seen  func(node, has string) // is told of each request; nil for nobody
	again func(http.ResponseWriter, *http.Request) bool
	known map[string]seenFile // by path; belongs to Publish
	one   sync.Mutex          // held by Publish and RollOut

	mu      sync.Mutex
	latest  *Manifest     // of who is early
	all     *Manifest     // of all others
	changed chan struct{} // closed with the next change
}

type seenFile struct {
	size, modified int64
	hash           string
}

// PublisherOptions are what a Publisher needs.
type PublisherOptions struct {
	Dir   string                 // its own
	Early func(node string) bool // whether a node follows a change before all others; nil: all follow at once
	Asked func(node, has string) // is told of each request, with the version that the node has; nil for nobody

	// Again reports whether a request that was held is still one of a node, and answers it where it is not; nil: all are.
	Again func(http.ResponseWriter, *http.Request) bool
}

const (
	latestFile = "latest.json"
	allFile    = "all.json"
	objects    = "objects"
)

// NewPublisher returns one that publishes what it did last.
func NewPublisher(o PublisherOptions) (*Publisher, error) {
	p := &Publisher{dir: o.Dir, early: o.Early, seen: o.Asked, again: o.Again, known: map[string]seenFile{}, changed: make(chan struct{})}
	if err := os.MkdirAll(filepath.Join(o.Dir, objects), 0o700); err != nil {
		return nil, err
	}
	atomicfile.RemoveUnfinished(filepath.Join(o.Dir, objects), 0)
	for file, m := range map[string]**Manifest{latestFile: &p.latest, allFile: &p.all} {
		text, err := os.ReadFile(filepath.Join(o.Dir, file))
		if err == nil {
			*m, err = parseManifest(text)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w (remove it: it is made anew)", filepath.Join(o.Dir, file), err)
		}
	}
	return p, nil
}

// A Content is a file to publish: that of a path, or a text.
type Content struct {
	Name string
	Path string // "": Text
	Text []byte
}

// Publish publishes files, if they are others than before, and reports whether they are.
// Who is early has them at once; all others too, unless somebody is early.
func (p *Publisher) Publish(contents []Content) (changed bool, err error) {
	p.one.Lock()
	defer p.one.Unlock()
	var files []File
	for i := range contents {
		f, err := p.keep(&contents[i])
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has gone meanwhile
		}
		if err != nil {
			return false, err
		}
		files = append(files, f)
	}
	m := newManifest(files)
	if len(m.Files) > mostFiles {
		return false, fmt.Errorf("there are more than %d files to keep in step", mostFiles)
	}
	p.mu.Lock()
	same := p.latest != nil && p.latest.Version == m.Version
	waiting := p.all != nil && p.latest != nil && p.all.Version != p.latest.Version
	p.mu.Unlock()
	if same && (p.early != nil || !waiting) {
		return false, nil
	}
	return true, p.put(m, p.early == nil)
}

// RollOut lets all nodes have what those that are early have.
func (p *Publisher) RollOut() error {
	p.one.Lock()
	defer p.one.Unlock()
	if p.latest == nil {
		return errors.New("nothing is published yet")
	}
	return p.put(p.latest, true)
}

// put publishes a policy, on disk first.
func (p *Publisher) put(m *Manifest, toAll bool) error {
	toAll = toAll || p.all == nil // the first one
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(text) > mostManifest {
		return errors.New("there are too many files to keep in step")
	}
	if err := atomicfile.Write(filepath.Join(p.dir, latestFile), text, 0o600); err != nil {
		return err
	}
	if toAll {
		if err := atomicfile.Write(filepath.Join(p.dir, allFile), text, 0o600); err != nil {
			return err
		}
	}
	p.mu.Lock()
	p.latest = m
	if toAll {
		p.all = m
	}
	close(p.changed)
	p.changed = make(chan struct{})
	keep := [2]*Manifest{p.latest, p.all}
	p.mu.Unlock()
	p.prune(keep)
	return nil
}

// Versions returns which policy is published to who is early, and to all others; "" for
// none.
func (p *Publisher) Versions() (latest, all string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.latest != nil {
		latest = p.latest.Version
	}
	if p.all != nil {
		all = p.all.Version
	}
	return latest, all
}

// Published returns the versions that were published by a directory, also while another
// process publishes.
func Published(dir string) (latest, all string, err error) {
	for file, version := range map[string]*string{latestFile: &latest, allFile: &all} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var m *Manifest
		if err == nil {
			m, err = parseManifest(text)
		}
		if err != nil {
			return "", "", fmt.Errorf("%s: %w", filepath.Join(dir, file), err)
		}
		*version = m.Version
	}
	return latest, all, nil
}

// Unpublish has a directory forget what it published: the next policy is all nodes' at once. Nobody publishes from it meanwhile.
func Unpublish(dir string) error {
	for _, file := range []string{latestFile, allFile} {
		if err := os.Remove(filepath.Join(dir, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// keep copies a file to its hash.
func (p *Publisher) keep(c *Content) (File, error) {
	if err := checkName(c.Name); err != nil {
		return File{}, err
	}
	if c.Path == "" {
		return p.copy(c.Name, bytes.NewReader(c.Text))
	}
	f, err := os.Open(c.Path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return File{}, err
	}
	if !info.Mode().IsRegular() || info.Size() > mostFile {
		return File{}, fmt.Errorf("%s is no file that can be kept in step", c.Path)
	}
	now := seenFile{size: info.Size(), modified: info.ModTime().UnixNano()}
	const settled = 2 * time.Second // a file that was written just now may be written again and look the same
	if was := p.known[c.Path]; was.size == now.size && was.modified == now.modified && time.Since(info.ModTime()) > settled {
		if _, err := os.Stat(p.object(was.hash)); err == nil {
			return File{Name: c.Name, Size: was.size, Hash: was.hash}, nil
		}
	}
	file, err := p.copy(c.Name, f)
	now.hash = file.Hash
	p.known[c.Path] = now
	return file, err
}

func (p *Publisher) object(hash string) string { return filepath.Join(p.dir, objects, hash) }

func (p *Publisher) copy(name string, from io.Reader) (File, error) {
	into, err := atomicfile.Create(filepath.Join(p.dir, objects))
	if err != nil {
		return File{}, err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(into, sum), io.LimitReader(from, mostFile+1))
	if err == nil && n > mostFile {
		err = fmt.Errorf("%s is too large to be kept in step", name)
	}
	f := File{Name: name, Size: n, Hash: hex.EncodeToString(sum.Sum(nil))}
	if err != nil {
		atomicfile.Discard(into)
		return File{}, err
	}
	if _, err := os.Stat(p.object(f.Hash)); err == nil {
		atomicfile.Discard(into)
		return f, nil
	}
	err = atomicfile.Rename(into, p.object(f.Hash))
	return f, errors.Join(err, into.Close())
}

// prune removes copies that no published policy has.
func (p *Publisher) prune(keep [2]*Manifest) {
	used := map[string]bool{}
	for _, m := range keep {
		if m == nil {
			continue
		}
		for _, f := range m.Files {
			used[f.Hash] = true
		}
	}
	entries, _ := os.ReadDir(filepath.Join(p.dir, objects))
	for _, e := range entries {
		if !used[e.Name()] {
			os.Remove(p.object(e.Name()))
		}
	}
}

// current returns the policy for a node, and what is closed when there may be another.
func (p *Publisher) current(node string) (*Manifest, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.early != nil && p.early(node) {
		return p.latest, p.changed
	}
	return p.all, p.changed
}

// Handler answers nodes; nodeOf says which one a request is of.
func (p *Publisher) Handler(nodeOf func(*http.Request) string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+ManifestPath, func(w http.ResponseWriter, r *http.Request) { p.serveManifest(w, r, nodeOf(r)) })
	mux.HandleFunc("GET "+FilePath+"{hash}", p.serveFile)
	return mux
}

// serveManifest answers with a policy that is not the one of If-None-Match, and waits for
// one.
func (p *Publisher) serveManifest(w http.ResponseWriter, r *http.Request, node string) {
	has := strings.Trim(r.Header.Get("If-None-Match"), `"`)
	if p.seen != nil {
		p.seen(node, has)
	}
	end := time.NewTimer(held)
	defer end.Stop()
	for waited := false; ; waited = true {
		m, changed := p.current(node)
		if waited && p.again != nil && !p.again(w, r) {
			return // it was revoked meanwhile
		}
		if m != nil && m.Version != has {
			w.Header().Set("ETag", `"`+m.Version+`"`)
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(m)
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			w.WriteHeader(http.StatusNotModified)
			return
		case <-end.C:
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
}

func (p *Publisher) serveFile(w http.ResponseWriter, r *http.Request) {
	hash := r.PathValue("hash")
	if sum, err := hex.DecodeString(hash); err != nil || len(sum) != sha256.Size {
		http.NotFound(w, r)
		return
	}
	f, err := os.Open(p.object(hash))
	if err != nil {
		http.Error(w, "this file is of no policy any more", http.StatusNotFound)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, f)
}
