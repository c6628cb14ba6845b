package querylog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"telltale/atomicfile"
	"telltale/querylog/seal"
)

// Files of the sealed log, in a directory of data.dir.
const (
	sealDir        = "seal"
	sealKeyName    = "key"
	sealNewKeyName = "key.new" // until the log says that it signs
	sealHeadName   = "checkpoint"
	sealAnswerName = "witnesses.jsonl"
)

// SealAnswersPath returns where the answers of witnesses are in a data directory.
func SealAnswersPath(dir string) string { return filepath.Join(dir, sealDir, sealAnswerName) }

// SealTimestampsPath returns where the answers of a time-stamp authority are in a data
// directory.
func SealTimestampsPath(dir string) string { return filepath.Join(dir, sealDir, "timestamps") }

// SealKeyPath returns where the key is that signs the log in a data directory.
func SealKeyPath(dir string) string { return filepath.Join(dir, sealDir, sealKeyName) }

// A signer signs the head of the sealed log. It is the store goroutine's.
type signer struct {
	key    *seal.Key // nil where there is none that can be used
	signed int64     // leaves of the last checkpoint
	at     time.Time
	other  bool // the store is not what the last checkpoint was signed of: no key vouches for it
}

// signEvery is the least time between two checkpoints that are signed while the store is busy: every
// second time that pages are moved. To put the file of one in place takes the writer of a home as much
// processor time as the leaves of a minute.
const signEvery = checkpointEvery * 3 / 2

// openSeal goes on with the sealed log of a store that was just opened, or begins one.
// What fails without the store leaves rows sealed and no checkpoint signed.
func (s *storer) openSeal() error {
	w := s.store.seal
	s.signer = signer{signed: -1}
	switch {
	case w.damaged != nil:
		s.l.failed("seal", w.damaged)
		return nil
	case s.l.o.Unsealed:
		return s.endSealing()
	}
	dir := filepath.Join(s.l.o.Dir, sealDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.l.failed("seal", err)
	}
	head, text, err := ReadSealHead(s.l.o.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.l.failed("seal", err)
	}
	public, err := s.store.metaText(metaSealKey)
	if err != nil {
		return err
	}
	old, keyErr := s.readKey(dir, public)
	if s.isOfStore(&head, text, old) {
		if err := s.checkRolledBack(&head); err != nil {
			return err
		}
	}
	if keyErr != nil {
		s.l.failed("seal", keyErr)
		return s.startSealing("", "")
	}
	o := sealOpening{s: s, dir: dir, origin: seal.OriginOf(s.store.id), head: head, headText: text, old: old, public: public}
	err = o.open()
	if errors.Is(err, errHandover) {
		s.l.failed("seal", err)
		return s.startSealing("", "")
	}
	if err != nil {
		return err
	}
	if s.signer.key != nil {
		s.l.recovered("seal")
	}
	return nil
}

