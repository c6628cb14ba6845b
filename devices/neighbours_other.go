//go:build !linux

package devices

import (
	"context"
	"errors"
	"net/netip"
)

// none stands where no neighbour table can be read.
type none struct{}

func kernelNeighbours() Neighbours { return none{} }

var errNoTable = errors.New("the neighbour table is not read on this platform")

func (none) Follow(context.Context, func(Change)) error { return errNoTable }

func (none) Ask(context.Context, netip.Addr) (Entry, bool) { return Entry{}, false }

func (none) Probe(netip.Addr) bool { return false }
