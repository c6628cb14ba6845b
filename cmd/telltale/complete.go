package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"telltale/blocklists"
	"telltale/blocklists/catalog"
	"telltale/config"
	"telltale/devices"
	"telltale/devices/corrections"
	"telltale/querylog"
)

// complete lets shells offer the values that a flag takes.
func complete(c *cobra.Command, flag string, words ...string) {
	err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // there is no such flag: any test finds it
	}
}

// completeBy does so with values that are found when they are asked for.
func completeBy(c *cobra.Command, flag string, words func() ([]string, error)) {
	if err := c.RegisterFlagCompletionFunc(flag, completion(words)); err != nil {
		panic(err) // there is no such flag: any test finds it
	}
}

func completion(words func() ([]string, error)) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		all, err := words()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveError
		}
		return slices.DeleteFunc(all, func(w string) bool {
			return len(w) < len(begun) || !strings.EqualFold(w[:len(begun)], begun)
		}), cobra.ShellCompDirectiveNoFileComp
	}
}

// deviceWords are the devices of the settings and of the log.
func (cl *cli) deviceWords() ([]string, error) {
	cfg, err := cl.load()
	if err != nil {
		return nil, err
	}
	var bindings []devices.Binding
	if r, err := querylog.OpenReader(cfg.Data.Dir); err == nil {
		defer r.Close()
		bindings, _ = r.Bindings(context.Background()) // none where there is no log yet
	}
	corrected, _ := corrections.Read(correctionsPath(cfg))
	return newIdentities(cfg, bindings, corrected).names, nil
}

// vendorWords are the vendors of the shipped lists.
func (cl *cli) vendorWords() ([]string, error) {
	known, err := cl.catalogue()
	if err != nil {
		return nil, err
	}
	return vendorsOf(known), nil
}

// vendorsOf are the vendors of the catalogue.
func vendorsOf(known *catalog.Catalog) (names []string) {
	for _, v := range known.Vendors() {
		names = append(names, v.Vendor)
	}
	return sorted(names)
}

// listWords are the lists there are; with a kind, those of it.
func (cl *cli) listWords(kinds ...blocklists.Kind) func() ([]string, error) {
	return func() (names []string, err error) {
		cfg, err := cl.load()
		if err != nil {
			return nil, err
		}
		all, err := listStatus(context.Background(), cfg)
		for i := range all {
			if len(kinds) == 0 || slices.ContainsFunc(kinds, func(k blocklists.Kind) bool { return k.String() == all[i].Kind }) {
				names = append(names, all[i].Name)
			}
		}
		return sorted(names), err
	}
}

// completeSettings does so for the settings that are flags.
func completeSettings(root *cobra.Command) {
	for flag, words := range config.FlagWords() {
		complete(root, flag, words...)
	}
}
