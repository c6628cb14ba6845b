package dnswire

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// MaxAliases is how many steps an alias chain may have before the answer is
// refused.
const MaxAliases = 12

// How long an answer may be kept, in seconds, whatever its TTLs say (RFC 8767,
// 4; RFC 2308, 5).
const (
	maxTTL         = 86400
	maxNegativeTTL = 10800
)

var (
	// ErrReply means that an upstream's reply is malformed.
	ErrReply = errors.New("malformed reply")
	// ErrChain means that an alias chain is longer than MaxAliases.
	ErrChain = errors.New("alias chain too long")
)

// A Clean is an upstream's reply reduced to what the question asked for.
type Clean struct {
	Stored
	TTL     uint32 // how long it may be kept, seconds; 0: not at all
	Served  uint32 // the largest TTL in it, seconds
	Aliases []byte // the names the answer leads to, one wire name after another
	// Addresses are all addresses in it, those of SVCB hints included.
	Addresses []netip.Addr
}

// section numbers of a message
const (
	sectionAnswer = iota
	sectionAuthority
	sectionAdditional
)

// a record is where a resource record lies in a message.
type record struct {
	owner   int // offset of the owner name
	typ     uint16
	class   uint16
	fixed   int // offset of TYPE
	data    int // offset of RDATA
	end     int
	ttl     uint32
	section int
	keep    bool
}

// A Scrubber turns upstreams' replies into Cleans. It keeps its working memory
// between calls; it belongs to one goroutine at a time.
type Scrubber struct {
	msg     []byte
	records []record
	chain   []Name
	name    Name
	clean   Clean
}

// Scrub reads reply, an upstream's answer to q whose id and question are known
// to fit, and keeps of it only the answer: the alias chain from the question's
// name, the records of the type asked for at its end, and for a negative answer
// the SOA (with DNSSEC records where q.DO). Nothing outside the question is
// kept, nor is what an upstream adds of its own accord. The result refers to
// memory of its own.
func (s *Scrubber) Scrub(reply []byte, q *Question) (Clean, error) {
	s.msg, s.records, s.chain = reply, s.records[:0], s.chain[:0]
	s.clean = Clean{}
	if err := s.read(); err != nil {
		return Clean{}, err
	}
	question, err := s.questionSize()
	if err != nil {
		return Clean{}, err
	}
	if err := s.follow(q); err != nil {
		return Clean{}, err
	}
	negative := s.keepAnswers(q)
	s.keepAuthority(q, negative)
	if err := s.collect(); err != nil {
		return Clean{}, err
	}
	s.lifetime(negative)
	if err := s.write(question); err != nil {
		return Clean{}, err
	}
	return s.clean, nil
}

// read finds all records and reads the OPT. Section counts are not trusted: what
// does not fit the message's length is an error, never an allocation.
func (s *Scrubber) read() error {
	m := s.msg
	if len(m) < HeaderLen || binary.BigEndian.Uint16(m[4:]) != 1 {
		return ErrReply
	}
	s.clean.Rcode = uint16(m[3] & 0xf)
	s.clean.AD = m[3]&flagAD != 0
	off, err := s.questionSize()
	if err != nil {
		return err
	}
	off += HeaderLen
	for section := range 3 {
		for range binary.BigEndian.Uint16(m[6+2*section:]) {
			r := record{owner: off, section: section}
			if off, err = skipName(m, off); err != nil {
				return err
			}
			if off+10 > len(m) {
				return ErrReply
			}
			r.fixed = off
			r.typ, r.class = binary.BigEndian.Uint16(m[off:]), binary.BigEndian.Uint16(m[off+2:])
			if r.ttl = binary.BigEndian.Uint32(m[off+4:]); r.ttl > 1<<31-1 {
				r.ttl = 0 // RFC 2181, 8
			}
			r.data = off + 10
			if r.end = r.data + int(binary.BigEndian.Uint16(m[off+8:])); r.end > len(m) {
				return ErrReply
			}
			off = r.end
			if r.typ == TypeOPT {
				if section != sectionAdditional {
					return ErrReply
				}
				s.readOPT(&r)
				continue
			}
			s.records = append(s.records, r)
		}
	}
	return nil
}

