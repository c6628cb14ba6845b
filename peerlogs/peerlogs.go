// Package peerlogs reads the query logs of other DNS servers: a file of one becomes
// lookups, in the order in which it has them. What a log does not say is left out of a
// lookup, never guessed. It knows nothing of who takes the lookups.
//
// A log may have grown, been renamed or been read in part before. So each lookup has a
// position, which is the same whenever the log is read again, and a log has a key that
// tells it from all others. Where a log numbers its lookups itself, or they are known by
// their time, positions are those (Numbered); else they count from 1, and Sum says what
// the log was like up to there.
package peerlogs

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"telltale/dnswire"
)

// A Lookup is one lookup that a server logged. Zero fields are what it did not say.
type Lookup struct {
	Position int64
	Place    string // in the log: a line, a frame, a packet or a row
	Time     time.Time

	Client     netip.Addr
	ClientID   string // by which the client named itself, or by which the server knows its device
	ClientName string // what the server calls it
	Name       dnswire.Name
	Type       uint16

	Verdict   Verdict
	Rule      string       // by which of the server's rules
	Alias     dnswire.Name // the alias in the answer that decided; the root for none
	Rcode     int          // of the answer; -1 where the log does not say
	Source    Source
	Transport Transport
	Elapsed   time.Duration
	Upstream  string

	raw []byte // of the record, for Sum
}

// A Verdict is what a server decided.
type Verdict uint8

// Verdicts.
const (
	Passed   Verdict = iota // nothing stopped it
	Allowed                 // by a rule
	Blocked                 // by a rule or a list, of the server's or its upstream's
	Answered                // by the server itself: a local or special name
	NotKnown                // the log does not say
)

// A Source is where an answer came from.
type Source uint8

// Sources.
const (
	Unknown Source = iota
	FromPolicy
	FromCache
	FromUpstream
	FromError // no upstream gave an answer
	FromStale // what was cached, after its time
)

// A Transport is how a query came.
type Transport uint8

// Transports.
const (
	UnknownTransport Transport = iota
	UDP
	TCP
	TLS
	HTTPS
	QUIC
)

// A Log is a file that is read. Its methods are one goroutine's.
type Log interface {
	// Next returns the next lookup, valid until the one after. io.EOF is the end; a
	// *BadRecord says that one record is no lookup, and the next call goes on.
	Next() (*Lookup, error)

	// Key tells the log from all others once Next has returned a lookup; "" where it has
	// none.
	Key() string

	// Sum says what the log was like up to the last lookup; "" where it is Numbered.
	Sum() string

	// Read returns how many octets or rows were read so far, and how many there are; 0
	// where that is not known.
	Read() (done, all int64)

	// Notes are what a person should know of the log once it is read.
	Notes() []string

	Format() *Format
	Close() error
}

// A Format is a kind of log.
type Format struct {
	Name     string // never changes: rows are marked with it
	Title    string
	Numbered bool
	Lost     string // what such a log does not say

	is func(head []byte) bool
}

// open opens a log of a format.
func open(format *Format, f *file, o Options) (Log, error) {
	switch format {
	case &adguardFormat:
		return &adguardLog{lines: lines{f: f}, o: o}, nil
	case &piholeFormat:
		return openPihole(f, o)
	case &dnsmasqFormat:
		return newDnsmasq(f, o), nil
	case &technitiumFormat:
		return openExport(f, o, format, readTechnitium)
	case &nextdnsFormat:
		return openNextDNS(f, o)
	case &captureFormat:
		return newCapture(f, o)
	}
	return newDnstap(f, o)
}

// Formats are all formats.
func Formats() []*Format {
	return []*Format{&adguardFormat, &piholeFormat, &dnsmasqFormat, &technitiumFormat, &nextdnsFormat, &dnstapFormat, &captureFormat}
}

