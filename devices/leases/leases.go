// Package leases reads the files in which DHCP servers keep their leases: which
// address they gave to which MAC, under which host name, and until when. It is pure:
// text in, leases out. Each server has a file of its own here.
package leases

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// MaxSize is how long the text of a source may be. Servers that append to their
	// file rewrite it once an hour or so.
	MaxSize = 16 << 20

	// MaxLeases is how many leases of a source are read.
	MaxLeases = 1 << 16
)

// A Lease is what a DHCP server says of an address.
type Lease struct {
	Addr  netip.Addr
	MAC   string    // lower case with colons; "" where unknown
	Host  string    // the client's host name, fit to be shown; "" for none
	Class string    // the client's vendor class, fit to be shown; "" for none
	From  time.Time // when it was given or renewed; zero where the file does not say
	Until time.Time // zero: without end, or until it leaves the file

	// Guessed says that MAC is the one that the client's DUID was made of. It may be
	// that of another interface, or of one that is gone (RFC 8415, 11).
	Guessed bool

	duid string // of the client, as octets; "" where unknown
}

// A Content is what the files of one source say.
type Content struct {
	Kind   string  // the word of its format; "" for an empty file of which nothing is known
	Leases []Lease // at most one for an address

	Bad        int  // lines, or declarations, that are no leases
	FirstBad   int  // line of the first; 0 for none
	Cleaned    int  // host names with characters that cannot be shown, which are left out
	Beyond     int  // leases that were not read as there are MaxLeases
	Incomplete bool // the text ends within a lease: it is being written, or was cut off
}

// ErrFormat means that a file is in none of the known formats.
var ErrFormat = errors.New("it is in no known format of lease files")

// A format reads the files of one DHCP server.
type format interface {
	// looksLike reports whether the first line of a file that says something is of
	// this format.
	looksLike(line string) bool

	// read takes the text of one file. A source may have several, the oldest first.
	read(text string, r *reading)
}

// kinds are the formats with their words. The order is that in which they are tried.
var kinds = []struct {
	word   string
	format format
}{
	{"dnsmasq", dnsmasq{}},
	{"odhcpd", odhcpd{}},
	{"dhcpd", dhcpd{}},
	{"kea", kea{}},
	{"networkd", networkd{}},
	{"csv", table{}},
}

// Kinds returns the words of the formats.
func Kinds() []string {
	var all []string
	for _, k := range kinds {
		all = append(all, k.word)
	}
	return all
}

// Files returns the files of the source whose main file is path, in the order in which
// they are to be read. Not all of them need be there.
//
// Kea moves its file aside to compact it: to .1, which it writes to .output, .completed
// and at last .2 with what was in .2 before. While .completed is there it stands for the
// other two.
func Files(path string, exists func(string) bool) []string {
	if !strings.HasSuffix(path, ".csv") {
		return []string{path}
	}
	if exists(path + ".completed") {
		return []string{path + ".completed", path}
	}
	return []string{path + ".2", path + ".1", path}
}

// Parse reads the texts of a source, the oldest first. kind is the word of their format,
// or "" where it is to be found out. path is the main file's.
func Parse(kind, path string, texts ...[]byte) (Content, error) {
	f, kind := formatOf(kind, path, texts)
	if f == nil {
		for _, text := range texts {
			if len(bytes.TrimSpace(text)) > 0 {
				return Content{}, ErrFormat
			}
		}
		return Content{}, nil
	}
	r := reading{Content: Content{Kind: kind}, place: map[netip.Addr]int{}, ofDUID: map[string]string{}}
	for _, text := range texts {
		if len(text) > MaxSize {
			return Content{}, fmt.Errorf("it is longer than %d MiB", MaxSize>>20)
		}
		f.read(string(text), &r)
	}
	r.finish()
	if len(r.Leases) == 0 && r.Bad > 0 && !r.understood {
		return Content{}, fmt.Errorf("line %d is not of the format %s: %w", r.FirstBad, kind, ErrFormat)
	}
	return r.Content, nil
}

// formatOf returns the format of a source, nil where it is not known.
func formatOf(kind, path string, texts [][]byte) (format, string) {
	for _, k := range kinds {
		if k.word == kind {
			return k.format, kind
		}
	}
	for _, text := range texts {
		line := firstLine(string(text[:min(len(text), 1<<16)]))
		if line == "" {
			continue
		}
		for _, k := range kinds {
			if k.format.looksLike(line) {
				return k.format, k.word
			}
		}
		return nil, ""
	}
	switch name := filepath.Base(path); { // empty as yet
	case strings.HasPrefix(name, "kea-leases"):
		return kea{}, "kea"
	case strings.HasPrefix(name, "dhcpd"):
		return dhcpd{}, "dhcpd"
	}
	return nil, ""
}

// firstLine returns the first line that is not blank.
func firstLine(text string) string {
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return ""
}

// A reading is a Content that is being made.
type reading struct {
	Content
	place  map[netip.Addr]int // of an address in Leases
	ofDUID map[string]string  // MAC of the client with a DUID, by its IPv4 leases (RFC 4361); "" where there are several

	understood bool // something in the text is of the format
}

// set takes a lease; an earlier one of the address is no more.
func (r *reading) set(l Lease) {
	r.understood = true
	if l.Addr = l.Addr.Unmap().WithZone(""); !l.Addr.IsValid() {
		return
	}
	at, known := r.place[l.Addr]
	switch {
	case known:
		r.Leases[at] = l
	case len(r.Leases) >= MaxLeases:
		r.Beyond++
	default:
		r.place[l.Addr] = len(r.Leases)
		r.Leases = append(r.Leases, l)
	}
}

// end takes it that an address is leased to nobody any more.
func (r *reading) end(a netip.Addr) {
	r.understood = true
	if at, known := r.place[a.Unmap()]; known {
		r.Leases[at].Addr = netip.Addr{} // finish leaves it out
		delete(r.place, a.Unmap())
	}
}

// bad takes it that a line is no lease.
func (r *reading) bad(line int) {
	r.Bad++
	if r.FirstBad == 0 {
		r.FirstBad = line
	}
}

// client notes which MAC has the client id of an IPv4 lease, and returns the DUID in
// it (RFC 4361, 6.1: the octet 255, four of an IAID, and a DUID).
func (r *reading) client(id []byte, mac string) {
	if len(id) < 8 || id[0] != 255 || mac == "" {
		return
	}
	duid := string(id[5:])
	if before, known := r.ofDUID[duid]; known && before != mac {
		mac = "" // a copy of a disk: several devices have it
	}
	r.ofDUID[duid] = mac
}

// finish finds the MACs of leases that name a DUID.
func (r *reading) finish() {
	r.Leases = slices.DeleteFunc(r.Leases, func(l Lease) bool { return !l.Addr.IsValid() })
	for i := range r.Leases {
		l := &r.Leases[i]
		if l.duid == "" || l.MAC != "" {
			continue
		}
		mac, known := r.ofDUID[l.duid]
		if !known {
			mac, l.Guessed = macOfDUID(l.duid), true
		}
		l.MAC = mac
		l.Guessed = l.Guessed && mac != ""
	}
}
