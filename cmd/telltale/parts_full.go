//go:build !small

package main

import "github.com/spf13/cobra"

// small reports whether this is the program for small machines.
const small = false

// newFullCommands are the commands that only the full program has.
func (cl *cli) newFullCommands() []*cobra.Command {
	return []*cobra.Command{
		cl.newCandidates(), cl.newDestinations(), cl.newGeo(), cl.newAlerts(), cl.newLetter(), cl.newExperiment(), cl.newImport(), cl.newWatchCapture(),
		cl.newWeb(), cl.newToken(), cl.newCenter(),
	}
}
