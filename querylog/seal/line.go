package seal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// Kinds of lines: the first key of each. Its value is the version, 1: lines never change
// their meaning, and another form of one has another number.
const (
	KindRow      = "row"
	KindLedger   = "ledger"
	KindStart    = "start"
	KindEnd      = "end"
	KindRemoval  = "removal"
	KindHandover = "handover"
)

// A Row is a closed row as it is sealed. Each field is a key of its line;
// docs/seals.md says what they mean.
type Row struct {
	ID                           int64
	Node                         string
	First, Last                  int64 // Unix milliseconds
	Count                        uint64
	Attempts, AsLookups          uint32
	Device, DeviceName           string
	Client                       []byte
	ClientID, MAC                string
	Binding                      uint64
	BindingSource, BindingTrust  string
	Name                         []byte
	Type                         uint16
	Alias                        []byte
	Folded                       uint8
	Verdict, Reason, ObservedBy  string
	List                         string
	Line                         int
	Rule                         string
	Attribution, AttributionList string
	AttributionLine              int
	Annotation                   *Annotation // nil for none
	Rcode                        uint8
	AnsweredFrom, Transport      string
	TTL, Elapsed                 uint32
	Upstream, Imported           string
}

// An Annotation is what a list says of a name, as it stands there. Once a row with it was
// appended it stays as it is.
type Annotation struct {
	Vendor, Product, Purpose, Tier, Region, Source, Breaks, Since, Confidence, Software string

	keys []byte // of a line; nil: not made yet
}

func (a *Annotation) append(b []byte) []byte {
	b = text(b, `,"vendor":"`, a.Vendor)
	b = text(b, `,"product":"`, a.Product)
	b = text(b, `,"purpose":"`, a.Purpose)
	b = text(b, `,"tier":"`, a.Tier)
	b = text(b, `,"region":"`, a.Region)
	b = text(b, `,"source":"`, a.Source)
	b = text(b, `,"breaks":"`, a.Breaks)
	b = text(b, `,"since":"`, a.Since)
	b = text(b, `,"confidence":"`, a.Confidence)
	b = text(b, `,"software":"`, a.Software)
	return b
}

// Append appends the row's line.
func (r *Row) Append(b []byte) []byte {
	b = append(b, `{"row":1`...)
	b = number(b, `,"id":`, r.ID)
	b = text(b, `,"node":"`, r.Node)
	b = number(b, `,"first":`, r.First)
	b = number(b, `,"last":`, r.Last)
	b = number(b, `,"count":`, int64(r.Count))
	b = number(b, `,"attempts":`, int64(r.Attempts))
	b = number(b, `,"as_lookups":`, int64(r.AsLookups))
	b = text(b, `,"device":"`, r.Device)
	b = text(b, `,"device_name":"`, r.DeviceName)
	b = octets(b, `,"client":"`, r.Client)
	b = text(b, `,"client_id":"`, r.ClientID)
	b = text(b, `,"mac":"`, r.MAC)
	b = number(b, `,"binding":`, int64(r.Binding))
	b = text(b, `,"binding_source":"`, r.BindingSource)
	b = text(b, `,"binding_confidence":"`, r.BindingTrust)
	b = octets(b, `,"name":"`, r.Name)
	b = number(b, `,"type":`, int64(r.Type))
	b = octets(b, `,"alias":"`, r.Alias)
	b = number(b, `,"folded":`, int64(r.Folded))
	b = text(b, `,"verdict":"`, r.Verdict)
	b = text(b, `,"reason":"`, r.Reason)
	b = text(b, `,"observed_by":"`, r.ObservedBy)
	b = text(b, `,"list":"`, r.List)
	b = number(b, `,"line":`, int64(r.Line))
	b = text(b, `,"rule":"`, r.Rule)
	b = text(b, `,"attribution":"`, r.Attribution)
	b = text(b, `,"attribution_list":"`, r.AttributionList)
	b = number(b, `,"attribution_line":`, int64(r.AttributionLine))
	if a := r.Annotation; a != nil {
		if a.keys == nil {
			a.keys = a.append([]byte{})
		}
		b = append(b, a.keys...)
	}
	b = number(b, `,"rcode":`, int64(r.Rcode))
	b = text(b, `,"answered_from":"`, r.AnsweredFrom)
	b = text(b, `,"transport":"`, r.Transport)
	b = number(b, `,"ttl":`, int64(r.TTL))
	b = number(b, `,"elapsed":`, int64(r.Elapsed))
	b = text(b, `,"upstream":"`, r.Upstream)
	b = text(b, `,"imported":"`, r.Imported)
	return append(b, '}')
}

