package querylog

import (
	"crypto/rand"
	"encoding/binary"
	"errors"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists/format"
	"telltale/devices"
	"telltale/dnswire"
	"telltale/querylog/seal"
)

// A sealer makes rows of listed names and lines of the ledger leaves of the sealed
// log, in the transaction that stores them. It is the store's. docs/seals.md has the
// form of leaves, and sealschema.go where they are.
type sealer struct {
	s       *store
	on      bool  // what is written is sealed
	from    int64 // the number from which on rows were first sealed; 0: none ever was
	damaged error // of its tables: nothing more is sealed

	tree, kept sealTree // with the leaves of the transaction at hand, and without

	run     sealRun // leaves that are not stored yet
	leaf    seal.Leaf
	row     sealedRow
	salters map[secretKey]*seal.Salter
	bound   map[uint64]*sealedBinding
}

// A secretKey says whose rows a secret is for.
type secretKey struct {
	device string
	day    int64
}

// A sealRun is leaves on their way into the store.
type sealRun struct {
	first, base, last int64
	kind              int
	steps, hashes     []byte
}

const hashSize = len(seal.Hash{})

var errSealDamaged = errors.New("the tables of the sealed log are damaged: 'telltale evidence audit' says where")

// loadSeal reads how far the log is sealed.
func (s *store) loadSeal() error {
	w := &sealer{s: s, run: sealRun{steps: []byte{}}} // nil would be NULL
	on, err := s.meta(metaSealing)
	if err != nil {
		return err
	}
	w.on = on == 1
	if w.from, err = s.meta(metaSealFrom); err != nil {
		return err
	}
	w.tree, err = s.sealTree(1<<63 - 1)
	if errors.Is(err, errSealDamaged) {
		w.on, w.damaged, err = false, err, nil
	}
	if err != nil {
		return err
	}
	w.forget()
	w.settle()
	s.seal = w
	return nil
}

// sealTree returns the tree of the first leaves, so many or as many as there are.
func (s *store) sealTree(size int64) (tree sealTree, err error) {
	var bad error
	err = s.texts(`SELECT n, hash FROM seal_node WHERE n < ? ORDER BY n`, func(stmt *sqlite3.Stmt) {
		h := stmt.ColumnRawBlob(1)
		if len(h) != hashSize || stmt.ColumnInt64(0) != tree.Size()/sealBlock {
			bad = errSealDamaged
			return
		}
		tree.addBlock(seal.Hash(h))
	}, size/sealBlock)
	if err = errors.Join(err, bad); err != nil {
		return tree, err
	}
	blocks, end := tree.Size(), int64(0)
	err = s.texts(`SELECT first, hashes FROM seal_run WHERE first >= (SELECT coalesce(max(first), 0) FROM seal_run WHERE first <= ?1) AND first < ?2 ORDER BY first`, func(stmt *sqlite3.Stmt) {
		at, hashes := stmt.ColumnInt64(0), stmt.ColumnRawBlob(1)
		if at > tree.Size() || len(hashes)%hashSize != 0 {
			bad = errSealDamaged
		}
		for ; len(hashes) >= hashSize; at++ {
			h := seal.Hash(hashes[:hashSize])
			if hashes = hashes[hashSize:]; at == tree.Size() && at < size {
				tree.Add(h)
			}
		}
		end = at
	}, blocks, size)
	if err = errors.Join(err, bad); err == nil && (tree.Size()-blocks >= sealBlock || tree.Size() < size && end < tree.Size()) {
		err = errSealDamaged // the hash of a block is missing, or is of more leaves than there are
	}
	return tree, err
}

// forget drops what is known of other tables.
func (w *sealer) forget() {
	w.salters, w.bound = map[secretKey]*seal.Salter{}, map[uint64]*sealedBinding{}
}

// end says whether the transaction is stored.
func (w *sealer) end(stored bool) {
	if stored {
		w.settle()
	} else {
		w.undo()
	}
}

// settle says that the transaction is stored.
func (w *sealer) settle() {
	if w.kept.Size() != w.tree.Size() {
		w.kept = w.tree.clone()
	}
}

// undo says that the transaction is not.
func (w *sealer) undo() {
	w.tree = w.kept.clone()
	w.run.steps, w.run.hashes = w.run.steps[:0], w.run.hashes[:0]
	w.forget()
}

