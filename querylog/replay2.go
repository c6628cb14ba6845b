package querylog

import (
	"bytes"

	"telltale/blocklists"
)

// Journals of formats 1 and 2 are read, and not written any more. Format 1 has no
// numbers in its entries, but gives them in their order; its checksum is of the
// payload alone. Rows of both have their fields in an order of their own.

// ordered is what the numbers of format 1 come to.
type ordered struct {
	clients, rules, annotations, texts, rows uint64
	gap                                      bool // a frame is missing, and no later number can be relied on
}

// number reads the number of an entry; in format 1 it is the next one's.
func (p *replay) number(c *cursor, next *uint64) uint64 {
	if p.version != 1 {
		return c.uint()
	}
	if p.ordered.gap {
		c.unknown = true
	}
	*next++
	return *next - 1
}

// base is what is taken off a number that refers to a rule or an annotation:
// format 1 numbers them from 0 and refers to them from 1 on.
func (p *replay) base() uint64 {
	if p.version == 1 {
		return 1
	}
	return 0
}

// row2 reads a row of format 1 or 2.
func (p *replay) row2(c *cursor, state bool) {
	var r replayRow
	n := p.number(c, &p.ordered.rows)
	client, rule, attr, annotation := c.uint(), c.uint(), c.uint(), c.uint()
	verdict, rcode, from, g := c.byte(), c.byte(), c.byte(), c.byte()
	r.Action, r.Level = blocklists.Action(verdict>>4), blocklists.Level(verdict&15)
	r.Rcode, r.Source, r.Transport, r.Granularity = rcode, Source(from>>4), Transport(from&15), min(granularity(g), byNobody)
	if p.version == 2 {
		r.Class, r.ObservedBy = blocklists.Class(c.byte()), blocklists.ObservedBy(c.byte())
		r.Overrode = c.byte()&1 != 0
	}
	r.Type = uint16(c.uint())
	r.Name, r.Alias = bytes.Clone(c.bytes()), bytes.Clone(c.bytes())
	r.Addr, r.Binding = p.client(c, client)
	r.Rule, r.Attr, r.Annotation = p.rule(c, rule), p.rule(c, attr), p.annotation(c, annotation)
	if state {
		r.Count, r.First, r.Last = c.uint(), c.int(), c.int()
		r.Elapsed, r.TTL = uint32(c.uint()), uint32(c.uint())
		if p.version == 2 {
			r.Attempts = uint32(c.uint())
		}
	}
	p.keep(c, n, &r)
}
