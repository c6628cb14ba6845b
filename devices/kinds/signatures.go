// Package kinds guesses what a device is (a phone, a television, of which vendor), by
// signatures: what devices are known to call themselves, to offer and to ask. It is pure: a
// description in, a guess with its reasons out. A guess decides nothing by itself.
package kinds

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Words are the kinds of devices there are.
var Words = []string{
	"phone", "tablet", "computer", "tv", "player", "console", "speaker", "camera", "printer", "router", "storage",
	"hub", "light", "plug", "vacuum", "thermostat", "appliance", "meter", "watch", "reader", "telephone", "machine", "other",
}

// A Sort is what a clue is about.
type Sort uint8

const (
	Maker    Sort = iota // whom the IEEE's registry has for the MAC
	Host                 // how the device calls itself
	Class                // the vendor class that it sends by DHCP
	Service              // a type of service that it offers, such as _ipp._tcp; by SSDP, urn:...
	Model                // the model that it says by DNS-SD
	Asks                 // a name that it asks for
	Software             // what it says by SSDP that it runs
	sorts
)

var sortWords = [sorts]string{"maker", "host", "class", "service", "model", "asks", "software"}

// String returns the word that signatures use.
func (s Sort) String() string { return sortWords[s] }

// A Strength is how much a signature says.
type Strength uint8

const (
	Weak   Strength = 1 // it fits others, too
	Fair   Strength = 3 // it fits few others
	Strong Strength = 6 // hardly anything else does so
)

var strengths = map[string]Strength{"weak": Weak, "fair": Fair, "strong": Strong}

// A Clue is something that a description has.
type Clue struct {
	Sort    Sort
	Pattern string // in lower case. Of Asks a name with all below it, or with "=" the name alone; else a whole text in which * is any run of characters, ? one, and # a digit, or itself
}

// A Signature says what a device is that has all its clues.
type Signature struct {
	Clues                 []Clue
	Kind, Vendor, Product string // "" where it says nothing of that
	Strength              Strength
	Source                string // where that is known from
	File                  string
	Line                  int
}

const (
	// MaxSize is how long a file of signatures may be.
	MaxSize       = 1 << 20
	maxSignatures = 10_000
	maxText       = 200 // characters of a value
)

//go:embed signatures.txt
var shipped string

// Shipped returns the signatures that come with the program.
func Shipped() ([]Signature, error) {
	single, err := Parse("signatures.txt", shipped)
	byForm, formErr := Parse("forms.txt", forms)
	return slices.Concat(single, byForm), errors.Join(err, formErr)
}

// Parse reads a file of signatures. Its error names each mistake with file and line; the
// signatures are those without one.
func Parse(file, text string) ([]Signature, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("%s: it has more than %d bytes", file, MaxSize)
	}
	var all []Signature
	var mistakes []error
	source, n := "", 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		n++
		s, isSource, err := parseLine(line)
		switch {
		case err == nil && len(all) >= maxSignatures && len(s.Clues) > 0:
			err = fmt.Errorf("there are more than %d signatures", maxSignatures)
			return all, errors.Join(append(mistakes, fmt.Errorf("%s:%d: %w", file, n, err))...)
		case err != nil:
			if len(mistakes) < 20 {
				mistakes = append(mistakes, fmt.Errorf("%s:%d: %w", file, n, err))
			}
		case isSource:
			source = s.Source
		case len(s.Clues) > 0:
			s.Source, s.File, s.Line = source, file, n
			all = append(all, s)
		}
	}
	return all, errors.Join(mistakes...)
}