// A LedgerLine is a line of the quality ledger as it is sealed.
type LedgerLine struct {
	ID                    int64
	Node                  string
	Time, Since, Until    int64 // Unix milliseconds; 0 for none
	Kind, Subject, Detail string
}

// Append appends the line.
func (e *LedgerLine) Append(b []byte) []byte {
	b = append(b, `{"ledger":1`...)
	b = number(b, `,"id":`, e.ID)
	b = text(b, `,"node":"`, e.Node)
	b = number(b, `,"time":`, e.Time)
	b = number(b, `,"since":`, e.Since)
	b = number(b, `,"until":`, e.Until)
	b = text(b, `,"kind":"`, e.Kind)
	b = text(b, `,"subject":"`, e.Subject)
	b = text(b, `,"detail":"`, e.Detail)
	return append(b, '}')
}

// A Statement is what the log says of itself: a *Start, *End, *Removal or
// *Handover.
type Statement interface{ Append(b []byte) []byte }

// A Start says that sealing begins, or begins again.
type Start struct {
	Time     int64  `json:"time"`     // Unix milliseconds
	Origin   string `json:"origin"`   // of the checkpoints
	From     int64  `json:"from"`     // what is numbered so and above is sealed
	Previous string `json:"previous"` // the last checkpoint of the log that this one comes after; "" for none
}

// Append appends the statement's line.
func (s *Start) Append(b []byte) []byte {
	b = number(append(b, `{"start":1`...), `,"time":`, s.Time)
	b = text(b, `,"origin":"`, s.Origin)
	b = number(b, `,"from":`, s.From)
	return append(text(b, `,"previous":"`, s.Previous), '}')
}

// An End says that sealing was switched off.
type End struct {
	Time int64 `json:"time"`
	From int64 `json:"from"` // what is numbered so and above is not sealed until the next start
}

// Append appends the statement's line.
func (s *End) Append(b []byte) []byte {
	b = number(append(b, `{"end":1`...), `,"time":`, s.Time)
	return append(number(b, `,"from":`, s.From), '}')
}

// Why something was removed.
const (
	ByAge       = "age"
	BySize      = "size"
	ByForgotten = "forgetting"
)

// A Removal says that sealed rows or lines of the ledger were deleted with it, or
// replaced by leaves behind it.
type Removal struct {
	Time  int64      `json:"time"`
	Of    string     `json:"of"`  // KindRow or KindLedger
	Why   string     `json:"why"` // a word of those above
	Count int64      `json:"count"`
	IDs   [][2]int64 `json:"ids"` // numbers from, to, both included, ascending
}

