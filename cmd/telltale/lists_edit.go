package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/config"
	"telltale/web"
)

func (cl *cli) newAllow() *cobra.Command {
	return cl.newOwnRule("allow", "Let a name and everything below it through, whatever lists say",
		"  telltale allow cdn.example\n  telltale allow login.example --for 1h --comment \"guest's phone\"\n  telltale allow --remove cdn.example")
}

func (cl *cli) newBlock() *cobra.Command {
	return cl.newOwnRule("block", "Block a name and everything below it",
		"  telltale block ads.example\n  telltale block ads.example --device living-room-tv\n  telltale block --remove ads.example")
}

// newOwnRule makes a command that writes a rule of the user's own.
func (cl *cli) newOwnRule(word, short, example string) *cobra.Command {
	r, remove, force, age := web.Rule{Action: word}, false, false, ""
	c := &cobra.Command{
		Use:   word + " NAME",
		Short: short,
		Long: short + `.

The rule is a line in your own file (own.txt in lists.dir), which you can edit
by hand, too: all other lines and comments stay as they are. A rule for the
same name is replaced. The running server writes it, and the rule is in force
when this command ends. With the server stopped the command writes the file.`,
		Example: example,
		Args:    oneArg("name"),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseHost(args[0])
			if err != nil {
				return usage("%v", err)
			}
			r.Name = name.String()
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			if word == "block" && !remove && !force {
				if err := cl.confirmBlock(cfg, &name); err != nil {
					return err
				}
			}
			if age != "" {
				d, err := parseAge(age)
				if err != nil || d <= 0 {
					return usage("--for: %q is no duration; 30m, 2h or 1d are", age)
				}
				r.Seconds = seconds(d)
			}
			return cl.changeOwnRule(c.Context(), cfg, r, remove)
		},
	}
	f := c.Flags()
	f.StringVar(&r.Device, "device", "", "for one device only: its name, identity or MAC, or an address")
	f.StringVar(&age, "for", "", "for so long: 30m, 2h, 1d; without it, for good")
	f.StringVar(&r.Comment, "comment", "", "why, as a comment behind the rule")
	if word == "block" {
		f.BoolVar(&force, "force", false, "block it even where that breaks what must work")
	}
	f.BoolVar(&remove, "remove", false, "remove your own rule for the name instead")
	return c
}

// changeOwnRule writes or removes a rule, and tells what was done.
func (cl *cli) changeOwnRule(ctx context.Context, cfg *config.Config, r web.Rule, remove bool) error {
	c, stopped, err := sendOwnRule(ctx, cfg, r, remove)
	if err != nil {
		return err
	}
	if remove {
		fmt.Fprintf(cl.out, "%s: %s removed\n", c.File, number(uint64(c.Removed), "line"))
	} else {
		text := fmt.Sprintf("%s: %s %s", c.File, r.Action, r.Name)
		if r.Device != "" {
			text += " for " + r.Device + " alone"
		}
		if r.Seconds > 0 {
			text += " until " + when(time.Now().Add(time.Duration(r.Seconds)*time.Second))
		}
		fmt.Fprintln(cl.out, printable(text))
	}
	if c.Note != "" {
		fmt.Fprintln(cl.err, printable("Note: "+c.Note))
	}
	if stopped {
		fmt.Fprintln(cl.err, "No server is running: the file is written, and in force once one starts.")
	}
	return nil
}

// sendOwnRule has the server write or remove a rule, or does so itself where none runs.
func sendOwnRule(ctx context.Context, cfg *config.Config, r web.Rule, remove bool) (c web.Change, stopped bool, err error) {
	if remove {
		q := url.Values{"name": {r.Name}, "device": {r.Device}}
		err = newClient(cfg).do(ctx, http.MethodDelete, "/rules?"+q.Encode(), nil, &c)
	} else {
		err = newClient(cfg).do(ctx, http.MethodPost, "/rules", r, &c)
	}
	if stopped = errors.Is(err, errStopped); stopped {
		var device string
		if device, err = deviceInRules(cfg, r.Device); err == nil {
			c, err = ownRule(cfg, r, device, remove, time.Now())
		}
	}
	return c, stopped, err
}

// deviceInRules returns the name by which rules know a device of the settings, or an
// address. What else is known only the running server can say.
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
	return "", fmt.Errorf("no device %q is configured, and the server that could know it is not running: name it under devices in the settings first, or give its address", who)
}
