package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"telltale/querylog/seal"
)

// lineKeys are the keys of each kind of line, in their order: a # is behind those of numbers, a *
// behind that of pairs of numbers, all else are texts. docs/seals.md has what they mean.
var lineKeys = map[string][]string{
	seal.KindRow: strings.Fields(`row# id# node first# last# count# attempts# as_lookups# device device_name client client_id mac binding# binding_source binding_confidence
		name type# alias folded# verdict reason observed_by list line# rule attribution attribution_list attribution_line#
		vendor product purpose tier region source breaks since confidence software rcode# answered_from transport ttl# elapsed# upstream imported`),
	seal.KindLedger:   strings.Fields(`ledger# id# node time# since# until# kind subject detail`),
	seal.KindStart:    strings.Fields(`start# time# origin from# previous`),
	seal.KindEnd:      strings.Fields(`end# time# from#`),
	seal.KindRemoval:  strings.Fields(`removal# time# of why count# ids*`),
	seal.KindHandover: strings.Fields(`handover# time# note`),
}

// errLine means that a line has not the one form that lines have.
var errLine = errors.New("its line is not as lines of a log are written: one JSON object without spaces, of texts and whole numbers, its keys in their order, each once and none empty")

// readLine reads a line in the only form that lines have: docs/bundles.md, "The form of a line".
// All verifiers take the same lines, those of docs/verify/lines.json among them. Numbers are
// returned as they are written, and pairs not at all.
func readLine(line []byte) (kind string, values map[string]string, err error) {
	r := lineParser{rest: string(line), values: make(map[string]string, 40)}
	if !utf8.Valid(line) || !r.object() {
		return "", nil, errLine
	}
	kind = r.keys[0].name
	known, ok := lineKeys[kind]
	if !ok || r.values[kind] != "1" {
		return "", nil, fmt.Errorf("it is of a kind or version that this program does not know: %.40q", line)
	}
	i := 0
	for _, key := range known { // those that are there come first
		name := strings.TrimRight(key, "#*")
		if _, there := r.values[name]; !there {
			continue
		}
		if k := r.keys[i]; k.name != name || k.mark != key[len(name):] || r.values[name] == "" || r.values[name] == "0" && k.mark == "#" {
			return "", nil, errLine
		}
		i++
	}
	return kind, r.values, nil
}

// A lineParser goes over a line.
type lineParser struct {
	rest   string
	keys   []lineKey
	values map[string]string
}

// A lineKey is a key, and the mark of what its value is.
type lineKey struct{ name, mark string }

func (p *lineParser) object() bool {
	if !p.take('{') {
		return false
	}
	for {
		if !p.member() {
			return false
		}
		if !p.take(',') {
			return p.take('}') && p.rest == ""
		}
	}
}

func (p *lineParser) member() bool {
	name, ok := p.text()
	if _, twice := p.values[name]; !ok || twice || !isKey(name) || !p.take(':') || p.rest == "" {
		return false
	}
	value, mark := "", ""
	switch p.rest[0] {
	case '"':
		value, ok = p.text()
	case '[':
		mark = "*"
		value, ok = p.pairs()
	default:
		mark = "#"
		value, ok = p.number()
	}
	p.keys = append(p.keys, lineKey{name, mark})
	p.values[name] = value
	return ok
}

func isKey(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") == ""
}

func (p *lineParser) take(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// text reads a text: of the escapes of JSON only those that lines have.
func (p *lineParser) text() (string, bool) {
	if !p.take('"') {
		return "", false
	}
	end, escaped := 0, false
	for ; ; end++ {
		if end >= len(p.rest) || p.rest[end] < 0x20 {
			return "", false
		}
		if p.rest[end] == '"' {
			break
		}
		if p.rest[end] == '\\' {
			escaped = true
			n := escapeLength(p.rest[end:])
			if n == 0 {
				return "", false
			}
			end += n - 1
		}
	}
	value := p.rest[:end]
	p.rest = p.rest[end+1:]
	if escaped && json.Unmarshal([]byte(`"`+value+`"`), &value) != nil {
		return "", false
	}
	return value, true
}

// escapeLength returns how long an escape of a text is: \" and \\, and \u0000 to \u001f; 0 for
// others.
func escapeLength(s string) int {
	switch {
	case strings.HasPrefix(s, `\"`), strings.HasPrefix(s, `\\`):
		return 2
	case len(s) >= 6 && (s[:5] == `\u000` || s[:5] == `\u001`) && strings.IndexByte("0123456789abcdef", s[5]) >= 0:
		return 6
	}
	return 0
}

// number reads a whole number of at most 18 digits.
func (p *lineParser) number() (string, bool) {
	end := len(p.rest) - len(strings.TrimLeft(p.rest, "-0123456789"))
	value := p.rest[:end]
	if n, err := strconv.ParseInt(value, 10, 64); err != nil || n <= -1e18 || n >= 1e18 || strconv.FormatInt(n, 10) != value {
		return "", false
	}
	p.rest = p.rest[end:]
	return value, true
}

// pairs reads [[1,2],[4,4]]: pairs of numbers from, to, both included, which ascend.
func (p *lineParser) pairs() (string, bool) {
	begin := p.rest
	if !p.take('[') {
		return "", false
	}
	for n, last := 0, int64(0); ; n++ {
		var pair [2]int64
		for i, before := range []byte{'[', ','} {
			if !p.take(before) {
				return "", false
			}
			text, ok := p.number()
			if pair[i], _ = strconv.ParseInt(text, 10, 64); !ok {
				return "", false
			}
		}
		if !p.take(']') || pair[0] > pair[1] || n > 0 && pair[0] <= last {
			return "", false
		}
		last = pair[1]
		if !p.take(',') {
			ok := p.take(']')
			return begin[:len(begin)-len(p.rest)], ok
		}
	}
}

// isStatement reports whether a kind of line is a statement.
func isStatement(kind string) bool { return kind != seal.KindRow && kind != seal.KindLedger }
