//go:build small

package catalog

// lastEntries are none: the small program reads entries for each who asks.
type lastEntries struct{}

func (lastEntries) Value() *Catalog { return nil }

func makeLast(*Catalog) lastEntries { return lastEntries{} }
