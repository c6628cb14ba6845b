//go:build !small

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"telltale/config"
	"telltale/evidence"
	"telltale/fleet/authority"
	"telltale/fleet/policy"
	"telltale/fleet/roster"
	"telltale/sorting"
)

// What a center knows of its nodes.

func rosterDir(cfg *config.Config) string { return filepath.Join(cfg.Center.Dir, "nodes") }

// openRoster opens what keeps the reports of nodes.
func (c *center) openRoster() (err error) {
	c.roster, err = roster.Open(roster.Options{Dir: rosterDir(c.cfg), Changed: func(node, how string) {
		c.logger.Error("THE PAST OF A NODE IS ANOTHER ONE THAN IT WAS", "node", node, "how", how)
	}, Damaged: func(node, aside string) {
		c.logger.Error("the file of what a node says was damaged: it is moved aside, and nothing is known of the node's past until now", "node", node, "file", aside)
	}})
	if err != nil {
		return fmt.Errorf("center.dir: %w", err)
	}
	c.mux.Handle(roster.Path, c.roster.Handler(requestNode))
	return nil
}

// A nodeLine is a node as 'telltale center nodes --json' shows it. Its keys never change.
type nodeLine struct {
	Node    string     `json:"node"`
	Is      string     `json:"is"` // current, behind, refuses, silent, unknown, waiting, revoked or invited
	Joined  *time.Time `json:"joined,omitempty"`
	Revoked *time.Time `json:"revoked,omitempty"`
	Wanted  string     `json:"policy_wanted,omitempty"` // the version that it is to follow

	*roster.Entry // nil where it never reported
}

// silentAfter is how long a node may say nothing.
const silentAfter = 3 * stateEvery

func (cl *cli) newCenterNodes() *cobra.Command {
	accept := ""
	c := &cobra.Command{
		Use:   "nodes",
		Short: "Show how the nodes of this center stand",
		Long: `Show how the nodes of this center stand: which policy is in force there, since when a node
says nothing, up to when its log is here, and how far its clock is ahead of the center's.
Rows that a node had to remove before it could send them are in its ledger.

A node current has the policy that it is to have. One behind has another one; one that
refuses could not put it in force, and goes on with what it had; one silent has said
nothing for half a minute; one waiting has never reported; one unknown has a damaged file here, and
has said nothing since.

The center keeps the signed checkpoints of all sealed logs. A node whose sealed log became
shorter, or another one, has a note CHANGED: find out on the node why (docs/seals.md), and
say with --accept that it is known.`,
		Example: "  telltale center nodes\n  telltale center nodes --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if accept != "" {
				return cl.acceptNode(accept)
			}
			cfg, lines, err := cl.nodeLines(time.Now())
			if err != nil {
				return err
			}
			role, err := readRole(cfg)
			if err != nil {
				return err
			}
			said := cl.out
			if cl.json {
				said = cl.err // what is printed stays JSON
			} else if !centerRuns(cfg) {
				fmt.Fprintln(cl.out, "No center runs here: this is how nodes stood when one did last.")
			}
			if role.Term != "" || !role.leads() {
				fmt.Fprintln(said, role.String())
			}
			if cl.json {
				return cl.encoder().Encode(lines)
			}
			return cl.showNodes(lines, time.Now())
		},
	}
	c.Flags().StringVar(&accept, "accept", "", "that the past of this node is as it is now")
	return cl.addJSON(c)
}

// centerRuns reports whether something has an address of center.listen, or that cannot be told.
func centerRuns(cfg *config.Config) bool {
	for _, addr := range cfg.Center.Listen {
		if addr.Port() == 0 {
			return true
		}
		l, err := net.Listen(networkOf(addr), addr.String())
		if err != nil {
			return true
		}
		l.Close()
	}
	return false
}

func (cl *cli) acceptNode(node string) error {
	cfg, _, err := cl.openAuthority(authority.OpenExisting)
	if err != nil {
		return err
	}
	if err := roster.Accept(rosterDir(cfg), node); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no node %s ever reported", node)
	} else if err != nil {
		return err
	}
	if err := giveCenter(cfg); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cl.out, "The past of node %s is taken as it is, from its next report on.\n", node)
	return err
}

