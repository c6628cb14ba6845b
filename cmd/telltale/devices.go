package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"telltale/devices"
	"telltale/web"
)

func (cl *cli) newDevices() *cobra.Command {
	filter, ignored, pseudonymous := "", false, false
	c := cl.addJSON(&cobra.Command{
		Use:   "devices",
		Short: "Show who is known, and correct it: devices, their addresses, and what that rests on",
		Long: `Show the devices the running server knows, with the addresses they hold, what
the binding rests on, and how far it may be relied on; who made them, by their
MAC; and what they may be ("tv?"), by what they call themselves, offer and ask.
A guess decides nothing; 'kind' confirms it. docs/devices.md explains all.

What is wrong can be corrected: a device gets a name, two are made one, one is
split. The log, the counts and the reports show it so from then on, for the past,
too. Rows are not rewritten, and every correction can be undone. Only 'forget'
deletes.`,
		Example: "  telltale devices\n  telltale devices --filter phone --json\n  telltale devices name 02:00:5e:10:00:01 \"Anna's phone\"",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			var all []web.Device
			if err := newClient(cfg).get(c.Context(), "/devices", &all); err != nil {
				return err
			}
			all = slices.DeleteFunc(all, func(d web.Device) bool { return d.Ignored && !ignored || !mentions(&d, filter) })
			if pseudonymous {
				hide := &pseudonyms{given: map[string]string{}, n: map[string]int{}}
				for i := range all {
					all[i] = hide.shown(&all[i])
				}
			}
			if cl.json {
				enc := cl.encoder()
				for _, d := range all {
					if err := enc.Encode(d); err != nil {
						return err
					}
				}
				return nil
			}
			w := tabwriter.NewWriter(cl.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "DEVICE\tKIND\tMAKER\tADDRESSES\tRESTS ON\tCONFIDENCE\tLAST SEEN\tREMARKS")
			for _, d := range all {
				rests, confidence := "-", "-"
				if d.Source != "" {
					rests, confidence = d.Source, d.Confidence
				}
				line := fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s", printable(d.Name), kindText(d.Kind), cmp.Or(printable(d.Maker), "-"), strings.Join(held(&d), " "), rests, confidence, when(d.Last), printable(remarks(&d)))
				fmt.Fprintln(w, strings.TrimRight(line, "\t"))
			}
			if err := w.Flush(); err != nil {
				return err
			}
			for i := range all {
				if pseudonymous { // commands know the real names
					break
				}
				if err := cl.suggestMerge(&all[i]); err != nil {
					return err
				}
			}
			return nil
		},
	})
	c.Flags().StringVar(&filter, "filter", "", "those whose name, identity, MAC, maker, kind, address or notes contain this")
	c.Flags().BoolVar(&pseudonymous, "pseudonyms", false, "with other words for devices and addresses, and without how they call themselves")
	c.Flags().BoolVar(&ignored, "ignored", false, "also those that are ignored")
	c.AddCommand(cl.newDeviceName(), cl.newDeviceKind(), cl.newDeviceTag(), cl.newDeviceMerge(), cl.newDeviceSplit(), cl.newDeviceIgnore(), cl.newDeviceDiscover(), cl.newDeviceHistory(), cl.newDeviceUndo(), cl.newDeviceForget())
	return c
}

// suggestMerge says which other device a device may be.
func (cl *cli) suggestMerge(d *web.Device) error {
	if d.Perhaps == nil {
		return nil
	}
	_, err := fmt.Fprintf(cl.out, "\n%s may be %s: %s.\nIf so, 'telltale devices merge %s %s' makes the two one.\n", printable(d.Name), printable(d.Perhaps.Name),
		printable(strings.Join(d.Perhaps.Reasons, "; ")), printable(d.Perhaps.Device), printable(d.Device))
	return err
}

// kindText says what a device is: "tv", or "tv? Samsung" for a guess.
func kindText(k *web.DeviceKind) string {
	switch {
	case k == nil || k.Kind == "" && k.Vendor == "":
		return "-"
	case k.Confidence == "confirmed":
		return k.Kind
	}
	return strings.TrimSpace(k.Kind + "? " + printable(k.Vendor))
}

// mentions reports whether what is shown of a device contains a text.
func mentions(d *web.Device, text string) bool {
	text = strings.ToLower(text)
	words := append([]string{d.Name, d.Device, d.Maker}, d.Notes...)
	if k := d.Kind; k != nil {
		words = append(words, k.Kind, k.Vendor, k.Product)
	}
	for _, b := range d.Bindings {
		words = append(words, b.Addr, b.MAC)
	}
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(strings.ToLower(w), text) })
}

