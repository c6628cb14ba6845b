package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"telltale/blocklists"
	"telltale/blocklists/catalog"
	"telltale/config"
	"telltale/fleet/policy"
)

// shippedPrefix is what a shipped list can be called by where a list of one's own
// has its name.
const shippedPrefix = "shipped:"

// listNameMistakes finds names of lists in the settings that no list has, and
// subscriptions that are called as another list is.
func listNameMistakes(cfg *config.Config) error {
	edition, _ := editionInForce(cfg) // whoever puts it in force says what is wrong with it
	shipped, err := shippedNames(edition)
	if err != nil {
		return err
	}
	files := fileNames(cfg.Lists.Dir)
	known := slices.Concat(files, shipped)
	if cfg.Policy != "" {
		known = append(known, fileNames(filepath.Join(cfg.Policy, policy.Lists))...)
	}
	for _, name := range shipped {
		known = append(known, shippedPrefix+name)
	}
	var all config.Mistakes
	for i := range cfg.Lists.Settings {
		name := cfg.Lists.Settings[i].Name
		if !slices.Contains(known, name) {
			all = append(all, cfg.Mistake(fmt.Sprintf("lists.settings[%d].name", i), name, "the name of a list: a file of lists.dir without its ending, or a shipped list", known))
		}
	}
	for i := range cfg.Lists.Subscriptions {
		known = append(known, cfg.Lists.Subscriptions[i].Name)
	}
	for i := range cfg.Groups {
		for _, lists := range listsOfGroup(&cfg.Groups[i]) {
			for k, name := range lists.names {
				if !slices.Contains(known, name) {
					all = append(all, cfg.Mistake(fmt.Sprintf("groups[%d].%s[%d]", i, lists.word, k), name, "the name of a list: a file of lists.dir without its ending, a subscription, or a shipped list", known))
				}
			}
		}
	}
	for i := range cfg.Lists.Subscriptions {
		name := cfg.Lists.Subscriptions[i].Name
		key := fmt.Sprintf("lists.subscriptions[%d].name", i)
		switch {
		case slices.Contains(files, name):
			all = append(all, cfg.Mistake(key, name, "a name that no file of lists.dir has", nil))
		case slices.Contains(shipped, name):
			all = append(all, cfg.Mistake(key, name, "a name that no shipped list has", nil))
		}
	}
	if len(all) > 0 {
		return all
	}
	return nil
}

// fileNames returns the names of the lists in a directory, and that of the user's
// own file, whether it is there or not.
func fileNames(dir string) []string {
	names := []string{blocklists.ListName(ownFile)}
	entries, _ := os.ReadDir(dir) // one that cannot be read has no lists
	for _, e := range entries {
		if blocklists.IsListFile(e.Name()) {
			names = append(names, blocklists.ListName(e.Name()), e.Name())
		}
	}
	return names
}

func shippedNames(edition *catalog.Edition) (names []string, err error) {
	files, err := fs.Glob(edition.FS(), "*.txt")
	for _, file := range files {
		names = append(names, strings.TrimSuffix(file, ".txt"))
	}
	return names, err
}
