package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/config"
	"telltale/devices"
	"telltale/devices/corrections"
	"telltale/sorting"
	"telltale/web"
)

// Discovery of a device: its rows of names that no list has are kept as long as those of
// listed names, since a person wants to find telemetry that is on no list yet.

func (cl *cli) newDeviceDiscover() *cobra.Command {
	c := &cobra.Command{
		Use:   "discover DEVICE on|off",
		Short: "Keep a device's rows of names that no list has for as long as those of listed names",
		Long: `Keep the rows of names that no list has of one device for as long as those of listed
names (log.listed), to find telemetry that is on no list yet ('telltale candidates
DEVICE --last 30d'). Without it they are kept for a day (log.unlisted).

That is everything that the device asks for: where a person reads, whom they write to.
Ask whoever uses it. 'telltale status', 'telltale doctor' and 'telltale devices' show
for which devices it is on, and the ledger has when.

Off, or 'telltale devices undo', holds at once: what is older than log.unlisted is
deleted when old rows are deleted next, within an hour or so. While the clock cannot be
relied on nothing is deleted by age (docs/querylog.md).`,
		Example: "  telltale devices discover living-room-tv on\n  telltale devices discover living-room-tv off",
		Args:    args("a device, and on or off,", 2, 2),
		RunE: func(c *cobra.Command, args []string) error {
			n := web.NewCorrection{Kind: string(corrections.Discover), Device: args[0]}
			switch args[1] {
			case "on":
			case "off":
				n.Kind = string(corrections.DiscoverOff)
			default:
				return usage("%q is neither on nor off", args[1])
			}
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			kept, err := cl.correct(c.Context(), n)
			if err != nil {
				return err
			}
			if n.Kind == string(corrections.DiscoverOff) {
				return cl.kept(kept, "discovery is off for %s: its rows of names that no list has are kept for %s again, and older ones are deleted within an hour or so", printable(kept.Device), age(cfg.Log.Unlisted))
			}
			if cfg.Log.Unlisted == 0 {
				fmt.Fprintln(cl.err, "note: log.unlisted is 0, so names that no list has are not kept of any device: set it to 1h or more for discovery to keep them")
			}
			return cl.kept(kept, "discovery is on for %s: its rows of names that no list has are kept for %s from now on", printable(kept.Device), age(discoveryKept(cfg)))
		},
	}
	return cl.completeDevices(c)
}

// discoveryKept is how long unlisted rows are kept of a device for which discovery is on;
// negative for always.
func discoveryKept(cfg *config.Config) time.Duration {
	if cfg.Log.Listed < 0 || cfg.Log.Unlisted < 0 {
		return -1
	}
	return max(cfg.Log.Listed, cfg.Log.Unlisted)
}

// age says how long something is kept.
func age(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 0:
		return "ever"
	case d == day:
		return "a day"
	case d%day == 0:
		return fmt.Sprintf("%d days", d/day)
	}
	return spanText(d)
}

// discovered returns what says of which bindings unlisted rows are kept longer: those whose
// device, as it is known today, has discovery on, at their beginning and now.
func discovered(cfg func() *config.Config) func(bindings []devices.Binding) (kept map[uint64]bool, ok bool) {
	return func(bindings []devices.Binding) (map[uint64]bool, bool) {
		c := cfg()
		corrected, err := corrections.Read(correctionsPath(c))
		if err != nil { // the server says so
			return nil, false
		}
		if !slices.ContainsFunc(corrected, func(c corrections.Correction) bool { return c.Kind == corrections.Discover }) {
			return nil, true
		}
		ids, kept := newIdentities(c, bindings, corrected), map[uint64]bool{}
		for i := range bindings {
			b := &bindings[i]
			first := ids.now(b.Device, b.From)
			if !ids.view.Discovered(first).IsZero() && ids.last(b.Device) == first {
				kept[b.ID] = true
			}
		}
		return kept, true
	}
}

// tellDiscovery writes a line of the ledger where a correction turned discovery on or off.
func (a *app) tellDiscovery(c *corrections.Correction, undone bool) {
	if c.Kind != corrections.Discover && c.Kind != corrections.DiscoverOff {
		return
	}
	_, ids := a.knownDevices()
	device := ids.last(c.Device)
	detail := "off: its rows of names that no list has are kept as long as those of other devices"
	if !ids.view.Discovered(device).IsZero() {
		detail = "on: its rows of names that no list has are kept as long as those of listed names"
	}
	if undone {
		detail += fmt.Sprintf(" (correction %d was taken back)", c.ID)
	}
	a.log.Report("discovery", ids.name(device), detail)
}

// discoveryStatus are the devices for which discovery is on.
func (a *app) discoveryStatus() []web.Discovery {
	all := []web.Discovery{}
	if !slices.ContainsFunc(a.corrected.All(), func(c corrections.Correction) bool { return c.Kind == corrections.Discover }) {
		return all
	}
	_, ids := a.knownDevices()
	kept := a.cfg.Load().Log.Unlisted != 0
	for _, d := range ids.discovering() {
		all = append(all, web.Discovery{Device: d.device, Name: ids.name(d.device), Since: d.since.UTC(), Kept: kept})
	}
	return all
}

// discovered returns since when discovery is on for devices.
func (ids *identities) discovered() map[string]time.Time {
	all := map[string]time.Time{}
	ids.view.Discoveries(func(device string, since time.Time) { all[device] = since })
	return all
}

// A discovering is a device for which discovery is on.
type discovering struct {
	device string
	since  time.Time
}

// discovering returns the devices for which discovery is on, in an order that stays.
func (ids *identities) discovering() (all []discovering) {
	ids.view.Discoveries(func(device string, since time.Time) { all = append(all, discovering{device, since}) })
	sorting.By(all, func(a, b discovering) int { return strings.Compare(a.device, b.device) })
	return all
}

// discoveries says for which devices discovery is on.
func (d *doctor) discoveries(st *web.Status) {
	for i := range st.Discovery {
		on := &st.Discovery[i]
		if !on.Kept {
			d.says("discovery", "is on for %s, and keeps nothing: log.unlisted is 0", printable(on.Name))
			continue
		}
		d.says("discovery", "is on for %s since %s: its rows of names that no list has are kept as long as those of listed names", printable(on.Name), when(on.Since))
	}
}
