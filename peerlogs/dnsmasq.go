package peerlogs

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"telltale/dnswire"
)

// dnsmasq logs with log-queries a line for each thing that happens to a query; with
// log-queries=extra each has the query's number and who asked. What belongs together is
// put together again here. See log_query in src/cache.c of its source. Pi-hole's own
// lines in its log, which is dnsmasq's, say what was blocked.
var dnsmasqFormat = Format{
	Name: "dnsmasq", Title: "dnsmasq",
	Lost: "how queries came, the TTL of answers and how long they took; without log-queries=extra also which of several equal queries an answer belongs to",
	is: func(head []byte) bool {
		for n := 0; n < 200 && len(head) > 0; n++ {
			var line []byte
			line, head, _ = bytes.Cut(head, []byte{'\n'})
			if _, rest, ok := dnsmasqTag(line); ok && len(rest) > 0 {
				return true
			}
		}
		return false
	},
}

func newDnsmasq(f *file, o Options) *dnsmasqLog {
	return &dnsmasqLog{lines: lines{f: f}, o: o, bySerial: map[string]*dnsmasqQuery{}, byName: map[string][]*dnsmasqQuery{}, blocked: map[string]bool{}}
}

type dnsmasqLog struct {
	lines
	chain
	backlog
	o     Options
	dates dates

	bySerial map[string]*dnsmasqQuery   // of those that wait, by number
	byName   map[string][]*dnsmasqQuery // by name
	blocked  map[string]bool            // names that its configuration blocked last
}

// mostBlocked is how many names that were blocked are remembered.
const mostBlocked = 16_384

// A dnsmasqQuery is a query whose answer may still come.
type dnsmasqQuery struct {
	waitingLookup
	serial, name string
	alias        bool // the answer has one: what is at its end is not known to be of this query
	empty        bool // the configuration had no address of its type: it is blocked if the name is
}

func (d *dnsmasqLog) Format() *Format         { return &dnsmasqFormat }
func (d *dnsmasqLog) Close() error            { return d.f.close() }
func (d *dnsmasqLog) Read() (done, all int64) { return d.f.read() }

func (d *dnsmasqLog) Notes() []string {
	all := d.notes()
	if d.dates.guessed {
		all = append(all, fmt.Sprintf("its times have no year, which was taken from when the file was last changed; their zone is %s", d.o.Zone))
	}
	return all
}

func (d *dnsmasqLog) Next() (*Lookup, error) {
	return d.take(&d.chain, &dnsmasqFormat, d.o.Now, d.more)
}

// more takes over the next line.
func (d *dnsmasqLog) more() error {
	line, err := d.next()
	var bad *BadRecord
	switch {
	case errors.As(err, &bad):
		return err
	case err != nil:
		d.finish(err)
		return nil
	}
	if err := d.line(line); err != nil {
		return d.bad(err)
	}
	return nil
}

// forget makes a query one of which nothing more can come.
func (d *dnsmasqLog) forget(q *dnsmasqQuery) {
	if d.bySerial[q.serial] == q {
		delete(d.bySerial, q.serial)
	}
	if of := d.byName[q.name]; len(of) > 1 {
		d.byName[q.name] = of[1:] // it came first
	} else {
		delete(d.byName, q.name)
	}
}

// dnsmasqTag finds the message of a line, and what stands before it.
func dnsmasqTag(line []byte) (before, message []byte, ok bool) {
	at := bytes.Index(line, []byte("dnsmasq["))
	if at < 0 {
		return nil, nil, false
	}
	before, rest := line[:at], line[at+len("dnsmasq["):]
	pid, message, ok := bytes.Cut(rest, []byte("]: "))
	if !ok || len(pid) > 10 || !isNumber(string(pid)) {
		return nil, nil, false
	}
	return before, message, true
}

