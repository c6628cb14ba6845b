package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"telltale/evidence/render"
	"telltale/evidence/rhythm"
	"telltale/querylog"
)

// rhythmFlags say whose rhythms are wanted.
type rhythmFlags struct {
	period
	device, vendor                       string
	unlisted, every, ignored, pseudonyms bool
}

func (cl *cli) newRhythm() *cobra.Command {
	var r rhythmFlags
	c := cl.addJSON(&cobra.Command{
		Use:   "rhythm [DEVICE]",
		Short: "Say by which rhythm devices ask for names: steady, at a start, at night, while in use",
		Long: `Say for each listed name that a device asked for by which rhythm it did, in the last
7 days unless --since says otherwise: of one device, or of all.

  heartbeat          at a steady period, with its jitter and the share of beats that are there
  nightly            night after night within the same hour, between 0 and 6 o'clock
  boot burst         with other names, when the device had been silent for two hours
  only while in use  in hours in which the device asks for names of no vendor
  irregular          none of these was found

Each comes with a strip: the period from its beginning to its end, taller where there
were more attempts. Names of one rule are also looked at together.

A period near the TTL that was served, or near the attempt gap, is said to be possibly
ours: a device that needs a name all the time asks when the answer that it has is over,
and two attempts cannot begin closer to one another than the gap. Intervals in which
something is missing from the record are left out, and so are imported lookups.

docs/evidence.md has the method, how often it errs, and what it does not find. A rhythm
says when a device asks, and not why.`,
		Example: `  telltale rhythm
  telltale rhythm living-room-tv --last 30d
  telltale rhythm --vendor Xiaomi --every
  telltale rhythm phone --last 24h --unlisted`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("one device is expected at most; without one it is of all devices")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				r.device = args[0]
			}
			return cl.rhythm(c.Context(), &r)
		},
	})
	cl.completeDevices(c)
	r.period.add(c, "7d")
	f := c.Flags()
	f.StringVar(&r.vendor, "vendor", "", "of one vendor's names")
	f.BoolVar(&r.unlisted, "unlisted", false, "also of names that no list has, as long as their rows are kept")
	f.BoolVar(&r.every, "every", false, "also names without a rhythm")
	f.BoolVar(&r.ignored, "ignored", false, "with ignored devices")
	f.BoolVar(&r.pseudonyms, "pseudonyms", false, "with other words for devices and names of the home")
	completeBy(c, "vendor", cl.vendorWords)
	return c
}

func (cl *cli) rhythm(ctx context.Context, r *rhythmFlags) error {
	since, until, err := r.readPast(time.Now())
	if err != nil {
		return err
	}
	if r.vendor != "" && r.unlisted {
		return usage("--unlisted is of names that are no vendor's: leave out --vendor, or --unlisted")
	}
	l, err := cl.openLog(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	of := &reportOf{since: since, until: until, zone: r.zone, device: r.device, vendor: r.vendor, ignored: r.ignored}
	if r.pseudonyms {
		of.hide = newPseudonyms(l)
	}
	found, err := l.rhythms(ctx, of, r.unlisted)
	if err != nil {
		return err
	}
	if len(found.Rhythms) == 0 {
		if err := l.checkVendor(ctx, r.vendor); err != nil {
			return err
		}
	}
	if cl.json {
		return cl.encoder().Encode(found)
	}
	return render.Rhythms(cl.out, found, "the same command with --every", r.every)
}

// rhythms finds those of the log.
func (l *openedLog) rhythms(ctx context.Context, r *reportOf, unlisted bool) (*rhythm.Findings, error) {
	o := rhythm.Options{
		Since: r.since, Until: r.until, Zone: r.zone, ZoneName: zoneName(r.zone, r.until), Vendor: r.vendor, Unlisted: unlisted,
		Whose: querylog.Filter{Device: r.device}, Today: l.ids.now, Was: l.ids.was, Name: l.ids.called,
	}
	if err := l.choose(&o.Whose, r.ignored); err != nil {
		return nil, err
	}
	if r.hide != nil {
		o.Name = func(device string) string { return r.hide.of("device", device) }
	}
	found, err := rhythm.Make(ctx, l.Reader, o)
	if err != nil || r.hide == nil {
		return found, err
	}
	for i := range found.Rhythms {
		f := &found.Rhythms[i]
		f.Device, f.Name = f.Label, r.hide.ofRhythm(f)
	}
	return found, nil
}

// ofRhythm returns the name of a rhythm as log has it.
func (p *pseudonyms) ofRhythm(f *rhythm.Rhythm) string {
	verdict := ""
	if f.Here {
		verdict = "answer"
	}
	return p.name(f.Name, verdict)
}
