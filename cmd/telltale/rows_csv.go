package main

import (
	"encoding/csv"
	"io"
	"strconv"

	"telltale/evidence/render"
	"telltale/web"
)

// A rowColumn is a column of rows as CSV.
type rowColumn struct {
	name string // that of the JSON key
	of   func(*web.Row) string
}

// rowColumns are never renamed; new ones come at the end.
var rowColumns = []rowColumn{
	{"time", func(r *web.Row) string { return r.Time.String() }},
	{"last", func(r *web.Row) string { return r.Last.String() }},
	{"count", func(r *web.Row) string { return strconv.FormatUint(r.Count, 10) }},
	{"attempts", func(r *web.Row) string { return number32(r.Attempts) }},
	{"attempts_as_lookups", func(r *web.Row) string { return number32(r.AsLookups) }},
	{"node", func(r *web.Row) string { return r.Node }},
	{"device", func(r *web.Row) string { return r.Device }},
	{"device_name", func(r *web.Row) string { return r.DeviceName }},
	{"corrected_device", func(r *web.Row) string { return correctedTo(r).Device }},
	{"corrected_name", func(r *web.Row) string { return correctedTo(r).Name }},
	{"client", func(r *web.Row) string { return r.Client }},
	{"mac", func(r *web.Row) string { return r.MAC }},
	{"client_id", func(r *web.Row) string { return r.ClientID }},
	{"binding", func(r *web.Row) string { return strconv.FormatUint(r.Binding, 10) }},
	{"binding_source", func(r *web.Row) string { return r.BindingSource }},
	{"binding_confidence", func(r *web.Row) string { return r.BindingConfidence }},
	{"name", func(r *web.Row) string { return r.Name }},
	{"alias", func(r *web.Row) string { return r.Alias }},
	{"type", func(r *web.Row) string { return r.Type }},
	{"verdict", func(r *web.Row) string { return r.Verdict }},
	{"reason", func(r *web.Row) string { return r.Reason }},
	{"observed_by", func(r *web.Row) string { return r.ObservedBy }},
	{"list", func(r *web.Row) string { return r.List }},
	{"line", func(r *web.Row) string { return strconv.Itoa(r.Line) }},
	{"rule", func(r *web.Row) string { return r.Rule }},
	{"vendor", func(r *web.Row) string { return r.Vendor }},
	{"product", func(r *web.Row) string { return r.Product }},
	{"purpose", func(r *web.Row) string { return r.Purpose }},
	{"tier", func(r *web.Row) string { return r.Tier }},
	{"region", func(r *web.Row) string { return r.Region }},
	{"breaks", func(r *web.Row) string { return r.Breaks }},
	{"source", func(r *web.Row) string { return r.Source }},
	{"confidence", func(r *web.Row) string { return r.Confidence }},
	{"independent", func(r *web.Row) string { return strconv.Itoa(r.Independent) }},
	{"contested", func(r *web.Row) string { return strconv.FormatBool(r.Contested) }},
	{"attribution", func(r *web.Row) string { return r.Attribution }},
	{"attribution_list", func(r *web.Row) string { return r.AttributionList }},
	{"attribution_line", func(r *web.Row) string { return strconv.Itoa(r.AttributionLine) }},
	{"rcode", func(r *web.Row) string { return r.Rcode }},
	{"answered_from", func(r *web.Row) string { return r.AnsweredFrom }},
	{"upstream", func(r *web.Row) string { return r.Upstream }},
	{"transport", func(r *web.Row) string { return r.Transport }},
	{"ttl", func(r *web.Row) string { return number32(r.TTL) }},
	{"elapsed", func(r *web.Row) string { return strconv.FormatFloat(r.Elapsed, 'f', -1, 64) }},
	{"folded", func(r *web.Row) string { return strconv.FormatBool(r.Folded) }},
	{"open", func(r *web.Row) string { return strconv.FormatBool(r.Open) }},
	{"store", func(r *web.Row) string { return r.Store }},
	{"id", func(r *web.Row) string { return strconv.FormatInt(r.ID, 10) }},
	{"imported", func(r *web.Row) string { return r.Imported }},
}

func number32(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// correctedTo is what people's corrections say of the row's device; nothing where that
// is what the row says.
func correctedTo(r *web.Row) web.CorrectedRow {
	if r.Corrected == nil {
		return web.CorrectedRow{}
	}
	return *r.Corrected
}

// rowsCSV writes rows as CSV (RFC 4180), the names of the columns first. flush is to be
// called behind the last.
func rowsCSV(w io.Writer) (print func(*web.Row) error, flush func() error) {
	out := csv.NewWriter(w)
	line := make([]string, len(rowColumns))
	for i := range rowColumns {
		line[i] = rowColumns[i].name
	}
	err := out.Write(line)
	print = func(r *web.Row) error {
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
