package format

import "io"

type parser struct {
	Options
	limits Limits
	emit   func(*Rule)
	report Report
	rule   Rule
	line   int
}

func newParser(o Options, emit func(*Rule)) *parser {
	return &parser{Options: o, limits: o.Limits.withDefaults(), emit: emit}
}

func (p *parser) read(r io.Reader)  {}
func (p *parser) lines(text []byte) {}
func (p *parser) finish()           {}
