package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"telltale/web"
)

// seconds rounds a duration up to whole seconds.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

func (cl *cli) newPause() *cobra.Command {
	return &cobra.Command{
		Use:   "pause [DURATION]",
		Short: "Block nothing for a while; everything is still recorded",
		Long: `Block nothing for a while (10 minutes unless you say otherwise). Listed names are
answered normally and recorded as observed. The pause ends by itself, survives
a restart, and stands in the log's quality ledger.`,
		Example: "  telltale pause\n  telltale pause 1h",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("one duration is expected, such as 30m")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			d := 10 * time.Minute
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
			var p web.Paused
			if err := newClient(cfg).do(c.Context(), http.MethodPut, "/pause", web.Pause{Seconds: seconds(d)}, &p); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cl.out, "Nothing is blocked until %s. 'telltale resume' ends the pause now.\n", when(p.Until))
			return err
		},
	}
}

func (cl *cli) newResume() *cobra.Command {
	return &cobra.Command{
		Use:     "resume",
		Short:   "End a pause",
		Example: "  telltale resume",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			if err := newClient(cfg).do(c.Context(), http.MethodDelete, "/pause", nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cl.out, "The lists are in force.")
			return err
		},
	}
}
