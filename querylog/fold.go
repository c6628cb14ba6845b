package querylog

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math"
	"net/netip"
	"time"

	"telltale/blocklists"
	"telltale/devices"
)

// A granularity is how finely a row tells lookups apart. Where memory is short,
// lookups go to a coarser row: they are still counted, and the row says so.
type granularity uint8

// The numbers are stored and never change.
const (
	byName   granularity = 0 // everything the row has columns for
	byRule   granularity = 1 // listed: without name, alias and type; unlisted: by device alone
	byDevice granularity = 2 // listed: without rule and attribution too
	byNobody granularity = 3 // all devices together
)

// A fold counts the lookups of one window: one row for all that are alike. It
// is guarded by Log.mu while it is open, and owned by the writer once closed.
// Rows are only ever added, so that the writer can read those it has seen.
type fold struct {
	start int64 // Unix milliseconds
	rows  []foldRow
	keys  []byte   // of the rows, one behind the other
	table []uint32 // open addressing by hash: place in rows + 1 and some bits of the hash, or 0
	seed  maphash.Seed
	key   [keyRoom]byte // of the lookup at hand

	clients  []client // 0 stands for all devices
	byClient map[clientKey]uint32
	last     clientKey // of the lookup before, and its place in clients
	lastSlot uint32
	policies []foldPolicy // 0 is none: what passed without a rule is the same under any

	upstreams []string // by their place in keys; 0 stands for none

	lookups    uint64   // all counted
	coarse     uint64   // of them in rows coarser than byName for want of memory
	coarser    int      // bytes of rows coarser than byName
	unresolved []uint32 // clients whose binding nobody was asked for yet

	texts    *ruleTexts    // the writer's alone
	attempts []rowAttempts // of rows, as far as their lookups were looked at; the writer's alone
	released int           // bytes of the texts of released policies
}

// A foldRow is one row. Its key holds what all its lookups have in common.
type foldRow struct {
	hash        uint32
	key         uint32 // offset in keys; of a moved row, the place of the row it went to
	size        uint16 // of the key
	state       rowState
	unmarked    uint32 // lookups that the journal's goroutine is not given: each counts as an attempt
	count       uint64
	first, last int64  // Unix milliseconds
	elapsed     uint32 // the longest, microseconds
	ttl         uint32 // the largest
}

type rowState uint8

const (
	live   rowState = iota
	moved           // counted in the row at key: its client turned out to be one already known
	hidden          // of a device that opted out; never written anywhere
)

// A client is an address as far as one device held it, and named itself alike.
type client struct {
	addr    netip.Addr // the zero Addr for all devices together
	id      string     // "" for none
	binding *devices.Binding
}

type clientKey struct {
	addr    netip.Addr
	id      string
	binding uint64 // 0: none yet
}

// Sizes that count towards Options.MaxMemory, bookkeeping included.
const (
	keyFixed    = 24
	keyRoom     = keyFixed + 2*256
	keyOverrode = 1 << 0             // of its last octet but one: blocklists.Verdict.Overrode
	classShift  = 5                  // in the octet of class and reason: up to 8 classes and 32 reasons
	placeMask   = 1<<rowBits - 1     // of an entry of the table; the other bits are the hash's
	maxRows     = 1<<rowBits - 1<<14 // beyond, only the few rows of all devices are added
	rowBytes    = 48 + 12 + 8        // with its attempts and its share of the table
	clientSize  = 224
)

func newFold(now time.Time) *fold {
	return &fold{
		start:    now.UnixMilli(),
		table:    make([]uint32, 64),
		seed:     maphash.MakeSeed(),
		clients:  make([]client, 1, 8),
		byClient: make(map[clientKey]uint32),
		policies: make([]foldPolicy, 1, 2),

		upstreams: make([]string, 1, 4),
		texts:     new(ruleTexts),
	}
}

// oversized reports whether a fold without rows has memory for many.
func (f *fold) oversized() bool { return len(f.rows) == 0 && cap(f.rows) > 1024 }

// newFoldFor is newFold with memory for so many rows and bytes of keys: nobody
// who appends has to wait while it grows.
func newFoldFor(now time.Time, rows, keys int) *fold {
	f := newFold(now)
	for len(f.table)*3 < rows*4 {
		f.table = make([]uint32, 2*len(f.table))
	}
	f.rows, f.keys = make([]foldRow, 0, rows), make([]byte, 0, keys)
	return f
}

// memory returns about how many bytes the fold takes.
func (f *fold) memory() int {
	return len(f.rows)*rowBytes + len(f.keys) + len(f.clients)*clientSize + f.released
}

