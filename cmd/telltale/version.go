package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"telltale/blocklists/catalog"
)

func (cl *cli) newVersion() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  telltale version --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if cl.json {
				return cl.encoder().Encode(map[string]string{
					"version": buildVersion(), "catalogue": catalog.Shipped().Name(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
				})
			}
			_, err := fmt.Fprintln(cl.out, versionText())
			return err
		},
	})
}

// versionText is what version and --version print: cobra puts the words before
// the details.
func versionText() string { return "telltale version " + versionDetails() }

func versionDetails() string {
	return fmt.Sprintf("%s (catalogue of %s, %s, %s/%s)", buildVersion(), catalog.Shipped().Name(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
