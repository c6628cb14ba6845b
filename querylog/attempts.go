package querylog

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"net/netip"
	"time"

	"telltale/devices"
	"telltale/dnswire"
)

// An attemptCounter tells which lookups begin an attempt: the lookups of one name
// by one device belong together until none came for gap. It belongs to the
// journal's goroutine, which gives it the lookups in the order in which they were
// appended, before it writes them: queries never wait for it.
//
// It keeps the last lookup of each device and name, in bounded memory, under a hash
// of both. What has no room, and what is in a row without a name, cannot be told
// apart: each such lookup counts as an attempt, and its row says so.
type attemptCounter struct {
	gap     int64 // milliseconds
	most    int   // places of table
	seed    maphash.Seed
	table   []attempt // open addressing by key
	used    int
	moved   bool  // places changed since rows were last given theirs
	touched int64 // see fetch
	swept   int64 // time of the lookup for which room was last looked for in a table that may not grow
	buf     [8 + 255]byte
}

// An attempt is the one that is not over yet, or was the last, of a device and a
// name.
type attempt struct {
	key  uint64 // hash of both; 0 where the place is free
	last int64  // Unix milliseconds of its last lookup
}

const (
	attemptBytes    = 16
	attemptsFirst   = 256   // places
	attemptsSweep   = 1000  // milliseconds of lookups between two looks for room in a table that may not grow
	attemptDeadline = 10000 // milliseconds after its end for which an attempt is kept: what waited for an upstream is appended late
)

// newAttemptCounter returns a counter that takes at most so many bytes.
func newAttemptCounter(gap int64, memory int) *attemptCounter {
	a := &attemptCounter{gap: gap, most: attemptsFirst, seed: maphash.MakeSeed(), table: make([]attempt, attemptsFirst)}
	for 2*a.most*attemptBytes <= memory {
		a.most *= 2
	}
	return a
}

// memory returns how many bytes the counter takes.
func (a *attemptCounter) memory() int { return len(a.table) * attemptBytes }

// device returns what stands for a device in keys.
func (a *attemptCounter) device(device string) uint64 { return maphash.String(a.seed, device) }

// key returns what stands for the attempts of a device at a name in wire form.
func (a *attemptCounter) key(device uint64, name []byte) uint64 {
	binary.LittleEndian.PutUint64(a.buf[:], device)
	n := 8 + copy(a.buf[8:], attemptName(name))
	return max(maphash.Bytes(a.seed, a.buf[:n]), 1)
}

// place returns where the last lookup under a key is kept, or is to be. ok is false
// where there is no room. at is a lookup's time: what is over by then makes room.
func (a *attemptCounter) place(key uint64, at int64) (place uint32, ok bool) {
	if p, known := a.find(key); known {
		return p, true
	}
	if 4*(a.used+1) > 3*len(a.table) && !a.makeRoom(at) {
		return 0, false
	}
	p, _ := a.find(key)
	return p, true
}

// find returns the place of a key, or the free one that it belongs to.
func (a *attemptCounter) find(key uint64) (place uint32, known bool) {
	mask := uint64(len(a.table) - 1)
	for i := key & mask; ; i = (i + 1) & mask {
		switch a.table[i].key {
		case key:
			return uint32(i), true
		case 0:
			return uint32(i), false
		}
	}
}

// makeRoom forgets what is over at a time, and gets more places where that is not
// enough, as far as it may. It goes through the table, and is called for each lookup
// that has no room: where there can be no more places, it does so once in a while.
func (a *attemptCounter) makeRoom(at int64) bool {
	if len(a.table) == a.most {
		if distance(at, a.swept) < attemptsSweep {
			return false
		}
		a.swept = at
	}
	alive := 0
	for i := range a.table {
		if a.isKept(&a.table[i], at) {
			alive++
		}
	}
	size := len(a.table)
	for size < a.most && 2*alive > size {
		size *= 2
	}
	if 4*(alive+1) > 3*size {
		return false
	}
	a.rebuild(size, at)
	return true
}

func (a *attemptCounter) isKept(t *attempt, at int64) bool {
	return t.key != 0 && distance(at, t.last) < a.gap+attemptDeadline
}

func (a *attemptCounter) rebuild(size int, at int64) {
	old := a.table
	a.table, a.used, a.moved = make([]attempt, size), 0, true
	for i := range old {
		if t := &old[i]; a.isKept(t, at) {
			p, _ := a.find(t.key)
			a.table[p] = *t
			a.used++
		}
	}
}

// giveBack lets go of memory for which there is no use at a time, and reports
// whether it did.
func (a *attemptCounter) giveBack(at int64) bool {
	if len(a.table) <= 16*attemptsFirst {
		return false
	}
	for i := range a.table {
		if a.isKept(&a.table[i], at) {
			return false
		}
	}
	a.rebuild(attemptsFirst, at)
	return true
}

