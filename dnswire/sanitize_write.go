package dnswire

import "encoding/binary"

// write makes the kept records a message. Where they are the beginning of the
// reply, as is usual, that beginning is copied as it stands; its pointers only
// point backwards. Otherwise names are written anew.
func (s *Sanitizer) write(question int) error {
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
	c := &s.out
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

// rewrite writes the kept records with names compressed anew, so that what fitted
// a message with more in it fits now.
func (s *Sanitizer) rewrite(question int) error {
	c := &s.out
	c.Wire = append(c.Wire, s.msg[:HeaderLen+question]...)
	s.written.reset()
	s.written.add(&s.chain[0], s.chain[0].Labels(), HeaderLen)
	for i := range s.records {
		r := &s.records[i]
		if !r.keep {
			continue
		}
		if _, err := s.appendName(r.owner, true); err != nil {
			return err
		}
		c.Wire = append(c.Wire, s.msg[r.fixed:r.fixed+4]...)
		if len(c.Wire) > MaxMessage-16 {
			return ErrReply
		}
		c.TTLs = append(c.TTLs, uint16(len(c.Wire)))
		c.Wire = binary.BigEndian.AppendUint32(c.Wire, r.ttl)
		size := len(c.Wire)
		c.Wire = append(c.Wire, 0, 0)
		if err := s.rewriteData(r); err != nil {
			return err
		}
		if len(c.Wire) > MaxMessage {
			return ErrReply
		}
		binary.BigEndian.PutUint16(c.Wire[size:], uint16(len(c.Wire)-size-2))
	}
	return nil
}

// rewriteData appends r's data with the names in it written anew.
func (s *Sanitizer) rewriteData(r *record) error {
	off, names, _, ok := s.namesIn(r)
	if !ok {
		return ErrReply
	}
	c := &s.out
	c.Wire = append(c.Wire, s.msg[r.data:off]...)
	for range names {
		var err error
		if off, err = s.appendName(off, mayCompress(r.typ)); err != nil || off > r.end {
			return ErrReply
		}
	}
	c.Wire = append(c.Wire, s.msg[off:r.end]...)
	return nil
}

// mayCompress reports whether names in the data of a type may be sent compressed
// (RFC 3597, 4: those of RFC 1035 alone).
func mayCompress(typ uint16) bool {
	switch typ {
	case TypeNS, TypeCNAME, TypeSOA, TypePTR, TypeMX, 3, 4, 7, 8, 9, 14: // ..., MD, MF, MB, MG, MR, MINFO
		return true
	}
	return false
}

// appendName appends the name at off of the message that is read, by a pointer
// where its end was written before and compress allows it, and returns the offset
// behind it.
func (s *Sanitizer) appendName(off int, compress bool) (end int, err error) {
	size, end, err := Flatten(s.msg, off, &s.flat)
	if err != nil {
		return 0, err
	}
	if _, err := s.name.Read(s.flat[:size], 0); err != nil {
		return 0, ErrReply
	}
	c := &s.out
	known, to := 0, 0
	if compress {
		known, to = s.written.longest(&s.name)
	}
	s.written.add(&s.name, s.name.Labels()-known, len(c.Wire))
	if known == 0 {
		c.Wire = append(c.Wire, s.flat[:size]...)
		return end, nil
	}
	c.Wire = append(c.Wire, s.flat[:size-len(s.name.Suffix(known))]...)
	c.Wire = append(c.Wire, 0xc0|byte(to>>8), byte(to))
	return end, nil
}

// suffixes are the names of a message that is being written, each with where it
// begins.
type suffixes struct {
	at map[string]uint16 // by wire form, lower case
}

func (s *suffixes) reset() {
	if s.at == nil {
		s.at = make(map[string]uint16)
	}
	clear(s.at)
}

// add notes a name written at off, whose first labels are new, and all its
// suffixes that begin with one of these. A pointer reaches 14 bits.
func (s *suffixes) add(n *Name, fresh, off int) {
	whole := len(n.Wire())
	for k := n.Labels(); k > n.Labels()-fresh; k-- {
		suffix := n.Suffix(k)
		at := off + whole - len(suffix)
		if at > 0x3fff {
			return
		}
		if _, ok := s.at[string(suffix)]; !ok {
			s.at[string(suffix)] = uint16(at)
		}
	}
}

// longest returns how many of n's last labels were written before, and where; 0
// for none.
func (s *suffixes) longest(n *Name) (labels, at int) {
	for k := n.Labels(); k > 0; k-- {
		if at, ok := s.at[string(n.Suffix(k))]; ok {
			return k, int(at)
		}
	}
	return 0, 0
}
