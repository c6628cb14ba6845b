package querylog

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Filter chooses rows. Zero fields choose all.
type Filter struct {
	Since, Until time.Time    // rows with a lookup in between
	Device       string       // identity, shown name, MAC or address; case does not matter
	Devices      []DeviceSpan // rows of these are chosen as well as those of Device
	Without      []DeviceSpan // rows of these are not
	Vendor       string       // case does not matter
	Name         string       // of the question or the alias: see docs/querylog.md for its forms
	Names        []string     // the same, of rows with any of them; instead of Name
	Verdict      string       // pass, allow, block, observe, answer or unknown
	After        int64        // rows whose ID is above it; 0 for all
	Before       int64        // rows whose ID is below it; 0 for all
	Limit        int          // the newest so many; 0 for all
	Listed       bool         // of listed names alone
	ByFirst      bool         // rows whose first lookup is from Since on, up to but without Until, so that a row is in one period alone

	name  nameFilter
	alias nameFilter // what aliases are compared with, where name is not empty
	only  string     // the table of rows that is read; "" for both
	says  columnSet  // what is wanted of rows
	begun bool       // only rows in which an attempt begins
	page  int        // rows that are read at once at most; 0 for pageRows
	scan  bool       // all rows are looked at: the slow twin of hourIndex
}

// A DeviceSpan is a device for a time: from From on, up to but without Until, by the
// first lookup of a row. A zero time is no bound.
type DeviceSpan struct {
	Device      string // identity
	From, Until time.Time
}

// Has reports whether it has an identity at a time.
func (s *DeviceSpan) Has(device string, at time.Time) bool {
	return s.Device == device && (s.From.IsZero() || at.UnixMilli() >= s.From.UnixMilli()) && (s.Until.IsZero() || at.UnixMilli() < s.Until.UnixMilli())
}

// AnyHas reports whether one of spans has an identity at a time.
func AnyHas(spans []DeviceSpan, device string, at time.Time) bool {
	for i := range spans {
		if spans[i].Has(device, at) {
			return true
		}
	}
	return false
}

// where is the condition on a row that it is of the span.
func (s *DeviceSpan) where() (sql string, args []any) {
	sql, args = `(`+deviceSQL+` = ?`, []any{s.Device}
	if !s.From.IsZero() {
		sql, args = sql+` AND r.first >= ?`, append(args, s.From.UnixMilli())
	}
	if !s.Until.IsZero() {
		sql, args = sql+` AND r.first < ?`, append(args, s.Until.UnixMilli())
	}
	return sql + `)`, args
}

// ErrNoName means that a filter is for a name alone, and has no name.
var ErrNoName = errors.New(`"=" is without a name: write it behind the sign, as in =example.com; the root is "=."`)

// normal returns the filter with its words as rows have them, or says what is
// wrong with one.
func (f *Filter) normal() (Filter, error) {
	n := *f
	n.name = newNameFilter(f.Name)
	if len(f.Names) > 0 {
		n.name = nameFilter{kind: nameAnyOf}
		for _, name := range f.Names {
			n.name.anyOf = append(n.name.anyOf, newNameFilter(name))
		}
	}
	n.alias = n.name.ofAlias()
	n.Verdict = strings.ToLower(f.Verdict)
	if f.Listed {
		n.only = rowTables[0]
	}
	if addr, err := netip.ParseAddr(f.Device); err == nil {
		n.Device = addr.Unmap().WithZone("").String()
	}
	if f.Name == "=" || slices.Contains(f.Names, "=") {
		return n, ErrNoName
	}
	if n.Verdict != "" && verdictWords.number(n.Verdict) < 0 {
		return n, fmt.Errorf("verdict %q is none of %s", f.Verdict, strings.Join(verdictWords, ", "))
	}
	return n, nil
}

// Chooser returns what reports whether a row is chosen, for rows that are at hand; Limit has no
// effect on it.
func (f *Filter) Chooser() (func(*Row) bool, error) {
	n, err := f.normal()
	return n.matches, err
}

// matches reports whether r is chosen. It agrees with where, which asks the
// same of the store.
func (f *Filter) matches(r *Row) bool {
	if !f.Since.IsZero() && r.Last.UnixMilli() < f.Since.UnixMilli() || !f.Until.IsZero() && r.Time.UnixMilli() > f.Until.UnixMilli() {
		return false
	}
	if f.ByFirst && (r.Time.UnixMilli() < firstMilli(f.Since) || !f.Until.IsZero() && r.Time.UnixMilli() >= firstMilli(f.Until)) {
		return false
	}
	if f.After > 0 && r.ID <= f.After || f.Before > 0 && r.ID >= f.Before || f.begun && r.Attempts == 0 {
		return false
	}
	if f.Verdict != "" && r.Verdict != f.Verdict || f.Vendor != "" && !equalFold(r.Vendor, f.Vendor) {
		return false
	}
	if !f.name.matches(r.Name) && !f.alias.matches(r.Alias) {
		return false
	}
	return f.matchesDevice(r)
}

// firstMilli returns the first millisecond, since 1970, that is not before a time; 0 for none.
func firstMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Add(time.Millisecond - 1).UnixMilli()
}

