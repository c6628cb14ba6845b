package peerlogs

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"telltale/dnswire"
)

// Exports are made again and again, by the newest first or last, and forget what is old:
// one is no longer version of another. So their lookups are known by their times, and what
// is not later than what was imported before is left out.

// An exportLog is a CSV file that a server exported.
type exportLog struct {
	f       *file
	o       Options
	format  *Format
	columns map[string]int
	rows    rowSource
	read    func(*exportLog, []string) error
	l       Lookup
	last    int64 // the largest position so far
	notes   []string
}

// A rowSource gives the rows of a CSV file, the oldest first.
type rowSource interface {
	next() (row []string, place string, err error)
}

func (e *exportLog) Format() *Format         { return e.format }
func (e *exportLog) Key() string             { return e.format.Name + ":" + e.o.Source }
func (e *exportLog) Sum() string             { return "" }
func (e *exportLog) Read() (done, all int64) { return e.f.read() }
func (e *exportLog) Notes() []string         { return e.notes }
func (e *exportLog) Close() error            { return e.f.close() }

// After does nothing: who reads leaves out what is not later.
func (e *exportLog) After(int64) error { return nil }

func (e *exportLog) Next() (*Lookup, error) {
	row, place, err := e.rows.next()
	if err != nil {
		return nil, err
	}
	e.l = Lookup{Place: place, Rcode: -1}
	if len(row) < len(e.columns) {
		err = fmt.Errorf("it has %d fields, and the head has %d: it may be cut", len(row), len(e.columns))
	} else {
		err = e.read(e, row)
	}
	if err == nil {
		err = checkTime(e.l.Time, e.o.Now)
	}
	if err != nil {
		return nil, &BadRecord{place, err}
	}
	e.last = max(e.last, e.l.Time.UnixMicro())
	e.l.Position = e.last
	return &e.l, nil
}

// field returns a field of a row by the name of its column; "" where there is none.
func (e *exportLog) field(row []string, column string) string {
	if i, ok := e.columns[column]; ok && i < len(row) {
		return row[i]
	}
	return ""
}

// openExport reads the head of a CSV file.
func openExport(f *file, o Options, format *Format, read func(*exportLog, []string) error) (*exportLog, error) {
	e := &exportLog{f: f, o: o, format: format, read: read, columns: map[string]int{}}
	if head, _ := f.r.Peek(3); string(head) == "\ufeff" {
		f.r.Discard(3)
	}
	rows := &forwardRows{lines{f: f}}
	head, _, err := rows.next()
	if err != nil {
		return nil, fmt.Errorf("the head: %w", err)
	}
	for i, name := range head {
		e.columns[strings.ToLower(strings.TrimSpace(name))] = i
	}
	e.rows = rows
	return e, nil
}

// parseRow reads a row, which is a line: a quote that is not closed ends with it.
func parseRow(line []byte) ([]string, error) {
	c := csv.NewReader(bytes.NewReader(line))
	c.FieldsPerRecord, c.LazyQuotes = -1, true
	return c.Read()
}

// forwardRows reads a file whose oldest row is the first. Its last line may have no end.
type forwardRows struct{ lines }

func (f *forwardRows) next() ([]string, string, error) {
	for {
		line, err := f.lines.next()
		if err == io.EOF && len(f.buf) > 0 {
			line, err = f.buf, nil
		}
		if err != nil {
			return nil, "", err
		}
		row, err := parseRow(line)
		switch {
		case err == io.EOF: // it is empty
		case err != nil:
			return nil, "", f.bad(err)
		default:
			return row, f.place(), nil
		}
	}
}

// backwardRows reads a file whose newest row is the first, from its end: a block at a time.
// Its rows have a line each.
type backwardRows struct {
	f     io.ReaderAt
	at    int64  // where block begins in the file
	head  int64  // where the head ends
	block []byte // not told yet
	line  int64  // how many lines are behind what was told
}

const backwardBlock = 64 << 10

