package oui

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxLine  = 4096 // a longer one is passed over
	maxMaker = 80   // characters of a name that are kept
)

// lengths are how many digits a beginning may have: 36, 28 and 24 bits. The longest that
// is registered counts.
var lengths = [...]int{9, 7, 6}

// A finder looks through files for the beginnings of some MACs.
type finder struct {
	found map[string]string // maker of a beginning; "" while it was not met
	any   bool              // a beginning was met, whoever's
	base  string            // in the IEEE's text: what the next range begins with
	entry string            // in systemd's file: whose name the next line says
}

// newFinder looks for all beginnings of keys of nine digits.
func newFinder(keys map[string]string) *finder {
	f := &finder{found: map[string]string{}}
	for key := range keys {
		for _, n := range lengths {
			f.found[key[:n]] = ""
		}
	}
	return f
}

// maker returns who has the longest registered beginning of key.
func (f *finder) maker(key string) string {
	for _, n := range lengths {
		if maker := f.found[key[:n]]; maker != "" {
			return maker
		}
	}
	return ""
}

// read looks through a file.
func (f *finder) read(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return f.readFrom(file)
}

func (f *finder) readFrom(in io.Reader) error {
	f.base, f.entry = "", ""
	r := bufio.NewReaderSize(in, maxLine)
	for {
		line, err := r.ReadSlice('\n')
		tooLong := false
		for errors.Is(err, bufio.ErrBufferFull) {
			tooLong = true
			_, err = r.ReadSlice('\n')
		}
		if !tooLong {
			f.line(bytes.TrimRight(line, "\r\n"))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// line takes a line in any of the formats: the IEEE's table (CSV) and text, systemd's
// hwdb, nmap's list. What is none of them says nothing.
func (f *finder) line(line []byte) {
	switch {
	case len(line) < 8:
	case bytes.HasPrefix(line, []byte("OUI:")):
		f.entry, _ = digits(bytes.TrimSuffix(line[len("OUI:"):], []byte("*")))
	case bytes.HasPrefix(line, []byte(" ID_OUI_FROM_DATABASE=")):
		f.met(f.entry, line[len(" ID_OUI_FROM_DATABASE="):])
		f.entry = ""
	case bytes.Contains(line, []byte("(hex)")):
		f.base, _ = digits(bytes.ReplaceAll(line[:8], []byte("-"), nil))
	case bytes.Contains(line, []byte("(base 16)")):
		f.ranged(line)
	case bytes.IndexByte(line, ',') >= 0 && bytes.IndexByte(line, ',') < 8:
		f.row(line)
	default:
		if prefix, name, ok := bytes.Cut(line, []byte(" ")); ok {
			if key, ok := digits(prefix); ok {
				f.met(key, name)
			}
		}
	}
}

// ranged takes a line of the IEEE's text: "002272 (base 16) NAME", or the range of what
// follows the base, "900000-9FFFFF (base 16) NAME".
func (f *finder) ranged(line []byte) {
	where, name, _ := bytes.Cut(line, []byte("(base 16)"))
	where = bytes.TrimSpace(where)
	first, last, isRange := bytes.Cut(where, []byte("-"))
	if !isRange {
		if key, ok := digits(where); ok {
			f.met(key, name)
		}
		return
	}
	n := 0
	for n < min(len(first), len(last)) && first[n] == last[n] {
		n++
	}
	if key, ok := digits(append([]byte(f.base), first[:n]...)); ok {
		f.met(key, name)
	}
}

// row takes a line of the IEEE's table: "MA-L,002272,NAME,ADDRESS".
func (f *finder) row(line []byte) {
	_, rest, _ := bytes.Cut(line, []byte(","))
	prefix, rest, _ := bytes.Cut(rest, []byte(","))
	key, ok := digits(prefix)
	if !ok {
		return
	}
	if len(rest) == 0 || rest[0] != '"' {
		name, _, _ := bytes.Cut(rest, []byte(","))
		f.met(key, name)
		return
	}
	var name []byte
	for rest = rest[1:]; len(rest) > 0; rest = rest[1:] {
		if rest[0] == '"' {
			if len(rest) < 2 || rest[1] != '"' {
				break
			}
			rest = rest[1:]
		}
		name = append(name, rest[0])
	}
	f.met(key, name)
}

// digits returns text in capitals if it is a beginning that can be registered.
func digits(text []byte) (key string, ok bool) {
	if n := len(text); n != lengths[0] && n != lengths[1] && n != lengths[2] {
		return "", false
	}
	for _, c := range text {
		if (c < '0' || c > '9') && (c < 'A' || c > 'F') && (c < 'a' || c > 'f') {
			return "", false
		}
	}
	return strings.ToUpper(string(text)), true
}

// met takes it that somebody has a beginning.
func (f *finder) met(key string, name []byte) {
	if key == "" {
		return
	}
	f.any = true
	if _, wanted := f.found[key]; wanted {
		f.found[key] = clean(string(name))
	}
}

// clean returns the name of a maker, fit to be shown. The registry's own name stands where
// a beginning was divided among several, and "Private" where somebody wants not to be named.
func clean(name string) string {
	if !utf8.ValidString(name) {
		name = strings.ToValidUTF8(name, "")
	}
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, name)
	name = strings.Join(strings.Fields(name), " ")
	if strings.EqualFold(name, "private") || strings.EqualFold(name, "IEEE Registration Authority") {
		return ""
	}
	if runes := []rune(name); len(runes) > maxMaker {
		name = string(runes[:maxMaker])
	}
	return name
}
