// Package matcher holds large sets of domain names, each with a number, and
// finds the entries that equal a name or any name above it. It is exact, never
// changes once built, holds no pointers that the garbage collector would have
// to follow, and can be mapped from a file. It knows names, not rules: what an
// entry's number means is its user's affair.
//
// A Builder makes an Image, in memory or as a file; a Set looks names up in one
// large image and some small ones. docs/matcher.md describes the file.
package matcher

import "errors"

// ErrFile means that a file is not an intact image of this version: build it
// again.
var ErrFile = errors.New("not a usable image of names")

// ErrBuild means that what was added cannot become an image.
var ErrBuild = errors.New("cannot build an image of names")

// A Payload is what an entry says about its name. It is opaque here. An image
// stores it in as few octets as its largest one needs.
type Payload uint64

// A Hit is an entry that equals the name looked up, or a name above it.
type Hit struct {
	Payload Payload
	Labels  uint8 // of the entry's name, the root not counted
}
