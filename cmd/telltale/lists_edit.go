package main

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/blocklists"
	"telltale/config"
)

func (cl *cli) newAllow() *cobra.Command {
	return cl.newOwnRule("allow", blocklists.Allow, "Let a name and everything below it through, whatever lists say",
		"  telltale allow cdn.example\n  telltale allow login.example --for 1h --comment \"guest's phone\"\n  telltale allow --remove cdn.example")
}

func (cl *cli) newBlock() *cobra.Command {
	return cl.newOwnRule("block", blocklists.Block, "Block a name and everything below it",
		"  telltale block ads.example\n  telltale block ads.example --device living-room-tv\n  telltale block --remove ads.example")
}

// newOwnRule makes a command that writes a rule of the user's own.
func (cl *cli) newOwnRule(word string, action blocklists.Action, short, example string) *cobra.Command {
	device, comment, remove := "", "", false
	age := ""
	c := &cobra.Command{
		Use:   word + " NAME",
		Short: short,
		Long: short + `.

The rule is a line in your own file (own.txt in lists.dir), which you may as
well edit by hand: all other lines and comments stay as they are. A rule for
the same name is replaced.`,
		Example: example,
		Args:    oneArg("name"),
		RunE: func(_ *cobra.Command, args []string) error {
			name, err := parseName(args[0])
			if err != nil {
				return usage("%v", err)
			}
			var until time.Time
			if age != "" {
				d, err := parseAge(age)
				if err != nil || d <= 0 {
					return usage("--for: %q is no duration; 30m, 2h or 1d are", age)
				}
				until = time.Now().Add(d)
			}
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			if device, err = deviceInRules(cfg, device); err != nil {
				return err
			}
			path := filepath.Join(cfg.Lists.Dir, ownFile)
			if remove {
				n, err := blocklists.RemoveOwn(path, device, &name)
				if err == nil && n == 0 {
					err = fmt.Errorf("%s has no rule for %s", path, name.String())
				}
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cl.out, "%s: %d lines removed\n", path, n)
				return err
			}
			if err := blocklists.EditOwn(path, device, action, &name, comment, until); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cl.out, "%s: %s %s\n", path, word, name.String())
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&device, "device", "", "for one device only: its name or MAC in the settings, or an address")
	f.StringVar(&age, "for", "", "for so long: 30m, 2h, 1d; without it, for good")
	f.StringVar(&comment, "comment", "", "why, as a comment behind the rule")
	f.BoolVar(&remove, "remove", false, "remove your own rule for the name instead")
	return c
}

// deviceInRules returns the name by which rules know a device: that of the
// settings, or an address. By anything else a rule would never hold.
func deviceInRules(cfg *config.Config, who string) (string, error) {
	if who == "" {
		return "", nil
	}
	for i := range cfg.Devices {
		d := &cfg.Devices[i]
		if strings.EqualFold(d.Name, who) || slices.Contains(d.MACs, strings.ToLower(who)) ||
			slices.ContainsFunc(d.Addresses, func(a netip.Addr) bool { return a.String() == who }) {
			return d.Name, nil
		}
	}
	if addr, err := netip.ParseAddr(who); err == nil {
		return addr.Unmap().WithZone("").String(), nil
	}
	return "", fmt.Errorf("no device %q is configured: name it under devices in the settings first, or give its address", who)
}
