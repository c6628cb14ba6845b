package dnswire

import (
	"cmp"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
)

// MaxAliases is how many steps an alias chain may have before the answer is
// refused.
const MaxAliases = 12

// How long an answer may be kept, here and by clients, in seconds, whatever its
// TTLs say (RFC 8767, 4; RFC 2308, 5).
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

// A Sanitized is an upstream's reply reduced to what the question asked for.
type Sanitized struct {
	Stored
	TTL      uint32 // how long it may be kept, seconds; 0: not at all
	Served   uint32 // the largest TTL in it, seconds
	Negative bool   // there is no record of the type asked for at its end
	Aliases  []byte // the names the answer leads to, one wire name after another
	// Addresses are all addresses in it, those of SVCB hints included.
	Addresses []netip.Addr
	// Servers are the name servers of the answer's zone, where the reply names them and
	// Sanitizer.Servers is set: see EachServer.
	Servers []byte
}

// section numbers of a message
const (
	sectionAnswer = iota
	sectionAuthority
	sectionAdditional
)

// A record is where a resource record lies in a message.
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
	link    uint8 // in the answer section: the name of the chain it belongs to
	set     uint8 // and the RRset of that name
}

// The RRsets that a name of the chain may have, in the order in which they
// belong into an answer, each with its signatures.
const (
	setDNAME = iota // by which the CNAME was made
	setCNAME
	setAsked // of the type asked for
	setCount
)

// A Sanitizer sanitizes upstreams' replies. It keeps its working memory between
// calls; it belongs to one goroutine at a time.
type Sanitizer struct {
	Servers bool // the name servers of the answer's zone are wanted

	msg     []byte
	records []record
	chain   []Name
	aliases []int // the record that leads from each name of the chain to the next
	name    Name
	flat    [MaxName]byte
	out     Sanitized
	written suffixes
}

// Sanitize reads reply, an upstream's answer to q whose id and question are known
// to fit, and keeps of it only the answer: the alias chain from the question's
// name, the records of the type asked for at its end, and for a negative answer
// the SOA (with DNSSEC records where q.DO). Nothing outside the question is
// kept, nor is what an upstream adds of its own accord. The chain is put in the
// order in which it leads (RFC 1034, 4.3.2): stub resolvers read it once. The
// result refers to memory of its own.
func (s *Sanitizer) Sanitize(reply []byte, q *Question) (Sanitized, error) {
	s.msg, s.records, s.chain, s.aliases = reply, s.records[:0], s.chain[:0], s.aliases[:0]
	s.out = Sanitized{}
	if err := s.read(); err != nil {
		return Sanitized{}, err
	}
	question, err := s.questionSize()
	if err != nil {
		return Sanitized{}, err
	}
	if err := s.follow(q); err != nil {
		return Sanitized{}, err
	}
	negative := s.keepAnswers(q)
	s.out.Negative = negative
	s.keepAuthority(q, negative)
	if err := s.collect(); err != nil {
		return Sanitized{}, err
	}
	if s.Servers {
		s.collectServers()
	}
	s.alignTTLs()
	s.lifetime(negative)
	s.order()
	if err := s.write(question); err != nil {
		return Sanitized{}, err
	}
	return s.out, nil
}

