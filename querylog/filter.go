package querylog

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Filter chooses rows. Zero fields choose all.
type Filter struct {
	Since, Until time.Time // rows with a lookup in between
	Device       string    // identity, shown name, MAC or address; case does not matter
	Devices      []string  // identities: rows of these are chosen as well as those of Device
	Vendor       string    // case does not matter
	Name         string    // part of the name or alias; with * or ? a pattern of the whole
	Verdict      string    // pass, allow, block, observe or answer
	Limit        int       // the newest so many; 0 for all
}

func (f *Filter) normal() (Filter, error) {
	n := *f
	n.Name = strings.TrimSuffix(strings.ToLower(f.Name), ".")
	n.Verdict = strings.ToLower(f.Verdict)
	if addr, err := netip.ParseAddr(f.Device); err == nil {
		n.Device = addr.Unmap().WithZone("").String()
	}
	if n.Verdict != "" && verdictWords.number(n.Verdict) < 0 {
		return n, fmt.Errorf("verdict %q is none of %s", f.Verdict, strings.Join(verdictWords, ", "))
	}
	return n, nil
}

func isPattern(name string) bool { return strings.ContainsAny(name, "*?") }

// matches reports whether r is chosen. It agrees with where, which asks the
// same of the store.
func (f *Filter) matches(r *Row) bool {
	if !f.Since.IsZero() && r.Last.UnixMilli() < f.Since.UnixMilli() || !f.Until.IsZero() && r.Time.UnixMilli() > f.Until.UnixMilli() {
		return false
	}
	if f.Verdict != "" && r.Verdict != f.Verdict || f.Vendor != "" && !equalFold(r.Vendor, f.Vendor) {
		return false
	}
	if f.Name != "" && !matchName(f.Name, r.Name) && !matchName(f.Name, r.Alias) {
		return false
	}
	return f.matchesDevice(r)
}

func (f *Filter) matchesDevice(r *Row) bool {
	if f.Device == "" && len(f.Devices) == 0 || slices.Contains(f.Devices, r.Device) {
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

func matchName(pattern, name string) bool {
	if name == "" {
		return false
	}
	if !isPattern(pattern) {
		return strings.Contains(name, pattern)
	}
	return glob(pattern, name)
}

// glob matches * to any run of octets and ? to any one.
func glob(pattern, s string) bool {
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p, i = p+1, i+1
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// where returns the conditions on the query of rows, and their arguments.
func (f *Filter) where() (sql string, args []any) {
	add := func(condition string, a ...any) {
		sql += " AND " + condition
		args = append(args, a...)
	}
	if !f.Since.IsZero() {
		add(`r.last >= ?`, f.Since.UnixMilli())
	}
	if !f.Until.IsZero() {
		add(`r.first <= ?`, f.Until.UnixMilli())
	}
	if f.Verdict != "" {
		add(`r.verdict = ?`, verdictWords.number(f.Verdict))
	}
	if f.Vendor != "" {
		add(`a.vendor = ? COLLATE NOCASE`, f.Vendor)
	}
	if f.Name != "" && isPattern(f.Name) {
		pattern := strings.ReplaceAll(f.Name, "[", "[[]") // SQLite has classes of characters
		add(`(r.name GLOB ? OR r.alias GLOB ?)`, pattern, pattern)
	} else if f.Name != "" {
		add(`(instr(r.name, ?) > 0 OR instr(r.alias, ?) > 0)`, f.Name, f.Name)
	}
	if f.Device != "" || len(f.Devices) > 0 {
		condition, of := f.whereDevice()
		add(condition, of...)
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
	for _, d := range f.Devices {
		one = append(one, deviceSQL+` = ?`)
		args = append(args, d)
	}
	return `(` + strings.Join(one, ` OR `) + `)`, args
}

// deviceSQL is the device of a row as Row.Device has it.
const deviceSQL = `coalesce(b.device, 'addr:' || r.client, '')`
