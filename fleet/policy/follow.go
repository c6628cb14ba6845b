package policy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"telltale/atomicfile"
)

// A Follower keeps a node's copy of the policy of its center.
type Follower struct {
	o FollowerOptions

	again bool // what was refused is tried again; belongs to Run

	mu sync.Mutex
	st Status
}

// FollowerOptions are what a Follower needs.
type FollowerOptions struct {
	Dir     string       // the node's copy
	Client  *http.Client // for the center
	Centers []string     // https://HOST:PORT, the first to be asked first

	// Apply puts the policy of Dir that has a version in force, all of it or nothing. It
	// calls Use itself, at the place where whoever reads settings anew must find the new
	// ones.
	Apply func(version string) error
}

// A Status says how a node follows.
type Status struct {
	Version string    // in force; "" for none
	Since   time.Time // when this process put it in force; zero for not
	Refused string    // the version that was not put in force; "" for none
	Why     string    // why that was
	Center  string    // which answered last
	Asked   time.Time // when a center answered last
	Problem string    // why none answers; "" where one does
	Denied  bool      // Problem is that the center refuses this node
}

// NewFollower returns one for a node's copy.
func NewFollower(o FollowerOptions) *Follower {
	return &Follower{o: o, st: Status{Version: InForce(o.Dir)}}
}

// Status returns how it follows now.
func (f *Follower) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.st
}

func (f *Follower) set(change func(*Status)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.st)
}

const (
	currentFile  = "current" // has the version in force
	manifestFile = "manifest.json"
)

// InForce returns the version that a node's copy says is in force; "" for none.
func InForce(dir string) string {
	text, err := os.ReadFile(filepath.Join(dir, currentFile))
	version := strings.TrimSpace(string(text))
	if err != nil || !isVersion(version) {
		return ""
	}
	return version
}

func isVersion(text string) bool {
	sum, err := hex.DecodeString(text)
	return err == nil && len(sum) == 12
}

// Use says that a version is in force; "" for none.
func Use(dir, version string) error {
	if version != "" && !isVersion(version) {
		return fmt.Errorf("%q is no version of a policy", version)
	}
	return atomicfile.Write(filepath.Join(dir, currentFile), []byte(version+"\n"), 0o600)
}

// FilesOf returns the directory with the files of a version.
func FilesOf(dir, version string) string { return filepath.Join(dir, version) }

// Run follows until ctx ends. told is called after each attempt whose outcome is another
// one than that before; nil for nobody.
func (f *Follower) Run(ctx context.Context, told func(Status)) {
	if told == nil {
		told = func(Status) {}
	}
	wait := firstWait
	for ctx.Err() == nil {
		before := f.Status()
		err := f.once(ctx)
		if ctx.Err() != nil {
			return
		}
		f.set(func(st *Status) {
			st.Problem, st.Denied = "", errors.Is(err, errDenied)
			if err != nil {
				st.Problem = err.Error()
			}
		})
		if now := f.Status(); now.Problem != before.Problem || now.Version != before.Version || now.Refused != before.Refused || now.Why != before.Why {
			told(now)
		}
		if err == nil {
			wait = firstWait
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait/2 + rand.N(wait/2)):
		}
		wait = min(wait*2, lastWait)
	}
}

// Waits between attempts. The last one is short: a node is to have a change within two
// seconds of its center's return.
const (
	firstWait = 250 * time.Millisecond
	lastWait  = 2 * time.Second
)

// once asks a center for another policy than the one it has, and puts it in force.
func (f *Follower) once(ctx context.Context) error {
	st := f.Status()
	has := st.Version
	if st.Refused != "" && !f.again {
		has = st.Refused // the center answers once there is another, or after a while
	}
	f.again = false
	var errs []error
	for _, center := range f.o.Centers {
		m, err := f.ask(ctx, center, has)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", center, err))
			continue
		}
		f.set(func(st *Status) { st.Center, st.Asked = center, time.Now() })
		if m == nil {
			f.again = true // what was refused is tried again: the node may have been put right
			return nil
		}
		return f.take(ctx, center, m)
	}
	return errors.Join(errs...)
}