// A lookupKey is what the row of a lookup is found by.
type lookupKey struct {
	key    []byte // of granularity g
	hash   uint32
	slot   uint32 // the client's
	policy uint16
	g      granularity // the finest that there may be a row of
	finest granularity // the finest that was wanted
}

// add counts one lookup and returns its row. At finest g, and coarser where the
// fold would outgrow limit bytes.
func (f *fold) add(r *Record, ms int64, g granularity, limit int) uint32 {
	var k lookupKey
	f.keyFor(&k, f.key[:], r, g, limit)
	return f.count(&k, r, ms, limit)
}

// keyFor makes k what the row of a lookup is found by. The key is made in room, which has
// keyRoom octets.
func (f *fold) keyFor(k *lookupKey, room []byte, r *Record, g granularity, limit int) {
	k.finest = g
	known := false
	if k.slot, known = f.client(r.Client, r.ClientID, r.Binding, limit); !known {
		g = byNobody
	}
	k.policy = 0
	if v := &r.Verdict; v.Policy != nil && (v.Rule != 0 || v.Attr != 0 || v.Level != blocklists.Unattributed) {
		var ok bool
		if k.policy, ok = f.policy(v.Policy); !ok {
			g = max(g, byDevice)
		}
	}
	k.g, k.key = g, f.makeKey(room, r, k.slot, k.policy, g)
	k.hash = uint32(maphash.Bytes(f.seed, k.key))
}

// count counts a lookup in the row that k finds, or in a coarser one.
func (f *fold) count(k *lookupKey, r *Record, ms int64, limit int) uint32 {
	f.lookups++
	key, hash := k.key, k.hash
	for g := k.g; ; g++ {
		if g > k.g {
			key = f.makeKey(f.key[:], r, k.slot, k.policy, g)
			hash = uint32(maphash.Bytes(f.seed, key))
		}
		at := f.find(key, hash)
		if at < 0 && (g == byNobody || f.fits(g, limit)) {
			at = f.insert(key, hash)
			if g != byName {
				f.coarser += rowBytes + len(key)
			}
		}
		if at >= 0 {
			if g > k.finest {
				f.coarse++
			}
			f.rows[at].add(ms)
			return uint32(at)
		}
	}
}

// fetch has the processor read what count will read for the lookups of a batch. One by one
// each would wait for the table, for the row, and for the row's key: each step is taken for
// all of them at once. What it returns means nothing.
func (f *fold) fetch(keys []lookupKey) (touched uint32) {
	var rows [countedMost]uint32
	mask := uint32(len(f.table) - 1)
	for i := range keys {
		rows[i] = f.table[keys[i].hash&mask] & placeMask
	}
	var at [countedMost]uint32
	for i := range keys {
		if n := rows[i]; n > 0 {
			row := &f.rows[n-1]
			at[i] = row.key + uint32(row.size)
			touched += row.ttl
		}
	}
	for i := range keys {
		if end := at[i]; end > keyFixed && int(end) <= len(f.keys) {
			touched += uint32(f.keys[end-1]) + uint32(f.keys[end-keyFixed])
		}
	}
	return touched
}

func (row *foldRow) add(ms int64) {
	if row.count == 0 {
		row.first, row.last = ms, ms
	}
	row.count++
	row.first, row.last = min(row.first, ms), max(row.last, ms)
}

// fits reports whether one more row of granularity g fits: names may take three
// quarters of the memory, what is coarser the rest. The limit falls while windows wait
// for the store; names that came before may fill it then, and what is coarser has its
// part of it all the same.
func (f *fold) fits(g granularity, limit int) bool {
	share, own := limit, limit/4
	switch g {
	case byName:
		share, own = limit/4*3, 0
	case byRule:
		share, own = limit/8*7, limit/8
	}
	return (f.memory() < share || f.coarser < own) && len(f.rows) < maxRows
}

// client returns the place of the client in f.clients, or false where there is
// no memory for one more.
func (f *fold) client(addr netip.Addr, id string, b *devices.Binding, limit int) (slot uint32, ok bool) {
	key := clientKey{addr: addr, id: id}
	if b != nil {
		key.binding = b.ID
	}
	if key == f.last && f.lastSlot != 0 {
		return f.lastSlot, true
	}
	slot, ok = f.byClient[key]
	if !ok {
		if f.memory() >= limit/8*7 || len(f.rows) >= maxRows {
			return 0, false
		}
		slot = uint32(len(f.clients))
		f.clients = append(f.clients, client{addr: addr, id: id, binding: b})
		f.byClient[key] = slot
		if b == nil {
			f.unresolved = append(f.unresolved, slot)
		}
	}
	f.last, f.lastSlot = key, slot
	return slot, true
}

