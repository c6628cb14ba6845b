package main

import (
	"encoding/csv"
	"io"
	"strconv"

	"telltale/evidence/render"
)

// A rowColumn is a column of rows as CSV.
type rowColumn struct {
	name string // that of the JSON key
	of   func(*shownRow) string
}

// rowColumns are never renamed; new ones come at the end.
var rowColumns = []rowColumn{
	{"time", func(r *shownRow) string { return r.Time.String() }},
	{"last", func(r *shownRow) string { return r.Last.String() }},
	{"count", func(r *shownRow) string { return strconv.FormatUint(r.Count, 10) }},
	{"attempts", func(r *shownRow) string { return number32(r.Attempts) }},
	{"attempts_as_lookups", func(r *shownRow) string { return number32(r.AsLookups) }},
	{"node", func(r *shownRow) string { return r.Node }},
	{"device", func(r *shownRow) string { return r.Device }},
	{"device_name", func(r *shownRow) string { return r.DeviceName }},
	{"corrected_device", func(r *shownRow) string { return r.correctedTo().Device }},
	{"corrected_name", func(r *shownRow) string { return r.correctedTo().Name }},
	{"client", func(r *shownRow) string { return r.Client }},
	{"mac", func(r *shownRow) string { return r.MAC }},
	{"client_id", func(r *shownRow) string { return r.ClientID }},
	{"binding", func(r *shownRow) string { return strconv.FormatUint(r.Binding, 10) }},
	{"binding_source", func(r *shownRow) string { return r.BindingSource }},
	{"binding_confidence", func(r *shownRow) string { return r.BindingConfidence }},
	{"name", func(r *shownRow) string { return r.Name }},
	{"alias", func(r *shownRow) string { return r.Alias }},
	{"type", func(r *shownRow) string { return r.Type }},
	{"verdict", func(r *shownRow) string { return r.Verdict }},
	{"reason", func(r *shownRow) string { return r.Reason }},
	{"observed_by", func(r *shownRow) string { return r.ObservedBy }},
	{"list", func(r *shownRow) string { return r.List }},
	{"line", func(r *shownRow) string { return strconv.Itoa(r.Line) }},
	{"rule", func(r *shownRow) string { return r.Rule }},
	{"vendor", func(r *shownRow) string { return r.Vendor }},
	{"product", func(r *shownRow) string { return r.Product }},
	{"purpose", func(r *shownRow) string { return r.Purpose }},
	{"tier", func(r *shownRow) string { return r.Tier }},
	{"region", func(r *shownRow) string { return r.Region }},
	{"breaks", func(r *shownRow) string { return r.Breaks }},
	{"source", func(r *shownRow) string { return r.Source }},
	{"confidence", func(r *shownRow) string { return r.Confidence }},
	{"independent", func(r *shownRow) string { return strconv.Itoa(r.Independent) }},
	{"contested", func(r *shownRow) string { return strconv.FormatBool(r.Contested) }},
	{"attribution", func(r *shownRow) string { return r.Attribution }},
	{"attribution_list", func(r *shownRow) string { return r.AttributionList }},
	{"attribution_line", func(r *shownRow) string { return strconv.Itoa(r.AttributionLine) }},
	{"rcode", func(r *shownRow) string { return r.Rcode }},
	{"answered_from", func(r *shownRow) string { return r.AnsweredFrom }},
	{"upstream", func(r *shownRow) string { return r.Upstream }},
	{"transport", func(r *shownRow) string { return r.Transport }},
	{"ttl", func(r *shownRow) string { return number32(r.TTL) }},
	{"elapsed", func(r *shownRow) string { return strconv.FormatFloat(r.Elapsed, 'f', -1, 64) }},
	{"folded", func(r *shownRow) string { return strconv.FormatBool(r.Folded) }},
	{"open", func(r *shownRow) string { return strconv.FormatBool(r.Open) }},
	{"store", func(r *shownRow) string { return r.Store }},
	{"id", func(r *shownRow) string { return strconv.FormatInt(r.ID, 10) }},
	{"imported", func(r *shownRow) string { return r.Imported }},
}

func number32(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// correctedTo is what people's corrections say of the row's device; nothing where that
// is what the row says.
func (r *shownRow) correctedTo() correctedRow {
	if r.Corrected == nil {
		return correctedRow{}
	}
	return *r.Corrected
}

// rowsCSV writes rows as CSV (RFC 4180), the names of the columns first. flush is to be
// called behind the last.
func rowsCSV(w io.Writer) (print func(*shownRow) error, flush func() error) {
	out := csv.NewWriter(w)
	line := make([]string, len(rowColumns))
	for i := range rowColumns {
		line[i] = rowColumns[i].name
	}
	err := out.Write(line)
	print = func(r *shownRow) error {
		if err != nil {
			return err
		}
		for i := range rowColumns {
			line[i] = render.CSVField(rowColumns[i].of(r))
		}
		return out.Write(line)
	}
	return print, func() error {
		out.Flush()
		if err != nil {
			return err
		}
		return out.Error()
	}
}
