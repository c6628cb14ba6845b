//go:build !small

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"telltale/atomicfile"
	"telltale/clock"
	"telltale/config"
	"telltale/fleet/authority"
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

// checkLeads refuses what a center that does not lead cannot do.
func checkLeads(cfg *config.Config) error {
	r, err := readRole(cfg)
	if err == nil && !r.leads() {
		err = errors.New(r.String())
	}
	return err
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
	said := centerSaid{}
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
	var said centerSaid
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		return fmt.Errorf("the center's answer cannot be read: %w", err)
	}
	if said.Error != "" {
		return errors.New(said.Error)
	}
	return nil
}
