// Package metrics counts lookups for Prometheus, and writes metrics in its text format
// (version 0.0.4). What has no counter yet is counted here; everything else is read from its
// part when somebody asks. No label is a name that was looked up or an address of a client.
package metrics

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A Kind is what a metric is, in the word of the format.
type Kind string

const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram"
	Summary   Kind = "summary"
)

// A Family is all series of one name.
type Family struct {
	Name   string
	Kind   Kind
	Labels []string
	Help   string // a line
}

// A Page is what one request is answered with. The zero value is empty. The series of a family
// have to be added one after another.
type Page struct {
	text   []byte
	family *Family
}

// Bytes returns the page, which stays the page's own.
func (p *Page) Bytes() []byte { return p.text }

// Add adds a series with the values of the family's labels.
func (p *Page) Add(f *Family, value float64, labels ...string) {
	p.begin(f)
	p.series(f, "", value, labels, "", "")
}

// begin writes what is said of a family before its first series.
func (p *Page) begin(f *Family) {
	if p.family == f {
		return
	}
	p.family = f
	p.text = append(p.text, "# HELP "+f.Name+" "+f.Help+"\n# TYPE "+f.Name+" "+string(f.Kind)+"\n"...)
}

// series writes a line: the family's name with a suffix, its labels, and one more unless that
// is "".
func (p *Page) series(f *Family, suffix string, value float64, labels []string, more, moreValue string) {
	p.text = append(append(p.text, f.Name...), suffix...)
	open := byte('{')
	for i, name := range f.Labels {
		p.label(open, name, labels[i])
		open = ','
	}
	if more != "" {
		p.label(open, more, moreValue)
		open = ','
	}
	if open == ',' {
		p.text = append(p.text, '}')
	}
	p.text = append(append(append(p.text, ' '), number(value)...), '\n')
}

// longestLabel bounds the values of labels, in octets.
const longestLabel = 100

var escaped = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

func (p *Page) label(before byte, name, value string) {
	p.text = append(append(append(p.text, before), name...), `="`...)
	p.text = append(append(p.text, escaped.Replace(labelValue(value))...), '"')
}

// labelValue returns a text as it is a label's value: valid UTF-8, and not long.
func labelValue(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) <= longestLabel {
		return text
	}
	end := longestLabel
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

func number(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "+Inf"
	case v == math.Trunc(v) && math.Abs(v) < 1<<53:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// AddSummary adds what a summary says: of each quantile its value, and how many observations
// there were, with their sum.
func (p *Page) AddSummary(f *Family, quantiles []Quantile, sum float64, count uint64, labels ...string) {
	p.begin(f)
	for _, q := range quantiles {
		p.series(f, "", q.Value, labels, "quantile", number(q.Of))
	}
	p.series(f, "_sum", sum, labels, "", "")
	p.series(f, "_count", float64(count), labels, "", "")
}

// A Quantile says that a part of all observations are at most a value.
type Quantile struct{ Of, Value float64 }

// addHistogram adds the observations of one histogram.
func (p *Page) addHistogram(f *Family, h *durations, labels ...string) {
	p.AddHistogram(f, bounds[:], h.counts[:], time.Duration(h.sum), labels...)
}

// AddHistogram adds a histogram: how many observations are above each bound before and at most its own, the last
// above all of them, and their sum.
func (p *Page) AddHistogram(f *Family, bounds []time.Duration, counts []uint64, sum time.Duration, labels ...string) {
	p.begin(f)
	all := uint64(0)
	for i, n := range counts {
		all += n
		bound := "+Inf"
		if i < len(bounds) {
			bound = number(bounds[i].Seconds())
		}
		p.series(f, "_bucket", float64(all), labels, "le", bound)
	}
	p.series(f, "_sum", float64(sum)/1e9, labels, "", "")
	p.series(f, "_count", float64(all), labels, "", "")
}