// Append appends the statement's line.
func (s *Removal) Append(b []byte) []byte {
	b = number(append(b, `{"removal":1`...), `,"time":`, s.Time)
	b = text(b, `,"of":"`, s.Of)
	b = text(b, `,"why":"`, s.Why)
	b = number(b, `,"count":`, s.Count)
	if len(s.IDs) > 0 {
		b = append(b, `,"ids":[`...)
		for i, pair := range s.IDs {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(append(b, '['), pair[0], 10)
			b = strconv.AppendInt(append(b, ','), pair[1], 10)
			b = append(b, ']')
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// Covers reports whether the statement is about this number.
func (s *Removal) Covers(id int64) bool {
	low, high := 0, len(s.IDs)
	for low < high { // the first pair that does not end before it
		if mid := (low + high) / 2; s.IDs[mid][1] < id {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low < len(s.IDs) && s.IDs[low][0] <= id
}

// A HandoverLine is the statement that another key signs from here on.
type HandoverLine struct {
	Time int64  `json:"time"`
	Note string `json:"note"` // see ParseHandover
}

// Append appends the statement's line.
func (s *HandoverLine) Append(b []byte) []byte {
	b = number(append(b, `{"handover":1`...), `,"time":`, s.Time)
	return append(text(b, `,"note":"`, s.Note), '}')
}

// ErrLine means that something is no line of a log.
var ErrLine = errors.New("not a line of a sealed log")

// KindOf returns what a line is, by its first key. The error is ErrLine for one of
// a version that is not known here.
func KindOf(line []byte) (string, error) {
	if len(line) <= maxLine {
		for _, kind := range []string{KindRow, KindLedger, KindStart, KindEnd, KindRemoval, KindHandover} {
			rest, ok := bytes.CutPrefix(line, []byte(`{"`+kind+`":1`))
			if ok && len(rest) > 0 && (rest[0] == ',' || rest[0] == '}') {
				return kind, nil
			}
		}
	}
	return "", fmt.Errorf("%w, or of a later version: %.40q", ErrLine, line)
}

// ParseStatement reads the line of a statement.
func ParseStatement(line []byte) (Statement, error) {
	kind, err := KindOf(line)
	if err != nil {
		return nil, err
	}
	var s Statement
	switch kind {
	case KindStart:
		s = &Start{}
	case KindEnd:
		s = &End{}
	case KindRemoval:
		s = &Removal{}
	case KindHandover:
		s = &HandoverLine{}
	default:
		return nil, fmt.Errorf("%w: %s is no statement", ErrLine, kind)
	}
	if err := json.Unmarshal(line, s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLine, err)
	}
	if own := s.Append(nil); !bytes.HasPrefix(line, own[:len(own)-1]) {
		return nil, fmt.Errorf("%w: not as this log writes it: %.80q", ErrLine, line)
	}
	if r, ok := s.(*Removal); ok {
		for i, pair := range r.IDs {
			if pair[0] > pair[1] || i > 0 && pair[0] <= r.IDs[i-1][1] {
				return nil, fmt.Errorf("%w: numbers of a removal do not ascend", ErrLine)
			}
		}
	}
	return s, nil
}

// number appends a key with a number, unless it is 0. key has the comma, the
// quotation marks and the colon.
func number(b []byte, key string, v int64) []byte {
	if v == 0 {
		return b
	}
	return strconv.AppendInt(append(b, key...), v, 10)
}

// text appends a key with a text, unless it is empty. key has the opening quotation mark of
// the text, too.
func text(b []byte, key, v string) []byte {
	if v == "" {
		return b
	}
	b = append(b, key...)
	i := plainLength(v)
	b = append(b, v[:i]...)
	if i < len(v) {
		b = escape(b, v[i:])
	}
	return append(b, '"')
}

// plainLength returns how many octets at the beginning stand for themselves.
func plainLength(v string) int {
	const low, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for b := unsafe.Slice(unsafe.StringData(v), len(v)); len(b)-i >= 8; i += 8 { // eight at once
		w := binary.LittleEndian.Uint64(b[i:])
		quote, back := w^'"'*low, w^'\\'*low
		if (w|(w-0x20*low)|(quote-low)|(back-low))&high != 0 {
			break // one of them is below 0x20, a quotation mark, a backslash, or above 0x7f; or nearly
		}
	}
	for i < len(v) && plain[v[i]] {
		i++
	}
	return i
}

// octets is text for a text in a slice.
func octets(b []byte, key string, v []byte) []byte {
	return text(b, key, unsafe.String(unsafe.SliceData(v), len(v)))
}

// plain are the octets that stand for themselves, whatever is beside them.
var plain = func() (p [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		p[c] = c != '"' && c != '\\'
	}
	return p
}()

func escape(b []byte, v string) []byte {
	for i := 0; i < len(v); {
		switch c := v[i]; {
		case plain[c]:
			b = append(b, c)
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRuneInString(v[i:])
			b = utf8.AppendRune(b, r) // U+FFFD for what is not UTF-8
			i += size
			continue
		case c < 0x20:
			const digits = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			b = append(b, '\\', c)
		}
		i++
	}
	return b
}
