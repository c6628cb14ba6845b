package catalog

import (
	"slices"
	"strings"
	"sync"

	"telltale/blocklists/format"
	"telltale/sorting"
)

// A Kind is what a source says of a name. The words are stored in list files and
// printed, and never change.
type Kind string

const (
	VendorDocuments Kind = "vendor-documents" // the vendor's own document names it, and what it is for
	Measured        Kind = "measured"         // somebody saw a device ask for it, and says how
	StatesPurpose   Kind = "states-purpose"   // says what it is for, or of an owner whose it is
	StatesBreakage  Kind = "states-breakage"  // says what stops working when it is blocked
	Disputes        Kind = "disputes"         // says that it does not stop working
	HasTheName      Kind = "has-the-name"     // has it on a list, and says no more
)

// Kinds are the kinds, the strongest first.
var Kinds = []Kind{VendorDocuments, Measured, StatesPurpose, StatesBreakage, Disputes, HasTheName}

// A Claim is what one source says of an entry.
type Claim struct {
	Kind   Kind    `json:"kind"`
	Source *Source `json:"source"`
}

// claims reads the text of claims=: "KIND:ID,ID KIND:ID", and says what is wrong
// with it.
func (s *Sources) claims(text string) (claims []Claim, problem string) {
	for _, part := range strings.Fields(text) {
		kind, ids, _ := strings.Cut(part, ":")
		if !slices.Contains(Kinds, Kind(kind)) {
			return claims, "the claim " + kind + " is unknown: write one of " + kindList() + ", and the ids of its sources behind a colon"
		}
		for id := range strings.SplitSeq(ids, ",") {
			src := s.byID[id]
			if src == nil {
				return claims, "the source " + id + " is not in " + sourcesFile + ": add it there, with a link that stays what it is"
			}
			claim := Claim{Kind(kind), src}
			if slices.Contains(claims, claim) {
				return claims, "the source " + id + " makes the same claim twice: keep one"
			}
			claims = append(claims, claim)
		}
	}
	sorting.StableBy(claims, func(a, b Claim) int { return slices.Index(Kinds, a.Kind) - slices.Index(Kinds, b.Kind) })
	return claims, ""
}

func kindList() string {
	words := make([]string, len(Kinds))
	for i, k := range Kinds {
		words[i] = string(k)
	}
	return strings.Join(words, ", ")
}

// confidence is computed from what sources say. readOffName is said by the entry,
// and holds where no source says the purpose.
func (s *Sources) confidence(claims []Claim, readOffName bool) format.Confidence {
	by := func(kinds ...Kind) (projects []string) {
		for _, c := range claims {
			if slices.Contains(kinds, c.Kind) {
				projects = append(projects, c.Source.Project)
			}
		}
		return projects
	}
	c := format.Confidence{Contested: len(by(Disputes)) > 0}
	vendor, measured := by(VendorDocuments), by(Measured)
	stated := by(VendorDocuments, Measured, StatesPurpose)
	switch {
	case len(vendor) > 0:
		c.Word, c.Independent = format.VendorDocuments, s.independent(vendor)
	case len(measured) > 0:
		c.Word, c.Independent = format.Measured, s.independent(measured)
	case len(stated) > 0:
		c.Word, c.Independent = format.Stated, s.independent(stated)
	case readOffName:
		c.Word, c.Independent = format.ReadOffName, s.independent(by(HasTheName, StatesBreakage, Disputes))
	default:
		c.Word, c.Independent = format.Listed, s.independent(by(HasTheName, StatesBreakage, Disputes))
	}
	return c
}

// urls are the addresses of the claims' sources, each once.
func urls(claims []Claim) []string {
	var all []string
	for _, c := range claims {
		if !slices.Contains(all, c.Source.URL) {
			all = append(all, c.Source.URL)
		}
	}
	return all
}

// Reader returns the function by which lists of the catalogue are read: it turns
// claims into the addresses of their sources and a confidence.
func (s *Sources) Reader() format.Claims {
	type key struct{ claims, said string }
	type result struct{ source, confidence, problem string }
	var mu sync.Mutex
	known := map[key]result{}
	return func(text, said string) (source, confidence, problem string) {
		mu.Lock()
		defer mu.Unlock()
		k := key{text, said}
		r, ok := known[k]
		if !ok {
			claims, problem := s.claims(text)
			r = result{strings.Join(urls(claims), " "), s.confidence(claims, said == format.ReadOffName).String(), problem}
			k.claims = strings.Clone(text) // and not the line that it stands in
			known[k] = r
		}
		return r.source, r.confidence, r.problem
	}
}
