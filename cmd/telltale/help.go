package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// everyCommand are the settings that the help of each command shows; the others are in
// the help of telltale and of serve.
var everyCommand = map[string]bool{"config": true, "data-dir": true}

// showUsage prints what stands below a command's description. It replaces cobra's,
// which prints every setting under every command.
func showUsage(c *cobra.Command) error {
	var b strings.Builder
	b.WriteString("Usage:\n")
	if c.Runnable() && !isGroup(c) {
		fmt.Fprintf(&b, "  %s\n", c.UseLine())
	}
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s [command]\n\nCommands:\n", c.CommandPath())
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() || sub.Name() == "help" {
				fmt.Fprintf(&b, "  %-*s %s\n", sub.NamePadding(), sub.Name(), sub.Short)
			}
		}
	}
	if c.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", c.Example)
	}
	settings := c.InheritedFlags()
	showFlags(&b, "Flags", c.LocalFlags(), func(string) bool { return true })
	serves := c.Name() == "serve"
	showFlags(&b, "Settings", settings, func(name string) bool { return serves || everyCommand[name] })
	if settings.HasFlags() && !serves {
		fmt.Fprintf(&b, "\n'%s --help' lists the other settings that can be flags.\n", c.Root().Name())
	}
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n'%s [command] --help' tells more of a command.\n", c.CommandPath())
	}
	_, err := fmt.Fprint(c.OutOrStderr(), b.String())
	return err
}

// groupNote marks a command that does nothing but have others below it.
const groupNote = "telltale_group"

func isGroup(c *cobra.Command) bool { return c.Annotations[groupNote] != "" }

// checkGroups lets commands that only have others below them show their help, and refuse
// words that are none of those: cobra shows the help for these, too, as if all was well.
func checkGroups(c *cobra.Command) {
	for _, sub := range c.Commands() {
		checkGroups(sub)
		if sub.HasSubCommands() && !sub.Runnable() {
			sub.Annotations = map[string]string{groupNote: "yes"}
			sub.Args = commandArgs
			sub.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	}
}

// commandArgs refuses arguments where only the name of a command may stand.
func commandArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var known []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			known = append(known, sub.Name())
		}
	}
	meant := ""
	if near := nearest(args[0], known); near != "" {
		meant = fmt.Sprintf(": did you mean %q?", near)
	}
	return usage("'%s' has no command %q%s", c.CommandPath(), printable(args[0]), meant)
}

// showFlags lists those flags of a set that are wanted.
func showFlags(b *strings.Builder, title string, flags *pflag.FlagSet, wanted func(name string) bool) {
	shown := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.VisitAll(func(f *pflag.Flag) {
		if wanted(f.Name) {
			plain := *f
			if f.Value.Type() == "bool" {
				plain.Value = plainValue{f.Value}
			}
			shown.AddFlag(&plain)
		}
	})
	if shown.HasAvailableFlags() {
		fmt.Fprintf(b, "\n%s:\n%s", title, shown.FlagUsages())
	}
}

// A plainValue is a flag's value without the methods by which pflag knows a switch,
// after whose name it would print [=true|false].
type plainValue struct{ pflag.Value }