func (f *Filter) matchesDevice(r *Row) bool {
	if AnyHas(f.Without, r.Device, r.Time.Time) {
		return false
	}
	if f.Device == "" && len(f.Devices) == 0 || AnyHas(f.Devices, r.Device, r.Time.Time) {
		return true
	}
	return f.Device != "" && (equalFold(r.Device, f.Device) || equalFold(r.DeviceName, f.Device) ||
		equalFold(r.MAC, f.Device) || equalFold(r.Client, f.Device))
}

// equalFold compares as SQLite's NOCASE does: ASCII letters alone have case.
func equalFold(a, b string) bool { return asciiLower(a) == asciiLower(b) }

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// where returns the conditions on the query of a table's rows within a span,
// and their arguments.
func (f *Filter) where(l *layout, table string, in span) (sql string, args []any) {
	add := func(condition string, a ...any) {
		sql += " AND " + condition
		args = append(args, a...)
	}
	if !f.Since.IsZero() {
		add(l.named("last")+` >= ?`, f.Since.UnixMilli())
	}
	if !f.Until.IsZero() {
		add(`r.first <= ?`, f.Until.UnixMilli())
	}
	if f.ByFirst {
		add(`r.first >= ?`, firstMilli(f.Since))
		if !f.Until.IsZero() {
			add(`r.first < ?`, firstMilli(f.Until))
		}
	}
	if f.begun {
		add(l.named("attempts") + ` > 0`)
	}
	if f.Verdict != "" {
		add(`r.verdict = ?`, verdictWords.number(f.Verdict))
	}
	if f.Vendor != "" {
		add(`r.annotation IN (SELECT id FROM annotation WHERE vendor = ? COLLATE NOCASE)`, f.Vendor) // looked up once, and not for each row
	}
	if !f.name.empty() {
		condition, a := f.whereName(l, table, in)
		add(condition, a...)
	}
	if f.Device != "" || len(f.Devices) > 0 {
		condition, of := f.whereDevice()
		add(condition, of...)
	}
	for i := range f.Without {
		condition, of := f.Without[i].where()
		add(`NOT `+condition, of...)
	}
	return sql, args
}

func (f *Filter) whereDevice() (sql string, args []any) {
	var one []string
	if d := f.Device; d != "" {
		one = append(one, deviceSQL+` = ? COLLATE NOCASE OR b.name = ? COLLATE NOCASE OR b.mac = ? COLLATE NOCASE
			OR coalesce(r.client, b.addr) = ? COLLATE NOCASE`)
		args = append(args, d, d, d, d)
	}
	for i := range f.Devices {
		condition, of := f.Devices[i].where()
		one = append(one, condition)
		args = append(args, of...)
	}
	return `(` + strings.Join(one, ` OR `) + `)`, args
}

// whereName is the condition on name and alias. Where names stand in a table of
// their own, those of the span's period are looked through once, and rows are
// compared by number.
func (f *Filter) whereName(l *layout, table string, in span) (sql string, args []any) {
	name, a := f.name.where(l.name())
	alias, b := f.alias.where(l.alias())
	if !l.names {
		return `(` + name + ` OR ` + alias + `)`, append(a, b...)
	}
	if in.names != nil {
		numbers := in.names[slices.Index(rowTables[:], table)]
		sql = `r.name ` + isOneOf(len(numbers))
		args = appendNumbers(nil, numbers)
		if f.aliased() == aliasAsName {
			return `(` + sql + ` OR r.alias ` + isOneOf(len(numbers)) + `)`, appendNumbers(args, numbers)
		}
		return sql, args
	}
	period := (in.end - 1) >> periodRows
	numbers := func(of *nameFilter) string {
		chosen, a := of.where(`s.name`)
		args = append(append(args, period<<nameBits, period<<nameBits|(1<<nameBits-1)), a...)
		return fmt.Sprintf(`(SELECT s.id & %d FROM %s_name s WHERE s.id BETWEEN ? AND ? AND %s)`, 1<<nameBits-1, table, chosen)
	}
	sql = `r.name IN ` + numbers(&f.name)
	if f.alias.kind != nameAnyOf || len(f.alias.anyOf) > 0 {
		sql += ` OR r.alias IN ` + numbers(&f.alias)
	}
	return `(` + sql + `)`, args
}

// An aliasKind says how aliases are chosen beside names.
type aliasKind uint8

const (
	aliasNone aliasKind = iota
	aliasAsName
	aliasOther
)

func (f *Filter) aliased() aliasKind {
	switch n, a := &f.name, &f.alias; {
	case a.kind == nameAnyOf && len(a.anyOf) == 0:
		return aliasNone
	case a.kind != n.kind || len(a.anyOf) != len(n.anyOf):
		return aliasOther
	}
	return aliasAsName
}

// isOneOf is the condition of being one of so many numbers. There are few forms of it: a statement of each is kept.
func isOneOf(n int) string {
	if n == 1 {
		return `= ?`
	}
	return `IN (?` + strings.Repeat(`,?`, placesFor(n)-1) + `)`
}

// placesFor is how many places isOneOf has for so many numbers.
func placesFor(n int) int {
	switch {
	case n <= 1:
		return 1
	case n <= 4:
		return 4
	}
	return fewNames
}

// appendNumbers appends numbers for isOneOf. The first one is also in the places that are left.
func appendNumbers(args []any, numbers []int64) []any {
	for i := range placesFor(len(numbers)) {
		if i >= len(numbers) {
			i = 0
		}
		args = append(args, numbers[i])
	}
	return args
}