func (b *backwardRows) next() ([]string, string, error) {
	for {
		text := bytes.TrimRight(b.block, "\r\n")
		i := bytes.LastIndexByte(text, '\n')
		if i < 0 && b.at > b.head {
			if len(b.block) > lineMost {
				return nil, "", fmt.Errorf("there is a line of more than %d octets", lineMost)
			}
			n := min(backwardBlock, b.at-b.head)
			more := make([]byte, n, int(n)+len(b.block))
			if _, err := b.f.ReadAt(more, b.at-n); err != nil {
				return nil, "", err
			}
			b.block, b.at = append(more, b.block...), b.at-n
			continue
		}
		if len(text) == 0 {
			return nil, "", io.EOF
		}
		b.line++
		place := fmt.Sprintf("line %d from the end", b.line)
		row, err := parseRow(text[i+1:])
		b.block = b.block[:i+1]
		if err != nil {
			return nil, "", &BadRecord{place, err}
		}
		return row, place, nil
	}
}

// Technitium DNS Server exports what its query log apps keep. See
// DnsServerCore/WebServiceLogsApi.cs of its source.
var technitiumFormat = Format{
	Name: "technitium", Title: "Technitium DNS Server", Numbered: true,
	Lost: "which list or rule blocked, the TTL of answers, and which upstream gave them",
	is: func(head []byte) bool {
		line, _, _ := bytes.Cut(bytes.TrimPrefix(head, []byte("\ufeff")), []byte{'\n'})
		return bytes.HasPrefix(line, []byte("RowNumber,Timestamp,ClientIpAddress,"))
	},
}

func readTechnitium(e *exportLog, row []string) (err error) {
	l := &e.l
	if l.Time, err = parseExportTime(e.field(row, "timestamp")); err != nil {
		return err
	}
	if class := e.field(row, "class"); class != "" && !strings.EqualFold(class, "IN") {
		return fmt.Errorf("class %q is not the Internet's", shortened(class))
	}
	if l.Name, err = parseName(e.field(row, "domain")); err != nil {
		return err
	}
	var ok bool
	if l.Type, ok = dnswire.ParseType(e.field(row, "type")); !ok {
		return fmt.Errorf("%q is no record type", shortened(e.field(row, "type")))
	}
	if l.Client, err = parseAddr(e.field(row, "clientipaddress")); err != nil {
		return err
	}
	switch strings.ToLower(e.field(row, "protocol")) {
	case "udp", "udpproxy":
		l.Transport = UDP
	case "tcp", "tcpproxy":
		l.Transport = TCP
	case "tls":
		l.Transport = TLS
	case "https", "httpsjson":
		l.Transport = HTTPS
	case "quic":
		l.Transport = QUIC
	}
	switch e.field(row, "responsetype") {
	case "Blocked", "CacheBlocked":
		l.Verdict, l.Source = Blocked, FromPolicy
	case "UpstreamBlocked":
		l.Verdict, l.Source = Blocked, FromUpstream
	case "UpstreamBlockedCached":
		l.Verdict, l.Source = Blocked, FromCache
	case "Authoritative":
		l.Verdict, l.Source = Answered, FromPolicy
	case "Recursive":
		l.Source = FromUpstream
	case "Cached":
		l.Source = FromCache
	case "":
		l.Verdict = NotKnown
	}
	var ms float64
	if _, err := fmt.Sscan(e.field(row, "responsertt"), &ms); err == nil && ms > 0 && ms < 1e9 {
		l.Elapsed = time.Duration(ms * float64(time.Millisecond))
	}
	switch strings.ToLower(e.field(row, "rcode")) {
	case "noerror":
		l.Rcode = dnswire.Success
	case "formaterror":
		l.Rcode = dnswire.FormErr
	case "serverfailure":
		l.Rcode = dnswire.ServFail
	case "nxdomain":
		l.Rcode = dnswire.NXDomain
	case "notimplemented":
		l.Rcode = dnswire.NotImp
	case "refused":
		l.Rcode = dnswire.Refused
	}
	return nil
}

// parseExportTime reads a time as exports have it. One without a zone is UTC.
func parseExportTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time", shortened(text))
}

