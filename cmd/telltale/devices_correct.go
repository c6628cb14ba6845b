package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"telltale/devices/kinds"
	"telltale/web"
)

// The commands below devices: what people say of devices.

// correct has the server keep a correction.
func (cl *cli) correct(ctx context.Context, n web.NewCorrection) (c web.Correction, err error) {
	cfg, err := cl.load()
	if err != nil {
		return c, err
	}
	return c, newClient(cfg).do(ctx, http.MethodPost, "/corrections", n, &c)
}

// kept says what a correction did, and how it is undone.
func (cl *cli) kept(c web.Correction, format string, args ...any) error {
	_, err := fmt.Fprintf(cl.out, "%s (correction %d: 'telltale devices undo %[2]d' takes it back)\n", fmt.Sprintf(format, args...), c.ID)
	return err
}

func (cl *cli) newDeviceName() *cobra.Command {
	c := &cobra.Command{
		Use:   "name DEVICE NAME",
		Short: "Call a device by a name",
		Long: `Call a device by a name. The log and everything that counts show the name from
then on, for the past, too. It goes before the name in the settings, and stays
when the device changes its address, or is taken out of the settings.`,
		Example: "  telltale devices name 02:00:5e:10:00:01 \"Anna's phone\"",
		Args:    args("a device and a name", 2, 2),
		RunE: func(c *cobra.Command, args []string) error {
			n, err := cl.correct(c.Context(), web.NewCorrection{Kind: "name", Device: args[0], Name: args[1]})
			if err != nil {
				return err
			}
			return cl.kept(n, "%s is called %s", printable(n.Device), printable(n.Name))
		},
	}
	return cl.completeDevices(c)
}

func (cl *cli) newDeviceKind() *cobra.Command {
	c := &cobra.Command{
		Use:   "kind DEVICE KIND",
		Short: "Say what a device is: a phone, a television",
		Long: `Say what a device is, instead of a guess. 'telltale devices history DEVICE' shows
what the guess rests on. Kinds are:
` + kindWords(),
		Example: "  telltale devices kind \"Anna's phone\" phone",
		Args:    args("a device and a kind", 2, 2),
		RunE: func(c *cobra.Command, args []string) error {
			n, err := cl.correct(c.Context(), web.NewCorrection{Kind: "kind", Device: args[0], Is: strings.ToLower(args[1])})
			if err != nil {
				return err
			}
			return cl.kept(n, "%s is of the kind %s", printable(n.Device), printable(n.Is))
		},
	}
	return cl.completeDevices(c)
}

func (cl *cli) newDeviceTag() *cobra.Command {
	remove := false
	c := &cobra.Command{
		Use:   "tag DEVICE TAG",
		Short: "Tag a device, for groups and rules",
		Long: `Tag a device: a group of the settings with that tag has it, and rules with
$ctag=TAG are for it. It holds at once, beside the tags in the settings, and
'telltale devices undo' takes it back.`,
		Example: "  telltale devices tag \"Anna's phone\" bedroom\n  telltale devices tag 02:00:5e:10:00:01 bedroom --remove",
		Args:    args("a device and a tag", 2, 2),
		RunE: func(c *cobra.Command, args []string) error {
			n := web.NewCorrection{Kind: "tag", Device: args[0], Tag: args[1]}
			said := "%s is tagged %s"
			if remove {
				n.Kind, said = "untag", "%s is no longer tagged %s"
			}
			kept, err := cl.correct(c.Context(), n)
			if err != nil {
				return err
			}
			return cl.kept(kept, said, printable(kept.Device), printable(kept.Tag))
		},
	}
	c.Flags().BoolVar(&remove, "remove", false, "take the tag away")
	return cl.completeDevices(c)
}

// kindWords are the kinds, in lines of at most 80 characters.
func kindWords() string {
	text, length := "", 0
	for i, w := range kinds.Words {
		if i < len(kinds.Words)-1 {
			w += ", "
		}
		if length+len(w) > 80 {
			text, length = strings.TrimRight(text, " ")+"\n", 0
		}
		text, length = text+w, length+len(w)
	}
	return text + "."
}

