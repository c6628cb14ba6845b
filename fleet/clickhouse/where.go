package clickhouse

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"telltale/querylog"
)

// spanSQL is the condition that a row is of a device in a time, by a column that says when.
func spanSQL(d *querylog.DeviceSpan, column string) string {
	sql := `device = ` + quote(d.Device)
	if !d.From.IsZero() {
		sql += fmt.Sprintf(` AND %s >= %d`, column, d.From.UnixMilli())
	}
	if !d.Until.IsZero() {
		sql += fmt.Sprintf(` AND %s < %d`, column, d.Until.UnixMilli())
	}
	return `(` + sql + `)`
}

// where is the condition that a row is chosen by a filter, but for Limit. It agrees with
// querylog.Filter.Chooser.
func (r *Reader) where(f *querylog.Filter, begun bool) (string, error) {
	if _, err := f.Chooser(); err != nil { // a word that there is not
		return "", err
	}
	all := []string{`1`}
	add := func(format string, a ...any) { all = append(all, fmt.Sprintf(format, a...)) }
	if !f.Since.IsZero() {
		ms := f.Since.UnixMilli()
		if add(`last >= %d`, ms); !r.uneven { // leaves partitions out
			add(`first >= %d`, ms-evenness)
		}
	}
	if !f.Until.IsZero() {
		add(`first <= %d`, f.Until.UnixMilli())
	}
	if f.ByFirst && !f.Since.IsZero() {
		add(`first >= %d`, f.Since.Add(time.Millisecond-1).UnixMilli())
	}
	if f.ByFirst && !f.Until.IsZero() {
		add(`first < %d`, f.Until.Add(time.Millisecond-1).UnixMilli())
	}
	if f.After > 0 {
		add(`id > %d`, f.After)
	}
	if f.Before > 0 {
		add(`id < %d`, f.Before)
	}
	if begun {
		add(`attempts > 0`)
	}
	if f.Listed {
		add(`listed = 1`)
	}
	if f.Verdict != "" {
		add(`verdict = %s`, quote(strings.ToLower(f.Verdict)))
	}
	if f.Vendor != "" {
		add(`lower(vendor) = %s`, quote(asciiLower(f.Vendor)))
	}
	if forms := f.NameForms(); len(forms) > 0 {
		var any []string
		for _, form := range forms {
			if form.Wide {
				return "", errWide
			}
			if any = append(any, nameSQL(form, "name")); form.Kind != querylog.NameExact {
				any = append(any, nameSQL(form, "alias"))
			}
		}
		all = append(all, `(`+strings.Join(any, ` OR `)+`)`)
	}
	if sql := deviceSQL(f); sql != "" {
		all = append(all, sql)
	}
	for i := range f.Without {
		all = append(all, `NOT `+spanSQL(&f.Without[i], "first"))
	}
	return strings.Join(all, ` AND `), nil
}

func deviceSQL(f *querylog.Filter) string {
	var any []string
	if d := f.DeviceWord(); d != "" {
		d = quote(asciiLower(d))
		for _, column := range []string{"device", "device_name", "mac", "client"} {
			any = append(any, `lower(`+column+`) = `+d)
		}
	}
	for i := range f.Devices {
		any = append(any, spanSQL(&f.Devices[i], "first"))
	}
	if len(any) == 0 {
		return ""
	}
	return `(` + strings.Join(any, ` OR `) + `)`
}

// nameSQL is the condition that a column is a name of a form.
func nameSQL(n querylog.NameForm, column string) string {
	switch n.Kind {
	case querylog.NamePattern:
		var b strings.Builder
		for i := range len(n.Text) {
			switch c := n.Text[i]; c {
			case '*':
				b.WriteString(`.*`)
			case '?':
				b.WriteString(`.`)
			default:
				b.WriteString(regexp.QuoteMeta(string(rune(c))))
			}
		}
		return `match(` + column + `, ` + quote(`^(?s:`+b.String()+`)$`) + `) AND ` + column + ` != ''`
	case querylog.NameExact:
		return column + ` = ` + quote(n.Text)
	case querylog.NameBelow:
		return `(` + column + ` = ` + quote(n.Text[1:]) + ` OR endsWith(` + column + `, ` + quote(n.Text) + `))`
	}
	return `position(` + column + `, ` + quote(n.Text) + `) > 0`
}

// asciiLower is what ClickHouse's lower does: ASCII letters alone have case.
func asciiLower(s string) string {
	return strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, s)
}
