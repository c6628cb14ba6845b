//go:build !small

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"telltale/atomicfile"
	"telltale/blocklists"
	"telltale/config"
	"telltale/fleet/policy"
)

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