func (cl *cli) newDeviceMerge() *cobra.Command {
	c := &cobra.Command{
		Use:   "merge DEVICE OTHER...",
		Short: "Say that devices are one: a phone that changed its MAC, for example",
		Long: `Say that other devices are the first one: a phone that has another MAC now, a
computer with a cable and a radio. Their rows are shown as the first one's, those
to come, too. Groups and rules go by what the settings say, and do not change.`,
		Example: "  telltale devices merge \"Anna's phone\" 06:00:5e:10:00:02",
		Args:    args("a device and one or more others", 2, 64),
		RunE: func(c *cobra.Command, args []string) error {
			for _, other := range args[1:] {
				n, err := cl.correct(c.Context(), web.NewCorrection{Kind: "merge", Device: args[0], Other: other})
				if err == nil {
					err = cl.kept(n, "%s is %s", printable(n.Other), printable(n.Device))
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	return cl.completeDevices(c)
}

func (cl *cli) newDeviceSplit() *cobra.Command {
	from, name := "", ""
	c := &cobra.Command{
		Use:   "split DEVICE --from TIME",
		Short: "Say that from a time on it is another device: one that was given away, for example",
		Long: `Say that from a time on it is another device: a phone that was given away, an
address that another computer got. Rows from then on are shown as the new device's.
A row belongs to the device that had its first lookup.`,
		Example: "  telltale devices split \"Anna's phone\" --from 2026-11-01 --name \"Ben's phone\"",
		Args:    oneArg("device"),
		RunE: func(c *cobra.Command, args []string) error {
			at, err := parseTime(from, time.Now(), false)
			if err != nil || at.IsZero() {
				return usage("--from says since when: %v", cmp.Or(err, fmt.Errorf("such as 2h, 2006-01-02 or 2006-01-02 15:04")))
			}
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			var h web.History // as it is before
			if err := newClient(cfg).get(c.Context(), "/devices/history?device="+url.QueryEscape(args[0]), &h); err != nil {
				return err
			}
			n, err := cl.correct(c.Context(), web.NewCorrection{Kind: "split", Device: args[0], From: at.UTC(), Name: name})
			if err != nil {
				return err
			}
			if !h.Device.First.Before(at) {
				fmt.Fprintf(cl.err, "%s is known since %s alone: all that is recorded of it is the new device's\n", printable(h.Device.Name), when(h.Device.First))
			}
			return cl.kept(n, "from %s on, %s is another device, %s", when(n.From), printable(n.Device), printable(cmp.Or(n.Name, n.Created)))
		},
	}
	c.Flags().StringVar(&from, "from", "", "since when: 2h, 15:04, 2006-01-02 or RFC 3339")
	c.Flags().StringVar(&name, "name", "", "what the new device is called")
	return cl.completeDevices(c)
}

func (cl *cli) newDeviceIgnore() *cobra.Command {
	c := &cobra.Command{
		Use:   "ignore DEVICE",
		Short: "Leave a device out of what is shown",
		Long: `Leave a device out of lists of devices, of the log and of counts, unless they are
asked for it by name, or with --ignored. It is still recorded. What keeps a device
out of the log is log: false in the settings.`,
		Example: "  telltale devices ignore test-machine",
		Args:    oneArg("device"),
		RunE: func(c *cobra.Command, args []string) error {
			n, err := cl.correct(c.Context(), web.NewCorrection{Kind: "ignore", Device: args[0]})
			if err != nil {
				return err
			}
			return cl.kept(n, "%s is left out", printable(n.Device))
		},
	}
	return cl.completeDevices(c)
}

func (cl *cli) newDeviceUndo() *cobra.Command {
	return &cobra.Command{
		Use:     "undo [NUMBER]",
		Short:   "Take back a correction: the last one, or one by its number",
		Example: "  telltale devices undo\n  telltale devices undo 3",
		Args:    args("at most one number", 0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			var u web.Undo
			if len(args) == 1 {
				if _, err := fmt.Sscanf(args[0], "%d", &u.ID); err != nil || u.ID == 0 || fmt.Sprint(u.ID) != args[0] {
					return usage("%q is no number of a correction; 'telltale devices history' shows them", args[0])
				}
			}
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			var n web.Correction
			if err := newClient(cfg).do(c.Context(), http.MethodPost, "/corrections/undo", u, &n); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cl.out, "undone: %s\n", correctionText(&n))
			return err
		},
	}
}

func (cl *cli) newDeviceHistory() *cobra.Command {
	c := cl.addJSON(&cobra.Command{
		Use:   "history [DEVICE]",
		Short: "Show every binding of a device and what it rests on, and all corrections",
		Long: `Show every binding of a device that the log has: which address or MAC it had when,
what that rests on, and how far it may be relied on; and what people said of it.
Without a device, it is all corrections, of every device.`,
		Example: "  telltale devices history \"Anna's phone\"\n  telltale devices history --json",
		Args:    args("at most one device", 0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				var all []web.Correction
				if err := newClient(cfg).get(c.Context(), "/corrections", &all); err != nil {
					return err
				}
				if cl.json {
					return cl.encoder().Encode(all)
				}
				return showCorrections(cl.out, all)
			}
			var h web.History
			if err := newClient(cfg).get(c.Context(), "/devices/history?device="+url.QueryEscape(args[0]), &h); err != nil {
				return err
			}
			if cl.json {
				return cl.encoder().Encode(h)
			}
			return showHistory(cl.out, &h)
		},
	})
	return cl.completeDevices(c)
}

func showHistory(out io.Writer, h *web.History) error {
	fmt.Fprintf(out, "%s, identity %s\n", printable(h.Device.Name), printable(h.Device.Device))
	for _, n := range h.Device.Notes {
		fmt.Fprintf(out, "note: %s\n", printable(n))
	}
	if k := h.Device.Kind; k != nil {
		fmt.Fprintf(out, "%s\n", kindLine(k))
		for _, r := range k.Reasons {
			fmt.Fprintf(out, "  %s%s\n", printable(r.Reason), behind(" (", printable(r.Source), ")"))
		}
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FROM\tUNTIL\tADDRESS\tMAC\tMAKER\tWRITTEN AS\tRESTS ON\tCONFIDENCE")
	for _, b := range h.Device.Bindings {
		until := "(now)"
		if !b.Until.IsZero() {
			until = when(b.Until)
		}
		maker := cmp.Or(printable(b.Maker), "-")
		if b.MadeUp {
			maker = "(made-up MAC)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", when(b.From), until, b.Addr, cmp.Or(b.MAC, "-"), maker, printable(b.Device), b.Source, b.Confidence)
	}
	if err := w.Flush(); err != nil || len(h.Corrections) == 0 {
		return err
	}
	fmt.Fprintln(out)
	return showCorrections(out, h.Corrections)
}

// kindLine says what a device is, in words.
func kindLine(k *web.DeviceKind) string {
	what := cmp.Or(k.Kind, "of an unknown kind") + behind(" of ", printable(k.Vendor), "") + behind(", ", printable(k.Product), "")
	if k.Confidence == "confirmed" {
		return "is " + what + ", confirmed"
	}
	return "may be " + what + behind(", with ", k.Confidence, " confidence")
}

// behind returns text between two others; "" for none.
func behind(before, text, after string) string {
	if text == "" {
		return ""
	}
	return before + text + after
}

func showCorrections(out io.Writer, all []web.Correction) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NUMBER\tTIME\tCORRECTION")
	for i := range all {
		c := &all[i]
		undone := ""
		if c.Undone {
			undone = "  (undone)"
		}
		fmt.Fprintf(w, "%d\t%s\t%s%s\n", c.ID, when(c.Time), correctionText(c), undone)
	}
	return w.Flush()
}

// correctionText says a correction in words.
func correctionText(c *web.Correction) string {
	device := printable(c.Device)
	switch c.Kind {
	case "name":
		return device + " is called " + printable(c.Name)
	case "tag":
		return device + " is tagged " + printable(c.Tag)
	case "untag":
		return device + " is no longer tagged " + printable(c.Tag)
	case "kind":
		return device + " is of the kind " + printable(c.Is)
	case "merge":
		return printable(c.Other) + " is " + device
	case "split":
		return fmt.Sprintf("from %s on, %s is another device, %s", when(c.From), device, strings.TrimSpace(c.Created+" "+printable(c.Name)))
	case "ignore":
		return device + " is left out"
	case "discover":
		return "discovery is on for " + device
	case "discover-off":
		return "discovery is off for " + device
	case "note":
		text := "noted"
		if device != "" {
			text += " of " + device
		}
		if !c.From.IsZero() {
			text += " at " + when(c.From)
		}
		return text + ": " + printable(c.Text)
	case "undo":
		return fmt.Sprintf("correction %d is undone", c.Of)
	case "forgot":
		return "of a device that was forgotten"
	}
	return c.Kind
}

func (cl *cli) newDeviceForget() *cobra.Command {
	sure := false
	c := &cobra.Command{
		Use:   "forget DEVICE",
		Short: "Delete all that was recorded of a device; it cannot be undone",
		Long: `Delete all that was recorded of a device: its rows and totals, its bindings, what
people said of it, and its identity in the ledger. Afterwards its name, MAC and
addresses are in no file of data.dir. It cannot be undone, so it asks first.

A device that the settings name is taken out there first. One that goes on asking
is recorded anew: log: false in the settings keeps a device out of the log.

In the sealed log the numbers of its rows stay, without any name: they say, to the
second, when something was asked that was forgotten since, and each bundle shows them.`,
		Example: "  telltale devices forget \"Anna's phone\"",
		Args:    oneArg("device"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			client := newClient(cfg)
			var h web.History
			if err := client.get(c.Context(), "/devices/history?device="+url.QueryEscape(args[0]), &h); err != nil {
				return err
			}
			if !sure {
				if err := cl.confirmForget(&h); err != nil {
					return err
				}
			}
			var f web.Forgotten
			if err := client.do(c.Context(), http.MethodPost, "/devices/forget", web.Forget{Device: h.Device.Device}, &f); err != nil {
				return err
			}
			fmt.Fprintf(cl.out, "%s is forgotten: %s in %s, %s and %s were deleted\n", printable(f.Name),
				number(uint64(f.Lookups), "lookup"), number(uint64(f.Rows), "row"), number(uint64(f.Bindings), "binding"), number(uint64(f.Hours), "hourly total"))
			for _, file := range f.Files {
				fmt.Fprintf(cl.out, "removed %s: it was in it\n", file)
			}
			for _, line := range f.Rules {
				fmt.Fprintf(cl.err, "%s:%d is a rule for it, which is yours to remove\n", ownFile, line)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&sure, "yes", false, "do not ask")
	return cl.completeDevices(c)
}

// confirmForget says what is deleted, and asks whether that is meant.
func (cl *cli) confirmForget(h *web.History) error {
	d := &h.Device
	fmt.Fprintf(cl.err, "%s (%s), first seen %s, last seen %s: all that was recorded of it is deleted, for good.\n", printable(d.Name), printable(d.Device), when(d.First), when(d.Last))
	if !isTerminalInput(cl.in) {
		return errors.New("nothing is forgotten: --yes says that it is meant")
	}
	q := questioner{in: cl.in, out: cl.err}
	sure, err := q.ask("Forget it?", false)
	if err == nil && !sure {
		err = errors.New("nothing is forgotten")
	}
	return err
}

// completeDevices offers devices for the first word of a command.
func (cl *cli) completeDevices(c *cobra.Command) *cobra.Command {
	c.ValidArgsFunction = completion(cl.deviceWords)
	return c
}

// args wants so many words.
func args(what string, least, most int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usage("%s is expected; words that belong together go between quotes", what)
		}
		return nil
	}
}