// ReadSealHead reads the last checkpoint that the log in a data directory has signed,
// whoever signed it.
func ReadSealHead(dir string) (seal.Checkpoint, []byte, error) {
	path := filepath.Join(dir, sealDir, sealHeadName)
	text, err := os.ReadFile(path)
	if err != nil {
		return seal.Checkpoint{}, nil, err
	}
	c, err := seal.OpenCheckpoint(text)
	if err != nil && !errors.Is(err, seal.ErrUnknownKey) {
		return seal.Checkpoint{}, nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, text, nil
}

// isOfStore reports whether the last checkpoint has to be of what is in the store: it is of
// this one, or the key at hand signed it, which is to vouch for what goes on.
func (s *storer) isOfStore(head *seal.Checkpoint, text []byte, old *seal.Key) bool {
	if head.Origin == seal.OriginOf(s.store.id) {
		return true
	}
	if old == nil || s.store.seal.tree.Size() == 0 { // a store begun anew does not contain it
		return false
	}
	_, err := seal.OpenCheckpoint(text, old.Public)
	return err == nil
}

// checkRolledBack makes a store that is older than the last checkpoint another one: what
// it goes on with would be another end of the log that was signed.
func (s *storer) checkRolledBack(head *seal.Checkpoint) error {
	w := s.store.seal
	why := fmt.Sprintf("has %d leaves", w.tree.Size())
	if head.Size <= w.tree.Size() {
		tree, err := s.store.sealTree(head.Size)
		if err != nil && !errors.Is(err, errSealDamaged) {
			return err
		}
		if err == nil && tree.Root() == head.Root {
			if head.Origin == seal.OriginOf(s.store.id) {
				s.signer.signed = head.Size
			}
			return nil
		}
		why = "has other leaves"
	}
	s.signer.other = true
	before, id := s.store.id, newStoreID()
	if err := s.store.transact(func() error { return s.store.becomeOther(s.store.position+1, id) }); err != nil {
		return err
	}
	s.store.id = id
	s.l.addEvent(Event{Kind: KindSealing, Subject: before, Detail: fmt.Sprintf(
		"the store is not the one whose last checkpoint was signed: that has %d leaves, and this %s. It was changed, or is an older copy; from here on it is store %s", head.Size, why, id)})
	return nil
}

// readKey reads the key's file, nil where there is none. public is the key of which the
// log says that it signs.
func (s *storer) readKey(dir, public string) (*seal.Key, error) {
	unfinished := filepath.Join(dir, sealNewKeyName)
	k, err := ReadSealKey(unfinished)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil: // it may be the one that signs
		return nil, err
	case k.Public == public: // the log says so, and the process ended before the file had its name
		if err := os.Rename(unfinished, filepath.Join(dir, sealKeyName)); err != nil {
			return nil, err
		}
	default:
		os.Remove(unfinished)
	}
	k, err = ReadSealKey(filepath.Join(dir, sealKeyName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return k, err
}

// ReadSealKey reads a file with a key that signs checkpoints.
func ReadSealKey(path string) (*seal.Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (%v), who could sign in this log's name: run 'chmod 600 %[1]s', then 'telltale evidence key --rotate'", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	k, err := seal.ParseKey(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w: remove the file to have a new key made, for which the old one cannot vouch", path, err)
	}
	return k, nil
}

// A sealOpening is what is known when a store's sealed log is gone on with.
type sealOpening struct {
	s        *storer
	dir      string
	origin   string
	head     seal.Checkpoint // the last signed in this directory; zero for none
	headText []byte
	old      *seal.Key // of the key's file; nil for none
	public   string    // the key of which the log says that it signs; "" for none
}

// open states what has changed, and has a key sign from then on.
func (o *sealOpening) open() error {
	s, key := o.s, o.old
	if key == nil || key.Origin() != o.origin {
		var err error
		if key, err = seal.NewKey(o.origin); err == nil {
			err = atomicfile.Write(filepath.Join(o.dir, sealNewKeyName), []byte(key.Private+"\n"), 0o600)
		}
		if err != nil {
			s.l.failed("seal", err)
			return s.startSealing("", "")
		}
	}
	if err := o.state(key); err != nil {
		return err
	}
	if key != o.old {
		if err := os.Rename(filepath.Join(o.dir, sealNewKeyName), filepath.Join(o.dir, sealKeyName)); err != nil {
			s.l.failed("seal", err)
			return nil
		}
	}
	s.signer.key = key
	return nil
}

func (o *sealOpening) state(key *seal.Key) error {
	s, w := o.s, o.s.store.seal
	if w.tree.Size() == 0 {
		previous := ""
		if o.head.Origin != "" {
			previous = string(o.headText)
		}
		if err := s.startSealing(previous, key.Public); err != nil {
			return err
		}
		if o.old != nil && o.old != key && previous != "" { // the log before was another store's
			return s.handOver(o.old, o.old.Public, key, o.head.Size, o.head.Root)
		}
		return nil
	}
	switch {
	case o.public == "": // the first key could not be made when the log began
		if err := s.store.transact(func() error { return s.store.setMetaText(metaSealKey, key.Public) }); err != nil {
			return err
		}
	case o.public != key.Public:
		old := o.old
		if old != nil && old.Public != o.public || s.signer.other {
			old = nil
		}
		if err := s.handOver(old, o.public, key, w.tree.Size(), w.tree.Root()); err != nil {
			return err
		}
	}
	return s.startSealing("", key.Public)
}

// errHandover means that a hand-over could not be signed.
var errHandover = errors.New("handing the sealed log over to another key")

// handOver states that another key signs from here on.
func (s *storer) handOver(old *seal.Key, public string, to *seal.Key, size int64, root seal.Hash) error {
	note, err := seal.HandOver(old, public, to, size, root)
	if err != nil {
		return fmt.Errorf("%w: %w", errHandover, err)
	}
	err = s.store.transact(func() error {
		if err := s.store.seal.state(&seal.HandoverLine{Time: s.l.o.Now().UnixMilli(), Note: string(note)}); err != nil {
			return err
		}
		return s.store.setMetaText(metaSealKey, to.Public)
	})
	if err != nil {
		return err
	}
	vouched := ", by its signature"
	switch {
	case s.signer.other:
		vouched = ", which does not vouch for the new one: what it signed last is not what is here"
	case old == nil:
		vouched = ", which is not at hand: nobody vouches for the new one"
	}
	s.l.addEvent(Event{Kind: KindSealing, Subject: to.Public, Detail: fmt.Sprintf("from leaf %d on this key signs, instead of %s%s", size, public, vouched)})
	return nil
}

// startSealing states that what is written from here on is sealed, where it was not.
// public is the key that signs, "" for the one before.
func (s *storer) startSealing(previous, public string) error {
	w := s.store.seal
	if w.on {
		return nil
	}
	from := (s.store.position + 1) << rowBits
	err := s.store.transact(func() error {
		err := w.state(&seal.Start{Time: s.l.o.Now().UnixMilli(), Origin: seal.OriginOf(s.store.id), From: from, Previous: previous})
		if err == nil {
			err = s.store.setMeta(metaSealing, 1)
		}
		if err == nil && w.from == 0 {
			err = s.store.setMeta(metaSealFrom, from)
		}
		if err == nil && public != "" {
			err = s.store.setMetaText(metaSealKey, public)
		}
		return err
	})
	if err != nil {
		return err
	}
	w.on = true
	if w.from == 0 {
		w.from = from
	}
	s.l.addEvent(Event{Kind: KindSealing, Subject: seal.OriginOf(s.store.id), Detail: fmt.Sprintf("rows of listed names and lines of this ledger are sealed from number %d on", from)})
	return nil
}

// endSealing states that what is written from here on is not sealed, where it was.
func (s *storer) endSealing() error {
	w := s.store.seal
	if !w.on {
		return nil
	}
	from := (s.store.position + 1) << rowBits
	err := s.store.transact(func() error {
		if err := w.state(&seal.End{Time: s.l.o.Now().UnixMilli(), From: from}); err != nil {
			return err
		}
		return s.store.setMeta(metaSealing, 0)
	})
	if err != nil {
		return err
	}
	w.on = false
	s.l.addEvent(Event{Kind: KindSealing, Subject: seal.OriginOf(s.store.id), Detail: fmt.Sprintf("log.seal is off: rows and lines numbered %d and above are not sealed", from)})
	return nil
}

// openKeyAgain has the log signed where its key could not be used and now can. A file that is
// not there may be about to be put back: it is made only where there never was one.
func (s *storer) openKeyAgain() {
	if s.store == nil || s.signer.key != nil || !s.store.seal.on || s.l.o.Unsealed {
		return
	}
	_, err := ReadSealKey(SealKeyPath(s.l.o.Dir))
	if errors.Is(err, fs.ErrNotExist) {
		var public string
		if public, err = s.store.metaText(metaSealKey); err == nil && public != "" {
			return
		}
	}
	if err != nil { // it is said already
		return
	}
	size := s.store.seal.tree.Size()
	if err := s.openSeal(); err != nil {
		s.l.failed("seal", err)
	}
	if s.store.seal.tree.Size() != size {
		s.uncheckpointed = true // a statement, which must not be signed before it is safe
	}
}

// signingDue reports whether there are leaves that no checkpoint has, or a key that could not be
// used is to be tried again, and the last checkpoint was signed long enough ago.
func (s *storer) signingDue() bool {
	w := s.store.seal
	return w.on && (s.signer.key == nil || w.tree.Size() != s.signer.signed) && time.Since(s.signer.at) >= signEvery
}

// sign signs the head, where it has changed. All of it is in the store's main file: what
// a power cut could take must not be signed.
func (s *storer) sign() {
	if s.store == nil || s.signer.key == nil || s.store.seal.tree.Size() == s.signer.signed {
		return
	}
	size, root := s.store.seal.tree.Size(), s.store.seal.tree.Root()
	note, err := s.signer.key.Sign(size, root)
	if err == nil {
		err = atomicfile.Write(filepath.Join(s.l.o.Dir, sealDir, sealHeadName), note, 0o600)
	}
	if err != nil {
		s.l.failed("seal", err)
		return
	}
	s.l.recovered("seal")
	s.signer.signed, s.signer.at = size, time.Now()
	if s.l.o.Signed != nil {
		s.l.o.Signed(seal.Checkpoint{Origin: s.signer.key.Origin(), Size: size, Root: root}, note)
	}
}

// RotateSealKey has a new key sign the log from here on, vouched for by the old one, and
// returns both.
func (l *Log) RotateSealKey(ctx context.Context) (public, old string, err error) {
	err = l.importing(ctx, func(s *storer) (err error) {
		public, old, err = s.rotateKey()
		return err
	})
	return public, old, err
}

func (s *storer) rotateKey() (public, before string, err error) {
	if s.signer.key == nil { // what was wrong with it may be mended
		if err := s.openSeal(); err != nil {
			return "", "", err
		}
	}
	old := s.signer.key
	if old == nil {
		return "", "", errors.New("there is no key that signs: log.seal is off, or 'telltale status' says what is wrong with it")
	}
	key, err := seal.NewKey(old.Origin())
	if err != nil {
		return "", "", err
	}
	dir := filepath.Join(s.l.o.Dir, sealDir)
	if err := atomicfile.Write(filepath.Join(dir, sealNewKeyName), []byte(key.Private+"\n"), 0o600); err != nil {
		return "", "", err
	}
	w := s.store.seal
	if err := s.handOver(old, old.Public, key, w.tree.Size(), w.tree.Root()); err != nil {
		return "", "", err
	}
	s.signer.key = key // the log says so, whatever becomes of the file's name
	s.uncheckpointed = true
	if err := os.Rename(filepath.Join(dir, sealNewKeyName), filepath.Join(dir, sealKeyName)); err != nil {
		return "", "", fmt.Errorf("another key signs from here on, and its file did not get its name, which is tried again at the next start: %w", err)
	}
	return key.Public, old.Public, nil
}
