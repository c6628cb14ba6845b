// Package catalog is what Telltale ships: one annotated list file per vendor,
// and sets that cut across vendors. Each entry says who wants a name, for what,
// who says so, and what breaks without it. The package reads its own files and
// nothing else; what a name's match means for a query is for blocklists to say.
package catalog

import (
	"embed"
	"io/fs"
)

//go:embed *.txt
var files embed.FS

// FS returns the list files: one NAME.txt per vendor or set at its root.
func FS() fs.FS { return files }