// add appends a leaf. Leaves of one run are of one window, and their numbers ascend.
func (w *sealer) add(kind int, id int64, h seal.Hash) error {
	r := &w.run
	if len(r.hashes) > 0 && (kind != r.kind || id <= r.last || id>>rowBits != r.last>>rowBits) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if len(r.hashes) == 0 {
		r.first, r.kind, r.base = w.tree.Size(), kind, id
	} else {
		r.steps = binary.AppendUvarint(r.steps, uint64(id-r.last))
	}
	r.last = id
	r.hashes = append(r.hashes, h[:]...)
	root, whole := w.tree.Add(h)
	if !whole {
		return nil
	}
	w.s.insert["seal_node"].BindBlob(2, root[:])
	return w.s.run("seal_node", w.tree.Size()/sealBlock-1)
}

// flush stores the leaves that wait.
func (w *sealer) flush() error {
	if len(w.run.hashes) == 0 {
		return nil
	}
	w.s.insert["seal_run"].BindNull(6)
	return w.store()
}

func (w *sealer) store() error {
	r, stmt := &w.run, w.s.insert["seal_run"]
	stmt.BindBlob(4, r.steps)
	stmt.BindBlob(5, r.hashes)
	r.steps, r.hashes = r.steps[:0], r.hashes[:0]
	return w.s.run("seal_run", r.first, int64(r.kind), r.base)
}

// state appends a statement, where the tables can be gone on with.
func (w *sealer) state(s seal.Statement) error {
	if w.damaged != nil { // what is deleted is deleted all the same
		return nil
	}
	if err := w.flush(); err != nil {
		return err
	}
	h := w.leaf.Statement(s)
	if err := w.add(sealStatement, 0, h); err != nil {
		return err
	}
	w.s.insert["seal_run"].BindText(6, string(w.leaf.Line()))
	return w.store()
}

// entry seals a row, where it is of a listed name. imported is the kind of log that it
// comes from.
func (w *sealer) entry(id int64, node string, e *entry, imported string) (err error) {
	if !w.on || !e.listed() {
		return nil
	}
	var bound *sealedBinding
	if b := e.Binding; b != nil && b.ID != 0 {
		if bound, err = w.binding(b.ID); err != nil {
			return err
		}
	}
	salter, err := w.salter(secretKey{w.row.fill(id, node, e, bound, imported).Device, seal.Day(id)})
	if err != nil {
		return err
	}
	salt := salter.Row(id)
	return w.add(sealRows, id, w.leaf.Row(&salt, &w.row.Row))
}

// binding returns what the store has of a binding: what an entry has beside may be newer.
func (w *sealer) binding(id uint64) (*sealedBinding, error) {
	if b := w.bound[id]; b != nil {
		return b, nil
	}
	var b *sealedBinding
	err := w.s.texts(selectBinding, func(stmt *sqlite3.Stmt) {
		bound := scanBinding(stmt)
		b = newSealedBinding(&bound)
	}, int64(id))
	if err != nil || b == nil {
		return nil, err
	}
	if len(w.bound) > remembered {
		w.bound = map[uint64]*sealedBinding{}
	}
	w.bound[id] = b
	return b, nil
}

// salter makes salts from the secret of a device's rows of a day, made where there is none.
func (w *sealer) salter(key secretKey) (*seal.Salter, error) {
	if known := w.salters[key]; known != nil {
		return known, nil
	}
	secret, err := w.s.sealSecret(key)
	if err != nil {
		return nil, err
	}
	if secret == nil {
		secret = new(seal.Secret)
		rand.Read(secret[:])
		stmt := w.s.insert["seal_secret"]
		stmt.BindText(1, key.device)
		stmt.BindInt64(2, key.day)
		stmt.BindBlob(3, secret[:])
		if err := stmt.Exec(); err != nil {
			return nil, err
		}
	}
	if len(w.salters) > remembered {
		w.salters = map[secretKey]*seal.Salter{}
	}
	salter := seal.NewSalter(secret)
	w.salters[key] = salter
	return salter, nil
}

// sealSecret returns a secret that is there, or nil.
func (s *store) sealSecret(key secretKey) (secret *seal.Secret, err error) {
	err = s.texts(selectSecret, func(stmt *sqlite3.Stmt) {
		if b := stmt.ColumnRawBlob(0); len(b) == seal.SecretSize {
			secret = (*seal.Secret)(append([]byte(nil), b...))
		}
	}, key.device, key.day)
	return secret, err
}

const selectSecret = `SELECT secret FROM seal_secret WHERE device = ? AND day = ?`

// event seals a line of the ledger.
func (w *sealer) event(l *seal.LedgerLine) error {
	if !w.on {
		return nil
	}
	var salt seal.Salt
	rand.Read(salt[:])
	if err := w.keepSalt(sealLedger, l.ID, &salt); err != nil {
		return err
	}
	return w.add(sealLedger, l.ID, w.leaf.Ledger(&salt, l))
}

