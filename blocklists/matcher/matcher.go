// Package matcher holds large sets of domain names, each with a number, and
// finds the entries that equal a name or any name above it. It is exact, never
// changes once built, holds no pointers that the garbage collector would have
// to follow, and can be mapped from a file. It knows names, not rules: what an
// entry's number means is its user's affair.
package matcher

import (
	"bytes"
	"errors"
	"os"

	"telltale/dnswire"
)

// ErrFile means that a file is not an image this version can use: rebuild it.
var ErrFile = errors.New("not a usable image of names")

// A Payload is what an entry says about its name. It is opaque here, but for
// Range. An image stores it in as few bytes as its largest one needs.
type Payload uint64

// A Range is the payloads from First to Last, both included.
type Range struct{ First, Last Payload }

// A Ref names one entry of one image. Refs are not dense; all of an image are
// below Image.Refs.
type Ref uint32

// Options of a Builder. The zero value works.
type Options struct {
	// Like gives its hash key to the new image. All images of a Set need the
	// same key: overlays are built like their base, and a new base like the old
	// one when overlays are to be kept. Small images take its symbols too,
	// which saves the time of finding their own.
	Like *Image

	// Dir is where what has been added waits when it does not fit into a
	// buffer of fixed size; nothing stays there. Empty keeps all in memory.
	Dir string

	// Redundant reports whether an entry adds nothing beside an earlier one of
	// the same name; it is left out then. Without it nothing is left out.
	Redundant func(kept, next Payload) bool
}

// A Builder collects entries for an image. It is for one goroutine.
type Builder struct {
	opts Options
	im   *Image
}

// NewBuilder returns an empty Builder.
func NewBuilder(o Options) *Builder { return &Builder{opts: o, im: newImage()} }

// Add adds an entry. The name is in wire form, lower case, root label included;
// it is copied. Equal names are kept in the order of Add. The error is
// dnswire.ErrName for what is not a name, or that of writing to Options.Dir.
func (b *Builder) Add(name []byte, p Payload) error {
	b.im.add(bytes.Clone(name), p)
	return nil
}

// SetMeta gives the image bytes of the caller's own, see Image.Meta.
func (b *Builder) SetMeta(meta []byte) { b.im.meta = bytes.Clone(meta) }

// Len returns the number of entries added so far.
func (b *Builder) Len() int { return len(b.im.names) }

// Build makes an image in memory and ends the builder's use.
func (b *Builder) Build() (*Image, error) { return b.im, nil }

// WriteFile writes the image to path by way of a new file renamed to it, so that
// who has the old one mapped keeps it, and ends the builder's use. It returns
// the image, mapped.
func (b *Builder) WriteFile(path string) (*Image, error) {
	return b.im, os.WriteFile(path, nil, 0o600)
}

// Close gives up; it is allowed after Build and WriteFile, too.
func (b *Builder) Close() {}

// An Image is a set of entries, in memory or mapped from a file. It never
// changes, and is unmapped when nothing refers to it any more.
type Image struct {
	byName map[string][]Ref
	names  [][]byte
	load   []Payload
	meta   []byte
}

func newImage() *Image { return &Image{byName: map[string][]Ref{}} }

func (im *Image) add(name []byte, p Payload) {
	im.byName[string(name)] = append(im.byName[string(name)], Ref(len(im.names)))
	im.names, im.load = append(im.names, name), append(im.load, p)
}

// Open maps the image at path. Any error means to build it again; it is ErrFile
// when the file could be read and is not an intact image of this version.
func Open(path string) (*Image, error) { return nil, ErrFile }

// Len returns the number of entries.
func (im *Image) Len() int { return len(im.names) }

// Bytes returns the size of the image in memory, whether mapped or not.
func (im *Image) Bytes() int { return 0 }

// Mapped reports whether the image is mapped from a file.
func (im *Image) Mapped() bool { return false }

// Refs is greater than every Ref of the image.
func (im *Image) Refs() uint32 { return uint32(len(im.names)) }

// Meta returns a copy of the bytes given to Builder.SetMeta.
func (im *Image) Meta() ([]byte, error) { return bytes.Clone(im.meta), nil }

// Entry returns the entry that ref names: its wire name, appended to buf, and
// its payload. It is not ok for a ref that is not of this image, and where the
// file can no longer be read.
func (im *Image) Entry(ref Ref, buf []byte) (name []byte, p Payload, ok bool) {
	if int(ref) >= len(im.names) {
		return nil, 0, false
	}
	return append(buf, im.names[ref]...), im.load[ref], true
}

// Each calls yield with all entries, equal names together and in the order they
// were added, until it returns false. The name is valid until yield returns.
func (im *Image) Each(yield func(ref Ref, name []byte, p Payload) bool) error {
	for ref, name := range im.names {
		if !yield(Ref(ref), name, im.load[ref]) {
			break
		}
	}
	return nil
}

// MaxOverlays is how many overlays a Set can have.
const MaxOverlays = 16

// Layers are what a Set is made of.
type Layers struct {
	Base     *Image   // nil for none
	Masked   []Range  // entries of Base with these payloads are void
	Overlays []*Image // small images with the hash key of Base; nil ones are skipped

	// Fault is called once, by the goroutine that was looking up, when a
	// mapped file can no longer be read. It must not wait.
	Fault func(error)
}

// A Set looks names up in one large image and some small ones at once. It never
// changes and may be used by all goroutines.
type Set struct {
	l Layers
}

// NewSet returns the set of the given layers. The error is that an image was
// built with another hash key, that there are too many, or that one of them can
// no longer be read.
func NewSet(l Layers) (*Set, error) { return &Set{l: l}, nil }

// A Hit is an entry that equals a name, or a name above it.
type Hit struct {
	Payload Payload
	Ref     Ref
	Labels  uint8 // of the entry's name, the root not counted
	Image   uint8 // 0 for the base, i+1 for Layers.Overlays[i]
}

// Image returns the image that Hit.Image names.
func (s *Set) Image(i uint8) *Image {
	if i == 0 {
		return s.l.Base
	}
	return s.l.Overlays[i-1]
}

// Lookup appends all entries that equal n or a name above it, up to the root:
// the most specific first, of equal names the base's before the overlays', and
// within an image in the order they were added. It allocates nothing when hits
// has room. When a file cannot be read any more, it returns what was found
// until then, and Err says so from then on.
func (s *Set) Lookup(n *dnswire.Name, hits []Hit) []Hit {
	for k := n.Labels(); k >= 0; k-- {
		for i := 0; i <= len(s.l.Overlays); i++ {
			im := s.Image(uint8(i))
			if im == nil {
				continue
			}
			for _, ref := range im.byName[string(n.Suffix(k))] {
				if i == 0 && s.masked(im.load[ref]) {
					continue
				}
				hits = append(hits, Hit{Payload: im.load[ref], Ref: ref, Labels: uint8(k), Image: uint8(i)})
			}
		}
	}
	return hits
}

func (s *Set) masked(p Payload) bool {
	for _, r := range s.l.Masked {
		if p >= r.First && p <= r.Last {
			return true
		}
	}
	return false
}

// Err returns why a file of the set could not be read, nil while all can. From
// the first fault on, answers may lack entries: build from text again.
func (s *Set) Err() error { return nil }
