package format

import (
	"bytes"
	"io"
)

// A parser holds what a list's lines share: the annotation that stands above
// them, the zone they are in, and the limits they use up.
type parser struct {
	Options
	limits Limits
	emit   func(*Rule)
	report Report

	line    int         // number of the current line
	whole   string      // the current line, for messages of the general path
	block   *Annotation // of the last "#@" line
	current *Annotation // of the current line: block, or what stands behind the name
	seen    map[annotationKey]*Annotation
	pairsOf []pair            // of the last comment
	texts   map[string]string // of annotations, each kept once

	rule Rule      // handed to emit
	buf  [256]byte // rule.Name of the fast path

	plain    bool        // the fast path may be taken
	zone     *zoneReader // from $TTL, $ORIGIN or an SOA on
	redirect *redirect   // an unbound redirect zone whose data may still come

	transparent map[string]transparentZone // unbound's exceptions, by wire name, that a later line may still take back

	regexes int // patterns taken
	cost    int // their instructions
}

func newParser(o Options, emit func(*Rule)) *parser {
	p := &parser{Options: o, limits: o.Limits.withDefaults(), emit: emit}
	p.plain = !o.general && o.Format != "regex" && !o.System
	if o.Format == "rpz" {
		p.startZone()
	}
	return p
}

// read takes the text apart into lines and holds no more of it than the longest
// line and a buffer.
func (p *parser) read(r io.Reader) {
	buf := make([]byte, p.bufferSize(r))
	start, end := 0, 0 // unread text is buf[start:end]
	first, skipping := true, false
	for {
		n, err := fill(r, buf[end:])
		end += n
		if first {
			if start = p.open(buf[:end]); start < 0 {
				return
			}
			first = false
		}
		for {
			i := bytes.IndexByte(buf[start:end], '\n')
			if i < 0 {
				break
			}
			if skipping {
				skipping = false
			} else {
				p.lines(buf[start : start+i])
			}
			start += i + 1
		}
		rest := end - start
		switch {
		case err != nil:
			if rest > 0 && !skipping {
				p.lines(buf[start:end])
			}
			p.report.Cut = rest > 0
			if err != io.EOF {
				p.report.Err = err
			}
			return
		case skipping:
			rest = 0
		case rest > p.limits.Line:
			if i := bytes.LastIndexByte(buf[start:end], '\r'); i >= 0 { // lines that end in CR alone
				p.lines(buf[start : start+i])
				rest -= i + 1
				start += i + 1
				break
			}
			p.lines(buf[start:end])
			skipping, rest = true, 0
		}
		copy(buf, buf[end-rest:end])
		start, end = 0, rest
	}
}

// bufferSize is that of the buffer: room for the whole text where its length is
// known and small, as that of most shipped lists is.
func (p *parser) bufferSize(r io.Reader) int {
	size := p.limits.Line + 128<<10
	if text, ok := r.(interface{ Len() int }); ok {
		return min(size, text.Len()+1) // with one octet more than there are, the end is seen
	}
	return size
}

// fill reads until the buffer is full or the text ends.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for empty := 0; n < len(buf) && err == nil; {
		var k int
		k, err = r.Read(buf[n:])
		n += k
		if k > 0 {
			empty = 0
		} else if empty++; empty > 100 && err == nil {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

// open looks at the beginning of the text and returns where its first line
// starts, or -1 if this is no list.
func (p *parser) open(head []byte) int {
	if len(head) == 0 {
		p.report.Content = Empty
		return -1
	}
	p.report.Content = sniff(head)
	if p.report.Content != Text {
		return -1
	}
	if bytes.HasPrefix(head, []byte("\xef\xbb\xbf")) {
		return 3
	}
	return 0
}

// lines reads what stands between two line feeds: one line, or several where
// some end in a lone CR.
func (p *parser) lines(text []byte) {
	if len(text) > 0 && text[len(text)-1] == '\r' {
		text = text[:len(text)-1]
	}
	p.line++
	p.report.Lines++
	if p.plain && len(text) <= p.limits.Line {
		if p.zone == nil && p.fast(text) || p.zone != nil && p.zone.fast(text) {
			return
		}
	}
	for {
		i := bytes.IndexByte(text, '\r')
		if i < 0 {
			break
		}
		p.one(text[:i])
		text = text[i+1:]
		p.line++
		p.report.Lines++
	}
	p.one(text)
}

// one reads one line on the general path.
func (p *parser) one(text []byte) {
	if len(text) > p.limits.Line {
		p.bad(LongLine, string(text[:100]), "line of over %d bytes: split it", p.limits.Line)
		return
	}
	p.whole = utf8Text(text)
	p.current = p.block
	if p.zone != nil {
		p.zone.line(p.whole)
		return
	}
	p.general(p.whole)
}

// finish takes what was waiting for more lines.
func (p *parser) finish() {
	if p.zone != nil {
		p.zone.end()
	}
	p.endRedirect()
	p.endTransparent()
}

// put emits the rule that was filled in, and counts it.
func (p *parser) put(r Rule) {
	r.Line = p.line
	if r.Annotation == nil {
		r.Annotation = p.current
	}
	p.rule = r
	p.report.Rules++
	p.report.Forms[r.Form]++
	p.emit(&p.rule)
}
