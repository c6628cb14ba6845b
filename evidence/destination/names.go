package destination

import (
	"maps"
	"slices"

	"telltale/blocklists/catalog"
)

// tiers are those of entries whose names are asked for: what owners and connectivity checks
// lead to is no telemetry's destination.
var tiers = []string{"telemetry", "mixed"}

// EntryOf returns the entry of the catalogue by which a name is telemetry; nil for none.
func EntryOf(c *catalog.Catalog, name string) *catalog.Entry {
	for _, e := range c.Name(name) {
		if e.Tier != "owner" {
			if slices.Contains(tiers, e.Tier) {
				return &e
			}
			return nil
		}
	}
	return nil
}

// Names returns the names to ask for, in alphabetical order: of what devices asked for, the
// names that the catalogue spells out. A device's own name below such a one may carry what
// tells the device from others, and is never asked for.
func Names(c *catalog.Catalog, asked func(yield func(name string) bool)) []string {
	names := map[string]bool{}
	for name := range asked {
		if e := EntryOf(c, name); e != nil {
			names[e.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
