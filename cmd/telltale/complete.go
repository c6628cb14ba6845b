package main

import (
	"github.com/spf13/cobra"

	"telltale/config"
)

// complete lets shells offer the values that a flag takes.
func complete(c *cobra.Command, flag string, words ...string) {
	err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // there is no such flag: any test finds it
	}
}

// completeSettings does so for the settings that are flags.
func completeSettings(root *cobra.Command) {
	for flag, words := range config.FlagWords() {
		complete(root, flag, words...)
	}
}
