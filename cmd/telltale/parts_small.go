//go:build small

package main

import (
	"context"

	"github.com/spf13/cobra"

	"telltale/config"
	"telltale/querylog"
)

// small reports whether this is the program for small machines.
const small = true

// newFullCommands says of the commands that only the full program has that they are not in this one.
func (cl *cli) newFullCommands() []*cobra.Command {
	return absentCommands("candidates", "destinations", "geo", "alerts", "letter", "experiment", "import", "watch-capture", "web", "token", "center")
}

// absentCommands are commands that say that they are not in this program.
func absentCommands(names ...string) (all []*cobra.Command) {
	for _, name := range names {
		all = append(all, &cobra.Command{
			Use: name, Hidden: true, DisableFlagParsing: true,
			RunE: func(*cobra.Command, []string) error { return errAbsent("'telltale " + name + "'") },
		})
	}
	return all
}

// checkCenterStore has nothing to check: this program is no center.
func checkCenterStore(string) error { return nil }

// openElsewhere says that this program cannot read a merged log in ClickHouse.
func openElsewhere(context.Context, *config.Config) (*openedLog, error) {
	return nil, errAbsent("merged logs in ClickHouse")
}

// followNodes says that this program is no center.
func (cl *cli) followNodes(context.Context, *logFlags, querylog.Filter, bool) error {
	return errAbsent("--follow --all-nodes")
}