// Options say how to read a log. The zero value works.
type Options struct {
	Format string         // name of a Format; "" or "auto": what it looks like
	Zone   *time.Location // of times that do not say; nil: the machine's
	Source string         // tells logs apart that do not say whose they are
	Now    time.Time      // nothing is later; zero for now

	lockWait time.Duration // for a database that is locked; 0 for a few seconds
	live     bool          // it is read while it is written
	reply    io.Writer     // takes what is said to the program that writes it
}

// now returns the time that no lookup is later than.
func (o *Options) now() time.Time {
	if o.live {
		return time.Now()
	}
	return o.Now
}

// A BadRecord is a part of a log that is no lookup.
type BadRecord struct {
	Place string // such as "line 7"
	Err   error
}

func (e *BadRecord) Error() string { return e.Place + ": " + e.Err.Error() }
func (e *BadRecord) Unwrap() error { return e.Err }

// ErrUnknown means that a file looks like no log.
var ErrUnknown = errors.New("this is no query log that is known here")

// Open opens a log.
func Open(path string, o Options) (Log, error) {
	if o.Zone == nil {
		o.Zone = time.Local
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	format, err := f.format(o.Format)
	if err != nil {
		f.close()
		return nil, err
	}
	l, err := open(format, f, o)
	if err != nil {
		f.close()
		return nil, err
	}
	return l, nil
}

// OpenStream opens what a program sends while it runs: dnstap, pcap or pcapng. Next waits
// for it. Closing the log does not close r. reply, if there is one, takes what is said to
// a program that waits for an answer, as dnstap may.
func OpenStream(r io.Reader, reply io.Writer, o Options) (Log, error) {
	o.live, o.reply = true, reply
	f := &file{count: &counted{r: r}}
	f.r = bufio.NewReaderSize(f.count, readAhead)
	head, err := f.r.Peek(12)
	switch {
	case len(head) == 0 && err != nil:
		return nil, err
	case captureFormat.is(head):
		return newCapture(f, o)
	case bytes.HasPrefix(head, []byte{0, 0, 0, 0}):
		return newDnstap(f, o)
	}
	return nil, fmt.Errorf("%w: what is sent is neither dnstap nor a capture (pcap, pcapng)", ErrUnknown)
}

// A file is one that is read from its beginning, unpacked where it is packed.
type file struct {
	path   string
	f      *os.File // nil, as is info, of a stream
	info   os.FileInfo
	packed bool
	count  *counted
	r      *bufio.Reader
}

// counted counts what is read of a file.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

const readAhead = 128 << 10

func openFile(path string) (*file, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("this is no regular file")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	in := &file{path: path, f: f, info: info, count: &counted{r: f}}
	in.r = bufio.NewReaderSize(in.count, readAhead)
	if head, _ := in.r.Peek(2); string(head) == "\x1f\x8b" {
		in.packed = true
		zipped, err := gzip.NewReader(in.r)
		if err != nil {
			f.Close()
			return nil, err
		}
		in.r = bufio.NewReaderSize(zipped, readAhead)
	}
	return in, nil
}

func (f *file) close() error {
	if f.f == nil {
		return nil
	}
	return f.f.Close()
}

func (f *file) read() (done, all int64) {
	if f.info == nil {
		return f.count.n, 0
	}
	return f.count.n, f.info.Size()
}

// format finds out what kind of log a file is.
func (f *file) format(name string) (*Format, error) {
	head, err := f.r.Peek(64 << 10)
	if len(head) == 0 && (err == nil || err == io.EOF) {
		return nil, errors.New("the file is empty")
	}
	if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
		return nil, err
	}
	var names []string
	for _, format := range Formats() {
		if name == format.Name || (name == "" || name == "auto") && format.is(head) {
			return format, nil
		}
		names = append(names, format.Name)
	}
	switch {
	case name != "" && name != "auto":
		return nil, fmt.Errorf("there is no format %q: formats are %s", name, strings.Join(names, ", "))
	case bytes.IndexByte(head[:min(len(head), 4096)], 0) >= 0:
		return nil, fmt.Errorf("%w: it is binary, and neither a database of Pi-hole nor a dnstap file or a capture of packets (pcap, pcapng)", ErrUnknown)
	}
	return nil, fmt.Errorf("%w: formats are %s, and --format says which one it is", ErrUnknown, strings.Join(names, ", "))
}

