package kinds

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"telltale/sorting"
)

// A Description is what is known of a device. Each list may be empty.
type Description struct {
	Makers   []string // of its MACs, as the IEEE's registry has them
	Hosts    []string // how it calls itself: by DHCP, by mDNS, at the router
	Classes  []string // the vendor classes that it sends by DHCP
	Services []string // types of services that it offers, such as _ipp._tcp
	Models   []string // as it says by DNS-SD
	Asked    []string // names that it asked for
	Software []string // what it says by SSDP that it runs
}

// values are what a description has of a sort.
func (d *Description) values(s Sort) []string {
	return [sorts][]string{Maker: d.Makers, Host: d.Hosts, Class: d.Classes, Service: d.Services, Model: d.Models, Asks: d.Asked, Software: d.Software}[s]
}

// inLowerCase returns a copy whose values are in lower case, as patterns are.
func (d *Description) inLowerCase() Description {
	lower := func(all []string) []string {
		all = slices.Clone(all)
		for i := range all {
			all[i] = strings.ToLower(all[i])
		}
		return all
	}
	return Description{lower(d.Makers), lower(d.Hosts), lower(d.Classes), lower(d.Services), lower(d.Models), lower(d.Asked), lower(d.Software)}
}

// A Confidence is how far a guess may be relied on.
type Confidence uint8

const (
	Low    Confidence = 1
	Medium Confidence = 2
	High   Confidence = 3
)

// String returns the word for it.
func (c Confidence) String() string { return [...]string{"", "low", "medium", "high"}[c] }

// A Guess is what a device may be.
type Guess struct {
	Kind       string // "" for unknown
	Vendor     string // "" for unknown
	Product    string
	Confidence Confidence // of Kind, or where that is unknown, of Vendor; 0: nothing is guessed
	Reasons    []Reason   // the strongest first; also those against
}

// A Reason is a signature that fits.
type Reason struct {
	Signature *Signature
	Values    []string // what fitted each of its clues
}

// String says a reason in words.
func (r *Reason) String() string {
	var all []string
	for i, c := range r.Signature.Clues {
		all = append(all, fmt.Sprintf(reasonWords[c.Sort], r.Values[i]))
	}
	s := r.Signature
	what := cmp.Or(s.Kind, "device")
	if s.Vendor != "" {
		what += " of " + s.Vendor
	}
	if s.Product != "" {
		what += ", " + s.Product
	}
	return strings.Join(all, " and ") + ": " + what
}

var reasonWords = [sorts]string{"made by %q", "calls itself %q", "DHCP vendor class %q", "offers %s", "model %q", "asks for %s", "runs %q"}

const (
	least  = 3 // points without which nothing is guessed
	medium = 6
	high   = 9
)

// Known are signatures, ready to be compared. It never changes.
type Known struct{ own, shipped []Signature }

// New returns signatures of which those of own go before the shipped ones: where one of
// them fits, those alone decide.
func New(shipped, own []Signature) *Known { return &Known{own, shipped} }

// Names returns the patterns of names that signatures want to have been asked for.
func (k *Known) Names() (all []string) {
	for _, s := range slices.Concat(k.own, k.shipped) {
		for _, c := range s.Clues {
			if c.Sort == Asks && !slices.Contains(all, c.Pattern) {
				all = append(all, c.Pattern)
			}
		}
	}
	return all
}

// Guess says what a device may be.
func (k *Known) Guess(d *Description) Guess {
	if g := guess(k.own, d); len(g.Reasons) > 0 {
		return g
	}
	return guess(k.shipped, d)
}

