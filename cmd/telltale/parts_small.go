//go:build small

package main

import (
	"context"

	"github.com/spf13/cobra"

	"telltale/config"
)

// small reports whether this is the program for small machines.
const small = true

// newFullCommands says of the commands that only the full program has that they are not in this one.
func (cl *cli) newFullCommands() []*cobra.Command {
	return absentCommands("candidates", "destinations", "geo", "alerts", "letter", "experiment", "import", "watch-capture", "web", "token", "center")
}

// checkCenterStore has nothing to check: this program is no center.
func checkCenterStore(string) error { return nil }

// openElsewhere says that this program cannot read a merged log in ClickHouse.
func openElsewhere(context.Context, *config.Config) (*openedLog, error) {
	return nil, errAbsent("merged logs in ClickHouse")
}