// nodeLines returns the settings, and all nodes by name.
func (cl *cli) nodeLines(now time.Time) (*config.Config, []nodeLine, error) {
	cfg, a, err := cl.openAuthority(authority.OpenExisting)
	if err != nil {
		return nil, nil, err
	}
	members, err := a.Members()
	if err != nil {
		return nil, nil, err
	}
	entries, err := roster.Read(rosterDir(cfg))
	if err != nil {
		return nil, nil, err
	}
	latest, all, err := policy.Published(publisherDir(cfg))
	if err != nil {
		return nil, nil, err
	}
	return cfg, linesOf(cfg, members, entries, latest, all, now), nil
}

// linesOf returns how all members stand, by name: what they reported, and which policy is published to the first nodes
// and to all.
func linesOf(cfg *config.Config, members []authority.Member, entries []roster.Entry, latest, all string, now time.Time) []nodeLine {
	reported := map[string]*roster.Entry{}
	for i := range entries {
		reported[entries[i].Node] = &entries[i]
	}
	lines := []nodeLine{}
	for _, m := range members {
		l := nodeLine{Node: m.Node, Entry: reported[m.Node], Joined: timeOrNil(m.Joined), Revoked: timeOrNil(m.Revoked), Wanted: all}
		if slices.Contains(cfg.Center.First, m.Node) {
			l.Wanted = latest
		}
		l.Is = l.is(now)
		lines = append(lines, l)
	}
	sorting.StableBy(lines, func(a, b nodeLine) int { return cmp.Compare(a.Node, b.Node) })
	return lines
}

func (l *nodeLine) is(now time.Time) string {
	switch {
	case l.Revoked != nil:
		return "revoked"
	case l.Entry == nil:
		return "waiting"
	case l.Seen.IsZero():
		return "unknown"
	case now.Sub(l.Seen) > silentAfter:
		return "silent"
	case l.State.Refused != "" && l.State.Refused == l.Wanted:
		return "refuses"
	case l.State.Policy != l.Wanted && l.State.Policy != "":
		return "behind"
	}
	return "current"
}

func (cl *cli) showNodes(lines []nodeLine, now time.Time) error {
	if len(lines) == 0 {
		_, err := fmt.Fprintln(cl.out, "No node has joined: 'telltale center invite NODE' prints the line by which one does.")
		return err
	}
	w := tabwriter.NewWriter(cl.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tIS\tPOLICY\tSEEN\tLOG UNTIL\tCLOCK\tPROGRAM\tNOTE")
	for i := range lines {
		l := &lines[i]
		if l.Entry == nil {
			fmt.Fprintf(w, "%s\t%s\t-\tnever\t-\t-\t-\t\n", l.Node, l.Is)
			continue
		}
		st, until := &l.State, "-"
		if !st.Shipped.Until.IsZero() {
			until = when(st.Shipped.Until)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Node, l.Is, printable(cmp.Or(st.Policy, "none")), l.seenAgo(now),
			until, clockAhead(l.Ahead), printable(st.Program), printable(l.note()))
	}
	return w.Flush()
}

// seenAgo says when the node reported last.
func (l *nodeLine) seenAgo(now time.Time) string {
	if l.Seen.IsZero() {
		return "unknown"
	}
	return evidence.Length(now.Sub(l.Seen)) + " ago"
}

// clockAhead shows a clock's difference where it matters.
func clockAhead(s roster.Seconds) string {
	if math.Abs(float64(s)) < 2 {
		return "right"
	}
	return fmt.Sprintf("%+.0f s", float64(s))
}

// note says what is wrong with a node.
func (l *nodeLine) note() string {
	switch {
	case l.Changed != "":
		return "CHANGED: " + l.Changed
	case l.Revoked != nil:
		return "" // what it said last is no matter any more
	case l.State.Refused != "":
		return "refuses " + l.State.Refused + ": " + l.State.Why
	}
	return l.State.Shipped.Problem
}