// lineMost is how long a line may be.
const lineMost = 1 << 20

// lines reads lines. A line without an end is not read: it may be cut.
type lines struct {
	f   *file
	n   int // of the line at hand
	buf []byte
	cut bool // the last line has no end
}

// next returns the next line, without its end and valid until the one after. A line that is
// too long is a *BadRecord.
func (l *lines) next() ([]byte, error) {
	l.buf = l.buf[:0]
	long := false
	for {
		part, err := l.f.r.ReadSlice('\n')
		if len(l.buf)+len(part) > lineMost {
			long = true
		} else {
			l.buf = append(l.buf, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && long: // it is too long, whatever comes
		case err == io.EOF:
			if len(l.buf) > 0 {
				l.cut = true
				l.n++
			}
			return nil, io.EOF
		case err != nil:
			return nil, fmt.Errorf("behind line %d: %w", l.n, err)
		}
		break
	}
	l.n++
	if long {
		l.buf = l.buf[:0]
		return nil, l.bad(fmt.Errorf("the line is longer than %d octets", lineMost))
	}
	return bytes.TrimRight(l.buf, "\r\n"), nil
}

func (l *lines) place() string       { return fmt.Sprintf("line %d", l.n) }
func (l *lines) bad(err error) error { return &BadRecord{l.place(), err} }
func (l *lines) notes() []string {
	if !l.cut {
		return nil
	}
	return []string{fmt.Sprintf("line %d, the last one, has no end and was left out: it is read when the file has grown", l.n)}
}

// A chain says what a log was like up to a lookup, and counts them.
type chain struct {
	given int64 // positions
	sum   hash.Hash
	key   string
}

// give gives a lookup its position, and returns it where its time can be right. One with a
// wrong time, too, has a position: it may be right later, and must not count then.
func (c *chain) give(format string, l *Lookup, now time.Time) (*Lookup, error) {
	if c.sum == nil {
		c.sum = sha256.New()
		first := sha256.Sum256(l.raw)
		c.key = format + ":" + hex.EncodeToString(first[:])
	}
	c.given++
	l.Position = c.given
	c.sum.Write(l.raw)
	c.sum.Write([]byte{'\n'})
	if err := checkTime(l.Time, now); err != nil {
		return nil, &BadRecord{l.Place, err}
	}
	return l, nil
}

func (c *chain) Key() string { return c.key }

func (c *chain) Sum() string {
	if c.sum == nil {
		return ""
	}
	return hex.EncodeToString(c.sum.Sum(nil))
}

// oldest is before all times that a log of DNS can have.
var oldest = time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)

// future is how far a clock may be ahead.
const future = 5 * time.Minute

// checkTime returns what is wrong with the time of a lookup.
func checkTime(t, now time.Time) error {
	switch {
	case t.Before(oldest):
		return fmt.Errorf("%s is before 1990: its clock was not set", t.UTC().Format(time.RFC3339))
	case t.After(now.Add(future)):
		return fmt.Errorf("%s is still to come", t.UTC().Format(time.RFC3339))
	}
	return nil
}

// parseName reads a name as logs have it, with or without a dot at the end.
func parseName(text string) (n dnswire.Name, err error) {
	if n, err = dnswire.ParseName(cmp.Or(text, ".")); err != nil {
		return n, fmt.Errorf("%q is no domain name: %w", shortened(text), err)
	}
	return n, nil
}

// shortened is a text to be shown.
func shortened(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

// parseAddr reads the address of a client as rows have it.
func parseAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return a, fmt.Errorf("%q is no address", shortened(text))
	}
	return a.Unmap().WithZone(""), nil
}