// readOPT takes the extended rcode and the first Extended DNS Error.
func (s *Scrubber) readOPT(r *record) {
	s.clean.Rcode |= uint16(s.msg[r.fixed+4]) << 4
	for b := s.msg[r.data:r.end]; len(b) >= 4; {
		code, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+n {
			return
		}
		if code == optionEDE && n >= 2 {
			s.clean.EDE.Code = binary.BigEndian.Uint16(b[4:])
			s.clean.EDE.Text = printable(b[6 : 4+n])
			return
		}
		b = b[4+n:]
	}
}

// printable returns b as text that can be passed on: ASCII, cut to what an EDE
// of ours may hold.
func printable(b []byte) string {
	out := make([]byte, 0, min(len(b), maxEDEText))
	for _, c := range b[:min(len(b), maxEDEText)] {
		if c < ' ' || c > '~' {
			c = '?'
		}
		out = append(out, c)
	}
	return string(out)
}

// questionSize returns the size of the question section.
func (s *Scrubber) questionSize() (int, error) {
	off, err := skipName(s.msg, HeaderLen)
	if err != nil || off+4 > len(s.msg) {
		return 0, ErrReply
	}
	return off + 4 - HeaderLen, nil
}

// follow builds the chain of names from the question's name along the CNAMEs of
// the answer section, in whatever order they stand.
func (s *Scrubber) follow(q *Question) error {
	s.chain = append(s.chain, q.Name)
	if q.Type == TypeCNAME {
		return nil
	}
	for from := 0; ; {
		next := -1
		for i := range s.records {
			// A chain is nearly always in order: go on where the last step was.
			j := (from + i) % len(s.records)
			r := &s.records[j]
			if r.section != sectionAnswer || r.typ != TypeCNAME || r.class != ClassIN {
				continue
			}
			if s.owns(r, &s.chain[len(s.chain)-1]) {
				next = j
				break
			}
		}
		if next < 0 {
			return nil
		}
		if len(s.chain) > MaxAliases {
			return ErrChain
		}
		r := &s.records[next]
		if end, err := readName(s.msg, r.data, &s.name); err != nil || end != r.end {
			return ErrReply
		}
		for i := range s.chain {
			if s.chain[i].Equal(&s.name) {
				return ErrChain // a loop
			}
		}
		s.chain = append(s.chain, s.name)
		from = next + 1
	}
}

// owns reports whether r's owner is n, without expanding more than is needed.
func (s *Scrubber) owns(r *record, n *Name) bool {
	return equalName(s.msg, r.owner, n.Wire())
}

// keepAnswers marks the records of the answer section to keep, and reports
// whether none of the type asked for is among them.
func (s *Scrubber) keepAnswers(q *Question) (negative bool) {
	negative = true
	for i := range s.records {
		r := &s.records[i]
		if r.section != sectionAnswer || r.class != ClassIN {
			continue
		}
		for j := range s.chain {
			n := &s.chain[j]
			last := j == len(s.chain)-1
			switch {
			case r.typ == TypeDNAME && q.Type != TypeDNAME:
				// A DNAME belongs to the chain if a name of it lies below.
				r.keep = r.keep || readsTo(s.msg, r.owner, &s.name) && isBelow(n, &s.name)
			case !s.owns(r, n):
			case r.typ == q.Type && last:
				r.keep, negative = true, false
			case r.typ == TypeCNAME && !last, r.typ == TypeRRSIG && q.DO:
				r.keep = true
			}
		}
	}
	return negative
}

// keepAuthority keeps what proves a negative answer.
func (s *Scrubber) keepAuthority(q *Question, negative bool) {
	end := &s.chain[len(s.chain)-1]
	soa := false
	for i := range s.records {
		r := &s.records[i]
		if r.section != sectionAuthority || r.class != ClassIN {
			continue
		}
		switch r.typ {
		case TypeSOA:
			if negative && !soa && readsTo(s.msg, r.owner, &s.name) && (end.Equal(&s.name) || isBelow(end, &s.name)) {
				r.keep, soa = true, true
			}
		case typeNSEC, typeNSEC3, TypeRRSIG:
			r.keep = q.DO && readsTo(s.msg, r.owner, &s.name)
		}
	}
}