// makeKey returns what lookups must share to be counted in one row of granularity g,
// in k, which has keyRoom octets.
func (f *fold) makeKey(k []byte, r *Record, slot uint32, policy uint16, g granularity) []byte {
	v := &r.Verdict
	binary.LittleEndian.PutUint32(k[0:], slot)
	binary.LittleEndian.PutUint32(k[4:], uint32(v.Rule))
	binary.LittleEndian.PutUint32(k[8:], uint32(v.Attr))
	binary.LittleEndian.PutUint16(k[12:], r.Type)
	binary.LittleEndian.PutUint16(k[14:], policy)
	k[16] = byte(v.Action)<<4 | byte(v.Level)
	k[17] = r.Rcode
	k[18] = byte(r.Source)<<4 | byte(r.Transport)
	k[19] = byte(g)
	k[20] = byte(len(r.Name))
	k[21] = byte(v.Class)<<classShift | byte(v.ObservedBy)
	k[22] = 0
	if v.Overrode {
		k[22] = keyOverrode
	}
	if g == byName {
		k[23] = f.upstream(r.Upstream)
		n := keyFixed + copy(k[keyFixed:], r.Name)
		n += copy(k[n:], r.Alias)
		return k[:n]
	}
	clear(k[12:14])
	k[20], k[23] = 0, 0
	if g >= byDevice || !v.Listed() {
		clear(k[4:12])
		clear(k[14:16])
		k[21] = 0
	}
	if g == byNobody {
		clear(k[0:4])
	}
	return k[:keyFixed]
}

// upstream returns the place of an upstream in f.upstreams; 0 where there are too many.
func (f *fold) upstream(id string) byte {
	if id == "" {
		return 0
	}
	for at := len(f.upstreams) - 1; at > 0; at-- { // there are a few, and mostly it is the same string
		if f.upstreams[at] == id {
			return byte(at)
		}
	}
	if len(f.upstreams) > math.MaxUint8 {
		return 0
	}
	f.upstreams = append(f.upstreams, id)
	return byte(len(f.upstreams) - 1)
}

// find returns the place of the row with this key, or -1.
func (f *fold) find(key []byte, hash uint32) int {
	mask := uint32(len(f.table) - 1)
	for i := hash & mask; f.table[i] != 0; i = (i + 1) & mask {
		if (f.table[i]^hash)&^placeMask != 0 { // another hash: a distant read saved
			continue
		}
		at := f.table[i]&placeMask - 1
		row := &f.rows[at]
		if row.hash == hash && row.state != moved && bytes.Equal(f.keyOf(row), key) {
			return int(at)
		}
	}
	return -1
}

func (f *fold) insert(key []byte, hash uint32) int {
	at := len(f.rows)
	f.rows = append(f.rows, foldRow{hash: hash, key: uint32(len(f.keys)), size: uint16(len(key))})
	f.keys = append(f.keys, key...)
	if len(f.rows)*4 > len(f.table)*3 {
		f.grow()
	} else {
		f.index(at)
	}
	return at
}

func (f *fold) grow() {
	f.table = make([]uint32, 2*len(f.table))
	for at := range f.rows {
		f.index(at)
	}
}

func (f *fold) index(at int) {
	mask := uint32(len(f.table) - 1)
	i := f.rows[at].hash & mask
	for f.table[i] != 0 {
		i = (i + 1) & mask
	}
	f.table[i] = uint32(at+1) | f.rows[at].hash&^placeMask
}

func (f *fold) keyOf(row *foldRow) []byte { return f.keys[row.key : row.key+uint32(row.size)] }

