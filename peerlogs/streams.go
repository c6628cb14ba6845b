package peerlogs

import (
	"encoding/binary"
	"net/netip"
)

// Of connections over TCP only so much is kept as it takes to find the beginning of each
// message: where the next octet is, and the beginning of the message at hand. Segments that
// come early wait for those before them. All of it is bounded: what has no room is given up.
const (
	streamsMost = 4096    // directions of connections
	earlyMost   = 8       // segments of one that wait
	earlyOctets = 1 << 20 // in all segments that wait
)

type streams struct {
	byKey map[streamKey]*stream
	order []*stream // in which they began; those that have ended are among them
	held  int       // octets in segments that wait
}

type streamKey struct{ src, dst netip.AddrPort }

// A stream is one direction of a connection.
type stream struct {
	key   streamKey
	next  uint32 // the number of the octet that comes next
	skip  int    // octets of the message at hand that are not wanted
	head  []byte // of the message at hand: its length, and its beginning
	early []earlySegment
}

type earlySegment struct {
	seq     uint32
	data    []byte
	missing int
}

// What became of a segment.
type streamState uint8

const (
	streamRead       streamState = iota
	streamIncomplete             // its connection is given up, as something is missing
	streamBegun                  // its connection began before the capture
)

// add takes over a segment, and calls message with the beginning of each message that is
// there, valid until it returns.
func (t *streams) add(s *segment, message func([]byte)) streamState {
	key := streamKey{s.src, s.dst}
	st := t.byKey[key]
	if s.rst {
		t.remove(st)
		return streamRead
	}
	seq := s.seq
	if s.syn {
		t.remove(st)
		st = t.begin(key, seq+1)
		seq++
	}
	if len(s.data)+s.missing == 0 {
		if s.fin && st != nil && st.next == seq {
			t.remove(st)
		}
		return streamRead
	}
	if st == nil {
		if !isOneMessage(s) {
			return streamBegun
		}
		st = t.begin(key, seq)
	}
	if !t.take(st, seq, s.data, s.missing, message) {
		t.remove(st)
		return streamIncomplete
	}
	if s.fin && len(st.early) == 0 {
		t.remove(st)
	}
	return streamRead
}

// isOneMessage reports whether a segment of a connection that is not known has just one
// message in it: then what comes behind it begins with one, too.
func isOneMessage(s *segment) bool {
	return len(s.data) >= 14 && s.missing == 0 && int(binary.BigEndian.Uint16(s.data))+2 == len(s.data)
}

// begin makes a stream, for which the oldest is given up if there is no room.
func (t *streams) begin(key streamKey, next uint32) *stream {
	if t.byKey == nil {
		t.byKey = map[streamKey]*stream{}
	}
	for len(t.byKey) >= streamsMost && len(t.order) > 0 {
		oldest := t.order[0]
		t.order = t.order[1:]
		t.remove(oldest)
	}
	if len(t.order) >= 2*streamsMost {
		var live []*stream
		for _, st := range t.order {
			if t.byKey[st.key] == st {
				live = append(live, st)
			}
		}
		t.order = live
	}
	st := &stream{key: key, next: next}
	t.byKey[key] = st
	t.order = append(t.order, st)
	return st
}

// remove ends a stream, if it has not ended.
func (t *streams) remove(st *stream) {
	if st == nil || t.byKey[st.key] != st {
		return
	}
	for i := range st.early {
		t.held -= len(st.early[i].data)
	}
	st.early = nil
	delete(t.byKey, st.key)
}

// take takes over what a segment has that is new, then what waited for it. It returns false
// where something is missing for good.
func (t *streams) take(st *stream, seq uint32, data []byte, missing int, message func([]byte)) bool {
	if int32(seq-st.next) > 0 {
		if len(st.early) == earlyMost || t.held+len(data) > earlyOctets {
			return false
		}
		t.held += len(data)
		st.early = append(st.early, earlySegment{seq, append([]byte(nil), data...), missing})
		return true
	}
	if !st.read(seq, data, missing, message) {
		return false
	}
	for again := true; again; {
		again = false
		for i, e := range st.early {
			if int32(e.seq-st.next) > 0 {
				continue
			}
			t.held -= len(e.data)
			st.early = append(st.early[:i], st.early[i+1:]...)
			if !st.read(e.seq, e.data, e.missing, message) {
				return false
			}
			again = true
			break
		}
	}
	return true
}

// read takes over a segment that does not begin behind the next octet.
func (st *stream) read(seq uint32, data []byte, missing int, message func([]byte)) bool {
	known := int(st.next - seq) // octets of it that were there before
	if known >= len(data)+missing {
		return true
	}
	st.next = seq + uint32(len(data)+missing)
	if known > len(data) {
		missing, data = missing-(known-len(data)), nil
	} else {
		data = data[known:]
	}
	for len(data) > 0 {
		if st.skip > 0 {
			n := min(st.skip, len(data))
			st.skip -= n
			data = data[n:]
			continue
		}
		want := 2
		if len(st.head) >= 2 {
			want += min(int(binary.BigEndian.Uint16(st.head)), messageMost)
		}
		n := min(want-len(st.head), len(data))
		st.head = append(st.head, data[:n]...)
		data = data[n:]
		if len(st.head) < 2 {
			continue
		}
		size := int(binary.BigEndian.Uint16(st.head))
		if have := len(st.head) - 2; have >= min(size, messageMost) {
			if size > 0 {
				message(st.head[2:])
			}
			st.skip, st.head = size-have, st.head[:0]
		}
	}
	if missing > st.skip {
		return false
	}
	st.skip -= missing
	return true
}
