package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"telltale/devices"
)

func (cl *cli) newDevices() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:   "devices",
		Short: "Show who is known: devices, their addresses, and what that rests on",
		Long: `Show the devices the running server knows, with the addresses they hold, what
the binding rests on, and how far it may be relied on. docs/devices.md explains
both.`,
		Example: "  telltale devices\n  telltale devices --json",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			var all []devices.DeviceStatus
			if err := newClient(cfg).get(c.Context(), "/devices", &all); err != nil {
				return err
			}
			if cl.json {
				enc := json.NewEncoder(cl.out)
				for _, d := range all {
					if err := enc.Encode(deviceJSON(&d)); err != nil {
						return err
					}
				}
				return nil
			}
			w := tabwriter.NewWriter(cl.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "DEVICE\tADDRESSES\tRESTS ON\tCONFIDENCE\tLAST SEEN")
			for _, d := range all {
				rests, confidence := "-", "-"
				if d.Source != 0 {
					rests, confidence = d.Source.String(), d.Confidence.String()
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", printable(d.Name), strings.Join(held(&d), " "), rests, confidence, when(d.Last))
			}
			return w.Flush()
		},
	})
}

// held returns the addresses that a device holds now.
func held(d *devices.DeviceStatus) []string {
	var addrs []string
	for _, b := range d.Bindings {
		if b.Until.IsZero() {
			addrs = append(addrs, b.Covers())
		}
	}
	if len(addrs) == 0 {
		addrs = []string{"-"}
	}
	return addrs
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// A bindingJSON is a binding as --json prints it.
type bindingJSON struct {
	ID         uint64    `json:"id"`
	Addr       string    `json:"addr"`
	MAC        string    `json:"mac,omitempty"`
	Source     string    `json:"source"`
	Confidence string    `json:"confidence"`
	From       time.Time `json:"from"`
	Until      time.Time `json:"until,omitzero"`
}

func deviceJSON(d *devices.DeviceStatus) any {
	out := struct {
		Device     string        `json:"device"`
		Name       string        `json:"name"`
		Configured bool          `json:"configured"`
		First      time.Time     `json:"first,omitzero"`
		Last       time.Time     `json:"last,omitzero"`
		Bindings   []bindingJSON `json:"bindings"`
	}{d.Device, d.Name, d.Configured, d.First.UTC(), d.Last.UTC(), []bindingJSON{}}
	for _, b := range d.Bindings {
		out.Bindings = append(out.Bindings, bindingJSON{b.ID, b.Covers(), b.MAC, b.Source.String(), b.Confidence.String(), b.From.UTC(), b.Until.UTC()})
	}
	return out
}
