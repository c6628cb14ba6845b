//go:build !small

package main

import (
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

	"telltale/clock"
	"telltale/config"
	"telltale/fleet/authority"
	"telltale/fleet/policy"
	"telltale/fleet/roster"
	"telltale/sorting"
)

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
	return firstOf(f.follows, func(at string) error { return f.copyOf(ctx, at) })
}

// firstOf asks centers one after the other until one answers. The error has those of all.
func firstOf(centers []string, ask func(at string) error) error {
	var errs []error
	for _, at := range centers {
		err := ask(at)
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

// follow has this center follow another one. One that leads does so only where the other one leads, too, unless anyway is set: nodes
// would have no center.
func (c *center) follow(ctx context.Context, follows []string, anyway bool) error {
	if c.role.get().leads() && !anyway {
		_, term := c.terms.Now()
		client := c.authority.Client(c.authority.Terms(term, func(string) error { return nil }))
		defer client.CloseIdleConnections()
		err := firstOf(follows, func(at string) error {
			_, _, _, err := c.askForCopy(ctx, client, at, "")
			return err
		})
		if err != nil {
			return fmt.Errorf("this center leads, and the other one does not answer as one that does, so nothing was changed: %w (say --anyway to have it follow all the same)", err)
		}
	}
	if err := os.RemoveAll(followedDir(c.cfg)); err != nil { // of a center that was followed before
		return err
	}
	return c.role.set(func(r *centerRole) { *r = centerRole{Term: r.Term, Follows: follows, Anew: true} })
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