// parseLine reads a line: a signature, the source of those that follow, or neither.
func parseLine(line string) (s Signature, isSource bool, err error) {
	words, err := fields(line)
	if err != nil || len(words) == 0 {
		return s, false, err
	}
	seen := map[string]bool{}
	s.Strength = 0
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch {
		case value == "":
			return s, false, fmt.Errorf("%q: expected KEY=VALUE, with quotes around a value that has spaces", w)
		case utf8.RuneCountInString(value) > maxText:
			return s, false, fmt.Errorf("%s: more than %d characters", key, maxText)
		case seen[key] && slices.Index(sortWords[:], key) < 0:
			return s, false, fmt.Errorf("%s is there twice", key)
		}
		seen[key] = true
		switch key {
		case "source":
			s.Source, isSource = value, true
		case "kind":
			if !slices.Contains(Words, value) {
				return s, false, fmt.Errorf("kind=%s: expected one of %s", value, strings.Join(Words, ", "))
			}
			s.Kind = value
		case "vendor":
			s.Vendor = value
		case "product":
			s.Product = value
		case "strength":
			if s.Strength = strengths[value]; s.Strength == 0 {
				return s, false, fmt.Errorf("strength=%s: expected weak, fair or strong", value)
			}
		default:
			i := slices.Index(sortWords[:], key)
			if i < 0 {
				return s, false, fmt.Errorf("%q: expected source, kind, vendor, product, strength, or a clue: %s", key, strings.Join(sortWords[:], ", "))
			}
			c, err := clue(Sort(i), value)
			if err != nil {
				return s, false, err
			}
			s.Clues = append(s.Clues, c)
		}
	}
	switch {
	case isSource && len(words) > 1:
		return s, false, errors.New("source stands alone on its line: it holds for the lines below")
	case isSource:
	case len(s.Clues) == 0:
		return s, false, fmt.Errorf("no clue: expected at least one of %s", strings.Join(sortWords[:], ", "))
	case s.Kind == "" && s.Vendor == "":
		return s, false, errors.New("it says nothing: expected kind or vendor")
	case s.Product != "" && s.Vendor == "":
		return s, false, errors.New("a product without its vendor: expected vendor")
	case s.Strength == 0:
		return s, false, errors.New("no strength: expected strength=weak, fair or strong")
	}
	return s, isSource, nil
}

// clue checks the pattern of a clue.
func clue(sort Sort, pattern string) (Clue, error) {
	c := Clue{sort, strings.ToLower(pattern)}
	letters := strings.Trim(c.Pattern, "*?=. ")
	switch {
	case letters == "":
		return c, fmt.Errorf("%s=%s fits everything", sort, pattern)
	case sort == Asks && strings.ContainsAny(c.Pattern, "*?# /"):
		return c, fmt.Errorf("asks=%s: expected a name, which stands for all below it, too; with = before it, for itself alone", pattern)
	case sort == Asks:
		c.Pattern = strings.TrimSuffix(c.Pattern, ".")
	case sort == Service && !strings.HasPrefix(c.Pattern, "_") && !strings.HasPrefix(c.Pattern, "urn:"):
		return c, fmt.Errorf("service=%s: expected a type that begins with urn: or is like _ipp._tcp", pattern)
	}
	return c, nil
}

// fields splits a line at spaces outside quotes. What is behind a # that begins a word is
// a comment.
func fields(line string) (words []string, err error) {
	if !utf8.ValidString(line) {
		return nil, errors.New("it is not UTF-8")
	}
	var word []rune
	inWord, quoted := false, false
	for _, r := range strings.TrimRight(line, "\r\n") {
		switch {
		case r == '"':
			quoted, inWord = !quoted, true
		case !quoted && r == '#' && !inWord:
			return words, nil
		case !quoted && (r == ' ' || r == '\t'):
			if inWord {
				words, word, inWord = append(words, string(word)), nil, false
			}
		case !unicode.IsPrint(r):
			return nil, fmt.Errorf("there is a character that cannot be shown: %U", r)
		default:
			word, inWord = append(word, r), true
		}
	}
	if quoted {
		return nil, errors.New(`a quote (") is not closed`)
	}
	if inWord {
		words = append(words, string(word))
	}
	return words, nil
}
