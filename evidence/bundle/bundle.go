// Package bundle writes and checks bundles: files by which a stranger can see that
// rows of a sealed log were not changed, added or taken out since they were written,
// what is withheld of it, and what nobody can see. docs/bundles.md is the format, and
// docs/verify has a second verifier, which shares no code with this one.
package bundle

import (
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"telltale/querylog/seal"
)

// Format is the version of bundles. Another one has another number.
const Format = 1

// Entries of a bundle, in their order.
const (
	readmeEntry     = "README.txt"
	aboutEntry      = "about.json"
	listsEntry      = "lists.json"
	bindingsEntry   = "bindings.jsonl"
	htmlEntry       = "report.html"
	reportEntry     = "report.json"
	witnessesEntry  = "witnesses.jsonl"
	keyEntry        = "key.txt"
	checkpointEntry = "checkpoint.txt"
	statementsEntry = "statements.jsonl"
	ledgerEntry     = "ledger.jsonl"
	rowsEntry       = "rows.jsonl"
	csvEntry        = "rows.csv"
	accountEntry    = "leaves.txt"
	leavesEntry     = "leaves.bin"
	manifestEntry   = "manifest.txt"
)

var entryNames = []string{
	readmeEntry, aboutEntry, listsEntry, bindingsEntry, htmlEntry, reportEntry, witnessesEntry, keyEntry, checkpointEntry,
	statementsEntry, ledgerEntry, rowsEntry, csvEntry, accountEntry, leavesEntry, manifestEntry,
}

// A What says what a bundle has of a leaf. The words are in leaves.txt and never
// change.
type What string

const (
	Row       What = "row"       // its line, in rows.jsonl
	Ledger    What = "ledger"    // its line, in ledger.jsonl
	Statement What = "statement" // its line, in statements.jsonl
	Outside   What = "outside"   // its hash: it is of another time
	Withheld  What = "withheld"  // its hash: it is another device's
	Deleted   What = "deleted"   // its hash: the line was deleted or replaced, as a removal says
)

// shownIn are the entries of what has a line.
var shownIn = map[What]string{Row: rowsEntry, Ledger: ledgerEntry, Statement: statementsEntry}

// A Leaf is one of the log, as far as it is shown.
type Leaf struct {
	Hash    seal.Hash
	What    What
	Salt    seal.Salt // of Row, Ledger and Statement
	Line    []byte    // of these, too
	Removal int64     // of Deleted: the leaf of the removal
}

// An About says what a bundle is of.
type About struct {
	Bundle   int             `json:"bundle"` // Format
	Program  string          `json:"program"`
	Made     int64           `json:"made"`    // Unix milliseconds, as are all times
	Since    int64           `json:"since"`   // of the rows' first lookups
	Until    int64           `json:"until"`   // rows before it
	Device   string          `json:"device"`  // as it was asked for; "" for all
	Devices  []string        `json:"devices"` // identities whose rows are in it; empty for all
	Redacted bool            `json:"redacted"`
	Settings string          `json:"settings_sha256"` // of the settings file; "" for none
	Clock    json.RawMessage `json:"clock"`
	Coverage json.RawMessage `json:"coverage"`
}

// text returns the only form of about.json.
func (a *About) text() (string, error) {
	own := *a
	if own.Devices == nil {
		own.Devices = []string{}
	}
	b, err := json.MarshalIndent(&own, "", "  ")
	return string(b) + "\n", err
}

// maxText is how long a line, or an entry that is read whole, may be.
const maxText = 1 << 24

// columns are those of rows.csv.
var columns = strings.Fields(`leaf first last count attempts device device_name client name alias type verdict reason list line rule
	vendor product purpose tier source confidence rcode answered_from`)

// types are words for the commonest numbers of types.
var types = map[string]string{
	"1": "A", "2": "NS", "5": "CNAME", "6": "SOA", "12": "PTR", "15": "MX", "16": "TXT", "28": "AAAA", "33": "SRV", "64": "SVCB", "65": "HTTPS", "255": "ANY",
}

// appendCSV appends a row as a line of rows.csv.
func appendCSV(b []byte, leaf int64, row map[string]string) []byte {
	for i, c := range columns {
		value := row[c]
		switch c {
		case "leaf":
			value = strconv.FormatInt(leaf, 10)
		case "first", "last":
			value = timeText(number(row, c))
		case "type":
			n := value
			if n == "" {
				n = "0"
			}
			if value = types[n]; value == "" {
				value = "TYPE" + n
			}
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = appendField(b, value)
	}
	return append(b, '\n')
}

func timeText(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// appendField appends a value between quotes. A text that a spreadsheet would take for
// a formula gets an apostrophe in front; what could control a terminal, or the order
// of what it shows, becomes a question mark.
func appendField(b []byte, s string) []byte {
	b = append(b, '"')
	if begin := strings.TrimLeft(s, " '"); begin != "" && strings.IndexByte("=+-@", begin[0]) >= 0 {
		b = append(b, '\'')
	}
	for _, r := range s {
		switch {
		case r < 0x20, r >= 0x7f && r <= 0x9f, r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == 0xfeff:
			b = append(b, '?')
		case r == '"':
			b = append(b, '"', '"')
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}

func csvHead() string { return strings.Join(columns, ",") + "\n" }

// number returns a whole number of a row; 0 where it is none, or left out.
func number(row map[string]string, key string) int64 {
	n, _ := strconv.ParseInt(row[key], 10, 64)
	return n
}

// isOf reports whether a row is one that a bundle is of.
func (a *About) isOf(row map[string]string) (ofTime, ofDevice bool) {
	first := number(row, "first")
	return first >= a.Since && first < a.Until, len(a.Devices) == 0 || slices.Contains(a.Devices, row["device"])
}

// text writes a text; it is for entries that are made at once.
func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}