// begins reports whether a lookup under a key, kept at place, begins an attempt. A
// lookup that is dated before the last one belongs to its attempt, unless the clock
// was set back by gap.
func (a *attemptCounter) begins(place uint32, key uint64, at int64) bool {
	t := &a.table[place]
	if t.key == key && distance(at, t.last) < a.gap {
		t.last = max(t.last, at)
		return false
	}
	if t.key != key {
		a.used++
	}
	*t = attempt{key, at}
	return true
}

func distance(a, b int64) int64 {
	if a < b {
		return b - a
	}
	return a - b
}

// localSuffixes are those that devices append to names of the public DNS when they
// search for them: what RFC 6762, appendix G says is used as a private top level
// domain, home.arpa (RFC 8375), and what common routers hand out.
var localSuffixes = [...]string{
	"\x03lan", "\x04home", "\x05local", "\x0blocaldomain", "\x08internal", "\x08intranet", "\x07private", "\x04corp", "\x04home\x04arpa", "\x05fritz\x03box",
}

// attemptName returns the part of a name in wire form by which attempts are counted:
// without local suffixes, as far as two labels or more are left, and without the root.
// (NAME of _PORT._https.NAME is in the row already.)
func attemptName(wire []byte) []byte {
	name := wire[:max(len(wire)-1, 0)]
	for {
		rest := withoutSuffix(name)
		if len(rest) == len(name) {
			return name
		}
		name = rest
	}
}

func withoutSuffix(name []byte) []byte {
	for _, suffix := range localSuffixes {
		rest := len(name) - len(suffix)
		if rest <= 0 || string(name[rest:]) != suffix {
			continue
		}
		at, labels := 0, 0
		for at < rest { // the suffix must begin at a label
			at += int(name[at]) + 1
			labels++
		}
		if at == rest && labels >= 2 {
			return name[:rest]
		}
	}
	return name
}

// rowAttempts is what a row of the open window has of attempts. It belongs to the
// journal's goroutine.
type rowAttempts struct {
	place     uint32 // in the counter's table; or one of the following
	begun     uint32 // attempts, those of asLookups included
	asLookups uint32 // lookups that each counted as one
}

const (
	placeUnknown = ^uint32(0) - iota // not asked for since places changed
	placeNone                        // its lookups are each an attempt: it has no name
	placeHidden                      // nothing of it is kept
)

// countAttempts finds which lookups of hits begin an attempt, marks them, and counts
// them in live, the fold that they are of. header is its header: all rows of hits are
// in it. The rows whose lookups had no room are returned.
func (a *attemptCounter) countAttempts(live, header *fold, hits *hitBuffer) (full map[uint32]uint32) {
	for len(live.attempts) < len(header.rows) {
		live.attempts = append(live.attempts, rowAttempts{place: placeUnknown})
	}
	header.attempts = live.attempts
	b, at := hits.buf, header.start
	var batch [countedMost]hitAt
	for pos := 0; pos < len(b); {
		n := 0
		for ; n < len(batch) && pos < len(b); n++ {
			h := &batch[n]
			h.pos = pos
			v, size := binary.Uvarint(b[pos:])
			pos += size
			ms, size := binary.Varint(b[pos:])
			pos += size
			at += ms
			if v&hitMore != 0 {
				_, size = binary.Uvarint(b[pos:])
				pos += size
				_, size = binary.Uvarint(b[pos:])
				pos += size
			}
			h.row, h.at = uint32(v>>hitShift), at
		}
		a.touched += a.fetch(header, batch[:n])
		for i := range batch[:n] {
			h := &batch[i]
			row := h.row
			for header.rows[row].state == moved {
				row = header.rows[row].key
			}
			switch begins, ok := a.count(header, row, h.at); {
			case !ok:
				if full == nil {
					full = map[uint32]uint32{}
				}
				full[row]++
				fallthrough
			case begins:
				b[h.pos] |= hitAttempt // it is in the first octet of v
			}
			if a.moved {
				a.moved = false
				for i := range live.attempts {
					if live.attempts[i].place < placeHidden {
						live.attempts[i].place = placeUnknown
					}
				}
			}
		}
	}
	return full
}

// A hitAt is a lookup of a row, and where in the buffer it stands.
type hitAt struct {
	pos int
	row uint32
	at  int64
}

// fetch has the processor read what count will read for some lookups: the rows of all of
// them, and then where their attempts are kept. What it returns means nothing.
func (a *attemptCounter) fetch(f *fold, hits []hitAt) (touched int64) {
	var places [countedMost]uint32
	for i := range hits {
		row := hits[i].row
		touched += int64(f.rows[row].state)
		places[i] = f.attempts[row].place
	}
	for _, p := range places[:len(hits)] {
		if int64(p) < int64(len(a.table)) {
			touched += a.table[p].last
		}
	}
	return touched
}

