package format

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"

	"telltale/dnswire"
)

// A zoneReader reads a response policy zone (RPZ) in the master file format of
// RFC 1035, 5.1. It is in force from the first $TTL, $ORIGIN or SOA of a file to
// its end.
type zoneReader struct {
	p      *parser
	origin string // completes relative names, with its final dot; "" for the zone itself
	apex   string // the zone's own name, with its final dot; "" while unknown
	owner  string // of the last record, for lines that begin with a space

	open   int    // parentheses not closed yet
	words  []word // of the record they are in
	spaced bool   // that record has no owner of its own
	first  int    // the record's first line
	bytes  int    // length of the record so far

	alone bool   // it reads one line of the user's own file, which is no zone
	ttl   uint32 // of the record, for one that stands alone

	set  owned     // the records of one owner, gathered until another comes
	name [256]byte // set.rule.Name of the fast path
}

// A word is one field of a record.
type word struct {
	text   string
	quoted bool
}

// owned is what an owner's records want.
type owned struct {
	key        string // the trigger, lower case
	line       int
	annotation *Annotation
	rule       Rule
	texts      []string // the records to answer with
	taken      bool     // a policy or data was taken
	decided    bool     // by an action; what follows is refused
}

const maxRecord = 64 << 10 // bytes of one record in parentheses

func (p *parser) startZone() {
	p.zone = &zoneReader{p: p}
}

// startsZone knows the lines that only a zone file has.
func startsZone(s string) bool {
	if s[0] == '$' {
		word, _, _ := strings.Cut(strings.ReplaceAll(s, "\t", " "), " ")
		switch strings.ToUpper(word) {
		case "$TTL", "$ORIGIN", "$INCLUDE", "$GENERATE":
			return true
		}
		return false
	}
	if !strings.Contains(s, "SOA") && !strings.Contains(s, "soa") {
		return false
	}
	_, typ, rdata, ok := splitRecord(strings.Fields(s))
	return ok && typ == dnswire.TypeSOA && len(rdata) > 1
}

// isRecord reports whether a line's words are a record of a kind that policy
// zones are made of.
func isRecord(fields []string) bool {
	_, typ, rdata, ok := splitRecord(fields)
	return ok && len(rdata) > 0 && (typ == dnswire.TypeCNAME || typ == dnswire.TypeA || typ == dnswire.TypeAAAA || typ == dnswire.TypeTXT)
}

// isOwnRecord reports whether the words of a line are a record as it stands in a zone
// file, whose name is no address and no exception.
func isOwnRecord(fields []string) bool {
	_, _, rdata, ok := splitRecord(fields)
	if !ok || len(rdata) == 0 || strings.HasPrefix(fields[0], "@@") {
		return false
	}
	_, err := parseAddr(fields[0])
	return err != nil
}

// ownRecord reads a record that stands alone among other lines of the user's own.
func (p *parser) ownRecord(s string) {
	z := &zoneReader{p: p, alone: true}
	z.line(s)
	z.end()
}

// line reads one line of the file.
func (z *zoneReader) line(s string) {
	trimmed := strings.TrimSpace(strings.TrimPrefix(s, "\ufeff"))
	if z.open == 0 {
		switch {
		case trimmed == "":
			return
		case trimmed[0] == '$':
			z.directive(trimmed)
			return
		case trimmed[0] == '#': // a comment to us: DNS software wants ";"
			z.p.comment(trimmed)
			return
		case trimmed[0] == ';':
			z.comment(trimmed)
			return
		}
		z.words, z.first, z.bytes = z.words[:0], z.p.line, 0
		z.spaced = s[0] == ' ' || s[0] == '\t'
	}
	z.bytes += len(s) + 1
	if !z.split(s) {
		z.open = 0
		return
	}
	if z.open > 0 {
		if z.bytes > maxRecord {
			z.p.bad(BadRecord, trimmed, "a parenthesis opened on line %d is not closed: close it", z.first)
			z.open = 0
		}
		return
	}
	if len(z.words) > 0 {
		z.record()
	}
}