// line takes over a line. Those that are of no query, or of another program, say nothing.
func (d *dnsmasqLog) line(line []byte) error {
	before, message, ok := dnsmasqTag(line)
	if !ok {
		return nil
	}
	words := strings.Fields(string(message))
	serial := ""
	if len(words) > 2 && isNumber(words[0]) && strings.Contains(words[1], "/") { // extra
		serial, words = words[0], words[2:]
	}
	if len(words) < 3 {
		return nil
	}
	if typ, ok := strings.CutPrefix(words[0], "query["); ok {
		at, err := d.dates.read(string(before), d.o.Zone, d.f.info.ModTime())
		if err != nil {
			return err
		}
		return d.query(at, serial, strings.TrimSuffix(typ, "]"), words, line)
	}
	d.happened(serial, words)
	return nil
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// query takes over a line that says that somebody asks: query[TYPE] NAME from ADDRESS.
func (d *dnsmasqLog) query(at time.Time, serial, typ string, words []string, line []byte) (err error) {
	q := &dnsmasqQuery{serial: serial, name: strings.ToLower(words[1])}
	q.Lookup = Lookup{Place: d.place(), Time: at, Verdict: NotKnown, Rcode: -1, raw: bytes.Clone(line)}
	var ok bool
	if q.Type, ok = dnswire.ParseType(strings.ReplaceAll(typ, "type=", "TYPE")); !ok {
		return fmt.Errorf("%q is no record type", shortened(typ))
	}
	if words[2] != "from" || len(words) < 4 {
		return errors.New("the line does not say who asked")
	}
	if q.Name, err = parseName(words[1]); err != nil {
		return err
	}
	if q.Client, err = parseAddr(words[3]); err != nil {
		return err
	}
	d.wait(&q.waitingLookup, func() { d.forget(q) })
	if serial != "" {
		d.bySerial[serial] = q
	}
	d.byName[q.name] = append(d.byName[q.name], q)
	return nil
}

// happened takes over a line that says what came of a query.
func (d *dnsmasqLog) happened(serial string, words []string) {
	// Pi-hole puts two words in front: "gravity blocked NAME is ADDRESS".
	verb, rest := words[0], words[1:]
	blocked := false
	if len(rest) > 2 && (rest[0] == "blocked" || rest[0] == "denied" || rest[0] == "blacklisted") {
		blocked, rest = true, rest[1:]
	}
	if len(rest) < 3 {
		return
	}
	name, value := strings.ToLower(rest[0]), rest[2]
	q := d.bySerial[serial]
	if serial == "" {
		typ := uint16(0)
		if rest[1] == "is" {
			typ = typeOf(value)
		}
		q = d.latest(name, typ)
	}
	if q == nil || q.done || q.empty {
		return
	}
	switch {
	case blocked:
		q.Verdict, q.Source, q.done = Blocked, FromPolicy, true
		q.Rule = verb + " " + words[1]
		return
	case verb == "forwarded" && rest[1] == "to":
		q.passed()
		q.Source, q.Upstream = FromUpstream, value
		return
	case rest[1] != "is":
		return
	}
	switch verb {
	case "config":
		q.Verdict, q.Source = Answered, FromPolicy
		q.end(value, serial != "")
		q.done = true
		switch {
		case value == "0.0.0.0" || value == "::":
			q.Verdict = Blocked
			d.block(q.name)
		case !strings.HasPrefix(value, "NODATA"):
			delete(d.blocked, q.name)
		case d.blocked[q.name]:
			q.Verdict = Blocked
		default: // that the name is blocked may be said of another type, a line later
			q.done, q.empty = false, true
		}
	case "cached", "cached-stale":
		q.passed()
		if q.Source == Unknown {
			q.Source = FromCache
			if verb == "cached-stale" {
				q.Source = FromStale
			}
		}
		q.end(value, serial != "")
	case "reply":
		q.passed()
		if name == "error" {
			q.Source = FromError
		}
		q.end(value, serial != "")
	default:
		if strings.HasPrefix(verb, "/") || verb == "DHCP" { // a hosts file, or a lease
			q.Verdict, q.Source = Answered, FromPolicy
			q.end(value, serial != "")
			q.done = true
		}
	}
}

// block takes in that the configuration blocks a name, whose lookups of types of which it has no address are blocked with it.
func (d *dnsmasqLog) block(name string) {
	if len(d.blocked) >= mostBlocked {
		clear(d.blocked)
	}
	d.blocked[name] = true
	for _, q := range d.byName[name] {
		if q.empty {
			q.Verdict, q.done, q.empty = Blocked, true, false
		}
	}
}

// latest returns the last query for a name and a type, 0 for any, that still waits for what
// comes of it; nil for none.
func (d *dnsmasqLog) latest(name string, typ uint16) *dnsmasqQuery {
	for _, q := range slices.Backward(d.byName[name]) {
		if !q.done && !q.empty && (typ == 0 || typ == q.Type) {
			return q
		}
	}
	return nil
}

// typeOf is the type of the query that such an answer is of; 0 where it may be of any.
func typeOf(value string) uint16 {
	if addr, err := netip.ParseAddr(value); err == nil && addr.Is4() || value == "NODATA-IPv4" {
		return dnswire.TypeA
	} else if err == nil || value == "NODATA-IPv6" {
		return dnswire.TypeAAAA
	}
	return 0
}

// passed takes over that nothing stopped the query: it was asked on, or has an answer.
func (q *dnsmasqQuery) passed() {
	if q.Verdict == NotKnown {
		q.Verdict = Passed
	}
}

// end takes over what an answer has. Whether what follows an alias is of this query is
// known where lines have its number.
func (q *dnsmasqQuery) end(value string, numbered bool) {
	switch {
	case value == "<CNAME>":
		q.alias = true
		return
	case value == "NXDOMAIN":
		q.Rcode = dnswire.NXDomain
	case value == "SERVFAIL":
		q.Rcode = dnswire.ServFail
	case value == "REFUSED":
		q.Rcode = dnswire.Refused
	case strings.HasPrefix(value, "NODATA"):
		q.Rcode = dnswire.Success
	case !q.alias || numbered:
		q.Rcode = dnswire.Success
	}
	q.done = true
}

// dates reads the times of a log, of which some have no year.
type dates struct {
	guessed bool
	last    time.Time
}

const halfYear = 183 * 24 * time.Hour

// read reads what stands before a message: the time, maybe the host, and more. The year
// of the first line without one is the latest with which it is not later than when the
// file was changed; a line of half a year before the one before is of the next year.
func (d *dates) read(before string, zone *time.Location, changed time.Time) (time.Time, error) {
	first, _, _ := strings.Cut(before, " ")
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999"} {
		if t, err := time.ParseInLocation(layout, first, zone); err == nil {
			return t, nil
		}
	}
	if t, err := time.ParseInLocation("2006-01-02 15:04:05", cutTo(before, 19), zone); err == nil {
		return t, nil
	}
	if t, err := time.ParseInLocation("Mon Jan _2 15:04:05 2006", cutTo(before, 24), zone); err == nil {
		return t, nil
	}
	t, err := time.ParseInLocation("2006 Jan _2 15:04:05", "2000 "+cutTo(before, 15), zone)
	if err != nil {
		return t, fmt.Errorf("%q does not begin with a time", shortened(strings.TrimSpace(before)))
	}
	d.guessed = true
	in := func(year int) time.Time {
		return time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, zone)
	}
	if d.last.IsZero() {
		d.last = in(changed.In(zone).Year())
		if d.last.After(changed.Add(24 * time.Hour)) {
			d.last = in(changed.In(zone).Year() - 1)
		}
		return d.last, nil
	}
	at := in(d.last.Year())
	if d.last.Sub(at) > halfYear {
		at = in(d.last.Year() + 1)
	}
	d.last = at
	return at, nil
}

func cutTo(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
