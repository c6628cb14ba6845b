package format

import (
	"fmt"
	"strconv"
	"strings"
)

// The words of confidence: why a purpose is believed, best first. They are stored
// and printed, and never change. A store may have "stated" without a number, from
// the catalogue's first edition.
const (
	VendorDocuments = "vendor-documents" // the vendor's own document names it
	Measured        = "measured"         // somebody measured it and said how
	Stated          = "stated"           // sources say what it is for
	Listed          = "listed"           // lists have the name, nobody says what it is for
	ReadOffName     = "name"             // lists have the name, and the purpose can be read in it
)

// A Confidence is why an annotation is believed.
type Confidence struct {
	Word        string // one of the words, or another that a list wrote; "" for unknown
	Independent int    // sources that do not copy one another; 0 for unknown
	Contested   bool   // sources disagree on what breaks
}

// ReadConfidence reads what String writes. A text of another shape, of a person's
// own list, is the word as a whole.
func ReadConfidence(s string) Confidence {
	word, rest, _ := strings.Cut(s, " ")
	number, rest, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(number)
	c := Confidence{word, n, rest == "contested"}
	if err != nil || c.String() != s {
		return Confidence{Word: s}
	}
	return c
}

// String is the text that an Annotation holds: the word, the number of sources,
// and "contested" if it is.
func (c Confidence) String() string {
	s := c.Word
	if c.Independent > 0 || c.Contested {
		s += " " + strconv.Itoa(c.Independent)
	}
	if c.Contested {
		s += " contested"
	}
	return s
}

// Text says it to a person.
func (c Confidence) Text() string {
	sources := fmt.Sprintf("%d independent sources", c.Independent)
	if c.Independent == 1 {
		sources = "one source"
	}
	text := c.Word
	switch {
	case c.Word == VendorDocuments:
		text = "documented by the vendor"
	case c.Word == ReadOffName && c.Independent == 0:
		text = "read off the name"
	case c.Word == ReadOffName:
		text = "read off the name, listed by " + sources
	case c.Independent == 0:
	case c.Word == Measured, c.Word == Stated:
		text += " by " + sources
	case c.Word == Listed:
		text = "listed only, by " + sources
	}
	if c.Contested {
		text += "; contested: sources disagree on what breaks"
	}
	return text
}