// read finds all records and reads the OPT. Section counts are not trusted: what
// does not fit the message's length is an error, never an allocation.
func (s *Sanitizer) read() error {
	m := s.msg
	if len(m) < HeaderLen || binary.BigEndian.Uint16(m[4:]) != 1 {
		return ErrReply
	}
	s.out.Rcode = uint16(m[3] & 0xf)
	s.out.AD = m[3]&flagAD != 0
	off, err := s.questionSize()
	if err != nil {
		return err
	}
	off += HeaderLen
	for section := range 3 {
		for range binary.BigEndian.Uint16(m[6+2*section:]) {
			r := record{owner: off, section: section}
			if off, err = checkName(m, off); err != nil {
				return err
			}
			if off+10 > len(m) {
				return ErrReply
			}
			r.fixed = off
			r.typ, r.class = binary.BigEndian.Uint16(m[off:]), binary.BigEndian.Uint16(m[off+2:])
			r.ttl = min(binary.BigEndian.Uint32(m[off+4:]), maxTTL) // RFC 8767, 4: also with the highest bit set
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
func (s *Sanitizer) readOPT(r *record) {
	s.out.Rcode |= uint16(s.msg[r.fixed+4]) << 4
	for b := s.msg[r.data:r.end]; len(b) >= 4; {
		code, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+n {
			return
		}
		if code == optionEDE && n >= 2 {
			s.out.EDE.Code = binary.BigEndian.Uint16(b[4:])
			s.out.EDE.Text = printable(b[6 : 4+n])
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
func (s *Sanitizer) questionSize() (int, error) {
	off, err := checkName(s.msg, HeaderLen)
	if err != nil || off+4 > len(s.msg) {
		return 0, ErrReply
	}
	return off + 4 - HeaderLen, nil
}

// follow builds the chain of names from the question's name along the CNAMEs of
// the answer section, in whatever order they stand.
func (s *Sanitizer) follow(q *Question) error {
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
		s.aliases = append(s.aliases, next)
		from = next + 1
	}
}

// owns reports whether r's owner is n, without expanding more than is needed.
func (s *Sanitizer) owns(r *record, n *Name) bool {
	return equalName(s.msg, r.owner, n.Wire())
}

// keepAnswers marks the records of the answer section to keep, with the name of
// the chain and the RRset that each belongs to, and reports whether none of the
// type asked for is among them.
func (s *Sanitizer) keepAnswers(q *Question) (negative bool) {
	negative = true
	for i := range s.records {
		r := &s.records[i]
		if r.section != sectionAnswer || r.class != ClassIN {
			continue
		}
		link, set, ok := s.belongs(i, q)
		if !ok {
			continue
		}
		r.keep, r.link, r.set = true, uint8(link), uint8(set)
		if r.typ == q.Type && set == setAsked {
			negative = false
		}
	}
	return negative
}

// belongs returns the name of the chain and the RRset that the i-th record is of.
func (s *Sanitizer) belongs(i int, q *Question) (link, set int, ok bool) {
	r := &s.records[i]
	typ := r.typ
	if typ == TypeRRSIG { // belongs to what it signs
		if !q.DO || r.end-r.data < 2 {
			return 0, 0, false
		}
		typ = binary.BigEndian.Uint16(s.msg[r.data:])
	}
	last := len(s.chain) - 1
	switch {
	case typ == q.Type && s.owns(r, &s.chain[last]):
		return last, setAsked, true
	case typ == TypeDNAME:
		// It is of the chain if a name there lies below it.
		if readsTo(s.msg, r.owner, &s.name) {
			for j := range s.chain {
				if isBelow(&s.chain[j], &s.name) {
					return j, setDNAME, true
				}
			}
		}
	case r.typ == TypeCNAME:
		// Of several for a name, the one that was followed: no other is judged.
		j := slices.Index(s.aliases, i)
		return j, setCNAME, j >= 0
	case typ == TypeCNAME:
		for j := range s.aliases {
			if s.owns(r, &s.chain[j]) {
				return j, setCNAME, true
			}
		}
	}
	return 0, 0, false
}

// keepAuthority keeps what proves a negative answer.
func (s *Sanitizer) keepAuthority(q *Question, negative bool) {
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
func (s *Sanitizer) collect() error {
	for i := range s.chain[1:] {
		s.out.Aliases = append(s.out.Aliases, s.chain[1+i].Wire()...)
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
			s.out.Addresses = append(s.out.Addresses, a)
		case TypeAAAA:
			a, ok := netip.AddrFromSlice(data)
			if !ok || !a.Is6() {
				return ErrReply
			}
			s.out.Addresses = append(s.out.Addresses, a)
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

// alignTTLs gives all records of an RRset, and its signatures, the least TTL
// among them (RFC 2181, 5.2; RFC 4034, 3).
func (s *Sanitizer) alignTTLs() {
	var least [MaxAliases + 1][setCount]uint32
	for i := range least {
		least[i] = [setCount]uint32{maxTTL, maxTTL, maxTTL}
	}
	for i := range s.records {
		if r := &s.records[i]; r.keep && r.section == sectionAnswer {
			least[r.link][r.set] = min(least[r.link][r.set], r.ttl)
		}
	}
	for i := range s.records {
		if r := &s.records[i]; r.keep && r.section == sectionAnswer {
			r.ttl = least[r.link][r.set]
		}
	}
}

// order puts the kept answers in the order of the chain.
func (s *Sanitizer) order() {
	answers := len(s.records)
	for i := range s.records {
		if s.records[i].section != sectionAnswer {
			answers = i
			break
		}
	}
	byChain := func(a, b record) int {
		return cmp.Or(cmp.Compare(a.link, b.link), cmp.Compare(a.set, b.set))
	}
	if !slices.IsSortedFunc(s.records[:answers], byChain) {
		slices.SortStableFunc(s.records[:answers], byChain)
	}
}

// lifetime sets TTL and Served.
func (s *Sanitizer) lifetime(negative bool) {
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
		s.out.Served = max(s.out.Served, r.ttl)
	}
	switch {
	case s.out.Rcode != Success && s.out.Rcode != NXDomain:
		ttl = 0 // a failure has its own lifetime (RFC 9520)
	case negative && !proven:
		ttl = 0 // RFC 2308, 5
	}
	s.out.TTL = ttl
}
