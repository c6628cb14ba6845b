//go:build !small

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/blocklists"
	"telltale/config"
	"telltale/fleet/authority"
	"telltale/fleet/policy"
	"telltale/watch"
)

// The policy that a center keeps its nodes in step with: the list files of lists.dir, the
// rules of groups, and the settings of center.share.

func publisherDir(cfg *config.Config) string { return filepath.Join(cfg.Center.Dir, "policy") }

// openPublisher opens what publishes to nodes.
func (c *center) openPublisher() (err error) {
	o := policy.PublisherOptions{Dir: publisherDir(c.cfg), Again: c.authority.Again}
	if first := c.cfg.Center.First; len(first) > 0 {
		o.Early = func(node string) bool { return slices.Contains(first, node) }
	}
	if c.policy, err = policy.NewPublisher(o); err != nil {
		return fmt.Errorf("center.dir: %w", err)
	}
	h := c.policy.Handler(requestNode)
	c.mux.Handle(policy.ManifestPath, h)
	c.mux.Handle(policy.FilePath, h)
	return nil
}

func requestNode(r *http.Request) string { return authority.NodeOf(r.Context()) }

// followPolicy publishes what the files and the settings hold, until ctx ends.
func (c *center) followPolicy(ctx context.Context) {
	failed := func(err error) {
		if err != nil {
			c.logger.Warn("the files of the policy cannot be watched: changes are found late", "error", err)
		}
	}
	paths := func() []string { return policyPaths(c.cfg) }
	// 50 ms are enough for an editor's two writes; nodes read only what stays.
	watch.Run(ctx, watch.Options{Quiet: 50 * time.Millisecond, Poll: 5 * time.Second, Failed: failed}, paths, func() {
		c.publish()
		c.rolledOut()
	})
}

func policyPaths(cfg *config.Config) []string {
	all := []string{cfg.Lists.Dir, filepath.Join(cfg.Lists.Dir, blocklists.GroupDir), rolloutPath(cfg), sharedBefore(cfg)}
	for _, file := range []string{cfg.File, cfg.Overlay, cfg.SettingsOverlay} {
		if file != "" {
			all = append(all, file)
		}
	}
	entries, _ := os.ReadDir(cfg.Lists.Dir)
	for _, e := range entries {
		if blocklists.IsListFile(e.Name()) {
			all = append(all, filepath.Join(cfg.Lists.Dir, e.Name()))
		}
	}
	return all
}

// publish publishes what changed. Settings with mistakes change nothing.
func (c *center) publish() {
	contents, err := c.policyContents()
	changed := false
	if err == nil {
		changed, err = c.policy.Publish(contents)
	}
	c.isPolicyRefused.Store(err != nil)
	if err != nil {
		if c.refused != err.Error() {
			c.refused = err.Error()
			c.logger.Error("nodes keep the policy that they have", "error", err)
		}
		return
	}
	c.refused = ""
	if !changed {
		return
	}
	latest, all := c.policy.Versions()
	if latest != all {
		c.logger.Info("a changed policy is published to the first nodes: 'telltale center rollout' publishes it to all", "policy", latest, "first", c.cfg.Center.First)
		return
	}
	c.logger.Info("a changed policy is published", "policy", latest)
}

// policyContents returns the files of the policy as they are now.
func (c *center) policyContents() ([]policy.Content, error) {
	cfg, err := c.load()
	if err != nil {
		return nil, err
	}
	shared, err := c.shared(cfg)
	if err != nil {
		return nil, err
	}
	var all []policy.Content
	if shared != nil {
		all = append(all, policy.Content{Name: policy.Settings, Text: shared})
	}
	for _, from := range []struct{ dir, folder string }{{c.cfg.Lists.Dir, policy.Lists}, {filepath.Join(c.cfg.Lists.Dir, blocklists.GroupDir), policy.Groups}} {
		entries, err := os.ReadDir(from.dir)
		if err != nil && !(os.IsNotExist(err) && from.folder == policy.Groups) {
			return nil, fmt.Errorf("lists.dir: %w", err)
		}
		for _, e := range entries {
			if !blocklists.IsListFile(e.Name()) || strings.ContainsAny(e.Name(), `\:`) {
				continue
			}
			path := filepath.Join(from.dir, e.Name())
			f, err := blocklists.OpenList(path)
			if err != nil {
				return nil, fmt.Errorf("%s %w", path, err)
			}
			f.Close()
			all = append(all, policy.Content{Name: from.folder + "/" + e.Name(), Path: path})
		}
	}
	return all, nil
}

// rolloutPath is a file by which a command tells the running center to roll out. It has
// the version.
func rolloutPath(cfg *config.Config) string { return filepath.Join(cfg.Center.Dir, "rollout") }

// rolledOut publishes to all nodes where a command asked for that.
func (c *center) rolledOut() {
	text, err := os.ReadFile(rolloutPath(c.cfg))
	if err != nil {
		return
	}
	os.Remove(rolloutPath(c.cfg))
	latest, all := c.policy.Versions()
	switch want := strings.TrimSpace(string(text)); {
	case latest == all:
		return
	case want != latest:
		c.logger.Warn("the policy changed since it was to be rolled out: nothing is rolled out", "policy", latest, "was", want)
		return
	}
	if err := c.policy.RollOut(); err != nil {
		c.logger.Error("the policy is not rolled out", "error", err)
		return
	}
	c.logger.Info("the policy is published to all nodes", "policy", latest)
}

func (cl *cli) newCenterRollout() *cobra.Command {
	return &cobra.Command{
		Use:   "rollout",
		Short: "Let all nodes follow what the first ones do",
		Long: `Let all nodes follow the policy that the nodes of center.first have. Without center.first
all nodes follow every change at once, and there is nothing to roll out. 'telltale center
nodes' shows which policy is in force where.`,
		Example: "  telltale center rollout",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			if err := checkLeads(cfg); err != nil {
				return err
			}
			latest, all, err := policy.Published(publisherDir(cfg))
			switch {
			case err != nil:
				return err
			case latest == "":
				return fmt.Errorf("nothing is published yet: run 'telltale center'")
			case latest == all:
				_, err := fmt.Fprintf(cl.out, "All nodes follow policy %s already.\n", latest)
				return err
			}
			if err := os.WriteFile(rolloutPath(cfg), []byte(latest+"\n"), 0o600); err != nil {
				return err
			}
			if err := giveToOwner(rolloutPath(cfg), cfg.Center.Dir); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cl.out, "All nodes are to follow policy %s now. 'telltale center nodes' shows where it is in force.\n", latest)
			return err
		},
	}
}