// remarks returns what else there is to be known of a device: how it calls itself, where
// that is not what it is shown by, and where sources disagree.
func remarks(d *web.Device) string {
	var all []string
	add := func(format string, args ...any) {
		if text := fmt.Sprintf(format, args...); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	if len(d.Tags) > 0 {
		add("tagged %s", strings.Join(d.Tags, ", "))
	}
	if d.Discovery != nil {
		add("discovery since %s", when(*d.Discovery))
	}
	for _, b := range d.Bindings {
		if b.Until.IsZero() && d.Device != thisHost && b.MadeUp {
			add("made-up MAC")
		}
		if b.Announced != nil {
			addAnnounced(add, d, b.Announced)
		}
		if b.Lease == nil {
			continue
		}
		if b.Lease.Host != "" && !strings.HasPrefix(d.Name, b.Lease.Host) && (b.Lease.MAC == b.MAC || b.Lease.MAC == "") {
			add("calls itself %s", b.Lease.Host)
		}
		if b.Lease.Neighbour != "" {
			add("%s: the lease says %s, the neighbour table %s", b.Addr, b.Lease.MAC, b.Lease.Neighbour)
		}
	}
	return strings.Join(all, "; ")
}

// addAnnounced adds what a device says of itself, where that is not what it is shown by, and
// what it says of others.
func addAnnounced(add func(format string, args ...any), d *web.Device, n *web.Announced) {
	if len(n.Names) > 0 && !strings.HasPrefix(d.Name, n.Names[0]) {
		add("calls itself %s", n.Names[0])
	}
	if len(n.Models) > 0 {
		add("says that it is a %s", n.Models[0])
	}
	for _, c := range n.Claims {
		if c.Of {
			add("says that %s is called %s", c.Holder, c.Name)
		} else {
			add("claims %s, the name of %s", c.Name, c.Holder)
		}
	}
	if n.Relays {
		add("passes on what others announce")
	}
}

// held returns the addresses that a device holds now.
func held(d *web.Device) []string {
	var addrs []string
	for _, b := range d.Bindings {
		if b.Until.IsZero() {
			addrs = append(addrs, b.Addr)
		}
	}
	if len(addrs) == 0 {
		addrs = []string{"-"}
	}
	return addrs
}

func when(t time.Time) string { return whenIn(t, time.Local) }

// whenIn is when in another zone than the machine's.
func whenIn(t time.Time, zone *time.Location) string {
	if t.IsZero() {
		return "-"
	}
	return t.In(zone).Format("2006-01-02 15:04:05")
}

// deviceOf returns a device as the API and --json have it.
func deviceOf(d *devices.DeviceStatus, ids *identities, facts *deviceFacts) web.Device {
	out := web.Device{
		Device: d.Device, Name: d.Name, Configured: d.Configured, First: d.First.UTC(), Last: d.Last.UTC(), Bindings: []web.Binding{},
	}
	out.Kind, out.Perhaps = facts.kindOf(d.Device, ids), facts.perhaps[d.Device]
	out.Ignored, out.Tags = ids.view.Ignored(d.Device), ids.tagsOf(d.Device)
	out.Discovery = timeOrNil(ids.view.Discovered(d.Device).UTC())
	for _, n := range ids.view.Notes(d.Device) {
		out.Notes = append(out.Notes, n.Text)
	}
	if d.Source != 0 {
		out.Source, out.Confidence = d.Source.String(), d.Confidence.String()
	}
	for _, b := range d.Bindings {
		one := web.Binding{
			ID: b.ID, Addr: b.Covers(), MAC: b.MAC, Maker: facts.makers[b.MAC], MadeUp: devices.IsMadeUp(b.MAC), Source: b.Source.String(), Confidence: b.Confidence.String(), From: b.From.UTC(), Until: b.Until.UTC(),
		}
		if out.Maker == "" { // those in force are first
			out.Maker = one.Maker
		}
		if l, ok := facts.leases[b.Addr]; ok && b.Until.IsZero() && !b.Prefix.IsValid() {
			one.Lease = &web.Lease{MAC: l.MAC, Host: printable(l.Host), Class: printable(l.Class), File: l.File, Until: l.Until.UTC(), Neighbour: l.Neighbour}
		}
		if n, ok := facts.announced[b.Addr]; ok && b.Until.IsZero() && !b.Prefix.IsValid() {
			one.Announced = announcedOf(&n)
		}
		out.Bindings = append(out.Bindings, one)
	}
	return out
}

// announcedOf returns what an address said of itself as the API and --json have it.
func announcedOf(n *devices.Announced) *web.Announced {
	out := &web.Announced{Names: n.Names, Models: n.Models, Services: n.Services, Software: n.Software, Relays: n.Relays, Heard: n.Heard.UTC()}
	for _, c := range n.Claims {
		out.Claims = append(out.Claims, web.Claim(c))
	}
	return out
}
