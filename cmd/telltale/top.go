package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func (cl *cli) newTop() *cobra.Command {
	var s selection
	kinds := []string{"names", "devices", "vendors"}
	c := cl.addJSON(&cobra.Command{
		Use:   "top names|devices|vendors",
		Short: "Count lookups by name, device or vendor",
		Example: `  telltale top vendors
  telltale top names --device living-room-tv --since 7d --limit 20`,
		ValidArgs: kinds,
		Args: func(_ *cobra.Command, args []string) error {
			for _, k := range kinds {
				if len(args) == 1 && args[0] == k {
					return nil
				}
			}
			return usage("one of names, devices and vendors is expected")
		},
		RunE: func(c *cobra.Command, args []string) error {
			f, err := s.filter(time.Now())
			if err != nil {
				return err
			}
			n := f.Limit
			f.Limit = 0
			r, err := cl.openLog(c.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			rows, err := r.Top(c.Context(), args[0], f, n)
			if err != nil {
				return err
			}
			if cl.json {
				enc := json.NewEncoder(cl.out)
				for _, row := range rows {
					if err := enc.Encode(row); err != nil {
						return err
					}
				}
				return nil
			}
			w := tabwriter.NewWriter(cl.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "LOOKUPS\tBLOCKED\tLAST\t"+map[string]string{"names": "NAME", "devices": "DEVICE", "vendors": "VENDOR"}[args[0]])
			for _, row := range rows {
				fmt.Fprintf(w, "%d\t%d\t%s\t%s\n", row.Count, row.Blocked, row.Last.Local().Format("2006-01-02 15:04:05"), printable(row.Key))
			}
			return w.Flush()
		},
	})
	s.add(c, "24h", 10)
	c.Flags().Lookup("limit").Usage = "the busiest so many; 0 for all"
	return c
}
