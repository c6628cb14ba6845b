//go:build !small

package catalog

import "weak"

// lastEntries are entries that are in memory for as long as somebody has them.
type lastEntries = weak.Pointer[Catalog]

func makeLast(c *Catalog) lastEntries { return weak.Make(c) }
