package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"telltale/dnswire"
	"telltale/web"
)

func (cl *cli) newListsLookup() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:     "lookup NAME",
		Short:   "Say which lists have a rule for a name",
		Long:    "Show every rule that matches a name, with its list and line. 'telltale explain' says which of them decides, and why.",
		Example: "  telltale lists lookup ads.example",
		Args:    oneArg("name"),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseHost(args[0])
			if err != nil {
				return usage("%v", err)
			}
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			var e web.Explanation
			err = newClient(cfg).get(c.Context(), "/explain?"+url.Values{"name": {name.String()}, "type": {"A"}, "offline": {"true"}}.Encode(), &e)
			if errors.Is(err, errStopped) {
				e, err = explainStopped(cfg, &name, dnswire.TypeA, "")
			}
			if err != nil {
				return err
			}
			for i := range e.Matches {
				m := &e.Matches[i]
				if cl.json {
					err = cl.encoder().Encode(m)
				} else {
					var b strings.Builder
					printMatch(&b, m)
					_, err = io.WriteString(cl.out, b.String())
				}
				if err != nil {
					return err
				}
			}
			if len(e.Matches) == 0 && !cl.json {
				fmt.Fprintf(cl.err, "no list has a rule for %s\n", name.String())
			}
			return nil
		},
	})
}