// count counts a lookup of a row and reports whether it begins an attempt. ok is
// false where there was no room to tell.
func (a *attemptCounter) count(f *fold, row uint32, at int64) (begins, ok bool) {
	r := &f.attempts[row]
	if r.place == placeUnknown {
		r.place = placeNone
		switch k := f.keyOf(&f.rows[row]); {
		case f.rows[row].state == hidden:
			r.place = placeHidden
		case granularity(k[19]) == byName:
			key := f.attemptKey(a, row, k)
			p, room := a.place(key, at)
			if !room {
				r.place = placeUnknown // there may be some later
				r.begun++
				r.asLookups++
				return true, false
			}
			r.place = p
			if a.begins(p, key, at) {
				r.begun++
				return true, true
			}
			return false, true
		}
	}
	switch r.place {
	case placeHidden:
		return false, true
	case placeNone:
		r.begun++
		r.asLookups++
		return true, true
	}
	t := &a.table[r.place]
	if a.begins(r.place, t.key, at) {
		r.begun++
		return true, true
	}
	return false, true
}

// attemptKey returns what the row with key k counts its attempts under.
func (f *fold) attemptKey(a *attemptCounter, row uint32, k []byte) uint64 {
	c := f.clients[binary.LittleEndian.Uint32(k)]
	return a.key(a.device(deviceOf(c.addr, c.binding)), k[keyFixed:keyFixed+int(k[20])])
}

// restore takes over when a device last looked up a name, before a time at.
func (a *attemptCounter) restore(device string, name []byte, last, at int64) {
	if distance(at, last) >= a.gap {
		return
	}
	key := a.key(a.device(device), name)
	if p, ok := a.place(key, at); ok {
		if t := &a.table[p]; t.key == key {
			last = max(last, t.last)
		} else {
			a.used++
		}
		a.table[p] = attempt{key, last}
	}
}

// restoreAttempts takes over the attempts that were not over when an earlier
// process ended: from the rows that it stored, and the journals that are not stored
// yet.
func (j *journaler) restoreAttempts() {
	now := j.l.o.Now().UnixMilli()
	for _, n := range j.q.found() {
		p, err := readSegment(j.l.o.Dir, n)
		if err != nil {
			continue // storing it says what is wrong
		}
		for _, e := range p.entries {
			if e.Granularity == byName {
				j.attempts.restore(deviceOf(e.Addr, e.Binding), e.Name, e.Last, now)
			}
		}
	}
	st := j.store.store
	if st == nil || !j.store.counted {
		return
	}
	err := st.lastLookups(now-j.attempts.gap, func(device, name string, last int64) {
		if n, err := dnswire.ParseName(name); err == nil {
			j.attempts.restore(device, n.Wire(), last, now)
		}
	})
	if err != nil {
		j.l.o.Logger.Warn("query log: attempts that had begun before the start are counted anew", "error", err)
	}
	j.attempts.moved = false
}

// lastLookups calls each with the last lookup of each device and name since a time.
func (s *store) lastLookups(since int64, each func(device, name string, last int64)) error {
	first, err := s.number(`SELECT coalesce(min(id), -1) FROM window WHERE last > ?`, since)
	if err != nil || first < 0 {
		return err
	}
	for _, table := range rowTables {
		stmt, _, err := s.conn.Prepare(`SELECT ` + deviceSQL + `, m.name, max(` + lastOfRow + `)` + layout2.from(table, ` AND `+lastOfRow+` > ? AND m.name IS NOT NULL GROUP BY 1, 2`))
		if err != nil {
			return err
		}
		stmt.BindInt64(1, first<<rowBits-1)
		stmt.BindInt64(2, 1<<63-1)
		stmt.BindInt64(3, since)
		for stmt.Step() {
			each(stmt.ColumnText(0), stmt.ColumnText(1), stmt.ColumnInt64(2))
		}
		err = stmt.Err()
		stmt.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// deviceOf is the device of a row as Row.Device has it.
func deviceOf(addr netip.Addr, b *devices.Binding) string {
	switch {
	case b != nil:
		return b.Device
	case addr.IsValid():
		return "addr:" + addr.String()
	}
	return ""
}

// keepAttemptGap keeps since when the store's rows have attempts and what silence
// ends one, and returns whether rows that are there have them. A change is a line of
// the ledger.
func (s *storer) keepAttemptGap(st *store) (counted bool, err error) {
	before, err := st.meta(metaAttemptGap)
	if err != nil {
		return false, err
	}
	gap := s.l.o.AttemptGap
	if before == gap.Milliseconds() {
		return true, nil
	}
	err = st.transact(func() error {
		if before == 0 {
			if err := st.setMeta(metaAttemptsSince, s.l.opened.UnixMilli()); err != nil {
				return err
			}
		}
		return st.setMeta(metaAttemptGap, gap.Milliseconds())
	})
	if err != nil {
		return false, err
	}
	switch {
	case before != 0:
		s.l.addEvent(Event{Kind: KindAttempts, Detail: fmt.Sprintf("a silence of %v ends an attempt from now on, and did after %v before", gap, time.Duration(before)*time.Millisecond)})
	case !st.created:
		s.l.addEvent(Event{Kind: KindAttempts, Detail: fmt.Sprintf("attempts are counted from now on: a silence of %v ends one", gap)})
	}
	return before != 0, nil
}

// Keys of the store's meta table.
const (
	metaAttemptGap    = "attempt_gap"    // the silence that ends an attempt, milliseconds
	metaAttemptsSince = "attempts_since" // from when on rows have attempts
)