func guess(signatures []Signature, d *Description) (g Guess) {
	lower := d.inLowerCase()
	for i := range signatures {
		if values := signatures[i].fits(d, &lower); values != nil {
			g.Reasons = append(g.Reasons, Reason{&signatures[i], values})
		}
	}
	sorting.StableBy(g.Reasons, func(a, b Reason) int { return cmp.Compare(b.Signature.Strength, a.Signature.Strength) })
	kind, points := g.best(func(s *Signature) string { return s.Kind })
	g.Kind, g.Confidence = kind, confidence(points)
	// The vendor of what was guessed; where the kind is unknown, of whatever there is.
	vendor, points := g.best(func(s *Signature) string {
		if kind != "" && s.Kind != "" && s.Kind != kind {
			return ""
		}
		return s.Vendor
	})
	if g.Vendor = vendor; g.Kind == "" {
		g.Confidence = confidence(points)
	}
	if vendor != "" {
		g.Product, _ = g.best(func(s *Signature) string {
			if s.Vendor != vendor || kind != "" && s.Kind != "" && s.Kind != kind {
				return ""
			}
			return s.Product
		})
	}
	return g
}

func confidence(points int) Confidence {
	switch {
	case points >= high:
		return High
	case points >= medium:
		return Medium
	case points >= least:
		return Low
	}
	return 0
}

// best returns what most is said for, and how many points that has. Signatures that rest on the
// same sorts of clues say the same thing again: the strongest of them counts. Nothing is
// best where something else has more than half as many points.
func (g *Guess) best(of func(*Signature) string) (string, int) {
	bySorts := map[string]map[string]int{}
	for i := range g.Reasons {
		s := g.Reasons[i].Signature
		what := of(s)
		if what == "" {
			continue
		}
		if bySorts[what] == nil {
			bySorts[what] = map[string]int{}
		}
		key := s.sorts()
		bySorts[what][key] = max(bySorts[what][key], int(s.Strength))
	}
	best, first, second := "", 0, 0
	for what, groups := range bySorts {
		points := 0
		for _, p := range groups {
			points += p
		}
		switch {
		case points > first:
			best, first, second = what, points, first
		case points > second:
			second = points
		}
	}
	if first < least || 2*second > first {
		return "", 0
	}
	return best, first
}

// sorts says on which sorts of clues a signature rests.
func (s *Signature) sorts() string {
	var on [sorts]bool
	for _, c := range s.Clues {
		on[c.Sort] = true
	}
	return fmt.Sprint(on)
}

// fits returns what fits each clue of the signature; nil where one has nothing. lower is
// the description in lower case.
func (s *Signature) fits(d, lower *Description) (values []string) {
	for _, c := range s.Clues {
		i := slices.IndexFunc(lower.values(c.Sort), c.matches)
		if i < 0 {
			return nil
		}
		values = append(values, d.values(c.Sort)[i])
	}
	return values
}

// matches reports whether a value, in lower case, is of the clue's pattern.
func (c *Clue) matches(value string) bool {
	if c.Sort == Asks {
		value = strings.TrimSuffix(value, ".")
		name, alone := strings.CutPrefix(c.Pattern, "=")
		return value == name || !alone && strings.HasSuffix(value, "."+name)
	}
	return matches(c.Pattern, value)
}

// matches reports whether a pattern with *, ? and # is the whole of a text. Most patterns are
// words with a * before or behind them, and most texts are not of them.
func matches(pattern, text string) bool {
	word := strings.Trim(pattern, "*")
	before, behind := strings.HasPrefix(pattern, "*"), strings.HasSuffix(pattern, "*")
	switch {
	case strings.ContainsAny(word, "*?#"):
		return matchesAny(pattern, text)
	case before && behind:
		return strings.Contains(text, word)
	case before:
		return strings.HasSuffix(text, word)
	case behind:
		return strings.HasPrefix(text, word)
	}
	return text == word
}

// matchesAny is matches for any pattern.
func matchesAny(pattern, text string) bool {
	p, t := []rune(pattern), []rune(text)
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(t) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == t[j] || p[i] == '#' && '0' <= t[j] && t[j] <= '9'):
			i, j = i+1, j+1
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(string(p[i:]), "*") == ""
}
