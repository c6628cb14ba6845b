package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/fleet/authority"
	"telltale/fleet/policy"
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
}

func (cl *cli) newFleetStatus() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:   "status",
		Short: "Show of which fleet this machine is, and what of the center holds here",
		Long: `Show of which fleet this machine is, whether the center answers the server that runs here
or when it did last, and why it does not, until when its certificate holds, which policy of the
center is in force here, and the center's lists in it. 'telltale center nodes' at the center
shows it of all nodes.`,
		Example: "  telltale fleet status",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			id, err := authority.OpenIdentity(identityDir(cfg), nil)
			if err != nil {
				return err
			}
			st := fleetStatus{Node: id.Node, Centers: cfg.Fleet.Center, Ends: id.Expires().UTC(), Follows: cfg.Fleet.Policy, Policy: policy.InForce(cfg.PolicyDir()), Lists: []string{}, Contact: readContact(cfg)}
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
			_, err = fmt.Fprintf(cl.out, "node         %s\ncenter       %s\ncontact      %s\ncertificate  until %s, renewed by itself\npolicy       %s\nlists        %s\n",
				st.Node, strings.Join(st.Centers, ", "), contact, st.Ends.Local().Format("2006-01-02"), follows, cmp.Or(strings.Join(st.Lists, ", "), "none"))
			return err
		},
	})
}