// fast reads the line that zones are full of, "NAME CNAME .", without taking it
// apart, and reports whether it could.
func (z *zoneReader) fast(text []byte) bool {
	owner, ok := bytes.CutSuffix(text, []byte(" CNAME ."))
	if !ok || z.open > 0 || z.origin != z.apex {
		return false
	}
	owner = bytes.TrimSuffix(owner, []byte(" IN"))
	name, below := bytes.CutPrefix(owner, []byte("*."))
	wire := z.p.fastName(name)
	if wire == nil || bytes.HasPrefix(lastLabel(wire), []byte("rpz-")) || strings.EqualFold(z.set.key, string(owner)) {
		return false
	}
	z.flush()
	z.owner = string(owner)
	r := Rule{Form: Zone, Match: Exact, Extra: repliesNXDomain, Name: z.name[:copy(z.name[:], wire)]}
	if below {
		r.Match = Below
	}
	z.set = owned{key: strings.ToLower(z.owner), line: z.p.line, annotation: z.p.block, rule: r, taken: true, decided: true}
	return true
}

// comment reads a comment line, which may hold an annotation as ";@ ...".
func (z *zoneReader) comment(s string) {
	if a := "#" + s[1:]; isAnnotation(a) {
		z.p.comment(a)
	}
}

// split appends the line's words; false for a quote that is not closed.
func (z *zoneReader) split(s string) bool {
	for i := 0; i < len(s); {
		switch c := s[i]; c {
		case ' ', '\t':
			i++
		case ';':
			if a := "#" + s[i+1:]; isAnnotation(a) {
				z.p.annotate(a)
			}
			return true
		case '#':
			if isAnnotation(s[i:]) {
				z.p.annotate(s[i:])
				return true
			}
			return true
		case '(':
			z.open++
			i++
		case ')':
			if z.open == 0 {
				z.p.bad(BadRecord, s, "a parenthesis is closed that was not opened: remove it")
				return false
			}
			z.open--
			i++
		case '"':
			end := i + 1
			for end < len(s) && s[end] != '"' {
				if s[end] == '\\' {
					end++
				}
				end++
			}
			if end >= len(s) {
				z.p.bad(BadRecord, s, "a quote is not closed: close it")
				return false
			}
			z.words = append(z.words, word{unescape(s[i+1 : end]), true})
			i = end + 1
		default:
			end := i
			for end < len(s) && !strings.ContainsRune(" \t;()\"", rune(s[end])) {
				if s[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end, len(s))
			z.words = append(z.words, word{s[i:end], false})
			i = end
		}
	}
	return true
}

// directive reads $ORIGIN; $TTL has no meaning for a policy.
func (z *zoneReader) directive(s string) {
	fields := strings.Fields(strings.SplitN(s, ";", 2)[0])
	switch strings.ToUpper(fields[0]) {
	case "$TTL":
	case "$ORIGIN":
		if len(fields) != 2 {
			z.p.bad(BadRecord, s, "$ORIGIN names no zone: write $ORIGIN rpz.example.")
			return
		}
		z.origin = strings.ToLower(absolute(fields[1], z.origin))
		if !strings.HasSuffix(z.origin, ".") {
			z.origin += "."
		}
		if z.apex == "" && z.origin != "." {
			z.apex = z.origin
		}
	default:
		z.p.bad(NotHonoured, s, "%s is not honoured: write the records out", printable(fields[0]))
	}
}

// record reads the words of one record.
func (z *zoneReader) record() {
	texts := make([]string, 0, 8)
	if z.spaced {
		texts = append(texts, z.owner)
	}
	for _, w := range z.words {
		texts = append(texts, w.text)
	}
	whole := strings.Join(texts, " ")
	if z.spaced && z.owner == "" {
		z.p.bad(BadRecord, whole, "begins with a space but follows no record: write its name")
		return
	}
	z.owner = strings.Clone(texts[0])
	ttl, typ, rdata, ok := splitRecord(texts)
	if !ok {
		z.p.bad(BadRecord, whole, "not a record of a zone: write NAME CNAME . to block a name")
		return
	}
	if z.alone {
		if z.ttl = ttl; typ == dnswire.TypeNS {
			z.p.bad(BadRecord, whole, "an NS record says who serves a zone, and records are answered one by one here: to have a zone asked of its servers use the setting forward")
			return
		}
	}
	switch {
	case z.alone: // whatever type it is, somebody wants it answered
	case typ == dnswire.TypeSOA:
		z.soa()
		return
	case isOfZone(typ):
		z.p.report.Ignored++
		return
	}
	name, ok := z.trigger(whole)
	if ok {
		z.policy(whole, name, typ, rdata)
	}
}

// isOfZone reports whether records of a type are the zone's own, and no policy.
func isOfZone(typ uint16) bool {
	switch typ {
	case dnswire.TypeNS, dnswire.TypeDNAME, dnswire.TypeDS, dnswire.TypeRRSIG, 47, 48, 50, 51: // NSEC, DNSKEY, NSEC3, NSEC3PARAM
		return true
	}
	return false
}

// soa takes the zone's name from its SOA, which also completes what follows
// unless $ORIGIN did.
func (z *zoneReader) soa() {
	z.p.report.Ignored++
	owner := strings.ToLower(z.owner)
	switch {
	case owner == "@":
		z.apex = z.origin
	case strings.HasSuffix(owner, ".") || z.origin != "":
		z.apex = absolute(owner, z.origin)
		if z.origin == "" {
			z.origin = z.apex
		}
	}
}

// trigger returns the owner relative to the zone.
func (z *zoneReader) trigger(whole string) (name string, ok bool) {
	owner := strings.ToLower(z.owner)
	if owner == "@" {
		z.p.report.Ignored++ // records of the zone itself
		return "", false
	}
	if !strings.HasSuffix(owner, ".") {
		if z.origin == z.apex {
			return owner, true
		}
		owner = absolute(owner, z.origin)
	}
	if z.apex == "" || z.apex == "." {
		return strings.TrimSuffix(owner, "."), true
	}
	if owner == z.apex {
		z.p.report.Ignored++
		return "", false
	}
	name, ok = strings.CutSuffix(owner, "."+z.apex)
	if !ok {
		z.p.bad(BadRecord, whole, "%s is outside the zone %s: leave out the final dot", printable(owner), printable(z.apex))
	}
	return name, ok
}

// policy reads one record of a trigger. Records of one owner belong together;
// where they want different things, the first counts.
func (z *zoneReader) policy(whole, name string, typ uint16, rdata []string) {
	if name == "" {
		z.p.bad(NotAName, whole, "is the root: name what is to be blocked")
		return
	}
	if z.set.key != name {
		z.flush()
		rule, ok := z.target(whole, name)
		if !ok {
			return
		}
		if rule.Match >= Address {
			rule.Extra.Text = z.recordText(name, typ, rdata)
		}
		z.set = owned{key: strings.Clone(name), line: z.first, annotation: z.p.current, rule: rule}
	}
	if typ == dnswire.TypeCNAME {
		action, x, data, ok := z.action(whole, name, rdata)
		if !ok {
			return
		}
		if !data {
			z.decide(whole, action, x)
			return
		}
	}
	if z.set.decided {
		z.p.bad(BadRecord, whole, "a second policy for the same name: the first counts, remove one")
		return
	}
	data, err := appendRDATA(nil, typ, rdata, z.origin)
	if err != nil {
		z.p.bad(BadRecord, whole, "the %s record %v", dnswire.TypeString(typ), err)
		return
	}
	z.data(whole, z.recordText(name, typ, rdata), Record{Type: typ, TTL: z.ttl, Data: data})
}

// recordText writes a record without its zone: names are complete, strings
// quoted.
func (z *zoneReader) recordText(name string, typ uint16, rdata []string) string {
	words := []string{name}
	if z.ttl > 0 {
		words = append(words, strconv.FormatUint(uint64(z.ttl), 10))
	}
	words = append(words, dnswire.TypeString(typ))
	for i, w := range rdata {
		switch {
		case typ == dnswire.TypeTXT:
			w = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w) + `"`
		case i == nameField(typ):
			w = absolute(w, z.origin)
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

// action reads the target of a CNAME (draft-vixie-dnsop-dns-rpz, 3). data means
// that it is an answer and no action.
func (z *zoneReader) action(whole, name string, rdata []string) (a Action, x *Extra, data, ok bool) {
	if len(rdata) != 1 {
		z.p.bad(BadRecord, whole, "a CNAME has one target: write NAME CNAME .")
		return 0, nil, false, false
	}
	target := strings.ToLower(rdata[0])
	switch target {
	case ".":
		return Block, repliesNXDomain, false, true
	case "*.":
		return Block, repliesNoData, false, true
	case "rpz-passthru.":
		return Allow, nil, false, true
	case "rpz-drop.":
		return Block, repliesDrop, false, true
	case "rpz-tcp-only.":
		return Block, repliesTruncate, false, true
	}
	bare := strings.TrimSuffix(target, ".")
	last := bare[strings.LastIndexByte(bare, '.')+1:]
	switch {
	case strings.HasPrefix(last, "rpz-"):
		z.p.bad(BadRecord, whole, "%s is no action: rpz-passthru., rpz-drop. and rpz-tcp-only. are, with their final dot", printable(target))
		return 0, nil, false, false
	case bare == name || target == absolute(strings.ToLower(z.owner), z.origin):
		return Allow, nil, false, true // the old way to pass a name through
	case strings.HasPrefix(target, "*."):
		z.p.bad(NotHonoured, whole, "a target with a star is not honoured: name the target")
		return 0, nil, false, false
	}
	return 0, nil, true, true
}

// target makes the rule for a trigger, without what it does.
func (z *zoneReader) target(whole, name string) (Rule, bool) {
	r := Rule{Form: Zone, Match: Exact}
	last := name[strings.LastIndexByte(name, '.')+1:]
	switch last {
	case "rpz-ip", "rpz-nsip":
		prefix, ok := rpzPrefix(strings.TrimSuffix(strings.TrimSuffix(name, last), "."))
		if !ok {
			z.p.bad(BadRecord, whole, "not an address in RPZ's spelling: write 32.1.2.0.192.%s for 192.0.2.1", last)
			return r, false
		}
		if !z.p.mayBlockPrefix(whole, prefix) {
			return r, false
		}
		r.Match, r.Extra = Address, &Extra{Prefix: prefix}
		if last == "rpz-nsip" {
			r.Match = Server
		}
		return r, true
	case "rpz-nsdname":
		server, below := strings.CutPrefix(strings.TrimSuffix(strings.TrimSuffix(name, last), "."), "*.")
		wire, ok := z.p.name(server, oneLabel)
		if !ok {
			return r, false
		}
		r.Match, r.Extra = Server, &Extra{Server: append([]byte(nil), wire...), Servers: below}
		return r, true
	case "rpz-client-ip":
		z.p.bad(NotHonoured, whole, "%s triggers are not honoured: remove the line", last)
		return r, false
	}
	if name == "*" {
		z.p.bad(EveryName, whole, "matches every name: name what is to be blocked")
		return r, false
	}
	if rest, ok := strings.CutPrefix(name, "*."); ok {
		r.Match, name = Below, rest
	}
	wire, ok := z.p.name(name, oneLabel)
	if !ok {
		return r, false
	}
	r.Name = append([]byte(nil), wire...)
	return r, true
}

// decide takes an action for the current owner.
func (z *zoneReader) decide(whole string, a Action, x *Extra) {
	s := &z.set
	if s.taken {
		if s.rule.Action != a || replyOf(s.rule.Extra) != replyOf(x) {
			z.p.bad(BadRecord, whole, "a second policy for the same name: the first counts, remove one")
		}
		return
	}
	s.taken, s.decided, s.rule.Action = true, true, a
	if s.rule.Extra != nil { // an address
		s.rule.Extra.Reply = replyOf(x)
		return
	}
	s.rule.Extra = x
}

// data takes a record to answer with, which text writes.
func (z *zoneReader) data(whole, text string, rec Record) {
	s := &z.set
	x := s.rule.Extra
	if leadsNowhere(rec) && replyOf(x) != Records {
		s.taken = true
		return
	}
	if x == nil {
		x = &Extra{}
	}
	if !z.p.reply(x, whole, rec, z.p.mayAnswer()) {
		return
	}
	s.texts = append(s.texts, text)
	s.taken, s.rule.Extra, s.rule.Action = true, x, Answer
}

func replyOf(x *Extra) Reply {
	if x == nil {
		return Default
	}
	return x.Reply
}

// flush emits the rule of the last owner.
func (z *zoneReader) flush() {
	s := z.set
	z.set = owned{}
	if !s.taken {
		return
	}
	if s.texts != nil {
		s.rule.Extra.Text = strings.Join(s.texts, "\n")
	}
	line, current := z.p.line, z.p.current
	z.p.line, z.p.current = s.line, s.annotation
	z.p.put(s.rule)
	if x := s.rule.Extra; z.alone && s.rule.Action == Answer && s.rule.Match == Exact {
		z.p.pointers(s.rule.Name, x.Records, x.Text)
	}
	z.p.line, z.p.current = line, current
}

func (z *zoneReader) end() {
	if z.open > 0 {
		z.p.bad(BadRecord, "", "a parenthesis opened on line %d is not closed: close it", z.first)
	}
	z.flush()
}

// splitRecord takes a record's fields apart: TTL and class stand in either
// order, or are missing.
func splitRecord(fields []string) (ttl uint32, typ uint16, rdata []string, ok bool) {
	for i := 1; i < len(fields) && i < 4; i++ {
		f := fields[i]
		switch strings.ToUpper(f) {
		case "IN", "CH", "HS", "CS":
			continue
		}
		if f != "" && f[0]-'0' < 10 {
			t, good := parseTTL(f)
			if !good {
				return 0, 0, nil, false
			}
			ttl = t
			continue
		}
		typ, ok = dnswire.ParseType(f)
		return ttl, typ, fields[i+1:], ok
	}
	return 0, 0, nil, false
}

// parseTTL reads seconds, or BIND's 1h30m.
func parseTTL(s string) (uint32, bool) {
	total, n, digits := uint64(0), uint64(0), false
	for _, c := range []byte(strings.ToLower(s)) {
		if c-'0' < 10 {
			n, digits = n*10+uint64(c-'0'), true
			if n > 1<<31 {
				return 0, false
			}
			continue
		}
		unit, ok := map[byte]uint64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}[c]
		if !ok || !digits {
			return 0, false
		}
		total, n, digits = total+n*unit, 0, false
	}
	total += n
	return uint32(min(total, 1<<31-1)), true
}

// A dataRecord is a record of unbound's local-data.
type dataRecord struct {
	owner  string
	record Record
}

func parseRecord(words []string) (dataRecord, string) {
	ttl, typ, rdata, ok := splitRecord(words)
	if !ok {
		return dataRecord{}, `not a record: write local-data: "example.com A 192.0.2.1"`
	}
	data, err := appendRDATA(nil, typ, rdata, "")
	if err != nil {
		return dataRecord{}, "the " + dnswire.TypeString(typ) + " record " + err.Error()
	}
	return dataRecord{words[0], Record{Type: typ, TTL: ttl, Data: data}}, ""
}

// The shortest prefixes that a list of others may block: more would be a large
// part of the Internet.
const (
	shortestIPv4 = 8
	shortestIPv6 = 24
)

// mayBlockPrefix reports whether the list may block all answers within a prefix,
// and says why not.
func (p *parser) mayBlockPrefix(whole string, prefix netip.Prefix) bool {
	shortest := shortestIPv6
	if prefix.Addr().Is4() {
		shortest = shortestIPv4
	}
	if p.Own || prefix.Bits() >= shortest {
		return true
	}
	p.bad(EveryName, whole, "blocks answers of a large part of the Internet (%v): write prefixes of %d bits or more, or put the line into own.txt", prefix, shortest)
	return false
}

// rpzPrefix reads the owner of an rpz-ip record: prefix length and address, the
// address from its end, "zz" for "::" (draft-vixie-dnsop-dns-rpz, 4.1.1).
func rpzPrefix(s string) (netip.Prefix, bool) {
	parts := strings.Split(s, ".")
	if len(parts[0]) > 3 {
		return netip.Prefix{}, false
	}
	bits, err := strconv.Atoi(parts[0])
	if err != nil || bits < 1 {
		return netip.Prefix{}, false
	}
	var text bytes.Buffer
	words := parts[1:]
	v4 := len(words) == 4 && !strings.Contains(s, "zz")
	for i := len(words) - 1; i >= 0; i-- {
		w := words[i]
		switch {
		case w == "zz" && !v4:
			if i == len(words)-1 {
				text.WriteByte(':')
			}
			if i == 0 {
				text.WriteByte(':')
			}
		case w == "" || len(w) > 4 || strings.Trim(w, "0123456789abcdef") != "":
			return netip.Prefix{}, false
		default:
			text.WriteString(w)
		}
		if i > 0 && v4 {
			text.WriteByte('.')
		} else if i > 0 {
			text.WriteByte(':')
		}
	}
	a, err := netip.ParseAddr(text.String())
	if err != nil || a.Is4() != v4 || bits > a.BitLen() {
		return netip.Prefix{}, false
	}
	prefix := netip.PrefixFrom(a, bits)
	return prefix, prefix == prefix.Masked() // bits beyond the prefix are a mistake
}
