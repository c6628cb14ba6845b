package render

import (
	"encoding/json"
	"io"

	"telltale/evidence"
)

// JSON writes a report as docs/report.schema.json describes it, times in UTC.
func JSON(w io.Writer, r *evidence.Report) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