// ledgerLine is what is sealed of an event.
func ledgerLine(id int64, node string, v *Event) *seal.LedgerLine {
	return &seal.LedgerLine{
		ID: id, Node: node, Time: milli(v.Time.Time), Since: milli(v.Since.Time), Until: milli(v.Until.Time),
		Kind: currentKind(v.Kind), Subject: v.Subject, Detail: v.Detail,
	}
}

// keepSalt keeps a salt that is made from no secret.
func (w *sealer) keepSalt(kind int, id int64, salt *seal.Salt) error {
	w.s.insert["seal_salt"].BindBlob(3, salt[:])
	return w.s.run("seal_salt", int64(kind), id)
}

// sealStatements are what the sealer writes.
var sealStatements = map[string]string{
	"seal_run":    `INSERT INTO seal_run VALUES (?,?,?,?,?,?)`,
	"seal_node":   `INSERT INTO seal_node VALUES (?,?)`,
	"seal_secret": `INSERT INTO seal_secret VALUES (?,?,?)`,
	"seal_salt":   `INSERT INTO seal_salt VALUES (?,?,?) ON CONFLICT DO UPDATE SET salt = excluded.salt`,
}

// A sealedBinding is what a sealed row says of its binding.
type sealedBinding struct {
	id                      uint64
	device, name, addr, mac string
	source, confidence      string
}

func newSealedBinding(b *devices.Binding) *sealedBinding {
	return &sealedBinding{b.ID, b.Device, b.Name, addrText(b.Addr), b.MAC, bindingSourceWords.of(int64(b.Source)), confidenceWords.of(int64(b.Confidence))}
}

// A sealedRow makes what is sealed of a row, in the same memory again and again.
type sealedRow struct {
	seal.Row
	name, alias, client []byte
	rule                string // of the row before, where it was read from the store
	annotation          seal.Annotation
	annotated           *format.Annotation // what annotation was made from
}

// asked says who asked: client is the address where that is not the binding's.
func (r *sealedRow) asked(bound *sealedBinding) {
	switch {
	case bound != nil:
		r.Binding, r.Device, r.DeviceName, r.MAC = bound.id, bound.device, bound.name, bound.mac
		r.BindingSource, r.BindingTrust = bound.source, bound.confidence
		if len(r.client) == 0 {
			r.client = append(r.client, bound.addr...)
		}
	case len(r.client) > 0:
		r.Device = "addr:" + string(r.client)
	}
	r.Client = r.client
}

// describe says what the annotation says.
func (r *sealedRow) describe(a *format.Annotation) {
	if a == nil {
		return
	}
	if r.annotated != a {
		r.annotated = a
		r.annotation = seal.Annotation{
			Vendor: a.Vendor, Product: a.Product, Purpose: a.Purpose, Tier: a.Tier, Region: a.Region,
			Source: a.Source, Breaks: a.Breaks, Since: a.Since, Confidence: a.Confidence, Software: a.Software,
		}
	}
	r.Annotation = &r.annotation
}

// fill makes it that of an entry which is stored as the row with this number.
func (r *sealedRow) fill(id int64, node string, e *entry, bound *sealedBinding, imported string) *seal.Row {
	r.Row = seal.Row{
		ID: id, Node: node, First: e.First, Last: e.Last, Count: e.Count, Attempts: e.Attempts, AsLookups: e.AsLookups,
		ClientID: e.ClientID, Type: e.Type, Folded: uint8(e.Granularity),
		Verdict: verdictWords.of(int64(e.Action)), Reason: classWords.of(int64(e.Class)), ObservedBy: observedByWords.of(int64(e.ObservedBy)),
		List: e.Rule.List, Line: e.Rule.Line, Attribution: levelWords.of(int64(e.Level)), AttributionList: e.Attr.List, AttributionLine: e.Attr.Line,
		Rcode: e.Rcode, AnsweredFrom: sourceWords.of(int64(e.Source)), Transport: transportWords.of(int64(e.Transport)),
		TTL: e.TTL, Elapsed: e.Elapsed, Upstream: e.Upstream, Imported: imported,
	}
	if e.Rule.List != "" {
		r.Rule = e.Rule.Text
	}
	r.client = r.client[:0]
	if e.Addr.IsValid() && (e.Binding == nil || e.Binding.Addr != e.Addr) {
		r.client = e.Addr.AppendTo(r.client)
	}
	r.asked(bound)
	r.name, r.alias = r.name[:0], r.alias[:0]
	if len(e.Name) > 0 {
		r.name = dnswire.AppendText(r.name, e.Name)
	}
	if len(e.Alias) > 0 {
		r.alias = dnswire.AppendText(r.alias, e.Alias)
	}
	r.Name, r.Alias = r.name, r.alias
	r.describe(e.Annotation)
	return &r.Row
}