// NextDNS lets a profile's logs be downloaded as CSV, the newest first.
var nextdnsFormat = Format{
	Name: "nextdns", Title: "NextDNS", Numbered: true,
	Lost: "response codes, the TTL of answers, whether they were cached, and addresses of devices at home where it was not told them",
	is: func(head []byte) bool {
		line, _, _ := bytes.Cut(bytes.TrimPrefix(head, []byte("\ufeff")), []byte{'\n'})
		names := strings.Split(strings.TrimRight(string(line), "\r"), ",")
		return names[0] == "timestamp" && slices.Contains(names, "domain") && slices.Contains(names, "status")
	},
}

func openNextDNS(f *file, o Options) (Log, error) {
	if f.packed {
		return nil, errors.New("unpack the file first: it is read from its end")
	}
	head, err := f.r.Peek(4096)
	if err != nil && err != io.EOF {
		return nil, err
	}
	e, err := openExport(f, o, &nextdnsFormat, readNextDNS)
	if err != nil {
		return nil, err
	}
	size, begin := f.info.Size(), int64(bytes.IndexByte(head, '\n')+1)
	if begin == 0 || !newestFirst(f.f, begin, size) {
		return e, nil
	}
	e.rows = &backwardRows{f: f.f, at: size, head: begin}
	return e, nil
}

// newestFirst reports whether the first row of a file is later than its last.
func newestFirst(f io.ReaderAt, begin, size int64) bool {
	timeOf := func(row []string) string {
		if len(row) == 0 {
			return ""
		}
		return row[0]
	}
	top := &file{r: bufio.NewReader(io.NewSectionReader(f, begin, size-begin))}
	first, _, err := (&forwardRows{lines{f: top}}).next()
	if err != nil {
		return false
	}
	newest, err := parseExportTime(timeOf(first))
	if err != nil {
		return false
	}
	for from := (&backwardRows{f: f, at: size, head: begin}); ; {
		last, _, err := from.next()
		var bad *BadRecord
		if err != nil && !errors.As(err, &bad) {
			return false
		}
		if oldest, err := parseExportTime(timeOf(last)); err == nil {
			return newest.After(oldest)
		}
	}
}

func readNextDNS(e *exportLog, row []string) (err error) {
	l := &e.l
	if l.Time, err = parseExportTime(e.field(row, "timestamp")); err != nil {
		return err
	}
	if l.Name, err = parseName(e.field(row, "domain")); err != nil {
		return err
	}
	var ok bool
	if l.Type, ok = dnswire.ParseType(e.field(row, "query_type")); !ok {
		return fmt.Errorf("%q is no record type", shortened(e.field(row, "query_type")))
	}
	// The address that asked is the home's; that of the device is told where it is known.
	if local := e.field(row, "device_local_ip"); local != "" {
		if l.Client, err = parseAddr(local); err != nil {
			return err
		}
	}
	if id := e.field(row, "device_id"); id != "" {
		l.ClientID, l.ClientName = "nextdns-"+strings.ToLower(id), e.field(row, "device_name")
	} else if !l.Client.IsValid() {
		if l.Client, err = parseAddr(e.field(row, "client_ip")); err != nil {
			return err
		}
	}
	switch protocol := strings.ToLower(e.field(row, "protocol")); {
	case strings.Contains(protocol, "https"), protocol == "doh":
		l.Transport = HTTPS
	case strings.Contains(protocol, "tls"), protocol == "dot":
		l.Transport = TLS
	case strings.Contains(protocol, "quic"), protocol == "doq":
		l.Transport = QUIC
	case protocol == "udp":
		l.Transport = UDP
	case protocol == "tcp":
		l.Transport = TCP
	}
	switch e.field(row, "status") {
	case "blocked":
		l.Verdict, l.Source, l.Rule = Blocked, FromPolicy, e.field(row, "reasons")
	case "allowed":
		l.Verdict, l.Rule = Allowed, e.field(row, "reasons")
	case "error":
		l.Source = FromError
	case "":
		l.Verdict = NotKnown
	}
	return nil
}