// ask returns the center's next policy; nil for the one that the node has.
func (f *Follower) ask(ctx context.Context, center, has string) (*Manifest, error) {
	ctx, cancel := context.WithTimeout(ctx, held+15*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, center+ManifestPath, nil)
	if err != nil {
		return nil, err
	}
	if has != "" {
		r.Header.Set("If-None-Match", `"`+has+`"`)
	}
	res, err := f.o.Client.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusNotModified {
		return nil, nil
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, mostManifest+1))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, answerError(res, text)
	}
	return parseManifest(text)
}

// errDenied means that the center refuses this node, and not only a request of it.
var errDenied = errors.New("the center refuses this node")

func answerError(res *http.Response, text []byte) error {
	why := strings.ToValidUTF8(strings.TrimSpace(string(text[:min(len(text), 500)])), "?")
	if res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusUnauthorized {
		return fmt.Errorf("%w: %s", errDenied, why)
	}
	return fmt.Errorf("the center answered %s: %s", res.Status, why)
}

// take fetches what a policy has that the node has not, and puts it in force. What it
// cannot be got of is an error; what cannot be put in force is refused.
func (f *Follower) take(ctx context.Context, center string, m *Manifest) error {
	if err := f.fetch(ctx, center, m); err != nil {
		return err
	}
	err := f.o.Apply(m.Version)
	f.set(func(st *Status) {
		if err != nil {
			st.Refused, st.Why = m.Version, err.Error()
			return
		}
		st.Version, st.Since, st.Refused, st.Why = m.Version, time.Now(), "", ""
	})
	f.prune()
	return nil
}

// fetch makes the directory of a version.
func (f *Follower) fetch(ctx context.Context, center string, m *Manifest) error {
	to := FilesOf(f.o.Dir, m.Version)
	if whole(to, m) {
		return nil // it was in force before
	}
	if err := os.MkdirAll(f.o.Dir, 0o700); err != nil {
		return err
	}
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	dir, err := atomicfile.CreateDir(f.o.Dir)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // nothing once it is renamed
	for _, sub := range []string{Lists, Groups} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	have := f.have()
	for _, file := range m.Files {
		path := filepath.Join(dir, filepath.FromSlash(file.Name))
		if old := have[file.Hash]; old != "" && os.Link(old, path) == nil {
			continue
		}
		if err := f.fetchFile(ctx, center, file, path); err != nil {
			return fmt.Errorf("%s: %w", file.Name, err)
		}
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, manifestFile), text, 0o600); err != nil {
		return err
	}
	return os.Rename(dir, to)
}

// whole reports whether a directory has all files of a policy, by their sizes: each was
// checked when it was fetched.
func whole(dir string, m *Manifest) bool {
	text, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		return false
	}
	if is, err := parseManifest(text); err != nil || is.Version != m.Version {
		return false
	}
	for _, file := range m.Files {
		if info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(file.Name))); err != nil || info.Size() != file.Size {
			return false
		}
	}
	return true
}

// have returns the files of the version in force, by hash.
func (f *Follower) have() map[string]string {
	dir := FilesOf(f.o.Dir, f.Status().Version)
	all := map[string]string{}
	text, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		return all
	}
	m, err := parseManifest(text)
	if err != nil {
		return all
	}
	for _, file := range m.Files {
		path := filepath.Join(dir, filepath.FromSlash(file.Name))
		if info, err := os.Stat(path); err == nil && info.Size() == file.Size {
			all[file.Hash] = path
		}
	}
	return all
}

// fetchFile fetches one file, and checks that it is the one of the policy.
func (f *Follower) fetchFile(ctx context.Context, center string, file File, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, center+FilePath+file.Hash, nil)
	if err != nil {
		return err
	}
	res, err := f.o.Client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 500))
		return answerError(res, text)
	}
	into, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(into, sum), io.LimitReader(res.Body, file.Size+1))
	if err == nil && (n != file.Size || hex.EncodeToString(sum.Sum(nil)) != file.Hash) {
		err = errors.New("what the center sent is not this file: it was damaged on the way, or on the center's disk")
	}
	if err == nil {
		err = into.Sync()
	}
	return errors.Join(err, into.Close())
}

// prune removes the versions that are not in force.
func (f *Follower) prune() {
	version := InForce(f.o.Dir)
	entries, err := os.ReadDir(f.o.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	for _, e := range entries {
		if e.IsDir() && (isVersion(e.Name()) || atomicfile.IsUnfinished(e.Name())) && e.Name() != version {
			os.RemoveAll(filepath.Join(f.o.Dir, e.Name()))
		}
	}
}
