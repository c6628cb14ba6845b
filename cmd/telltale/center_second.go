//go:build !small

package main

import (
	"bytes"
	"cmp"
	"context"
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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"telltale/atomicfile"
	"telltale/blocklists"
	"telltale/clock"
	"telltale/config"
	"telltale/fleet/authority"
	"telltale/fleet/policy"
	"telltale/fleet/roster"
	"telltale/sorting"
)

// Two centers of a fleet: one leads, and the other follows it until it is promoted. Nodes have both addresses. A center that does
// not lead answers 503 to nodes, which ask the next one then.

// A centerRole says whether a center leads. The keys of its JSON never change.
type centerRole struct {
	Term     string    `json:"term,omitempty"`    // the latest that this center has seen; "" before the first promotion
	Follows  []string  `json:"follows,omitempty"` // addresses of the center that this one follows
	Copied   time.Time `json:"copied,omitzero"`   // when this one last had all of that
	Policy   string    `json:"policy,omitempty"`  // version of the lists and settings that the other one had then
	Problem  string    `json:"problem,omitempty"` // why not all was copied since; "" where it was
	Anew     bool      `json:"anew,omitempty"`    // the first copy may remove nodes
	Replaced time.Time `json:"replaced,omitzero"` // since when another one leads
}

func (r centerRole) leads() bool { return len(r.Follows) == 0 && r.Replaced.IsZero() }

// String says it to a person.
func (r centerRole) String() string {
	switch {
	case len(r.Follows) > 0 && r.Copied.IsZero() && r.Problem != "":
		return fmt.Sprintf("This center follows %s, and has not all of it yet: %s.", strings.Join(r.Follows, ", "), r.Problem)
	case len(r.Follows) > 0 && r.Copied.IsZero():
		return fmt.Sprintf("This center follows %s, and has nothing of it yet.", strings.Join(r.Follows, ", "))
	case len(r.Follows) > 0 && r.Problem != "":
		return fmt.Sprintf("This center follows %s, last %s, and NOT SINCE: %s.", strings.Join(r.Follows, ", "), when(r.Copied), r.Problem)
	case len(r.Follows) > 0:
		return fmt.Sprintf("This center follows %s, last %s. Nodes are answered there ('telltale center promote' changes that).", strings.Join(r.Follows, ", "), when(r.Copied))
	case !r.Replaced.IsZero():
		return fmt.Sprintf("Another center was promoted %s: this one answers no nodes. 'telltale center follow ADDRESS' has it follow that one.", when(r.Replaced))
	}
	return "This center leads."
}

func rolePath(cfg *config.Config) string { return filepath.Join(cfg.Center.Dir, "role.json") }

// errRoleDamaged means that the file of the role has no role.
var errRoleDamaged = errors.New("cannot be read")

// readRole returns the role that a center's directory says. One that cannot be read is an error: nobody leads by mistake.
func readRole(cfg *config.Config) (r centerRole, err error) {
	text, err := os.ReadFile(rolePath(cfg))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, fmt.Errorf("center.dir: %s says whether this center leads, and %w: %w ('telltale center follow ADDRESS', or 'telltale center promote --anyway' where this one is to lead, write it anew)", rolePath(cfg), errRoleDamaged, err)
	}
	return r, nil
}

// A roleKeeper keeps the role of a center on disk. Any goroutine may use it.
type roleKeeper struct {
	path    string
	changed func() // is told that this center leads no more

	mu   sync.Mutex
	role centerRole
}

func (k *roleKeeper) get() centerRole {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.role
}

// set keeps a role, on disk first.
func (k *roleKeeper) set(change func(*centerRole)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.role
	change(&r)
	text, err := json.Marshal(&r)
	if err == nil {
		err = atomicfile.Write(k.path, append(text, '\n'), 0o600)
	}
	if err == nil {
		k.role = r
	}
	return err
}

