package main

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"telltale/blocklists"
	"telltale/web"
)

// seconds rounds a duration up to whole seconds.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// A target is what a pause, or a time of observing, is of.
type target struct{ device, group, list, vendor string }

func (t *target) flags(cl *cli, c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&t.device, "device", "", "of this device alone: its name, identity, MAC or address")
	f.StringVar(&t.group, "group", "", "of the devices of this group")
	f.StringVar(&t.list, "list", "", "of this list: the others go on blocking")
	f.StringVar(&t.vendor, "vendor", "", "of the names that are attributed to this vendor")
	completeBy(c, "device", cl.deviceWords)
	completeBy(c, "vendor", cl.vendorWords)
}

// is returns the scope, and the name in it.
func (t *target) is() (of blocklists.Scope, name string, err error) {
	of = blocklists.Everything
	for _, one := range []struct {
		of   blocklists.Scope
		name string
	}{{blocklists.OfDevice, t.device}, {blocklists.OfGroup, t.group}, {blocklists.OfList, t.list}, {blocklists.OfVendor, t.vendor}} {
		if one.name != "" && name != "" {
			return of, name, usage("--%s and --%s: give one of them", of, one.of)
		}
		if one.name != "" {
			of, name = one.of, one.name
		}
	}
	return of, name, nil
}

func oneDuration(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usage("one duration is expected, such as 30m")
	}
	return nil
}

func (cl *cli) newPause() *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:   "pause [DURATION]",
		Short: "Block nothing for a while; everything is still recorded",
		Long: `Block nothing for a while (10 minutes unless you say otherwise): for everybody, for
a device or a group, or nothing of a list or of a vendor's names. Listed names are
answered normally and recorded as observed, with the pause as the reason. The pause
ends by itself, survives a restart, and stands in the log's quality ledger.
'telltale status' shows it, 'telltale resume' ends it.`,
		Example: "  telltale pause\n  telltale pause 1h --device living-room-tv\n  telltale pause --vendor Samsung",
		Args:    oneDuration,
		RunE: func(c *cobra.Command, args []string) error {
			return cl.runTemporary(c, blocklists.Pause, &t, args, 10*time.Minute)
		},
	}
	t.flags(cl, c)
	return c
}

func (cl *cli) newObserve() *cobra.Command {
	var t target
	end := false
	c := &cobra.Command{
		Use:   "observe [DURATION]",
		Short: "Block nothing for a time, to see what is asked where nothing is blocked",
		Long: `Block nothing for a time (a day unless you say otherwise), to see what devices ask
where nothing is blocked: a blocked device asks more often, or for other names. It does
what 'telltale pause' does, for as long as you measure, and the log says that it was
meant so. With --list, the list is as one that only observes: its exceptions do not hold
either. It ends by itself, survives a restart, and stands in the log's quality ledger.`,
		Example: "  telltale observe 7d --device living-room-tv\n  telltale observe 1h --list trial\n  telltale observe --end",
		Args:    oneDuration,
		RunE: func(c *cobra.Command, args []string) error {
			if end {
				if len(args) > 0 {
					return usage("--end takes no duration")
				}
				return cl.endTemporary(c, blocklists.Observing, &t)
			}
			return cl.runTemporary(c, blocklists.Observing, &t, args, 24*time.Hour)
		},
	}
	t.flags(cl, c)
	c.Flags().BoolVar(&end, "end", false, "end it: that of the device, group, list or vendor, or all")
	return c
}

func (cl *cli) newResume() *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:     "resume",
		Short:   "End a pause",
		Long:    "End the pause of a device, a group, a list or a vendor, or all pauses there are.",
		Example: "  telltale resume\n  telltale resume --device living-room-tv",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return cl.endTemporary(c, blocklists.Pause, &t) },
	}
	t.flags(cl, c)
	return c
}

func (cl *cli) runTemporary(c *cobra.Command, kind blocklists.TemporaryKind, t *target, args []string, d time.Duration) error {
	if len(args) == 1 {
		var err error
		if d, err = parseAge(args[0]); err != nil || d <= 0 {
			return usage("%q is no duration; 30m, 2h or 1d are", args[0])
		}
	}
	cfg, err := cl.load()
	if err != nil {
		return err
	}
	of, name, err := t.is()
	if err != nil {
		return err
	}
	var now web.Temporary
	p := web.Pause{Kind: string(kind), Of: string(of), Name: name, Seconds: seconds(d)}
	if err := newClient(cfg).do(c.Context(), http.MethodPut, "/pause", p, &now); err != nil {
		return err
	}
	says, cure := temporaryText(&now)
	_, err = fmt.Fprintf(cl.out, "N%s. %s.\n", says[1:], cure)
	return err
}

func (cl *cli) endTemporary(c *cobra.Command, kind blocklists.TemporaryKind, t *target) error {
	cfg, err := cl.load()
	if err != nil {
		return err
	}
	q := url.Values{"kind": {string(kind)}}
	of, name, err := t.is()
	if err != nil {
		return err
	}
	if name != "" {
		q.Set("of", string(of))
		q.Set("name", name)
	}
	var r web.Resumed
	if err := newClient(cfg).do(c.Context(), http.MethodDelete, "/pause?"+q.Encode(), nil, &r); err != nil {
		return err
	}
	if len(r.Ended) == 0 {
		_, err := fmt.Fprintln(cl.out, "There was nothing to end: the lists are in force.")
		return err
	}
	for i := range r.Ended {
		e := &r.Ended[i]
		of := e.Of
		if e.Shown != "" {
			of += " " + printable(e.Shown)
		}
		if _, err := fmt.Fprintf(cl.out, "The lists are in force again: the %s of %s is over.\n", e.Kind, of); err != nil {
			return err
		}
	}
	return nil
}
