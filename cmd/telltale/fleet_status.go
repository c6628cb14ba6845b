package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/config"
	"telltale/evidence"
	"telltale/fleet/authority"
	"telltale/fleet/policy"
	"telltale/querylog"
)

// A fleetStatus is what 'telltale fleet status --json' prints. Its keys never change.
type fleetStatus struct {
	Node    string    `json:"node"`
	Centers []string  `json:"centers"`
	Ends    time.Time `json:"certificate_ends"`
	Follows bool      `json:"follows_policy"`
	Policy  string    `json:"policy"` // the version in force; "" for none
	Lists   []string  `json:"lists"`  // the center's lists that hold here

	Contact *fleetContact `json:"contact,omitempty"` // how the center answers; nil where the server has not said
	Log     *fleetLog     `json:"log,omitempty"`     // nil where there is none yet
}

// A fleetLog is how far the log of a node is at the center. Its keys never change.
type fleetLog struct {
	Shipped int64     `json:"shipped"`         // the last window that the center has; 0 for none
	Waiting int64     `json:"waiting"`         // windows behind it, querylog.UnshippedMost at most
	Oldest  time.Time `json:"oldest,omitzero"` // of their lookups, the first
}

// readFleetLog returns how far the log is at the center; nil where there is no log.
func readFleetLog(ctx context.Context, cfg *config.Config) (*fleetLog, error) {
	r, err := querylog.OpenReader(cfg.Data.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	c, err := r.Shipped(ctx)
	if err != nil {
		return nil, err
	}
	l := &fleetLog{Shipped: c.Shipped}
	l.Waiting, l.Oldest, err = r.Unshipped(ctx, c.Shipped)
	return l, err
}

// text is what a person reads of it.
func (l *fleetLog) text(now time.Time) string {
	switch {
	case l == nil:
		return "none yet"
	case l.Waiting == 0 && l.Shipped == 0:
		return "nothing to send yet"
	case l.Waiting == 0:
		return "all sent, up to " + when(time.Unix(l.Shipped, 0))
	}
	many := number(uint64(l.Waiting), "window")
	if l.Waiting >= querylog.UnshippedMost {
		many += " or more"
	}
	waits := fmt.Sprintf("%s not sent, the first of %s ago", many, evidence.Length(now.Sub(l.Oldest)))
	if l.Shipped == 0 {
		return waits + "; none was"
	}
	return waits + "; sent up to " + when(time.Unix(l.Shipped, 0))
}

func (cl *cli) newFleetStatus() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:   "status",
		Short: "Show of which fleet this machine is, and what of the center holds here",
		Long: `Show of which fleet this machine is, whether the center answers the server that runs here
or when it did last, and why it does not, how far the log is sent and since when what is not
waits, until when the certificate holds, which policy of the center is in force here, and the
center's lists in it. 'telltale center nodes' at the center
shows it of all nodes.`,
		Example: "  telltale fleet status",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			id, err := authority.OpenIdentity(identityDir(cfg), nil)
			if err != nil {
				return err
			}
			st := fleetStatus{Node: id.Node, Centers: cfg.Fleet.Center, Ends: id.Expires().UTC(), Follows: cfg.Fleet.Policy, Policy: policy.InForce(cfg.PolicyDir()), Lists: []string{}, Contact: readContact(cfg)}
			if st.Log, err = readFleetLog(c.Context(), cfg); err != nil {
				return err
			}
			if len(st.Centers) == 0 {
				st.Centers = id.Centers
			}
			for _, l := range centerLists(cfg) {
				st.Lists = append(st.Lists, l.Name)
			}
			if cl.json {
				return cl.encoder().Encode(st)
			}
			follows := cmp.Or(st.Policy, "none yet")
			if !st.Follows {
				follows = "not followed (fleet.policy)"
			}
			contact := "not asked yet: does 'telltale serve' run here?"
			if st.Contact != nil {
				contact = st.Contact.String()
			}
			_, err = fmt.Fprintf(cl.out, "node         %s\ncenter       %s\ncontact      %s\nlog          %s\ncertificate  until %s, renewed by itself\npolicy       %s\nlists        %s\n",
				st.Node, strings.Join(st.Centers, ", "), contact, st.Log.text(time.Now()), st.Ends.Local().Format("2006-01-02"), follows, cmp.Or(strings.Join(st.Lists, ", "), "none"))
			return err
		},
	})
}