// seen takes a later term: another center was promoted, and this one leads no more, also where that cannot be kept.
func (k *roleKeeper) seen(text string) error {
	if k.get().Term == text {
		return nil // this one's own
	}
	was := k.get().leads()
	become := func(r *centerRole) {
		if r.Term = text; was {
			r.Replaced = time.Now().UTC()
		}
	}
	err := k.set(become)
	if err != nil {
		k.mu.Lock()
		become(&k.role)
		k.mu.Unlock()
	}
	if was && k.changed != nil {
		k.changed()
	}
	return err
}

// openRole reads the role.
func (c *center) openRole() error {
	r, err := readRole(c.cfg)
	if err != nil {
		return err
	}
	c.useRole(r)
	return nil
}

func (c *center) useRole(r centerRole) {
	c.role = &roleKeeper{path: rolePath(c.cfg), role: r}
	c.terms = c.authority.Terms(r.Term, c.role.seen)
}

// errNotLeading is what nodes are told by a center that does not lead.
const errNotLeading = "this center does not lead its fleet: ask the other one (fleet.center has both addresses)"

// front answers in the place of next while this center does not lead.
func (c *center) front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.terms.See(r.Header.Get(authority.TermHeader))
		if _, term := c.terms.Now(); term != "" {
			w.Header().Set(authority.TermHeader, term)
		}
		if self := r.Header.Get(selfHeader); self != "" && self == c.self {
			http.Error(w, "this is the address of this center itself", http.StatusMisdirectedRequest)
			return
		}
		if role := c.role.get(); !role.leads() || !c.leads { // one that was promoted just now has not opened its log
			http.Error(w, errNotLeading, http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// selfHeader has a text that each process of a center has one of: by it a center knows that it asks itself. Its name never changes.
const selfHeader = "Telltale-Center-Process"

// copyPath is where a center that follows asks for what the authority and the roster have. It never changes.
const copyPath = "/v1/center/copy"

// A centerCopy is what a center that follows has beside the policy. The keys of its JSON never change.
type centerCopy struct {
	Files map[string][]byte `json:"files"` // of the authority
	Nodes []roster.Entry    `json:"nodes"` // what their sealed logs are to go on from

	Policy string `json:"policy,omitempty"` // the version that another center is to have
}

const mostCopy = 64 << 20 // octets

// ofCenters lets other centers ask what they follow alone, and nobody else that.
func ofCenters(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		isCopy := r.URL.Path == copyPath
		if authority.IsCenter(r.Context()) && !isCopy && !strings.HasPrefix(r.URL.Path, policy.ManifestPath) || !authority.IsCenter(r.Context()) && isCopy {
			http.Error(w, "this is not asked with such a certificate", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// serveCopy answers another center with what it does not have.
func (c *center) serveCopy(w http.ResponseWriter, r *http.Request) {
	files, err := c.authority.Export()
	if err != nil {
		c.logger.Error("another center cannot follow this one", "error", err)
		http.Error(w, "the center failed: its messages say at what", http.StatusInternalServerError)
		return
	}
	all := centerCopy{Files: files}
	_, all.Policy = c.policy.Versions()
	for _, e := range c.roster.Entries() {
		e.State = roster.State{Lists: []roster.List{}}
		e.From, e.Ahead, e.Seen = "", 0, e.Seen.Truncate(time.Hour)
		all.Nodes = append(all.Nodes, e)
	}
	sorting.StableBy(all.Nodes, func(a, b roster.Entry) int { return cmp.Compare(a.Node, b.Node) })
	text, err := json.Marshal(&all)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	sum := sha256.Sum256(text)
	etag := `"` + hex.EncodeToString(sum[:12]) + `"`
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(text)
}

const copyEvery = 5 * time.Second

// A following is how a center follows another.
type following struct {
	*center
	client  *http.Client
	follows []string
	status  func() policy.Status // nil: the policy is not followed here

	mu     sync.Mutex // held while it copies
	has    string     // ETag of what it has
	wants  string     // version of the policy that the other center has
	behind time.Time  // since when the policy is another one; zero where it is not
}

func (c *center) newFollowing() *following {
	role := c.role.get()
	return &following{center: c, client: c.authority.Client(c.terms), follows: role.Follows, wants: role.Policy}
}

func followedDir(cfg *config.Config) string { return filepath.Join(cfg.Center.Dir, "followed") }

// followCenter follows the other center until ctx ends.
func (c *center) followCenter(ctx context.Context) {
	f := c.newFollowing()
	defer f.client.CloseIdleConnections()
	var tasks sync.WaitGroup
	defer tasks.Wait()
	dir := followedDir(c.cfg)
	p := policy.NewFollower(policy.FollowerOptions{Dir: dir, Client: f.client, Centers: f.follows, Apply: func(version string) error {
		if err := f.copy(ctx); errors.Is(err, authority.ErrRemovesNodes) {
			return err // what such a center has of lists is no more than it has of nodes
		}
		return policy.Use(dir, version)
	}})
	f.status = p.Status
	tasks.Go(func() {
		p.Run(ctx, func(st policy.Status) {
			c.logger.Debug("the policy of the center that leads", "policy", st.Version, "error", st.Problem)
		})
	})
	told := ""
	for ctx.Err() == nil {
		err := f.copy(ctx)
		if err == nil {
			if told != "" {
				c.logger.Info("the center that leads is followed again", "center", f.follows)
			}
			told = ""
		} else if ctx.Err() == nil && told != err.Error() {
			told = err.Error()
			c.logger.Warn("the center that leads is not followed, and it is tried again: what was copied stays", "error", err)
		}
		clock.Sleep(ctx, f.next())
	}
}

// next returns how long it waits until it copies again.
func (f *following) next() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.behind.IsZero() && time.Since(f.behind) < policyGrace {
		return copyEvery / 10
	}
	return copyEvery
}

// copy makes what the first center has that answers this one's.
func (f *following) copy(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, at := range f.follows {
		err := f.copyOf(ctx, at)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", at, authority.ExplainTLS(err)))
	}
	return errors.Join(errs...)
}

func (f *following) copyOf(ctx context.Context, at string) error {
	status, tag, text, err := f.askForCopy(ctx, f.client, at, f.has)
	if err != nil {
		return err
	}
	if status != http.StatusNotModified {
		var all centerCopy
		if err := json.Unmarshal(text, &all); err != nil {
			return fmt.Errorf("its answer cannot be read: %w", err)
		}
		if err := f.authority.Import(all.Files, f.role.get().Anew); err != nil {
			if errors.Is(err, authority.ErrRemovesNodes) {
				err = fmt.Errorf("%w; they are kept here ('telltale center follow' once more where that one is right, 'telltale center promote' where this one is)", err)
			}
			return errors.Join(err, f.copied(err, false))
		}
		if err := roster.Adopt(rosterDir(f.cfg), all.Nodes); err != nil {
			return errors.Join(err, f.copied(err, false))
		}
		f.has, f.wants = tag, all.Policy
	}
	whole, err := f.checkPolicy()
	return errors.Join(err, f.copied(err, whole))
}

// policyGrace is how long a changed policy may take until it is said that it is not there. Until then it is not copied, either.
const policyGrace = 20 * time.Second

var errPolicyBehind = errors.New("its lists and settings are not all here yet")

// checkPolicy reports whether this center has the policy that the other one has. The error says why it has not for long.
func (f *following) checkPolicy() (whole bool, err error) {
	if has := policy.InForce(followedDir(f.cfg)); has != "" && has == f.wants {
		f.behind = time.Time{}
		return true, nil
	}
	if f.behind.IsZero() {
		f.behind = time.Now()
	}
	why := ""
	if f.status != nil {
		st := f.status()
		why = cmp.Or(st.Why, st.Problem)
	}
	switch {
	case why != "":
		return false, fmt.Errorf("%w: %s", errPolicyBehind, why)
	case time.Since(f.behind) > policyGrace:
		return false, errPolicyBehind
	}
	return false, nil
}

// copied keeps what was copied now: all, or not, and why that was.
func (f *following) copied(why error, whole bool) error {
	problem, now := "", time.Now().UTC()
	if why != nil {
		problem = why.Error()
	}
	r := f.role.get()
	removes := errors.Is(why, authority.ErrRemovesNodes)
	if r.Problem == problem && r.Policy == f.wants && (removes || !r.Anew) && (!whole || now.Sub(r.Copied).Abs() <= time.Minute) {
		return nil
	}
	return f.role.set(func(r *centerRole) {
		if len(r.Follows) == 0 {
			return // it was promoted meanwhile
		}
		r.Policy, r.Problem, r.Anew = f.wants, problem, r.Anew && removes
		if whole {
			r.Copied = now
		}
	})
}

// askForCopy asks a center for what it has, as another center.
func (c *center) askForCopy(ctx context.Context, client *http.Client, at, has string) (status int, tag string, text []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at+copyPath, nil)
	if err != nil {
		return 0, "", nil, err
	}
	if has != "" {
		r.Header.Set("If-None-Match", has)
	}
	if c.self != "" {
		r.Header.Set(selfHeader, c.self)
	}
	res, err := client.Do(r)
	if err != nil {
		return 0, "", nil, err
	}
	defer res.Body.Close()
	text, err = io.ReadAll(io.LimitReader(res.Body, mostCopy))
	if err == nil && res.StatusCode != http.StatusOK && res.StatusCode != http.StatusNotModified {
		err = authority.AnswerError(res, text)
	}
	return res.StatusCode, res.Header.Get("ETag"), text, err
}

const peersEvery = 10 * time.Second

// askPeers asks at all of center.address whether another center was promoted, until ctx ends: nodes may be away that would say so.
func (c *center) askPeers(ctx context.Context) {
	if len(c.cfg.Center.Address) < 2 {
		return
	}
	client := c.authority.Client(c.terms)
	defer client.CloseIdleConnections()
	for ctx.Err() == nil {
		for _, at := range c.cfg.Center.Address {
			c.askForCopy(ctx, client, at, "none") // what counts are the terms of both sides
		}
		clock.Sleep(ctx, peersEvery)
	}
}

// notPromoted is why a center is not promoted without --anyway.
func (r centerRole) notPromoted() error {
	switch {
	case r.leads():
		return errors.New("this center leads already")
	case !r.Replaced.IsZero():
		return fmt.Errorf("another center was promoted %s, and this one has not followed it since: let it ('telltale center follow ADDRESS'), or say --anyway where that one is gone for good", when(r.Replaced))
	case r.Copied.IsZero():
		return errors.New("nothing was copied yet of the center that this one follows: its nodes would be refused here. Say --anyway to promote it all the same")
	}
	return nil
}

// policyLacks is why a center is not promoted without --anyway that has not all lists and settings of the one that it follows.
func (c *center) policyLacks() error {
	switch role, has := c.role.get(), policy.InForce(followedDir(c.cfg)); {
	case len(role.Follows) == 0:
		return nil
	case has == "":
		return errors.New("no lists and settings were copied yet of the center that this one follows. Say --anyway to promote it all the same, with its own")
	case has != role.Policy:
		return fmt.Errorf("the lists and settings that are here are older than those of the center that this one follows: %s. Say --anyway to promote it all the same", cmp.Or(role.Problem, errPolicyBehind.Error()))
	}
	return nil
}

// canLead reports why this center could not start as the one that leads.
func (c *center) canLead(ctx context.Context) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if c.leads { // it led until just now, and has its log open
		return nil
	}
	s, err := (&center{cfg: cfg, logger: c.logger}).openStore(ctx)
	if err != nil {
		return err
	}
	return s.Close()
}

// promote has this center lead. The one that led is told so, if it answers.
func (c *center) promote(ctx context.Context, anyway bool) error {
	role := c.role.get()
	if err := role.notPromoted(); err != nil && (!anyway || role.leads()) {
		return err
	}
	if err := c.canLead(ctx); err != nil {
		return fmt.Errorf("this center could not start as the one that leads, and nothing was changed: %w", err)
	}
	f := c.newFollowing()
	defer f.client.CloseIdleConnections()
	last, cancel := context.WithTimeout(ctx, 3*time.Second)
	if err := f.copy(last); err != nil {
		c.logger.Info("the last of the center that led is not copied: what was copied of it holds", "copied", role.Copied, "error", err)
	}
	cancel()
	if err := c.policyLacks(); err != nil && !anyway {
		return err
	}
	if len(role.Follows) > 0 {
		if err := c.adoptPolicy(); err != nil {
			return fmt.Errorf("the lists and settings that were followed: %w", err)
		}
	}
	n, _ := c.terms.Now()
	if c.damaged {
		n = max(n, time.Now().Unix()) // later than any before, which nobody knows here
	}
	term := c.authority.SignTerm(n + 1)
	if err := c.role.set(func(r *centerRole) { *r = centerRole{Term: term} }); err != nil {
		return err
	}
	c.terms.See(term)
	last, cancel = context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	for _, at := range f.follows {
		c.askForCopy(last, f.client, at, "none") // with the new term, by which it leads no more
	}
	return os.RemoveAll(followedDir(c.cfg)) // its own is what counts from now on
}

// follow has this center follow another one. One that leads does so only where the other one leads, too, unless anyway is set: nodes
// would have no center.
func (c *center) follow(ctx context.Context, follows []string, anyway bool) error {
	if c.role.get().leads() && !anyway {
		_, term := c.terms.Now()
		client := c.authority.Client(c.authority.Terms(term, func(string) error { return nil }))
		defer client.CloseIdleConnections()
		var errs []error
		for _, at := range follows {
			_, _, _, err := c.askForCopy(ctx, client, at, "")
			if err == nil {
				errs = nil
				break
			}
			errs = append(errs, fmt.Errorf("%s: %w", at, authority.ExplainTLS(err)))
		}
		if err := errors.Join(errs...); err != nil {
			return fmt.Errorf("this center leads, and the other one does not answer as one that does, so nothing was changed: %w (say --anyway to have it follow all the same)", err)
		}
	}
	if err := os.RemoveAll(followedDir(c.cfg)); err != nil { // of a center that was followed before
		return err
	}
	return c.role.set(func(r *centerRole) { *r = centerRole{Term: r.Term, Follows: follows, Anew: true} })
}

// sharedBefore is where a center that was promoted keeps the settings that the one before shared.
func sharedBefore(cfg *config.Config) string { return filepath.Join(cfg.Center.Dir, "followed.yaml") }

// beforePromotion ends the names of files of lists.dir that a promotion replaced.
const beforePromotion = ".before-promotion"

// adoptPolicy makes the policy that was followed this center's own: list files are put into lists.dir, and shared settings
// beside the settings, which go before them.
func (c *center) adoptPolicy() error {
	dir := followedDir(c.cfg)
	version := policy.InForce(dir)
	if version == "" {
		return nil
	}
	from := policy.FilesOf(dir, version)
	text, err := os.ReadFile(filepath.Join(from, policy.Settings))
	switch {
	case err == nil:
		err = atomicfile.Write(sharedBefore(c.cfg), text, 0o600)
	case errors.Is(err, fs.ErrNotExist):
		if err = os.Remove(sharedBefore(c.cfg)); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	for _, d := range []struct{ folder, to string }{{policy.Lists, c.cfg.Lists.Dir}, {policy.Groups, filepath.Join(c.cfg.Lists.Dir, blocklists.GroupDir)}} {
		if err := c.adoptFolder(filepath.Join(from, d.folder), d.to); err != nil {
			return err
		}
	}
	return policy.Unpublish(publisherDir(c.cfg)) // so that all nodes have this one at once, also where center.first is set
}

// adoptFolder makes the list files of a folder those of another one. Files there that are others are kept with an ending.
func (c *center) adoptFolder(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	followed := map[string]bool{}
	for _, e := range entries {
		followed[e.Name()] = true
		if err := c.makeOwned(to); err != nil {
			return err
		}
		if err := c.adoptFile(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	entries, err = os.ReadDir(to)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries { // the center that led has them no more, or never had
		path := filepath.Join(to, e.Name())
		if e.IsDir() || followed[e.Name()] || !blocklists.IsListFile(e.Name()) || isOwnTemplate(path) {
			continue
		}
		if err := os.Rename(path, path+beforePromotion); err != nil {
			return err
		}
		c.logger.Info("a list file that the center that led does not have is set aside", "file", path+beforePromotion)
	}
	return nil
}

func isOwnTemplate(path string) bool {
	text, err := os.ReadFile(path)
	return err == nil && string(text) == ownTemplate
}

// makeOwned makes a directory of list files.
func (c *center) makeOwned(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return giveToOwner(dir, c.cfg.Data.Dir)
}

// adoptFile puts a copy of a file in place of another, which is kept beside it.
func (c *center) adoptFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	was, err := os.ReadFile(to)
	switch {
	case err == nil && bytes.Equal(was, text):
		return nil
	case err == nil && string(was) != ownTemplate:
		if err := writeOwned(to+beforePromotion, was); err != nil {
			return err
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return writeOwned(to, text)
}

// writeOwned writes a file that belongs to whom its directory does.
func writeOwned(path string, text []byte) error {
	return errors.Join(atomicfile.Write(path, text, 0o644), giveToOwner(path, filepath.Dir(path)))
}

// shared returns the settings that nodes are to have: the center's, and behind them those of the center before, where this one
// was promoted.
func (c *center) shared(cfg *config.Config) ([]byte, error) {
	own, err := cfg.SharedText()
	if err != nil {
		return nil, err
	}
	before, err := os.ReadFile(sharedBefore(cfg))
	if errors.Is(err, fs.ErrNotExist) {
		return own, nil
	}
	if err == nil {
		own, err = config.SharedBehind(own, before)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sharedBefore(cfg), err)
	}
	return own, nil
}

// checkLeads refuses what a center that does not lead cannot do.
func checkLeads(cfg *config.Config) error {
	r, err := readRole(cfg)
	if err == nil && !r.leads() {
		err = errors.New(r.String())
	}
	return err
}

// A roleAsked is what a command asks a center to become.
type roleAsked struct {
	Anyway  bool     `json:"anyway,omitempty"`
	Follows []string `json:"follows,omitempty"` // none: it is to lead
}

// become changes the role.
func (c *center) become(ctx context.Context, asked *roleAsked) error {
	if len(asked.Follows) == 0 {
		return c.promote(ctx, asked.Anyway)
	}
	return c.follow(ctx, asked.Follows, asked.Anyway)
}

// serveRole changes the role of the running center, which goes on as what it is then.
func (c *center) serveRole(w http.ResponseWriter, r *http.Request) {
	var asked roleAsked
	err := json.NewDecoder(r.Body).Decode(&asked)
	if err == nil {
		err = c.become(r.Context(), &asked)
	}
	said := forgetSaid{}
	if err != nil {
		said.Error = err.Error()
	}
	json.NewEncoder(w).Encode(said)
	http.NewResponseController(w).Flush()
	if err == nil {
		c.changeRole()
	}
}

// changeTo has the center that runs here change its role, or changes it where none runs.
func (cl *cli) changeTo(ctx context.Context, asked *roleAsked) error {
	cfg, a, err := cl.openAuthority(authority.OpenExisting)
	if err != nil {
		return err
	}
	text, err := json.Marshal(asked)
	if err != nil {
		return err
	}
	resp, err := askCenter(ctx, cfg, http.MethodPost, "/role", bytes.NewReader(text))
	if errors.Is(err, errNoCenter) {
		logger, _, err := cl.newLogger(cfg)
		if err != nil {
			return err
		}
		c := &center{cfg: cfg, logger: logger, authority: a, load: cl.loadStrictly}
		err = errors.Join(os.MkdirAll(cfg.Center.Dir, 0o700), c.openRole())
		if errors.Is(err, errRoleDamaged) && (asked.Anyway || len(asked.Follows) > 0) {
			c.damaged, err = true, nil
			c.useRole(centerRole{Replaced: time.Now().UTC()})
		}
		if err != nil {
			return err
		}
		return errors.Join(c.become(ctx, asked), giveCenter(cfg))
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var said forgetSaid
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		return fmt.Errorf("the center's answer cannot be read: %w", err)
	}
	if said.Error != "" {
		return errors.New(said.Error)
	}
	return nil
}

func (cl *cli) newCenterFollow() *cobra.Command {
	anyway := false
	c := &cobra.Command{
		Use:   "follow ADDRESS...",
		Short: "Have this center follow another one, as its second",
		Long: `Have this center follow another one of the same fleet, as its second: it copies which nodes
there are, list files, shared settings, and what the nodes' sealed logs are to go on from,
and answers no node. 'telltale center promote' has it take the other's place.

Both have the same key: copy authority.key and authority.crt from center.dir/authority of
the other machine to here first. Whoever has that key decides who is a node of the fleet.
Nodes are to have both addresses (center.address for those that are invited, fleet.center).

A center that leads goes on leading where the other one does not answer as one that does.
A center that follows keeps its nodes where the other one lacks most of them; to follow it
once more says that the other one is right.`,
		Example: "  telltale center follow https://192.168.1.2:5390",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("the address of the other center is expected, such as https://192.168.1.2:5390")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			follows := slices.Clone(args)
			for i, at := range follows {
				if err := authority.CheckCenter(at); err != nil {
					return err
				}
				follows[i] = authority.WithPort(at)
			}
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			for _, file := range authority.SharedFiles {
				if _, err := os.Stat(filepath.Join(authorityDir(cfg), file)); errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("the key of the fleet is not here: copy %s from center.dir/authority of the other center to %s", strings.Join(authority.SharedFiles, " and "), authorityDir(cfg))
				}
			}
			if err := cl.changeTo(c.Context(), &roleAsked{Follows: follows, Anyway: anyway}); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cl.out, "This center follows %s. 'telltale center nodes' says how far.\n", strings.Join(follows, ", "))
			return err
		},
	}
	c.Flags().BoolVar(&anyway, "anyway", false, "also where this center leads, and the other one does not answer")
	return c
}

func (cl *cli) newCenterPromote() *cobra.Command {
	anyway := false
	c := &cobra.Command{
		Use:   "promote",
		Short: "Have this center lead in place of the one that it follows",
		Long: `Have this center lead in place of the one that it follows: from now on nodes follow this
machine's lists and settings, and send it what they log. It copies the last of the other one,
if that answers, and tells it so. One that does not answer now is told by nodes, or by this
center, as soon as it is back: it then leads no more, takes nothing, and says so.

What the other one had of the log is sent again by the nodes, as far as they keep it
(log.listed; a year unless set). A log in ClickHouse (center.store) is the same for both.

List files that were followed are put into lists.dir; others that are there are kept with
the ending .before-promotion.`,
		Example: "  telltale center promote",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := cl.changeTo(c.Context(), &roleAsked{Anyway: anyway}); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cl.out, "This center leads now. 'telltale center nodes' shows which nodes have come.")
			return err
		},
	}
	c.Flags().BoolVar(&anyway, "anyway", false, "also where it may lack something of the center that led")
	return c
}
