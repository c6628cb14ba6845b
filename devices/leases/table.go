package leases

import (
	"encoding/csv"
	"net/netip"
	"strings"
	"time"
)

// table reads a table that a person or a script writes, for servers that keep no file
// which could be read. Its first line names the columns, in any order: address, mac,
// host, from, until, class; or as PowerShell's Get-DhcpServerv4Lease has them. Commas,
// semicolons or tabs are between the cells.
type table struct{}

// tableColumns are the names of columns, in small letters and without spaces, and what
// is in them.
var tableColumns = map[string]string{
	"address": "address", "ip": "address", "ipaddress": "address",
	"mac": "mac", "macaddress": "mac", "clientid": "mac",
	"host": "host", "hostname": "host", "name": "host",
	"from": "from", "until": "until", "leaseexpirytime": "until",
	"class": "class", "vendorclass": "class", "addressstate": "state",
}

func (table) looksLike(line string) bool {
	columns := columnsOf(cellsOf(line, separator(line)))
	_, address := columns["address"]
	return address && len(columns) > 1
}

// separator returns what is between the cells of a line.
func separator(line string) rune {
	best := ','
	for _, c := range ";\t" {
		if strings.Count(line, string(c)) > strings.Count(line, string(best)) {
			best = c
		}
	}
	return best
}

// cellsOf returns the cells of a line, which may be quoted.
func cellsOf(line string, between rune) []string {
	r := csv.NewReader(strings.NewReader(line))
	r.Comma, r.FieldsPerRecord, r.LazyQuotes, r.TrimLeadingSpace = between, -1, true, between != '\t'
	cells, err := r.Read()
	if err != nil {
		return nil
	}
	return cells
}

func columnsOf(cells []string) map[string]int {
	columns := map[string]int{}
	for i, name := range cells {
		word := strings.ToLower(strings.NewReplacer(" ", "", "_", "", "-", "").Replace(strings.TrimSpace(name)))
		if what, ok := tableColumns[word]; ok {
			if _, twice := columns[what]; !twice {
				columns[what] = i
			}
		}
	}
	return columns
}

func (t table) read(text string, r *reading) {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n" // a person's editor may leave it out
	}
	var columns map[string]int
	var between rune
	r.each(text, func(number int, line string) {
		if line[0] == '#' { // a remark, or PowerShell's #TYPE
			return
		}
		if columns == nil {
			if !t.looksLike(line) {
				r.bad(number)
				return
			}
			between = separator(line)
			columns, r.understood = columnsOf(cellsOf(line, between)), true
			return
		}
		cells := cellsOf(line, between)
		cell := func(what string) string {
			if i, ok := columns[what]; ok && i < len(cells) {
				return strings.TrimSpace(cells[i])
			}
			return ""
		}
		addr, err := netip.ParseAddr(cell("address"))
		mac := parseMAC(cell("mac"))
		from, fromOK := tableTime(cell("from"))
		until, untilOK := tableTime(cell("until"))
		if err != nil || mac == "" && cell("mac") != "" || !fromOK || !untilOK {
			r.bad(number)
			return
		}
		if state := strings.ToLower(cell("state")); state != "" && !strings.HasPrefix(state, "active") {
			r.end(addr)
			return
		}
		r.set(Lease{Addr: addr, MAC: mac, Host: r.host(cell("host")), Class: Shown(cell("class")), From: from, Until: until})
	})
}

// tableTime reads a time with its zone (RFC 3339), or seconds since 1970; an empty cell
// is the zero time.
func tableTime(text string) (time.Time, bool) {
	if text == "" {
		return time.Time{}, true
	}
	if t, ok := seconds(text); ok {
		return t, true
	}
	t, err := time.Parse(time.RFC3339, text)
	return t, err == nil
}
