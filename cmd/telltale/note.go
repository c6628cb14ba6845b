package main

import (
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/web"
)

func (cl *cli) newNote() *cobra.Command {
	device, at := "", ""
	c := &cobra.Command{
		Use:   "note TEXT",
		Short: "Remember something of the household, or of a device, for its reports",
		Long: `Remember what happened: that a person opted out, that a phone was reset, that
everybody was on holiday. Reports have it among what else happened, at its time, so
that who reads them can see what a change may come from.

A note is of the household, or with --device of a device, and stays with it when it
gets another name or address. 'telltale devices undo' takes it back.`,
		Example: `  telltale note "opted out in the settings" --device "Anna's phone"
  telltale note "away until Sunday" --at "fri 18:00"`,
		Args: oneArg("text (between quotes)"),
		RunE: func(c *cobra.Command, args []string) error {
			if strings.TrimSpace(args[0]) == "" {
				return usage("the text of the note is empty")
			}
			n := web.NewNote{Device: device, Text: args[0]}
			if at != "" {
				when, err := parseTime(at, time.Now(), false)
				if err != nil {
					return usage("--at: %v", err)
				}
				n.At = when.UTC()
			}
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			var noted web.Correction
			if err := newClient(cfg).do(c.Context(), http.MethodPost, "/notes", n, &noted); err != nil {
				return err
			}
			of := "the household"
			if noted.Device != "" {
				of = printable(noted.Device)
			}
			return cl.kept(noted, "noted of %s", of)
		},
	}
	f := c.Flags()
	f.StringVar(&device, "device", "", "of a device: its name, identity, MAC or address")
	f.StringVar(&at, "at", "", `when it was so: 2h, yesterday, "mon 18:00", 2006-01-02 or RFC 3339 (default: now)`)
	completeBy(c, "device", cl.deviceWords)
	complete(c, "at", "1h", "today", "yesterday")
	return c
}
