package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"telltale/blocklists"
	"telltale/config"
	"telltale/web"
)

func (cl *cli) newListsDiff() *cobra.Command {
	held := false
	c := cl.addJSON(&cobra.Command{
		Use:     "diff NAME",
		Short:   "Show what the last update of a subscribed list added and removed",
		Example: "  telltale lists diff mylist\n  telltale lists diff --held mylist",
		Args:    oneArg("name of a subscribed list"),

		ValidArgsFunction: completion(cl.listWords(blocklists.Subscribed)),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			if err := knownSubscriptions(cfg, args); err != nil {
				return err
			}
			q := url.Values{"name": {args[0]}}
			if held {
				q.Set("held", "true")
			}
			var d web.Diff
			if err := newClient(cfg).get(c.Context(), "/lists/diff?"+q.Encode(), &d); err != nil {
				return err
			}
			if cl.json {
				return cl.encoder().Encode(d)
			}
			for _, s := range d.Removed {
				fmt.Fprintln(cl.out, "- "+printable(s))
			}
			for _, s := range d.Added {
				fmt.Fprintln(cl.out, "+ "+printable(s))
			}
			_, err = fmt.Fprintf(cl.err, "%d added, %d removed\n", d.AddedTotal, d.RemovedTotal)
			return err
		},
	})
	c.Flags().BoolVar(&held, "held", false, "what the update that is held back would change")
	return c
}

// knownSubscriptions fails for a name that no subscribed list has.
func knownSubscriptions(cfg *config.Config, names []string) error {
	var known []string
	for i := range cfg.Lists.Subscriptions {
		known = append(known, cfg.Lists.Subscriptions[i].Name)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return unknown("subscribed list", name, known, "telltale lists")
		}
	}
	return nil
}

func (cl *cli) newListsRefresh() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:     "refresh [NAME...]",
		Short:   "Fetch subscribed lists now",
		Long:    "Fetch the named subscribed lists, or all of them, now instead of when they are due. Exit status 1 if one failed or was held back.",
		Example: "  telltale lists refresh\n  telltale lists refresh mylist",

		ValidArgsFunction: completion(cl.listWords(blocklists.Subscribed)),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			if len(cfg.Lists.Subscriptions) == 0 {
				return errors.New("no list is subscribed to: 'telltale lists add' subscribes to one, 'telltale lists presets' offers some")
			}
			if err := knownSubscriptions(cfg, args); err != nil {
				return err
			}
			well := true
			err = newClient(cfg).stream(c.Context(), "/lists/refresh", web.ListNames{Names: args}, func(d *json.Decoder) error {
				var r web.Refreshed
				if err := d.Decode(&r); err != nil {
					return err
				}
				well = well && r.Error == ""
				return cl.printRefreshed(&r)
			})
			if err == nil && !well {
				return errSilent
			}
			return err
		},
	})
}

func (cl *cli) printRefreshed(r *web.Refreshed) error {
	if cl.json {
		return cl.encoder().Encode(r)
	}
	switch {
	case !r.Done && r.Total > 0:
		fmt.Fprintf(cl.err, "%s: %s of %s\n", printable(r.Name), bytesText(r.Bytes), bytesText(r.Total))
	case !r.Done:
		fmt.Fprintf(cl.err, "%s: %s\n", printable(r.Name), bytesText(r.Bytes))
	case r.Error != "":
		parts := slices.DeleteFunc([]string{r.Name, r.Outcome, r.Error}, func(p string) bool { return p == "" })
		fmt.Fprintln(cl.out, printable(strings.Join(parts, ": ")))
	case r.Bad > 0:
		fmt.Fprintf(cl.out, "%s: %s, %d rules, %d lines not in force ('telltale lists --bad' shows them)\n", printable(r.Name), r.Outcome, r.Rules, r.Bad)
	case r.Rules > 0:
		fmt.Fprintf(cl.out, "%s: %s, %d rules\n", printable(r.Name), r.Outcome, r.Rules)
	default:
		fmt.Fprintf(cl.out, "%s: %s\n", printable(r.Name), r.Outcome)
	}
	return nil
}

func (cl *cli) newListsPresets() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:   "presets",
		Short: "Show wide lists of others that can be subscribed to",
		Long: `Show wide lists that others maintain. None is on unless you ask for it: a wide list
blocks what its authors think right, which is more than telemetry.
'telltale lists add NAME' subscribes to one.`,
		Example: "  telltale lists presets",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if !cl.json {
				fmt.Fprintln(cl.out, "# 'telltale lists add NAME' subscribes to one, and so does its entry under lists.subscriptions in the settings.")
			}
			for _, p := range presets() {
				var err error
				if cl.json {
					err = cl.encoder().Encode(p)
				} else {
					_, err = fmt.Fprintf(cl.out, "# %s\n- {name: %s, url: %q}\n", p.Title, p.Name, p.URL)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	})
}
