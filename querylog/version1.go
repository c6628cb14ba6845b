package querylog

import (
	"fmt"
	"strings"
)

// oldStoreName is the file of a store of version 1, as releases before the
// second version of the schema wrote it. It is read until it is copied.
const oldStoreName = "querylog.db"

// layout1 is how version 1 keeps rows: names in the row, no reason.
var layout1 = layout{
	version: 1,
	joins: `
	LEFT JOIN binding b ON b.id = r.binding
	LEFT JOIN annotation a ON a.id = r.note`,
	exprs: map[string]string{
		"annotation":     `r.note`,
		"answered_from":  `r.source`,
		"name of a row":  `r.name`,
		"alias of a row": `r.alias`,
	},
}

// columns1 are the columns of a row in version 1.
var columns1 = strings.Fields(`id node first last count binding type verdict list line attr_list attr_line level note
	rcode source transport ttl elapsed folded client name alias rule`)

// renamed1 are the columns that have another name since.
var renamed1 = map[string]string{"note": "annotation", "source": "answered_from"}

var (
	ledgerColumns = strings.Fields(`id node time since until kind subject detail`)
	windowColumns = strings.Fields(`id first last rows lookups`)
)

// selectOld is the query of a table of version 1 between two numbers, the first
// one excluded.
func selectOld(table string, columns []string) string {
	return fmt.Sprintf(`SELECT %s FROM %s WHERE id > ? AND id <= ? ORDER BY id`, strings.Join(columns, `, `), table)
}

// currentKind returns the present word for a kind of the ledger: version 1 had
// some others, which rows of before keep in the file until they are copied.
func currentKind(kind string) string {
	switch kind {
	case "mended":
		return KindRecovered
	case "list-mended":
		return kindListRecovered
	}
	return kind
}