// resolve gives clients their bindings, nil for none. Where that makes one a
// client already known, its rows move there. Only rows from place from on can be
// theirs: a client is resolved before its first rows are written. It takes one
// pass over these rows, however many clients there are.
func (f *fold) resolve(slots []uint32, bindings []*devices.Binding, from int) {
	to := make(map[uint32]uint32) // clients whose rows change: the client to move to, or hideRows
	for i, b := range bindings {
		if b == nil {
			continue // it stays a client of its own
		}
		slot := slots[i]
		c := &f.clients[slot]
		delete(f.byClient, clientKey{addr: c.addr, id: c.id}) // it is asked for again when it comes again
		c.binding = b
		key := clientKey{addr: c.addr, id: c.id, binding: b.ID}
		known, ok := f.byClient[key]
		if !ok {
			f.byClient[key] = slot
		}
		switch {
		case b.NoLog:
			to[slot] = hideRows
		case ok:
			to[slot] = known
		}
	}
	f.last, f.lastSlot = clientKey{}, 0
	if len(to) == 0 {
		return
	}
	for at, end := from, len(f.rows); at < end; at++ {
		row := &f.rows[at]
		if row.state == moved {
			continue
		}
		switch slot, ok := to[binary.LittleEndian.Uint32(f.keys[row.key:])]; {
		case !ok:
		case slot == hideRows:
			row.state = hidden
		default:
			f.move(at, slot)
		}
	}
}

const hideRows = math.MaxUint32

// move gives the row at place `at` to another client.
func (f *fold) move(at int, to uint32) {
	key := append([]byte(nil), f.keyOf(&f.rows[at])...)
	binary.LittleEndian.PutUint32(key, to)
	hash := uint32(maphash.Bytes(f.seed, key))
	target := f.find(key, hash)
	if target < 0 {
		target = f.insert(key, hash)
	}
	old, row := &f.rows[at], &f.rows[target]
	if row.count == 0 {
		row.first, row.last = old.first, old.last
	}
	row.count += old.count
	row.first, row.last = min(row.first, old.first), max(row.last, old.last)
	row.elapsed, row.ttl = max(row.elapsed, old.elapsed), max(row.ttl, old.ttl)
	row.unmarked += old.unmarked // none of its lookups was looked at for attempts yet
	old.state, old.key, old.count, old.unmarked = moved, uint32(target), 0, 0
}

// entries returns each row that is to be written, with its place. It is valid
// until the next one.
func (f *fold) entries(yield func(int, *entry) bool) {
	defer f.texts.forget()
	var e entry
	for i := range f.rows {
		row := &f.rows[i]
		if row.state != live || row.count == 0 {
			continue
		}
		e = f.describe(i)
		e.count(row, f.attemptsOf(i))
		if !yield(i, &e) {
			return
		}
	}
}

// count takes over what a row has counted.
func (e *entry) count(row *foldRow, a rowAttempts) {
	e.Count, e.First, e.Last, e.Elapsed, e.TTL = row.count, row.first, row.last, row.elapsed, row.ttl
	e.Attempts, e.AsLookups = a.begun+row.unmarked, a.asLookups+row.unmarked
}

// attemptsOf returns the attempts of the row at place i, none where its lookups were
// not looked at yet.
func (f *fold) attemptsOf(i int) (a rowAttempts) {
	if i < len(f.attempts) {
		a = f.attempts[i]
	}
	return a
}

// describe returns all that the key of the row at place i says. It reads
// nothing that Append changes, so the writer may call it on a fold's header
// copied under the lock.
func (f *fold) describe(i int) entry {
	k := f.keyOf(&f.rows[i])
	c := f.clients[binary.LittleEndian.Uint32(k)]
	e := entry{
		Addr: c.addr, Binding: c.binding, ClientID: c.id,
		Type: binary.LittleEndian.Uint16(k[12:]), Rcode: k[17],
		Action: blocklists.Action(k[16] >> 4), Level: blocklists.Level(k[16] & 15),
		Class: blocklists.Class(k[21] >> classShift), ObservedBy: blocklists.ObservedBy(k[21] & (1<<classShift - 1)), Overrode: k[22]&keyOverrode != 0,
		Source: Source(k[18] >> 4), Transport: Transport(k[18] & 15), Granularity: granularity(k[19]), Upstream: f.upstreams[k[23]],
		Name: k[keyFixed : keyFixed+int(k[20])], Alias: k[keyFixed+int(k[20]):],
	}
	p := &f.policies[binary.LittleEndian.Uint16(k[14:])]
	rule, attr := blocklists.RuleID(binary.LittleEndian.Uint32(k[4:])), blocklists.RuleID(binary.LittleEndian.Uint32(k[8:]))
	if p.texts != nil {
		p.texts.fill(&e, rule, attr)
		return e
	}
	e.Rule, e.Attr = f.rulesOf(i)
	describeRule(p.policy, &e, rule, attr)
	return e
}

// header returns what describe reads. It stays as it is while rows are added.
func (f *fold) header() fold {
	return fold{start: f.start, rows: f.rows, keys: f.keys, clients: f.clients, policies: f.policies, texts: f.texts, attempts: f.attempts, upstreams: f.upstreams}
}
