package seal

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// OriginOf returns the origin of the log of a store, which is also the name of its
// key.
func OriginOf(store string) string { return "telltale/" + store }

// A Key signs checkpoints.
type Key struct {
	Private string // of a key file: what x/mod/sumdb/note calls a signer key
	Public  string // NAME+HASH+BASE64
	signer  note.Signer
}

// NewKey makes a key for an origin.
func NewKey(origin string) (*Key, error) {
	private, public, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return nil, fmt.Errorf("making a key for seals: %w", err)
	}
	return newKey(private, public)
}

// ParseKey reads the text of a key file.
func ParseKey(private string) (*Key, error) {
	signer, err := note.NewSigner(private)
	if err != nil {
		return nil, fmt.Errorf("not a key for seals: %w", err)
	}
	fields := strings.SplitN(private, "+", 5) // PRIVATE, KEY, name, hash, key: NewSigner found them
	seed, err := base64.StdEncoding.DecodeString(fields[4])
	if err != nil || len(seed) != 1+ed25519.SeedSize {
		return nil, errors.New("not a key for seals: it has not 32 octets")
	}
	public, err := note.NewEd25519VerifierKey(fields[2], ed25519.NewKeyFromSeed(seed[1:]).Public().(ed25519.PublicKey))
	if err != nil {
		return nil, fmt.Errorf("not a key for seals: %w", err)
	}
	return &Key{private, public, signer}, nil
}

func newKey(private, public string) (*Key, error) {
	signer, err := note.NewSigner(private)
	if err != nil {
		return nil, fmt.Errorf("the key for seals: %w", err)
	}
	return &Key{private, public, signer}, nil
}

// Origin returns the name of the key.
func (k *Key) Origin() string { return k.signer.Name() }

// A Checkpoint is the signed head of a log.
type Checkpoint struct {
	Origin string
	Size   int64 // leaves
	Root   Hash
}

// Text returns what is signed.
func (c *Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// Sign returns the checkpoint as a signed note. Its origin is the key's name.
func (k *Key) Sign(size int64, root Hash) ([]byte, error) {
	c := Checkpoint{k.Origin(), size, root}
	return note.Sign(&note.Note{Text: c.Text()}, k.signer)
}

// ErrCheckpoint means that something is no checkpoint.
var ErrCheckpoint = errors.New("not a checkpoint")

// ErrUnknownKey means that no signature is by a key that was given.
var ErrUnknownKey = errors.New("not signed by a key that is known")

// OpenCheckpoint reads a checkpoint that one of the public keys has signed. The
// error is ErrUnknownKey where none has; the checkpoint is returned nevertheless.
func OpenCheckpoint(text []byte, public ...string) (Checkpoint, error) {
	opened, known, err := openNote(text, public)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] == "" {
		return Checkpoint{}, fmt.Errorf("%w: it has not three lines", ErrCheckpoint)
	}
	c := Checkpoint{Origin: lines[0]}
	if c.Size, c.Root, err = parseHead(lines[1], lines[2]); err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	for _, s := range opened.Sigs {
		if s.Name != c.Origin {
			return Checkpoint{}, fmt.Errorf("%w: it is of %q and signed by the key of %q", ErrCheckpoint, c.Origin, s.Name)
		}
	}
	if !known {
		return c, fmt.Errorf("the checkpoint of %s: %w", c.Origin, ErrUnknownKey)
	}
	return c, nil
}

// openNote checks the signatures of a note, and reports whether one of them is by
// one of the keys.
func openNote(text []byte, public []string) (*note.Note, bool, error) {
	var all []note.Verifier
	for i, p := range public {
		if slices.Contains(public[:i], p) {
			continue
		}
		v, err := note.NewVerifier(p)
		if err != nil {
			return nil, false, fmt.Errorf("the key %q: %w", p, err)
		}
		all = append(all, v)
	}
	n, err := note.Open(text, note.VerifierList(all...))
	if unknown := (*note.UnverifiedNoteError)(nil); errors.As(err, &unknown) {
		return unknown.Note, false, nil
	}
	return n, err == nil, err
}

func parseHead(size, root string) (int64, Hash, error) {
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil || n < 0 || n > MaxLeaves || strconv.FormatInt(n, 10) != size {
		return 0, Hash{}, fmt.Errorf("%q is no number of leaves", size)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(root)
	if err != nil || len(b) != len(Hash{}) {
		return 0, Hash{}, fmt.Errorf("%q is no root", root)
	}
	return n, Hash(b), nil
}

// A Handover says that another key signs what is behind so many leaves.
type Handover struct {
	Old, New    string // public keys
	Size        int64
	Root        Hash
	SignedByOld bool // otherwise nobody vouches for the new key
}

const handoverTitle = "telltale hand-over 1"

// HandOver returns the signed note by which a key gives over to another. old may be
// nil: its public key is given then, and its signature missing.
func HandOver(old *Key, oldPublic string, to *Key, size int64, root Hash) ([]byte, error) {
	n := &note.Note{Text: fmt.Sprintf("%s\n%s\n%s\n%d\n%s\n", handoverTitle, oldPublic, to.Public, size, base64.StdEncoding.EncodeToString(root[:]))}
	if old == nil {
		return note.Sign(n, to.signer)
	}
	return note.Sign(n, old.signer, to.signer)
}

// ErrHandover means that something is no hand-over.
var ErrHandover = errors.New("not a hand-over of a key")

// OpenHandover reads a hand-over and checks its signatures: that of the new key
// must be there.
func OpenHandover(text []byte) (Handover, error) {
	bare, _, err := openNote(text, nil)
	if err != nil {
		return Handover{}, fmt.Errorf("%w: %w", ErrHandover, err)
	}
	lines := strings.Split(bare.Text, "\n")
	if len(lines) != 6 || lines[0] != handoverTitle || lines[5] != "" {
		return Handover{}, fmt.Errorf("%w: it has not its five lines", ErrHandover)
	}
	h := Handover{Old: lines[1], New: lines[2]}
	if h.Size, h.Root, err = parseHead(lines[3], lines[4]); err != nil {
		return Handover{}, fmt.Errorf("%w: %w", ErrHandover, err)
	}
	if _, known, err := openNote(text, []string{h.New}); err != nil || !known {
		return Handover{}, errors.Join(fmt.Errorf("%w: the new key has not signed it", ErrHandover), err)
	}
	if _, h.SignedByOld, err = openNote(text, []string{h.Old}); err != nil {
		return Handover{}, fmt.Errorf("%w: %w", ErrHandover, err)
	}
	return h, nil
}