const (
	typeNSEC  = 47
	typeNSEC3 = 50
)

// collect checks the data of what is kept, and gathers aliases and addresses.
func (s *Scrubber) collect() error {
	for i := range s.chain[1:] {
		s.clean.Aliases = append(s.clean.Aliases, s.chain[1+i].Wire()...)
	}
	for i := range s.records {
		r := &s.records[i]
		if !r.keep {
			continue
		}
		data := s.msg[r.data:r.end]
		switch r.typ {
		case TypeA:
			a, ok := netip.AddrFromSlice(data)
			if !ok || !a.Is4() {
				return ErrReply
			}
			s.clean.Addresses = append(s.clean.Addresses, a)
		case TypeAAAA:
			a, ok := netip.AddrFromSlice(data)
			if !ok || !a.Is6() {
				return ErrReply
			}
			s.clean.Addresses = append(s.clean.Addresses, a)
		case TypeSVCB, TypeHTTPS:
			if err := s.collectSVCB(data); err != nil {
				return err
			}
		default:
			if err := s.checkNames(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// collectSVCB reads the target and the address hints of an SVCB or HTTPS record
// (RFC 9460, 2.2).
func (s *Scrubber) collectSVCB(data []byte) error {
	if len(data) < 3 {
		return ErrReply
	}
	off, err := s.name.Read(data, 2)
	if err != nil {
		return ErrReply
	}
	if s.name.Labels() > 0 {
		s.clean.Aliases = append(s.clean.Aliases, s.name.Wire()...)
	}
	const ipv4hint, ipv6hint = 4, 6
	for data = data[off:]; len(data) >= 4; {
		key, n := binary.BigEndian.Uint16(data), int(binary.BigEndian.Uint16(data[2:]))
		if len(data) < 4+n {
			return ErrReply
		}
		size := 0
		switch key {
		case ipv4hint:
			size = 4
		case ipv6hint:
			size = 16
		}
		for v := data[4 : 4+n]; size > 0 && len(v) >= size; v = v[size:] {
			a, _ := netip.AddrFromSlice(v[:size])
			s.clean.Addresses = append(s.clean.Addresses, a)
		}
		data = data[4+n:]
	}
	if len(data) != 0 {
		return ErrReply
	}
	return nil
}

// lifetime sets TTL and Served.
func (s *Scrubber) lifetime(negative bool) {
	ttl := uint32(maxTTL)
	proven := false
	for i := range s.records {
		r := &s.records[i]
		if !r.keep {
			continue
		}
		switch {
		case r.section == sectionAnswer:
			ttl = min(ttl, r.ttl)
		case r.typ == TypeSOA:
			// Who gets the answer from the cache must not keep it for another
			// MINIMUM: its TTL counts down from there (RFC 2308, 3 and 5).
			proven = true
			r.ttl = min(r.ttl, binary.BigEndian.Uint32(s.msg[r.end-4:]), maxNegativeTTL)
			ttl = min(ttl, r.ttl)
		}
		s.clean.Served = max(s.clean.Served, r.ttl)
	}
	switch {
	case s.clean.Rcode != Success && s.clean.Rcode != NXDomain:
		ttl = 0 // a failure has its own lifetime (RFC 9520)
	case negative && !proven:
		ttl = 0 // RFC 2308, 5
	}
	s.clean.TTL = ttl
}

// write makes the kept records a message. Where they are the beginning of the
// reply, as is usual, that beginning is copied as it stands; its pointers only
// point backwards. Otherwise names are written anew.
func (s *Scrubber) write(question int) error {
	kept, end, prefix := 0, HeaderLen+question, true
	var counts [3]uint16
	for i := range s.records {
		r := &s.records[i]
		if !r.keep {
			continue
		}
		prefix = prefix && r.owner == end
		end = r.end
		counts[r.section]++
		kept++
	}
	c := &s.clean
	c.Question = question
	c.TTLs = make([]uint16, 0, kept)
	if prefix {
		c.Wire = append(make([]byte, 0, end), s.msg[:end]...)
		for i := range s.records {
			if r := &s.records[i]; r.keep {
				c.TTLs = append(c.TTLs, uint16(r.fixed+4))
				binary.BigEndian.PutUint32(c.Wire[r.fixed+4:], r.ttl)
			}
		}
	} else if err := s.rewrite(question); err != nil {
		return err
	}
	for i, n := range counts {
		binary.BigEndian.PutUint16(c.Wire[6+2*i:], n)
	}
	return nil
}

// rewrite writes the kept records with their names uncompressed, but for the
// question's own name.
func (s *Scrubber) rewrite(question int) error {
	c := &s.clean
	c.Wire = append(c.Wire, s.msg[:HeaderLen+question]...)
	for i := range s.records {
		r := &s.records[i]
		if !r.keep {
			continue
		}
		if s.owns(r, &s.chain[0]) {
			c.Wire = append(c.Wire, compressQuestion>>8, compressQuestion&0xff)
		} else if !readsTo(s.msg, r.owner, &s.name) {
			return ErrReply
		} else {
			c.Wire = append(c.Wire, s.name.Wire()...)
		}
		c.Wire = append(c.Wire, s.msg[r.fixed:r.fixed+4]...)
		if len(c.Wire) > 0xffff-16 {
			return ErrReply
		}
		c.TTLs = append(c.TTLs, uint16(len(c.Wire)))
		c.Wire = binary.BigEndian.AppendUint32(c.Wire, r.ttl)
		size := len(c.Wire)
		c.Wire = append(c.Wire, 0, 0)
		if err := s.rewriteData(r); err != nil {
			return err
		}
		if len(c.Wire) > 0xffff {
			return ErrReply
		}
		binary.BigEndian.PutUint16(c.Wire[size:], uint16(len(c.Wire)-size-2))
	}
	return nil
}

// rewriteData appends r's data with the names that may be compressed there
// written out.
func (s *Scrubber) rewriteData(r *record) error {
	off, names, _, ok := s.namesIn(r)
	if !ok {
		return ErrReply
	}
	c := &s.clean
	c.Wire = append(c.Wire, s.msg[r.data:off]...)
	for range names {
		var err error
		if off, err = readName(s.msg, off, &s.name); err != nil || off > r.end {
			return ErrReply
		}
		c.Wire = append(c.Wire, s.name.Wire()...)
	}
	c.Wire = append(c.Wire, s.msg[off:r.end]...)
	return nil
}

// checkNames checks the names in r's data that may be compressed, so that none
// is passed on that a client could stumble over.
func (s *Scrubber) checkNames(r *record) error {
	off, names, behind, ok := s.namesIn(r)
	if !ok {
		return ErrReply
	}
	for range names {
		var err error
		if off, err = readName(s.msg, off, &s.name); err != nil {
			return ErrReply
		}
	}
	if names > 0 && off+behind != r.end {
		return ErrReply
	}
	return nil
}

// namesIn returns where in r's data the names begin that may be compressed
// (RFC 3597, 4), how many there are, and how many octets follow them.
func (s *Scrubber) namesIn(r *record) (off, names, behind int, ok bool) {
	before := 0
	switch r.typ {
	case TypeNS, TypeCNAME, TypePTR, TypeDNAME, 3, 4, 7, 8, 9: // ..., MD, MF, MB, MG, MR
		names = 1
	case TypeSOA:
		names, behind = 2, 5*4
	case 14, 17: // MINFO, RP
		names = 2
	case TypeMX, 18, 21, 36: // AFSDB, RT, KX
		before, names = 2, 1
	case TypeSRV:
		before, names = 6, 1
	case 26: // PX
		before, names = 2, 2
	case 35: // NAPTR: order, preference, then three strings
		before, names = 4, 1
		for range 3 {
			if r.data+before >= r.end {
				return 0, 0, 0, false
			}
			before += 1 + int(s.msg[r.data+before])
		}
	}
	off = r.data + before
	return off, names, behind, off <= r.end
}
