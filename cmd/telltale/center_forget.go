//go:build !small

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/spf13/cobra"

	"telltale/config"
	"telltale/fleet"
	"telltale/querylog"
)

func (cl *cli) newCenterForget() *cobra.Command {
	device, yes := "", false
	c := &cobra.Command{
		Use:   "forget NODE | --device DEVICE",
		Short: "Delete what the merged log has of a node, or of a device",
		Long: `Delete what the merged log has of a node until now, with its lines of the ledger, or what it
has of a device, of all nodes. Nodes keep theirs: 'telltale devices forget' there forgets a
device, and what that node sent of it is then deleted here by itself, within some seconds.

A node goes on sending what is new, until 'telltale center revoke NODE'. Copies of the merged
log (backups) keep what they have. It cannot be undone.`,
		Example: "  telltale center forget attic --yes\n  telltale center forget --device mac:02:00:00:00:00:01 --yes",
		Args: func(c *cobra.Command, args []string) error {
			if (len(args) == 1) == (device != "") || len(args) > 1 {
				return usage("the name of a node is expected, or --device")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			what := "of " + device
			f := fleet.Forgetting{}
			if device == "" {
				f.Node, what = args[0], "that node "+args[0]+" sent"
			} else if f, err = cl.forgettingOfDevice(c.Context(), device); err != nil {
				return err
			}
			if !yes {
				return fmt.Errorf("what the merged log has %s would be deleted for good: say --yes if it is to be", what)
			}
			rows, err := cl.forgetAtCenter(c.Context(), cfg, f)
			if err != nil {
				return err
			}
			if cl.json {
				return cl.encoder().Encode(centerSaid{Rows: rows})
			}
			_, err = fmt.Fprintf(cl.out, "%s %s deleted from the merged log.\n", number(uint64(rows), "row"), what)
			return err
		},
	}
	c.Flags().StringVar(&device, "device", "", "a device, of all nodes: its name, identity, MAC or address")
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	return cl.addJSON(c)
}

// forgettingOfDevice returns what there is of a device in the merged log.
func (cl *cli) forgettingOfDevice(ctx context.Context, device string) (f fleet.Forgetting, err error) {
	cl.allNodes = true
	l, err := cl.openMoment(ctx)
	if err != nil {
		return f, err
	}
	defer l.Close()
	if f.Devices, err = l.ids.find(device); err != nil {
		return f, err
	}
	if len(f.Devices) == 0 {
		f.Devices = []querylog.DeviceSpan{{Device: "addr:" + device}}
	}
	bindings, err := l.Bindings(ctx)
	if err != nil {
		return f, err
	}
	theirs := map[string]bool{}
	whole := func(identity string) bool { return slices.Contains(f.Devices, querylog.DeviceSpan{Device: identity}) }
	for i := range bindings {
		if b := &bindings[i]; !whole(b.Device) {
			theirs[b.MAC], theirs[b.Name] = true, true
		}
	}
	for i := range bindings {
		b := &bindings[i]
		for _, w := range []string{b.Device, b.MAC, b.Name} {
			if whole(b.Device) && w != "" && !theirs[w] && !slices.Contains(f.Words, w) {
				f.Words = append(f.Words, w)
			}
		}
	}
	return f, nil
}

// forgetAtCenter has the center that runs here forget, or does it where none runs.
func (cl *cli) forgetAtCenter(ctx context.Context, cfg *config.Config, f fleet.Forgetting) (rows int64, err error) {
	text, err := json.Marshal(forgetAsked{Node: f.Node, Forgetting: f})
	if err != nil {
		return 0, err
	}
	resp, err := askCenter(ctx, cfg, http.MethodPost, "/forget", bytes.NewReader(text))
	if errors.Is(err, errNoCenter) {
		return cl.forgetAlone(ctx, cfg, f)
	}
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var said centerSaid
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		return 0, fmt.Errorf("the center's answer cannot be read: %w", err)
	}
	if said.Error != "" {
		return said.Rows, errors.New(said.Error)
	}
	return said.Rows, nil
}

// forgetAlone forgets in a log that no center has open.
func (cl *cli) forgetAlone(ctx context.Context, cfg *config.Config, f fleet.Forgetting) (rows int64, err error) {
	cl.allNodes = true
	l, err := cl.openMoment(ctx) // fails where there is no log, which opening the store would make
	if err != nil {
		return 0, err
	}
	if err := l.Close(); err != nil {
		return 0, err
	}
	logger, _, err := cl.newLogger(cfg)
	if err != nil {
		return 0, err
	}
	c := &center{cfg: cfg, logger: logger}
	s, err := c.openStore(ctx)
	if err != nil {
		return 0, err
	}
	rows, err = forgetIn(ctx, s, f)
	if err = errors.Join(err, s.Close()); err == nil && cfg.Center.Store == "" {
		err = giveCenter(cfg)
	}
	return rows, err
}

// forgetIn forgets in a merged log. A node that sent nothing is a name that was mistyped.
func forgetIn(ctx context.Context, s fleet.Store, f fleet.Forgetting) (rows int64, err error) {
	if f.Node != "" {
		nodes, err := s.Nodes(ctx)
		if err != nil {
			return 0, err
		}
		if !slices.ContainsFunc(nodes, func(n fleet.NodeState) bool { return n.Node == f.Node }) {
			return 0, fmt.Errorf("no node %q has sent anything that is here ('telltale center nodes' shows the nodes)", f.Node)
		}
	}
	return s.Forget(ctx, f)
}
