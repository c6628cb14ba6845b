package catalog

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// A Source is a document that claims rest on: what sources.tsv has of it.
type Source struct {
	ID      string `json:"id"`                // by which claims= names it
	Date    string `json:"date,omitempty"`    // of its commit, or on which it was read; "" where the commit's is unknown
	Project string `json:"project"`           // who made it: owner/repository, or a host
	Licence string `json:"licence,omitempty"` // of the document, in SPDX's words; "" for unknown. Facts carry over, texts do not
	URL     string `json:"url"`               // that stays what it is: by commit, issue number or version, else as read on Date

	line int // in its table
}

// A descent says that one project's data came from others'.
type descent struct {
	from []string
	how  string // how it was found
}

// Sources are the documents by which the catalogue knows what it knows.
type Sources struct {
	byID    map[string]*Source
	descent map[string]descent
}

const (
	sourcesFile = "sources.tsv"
	descentFile = "descent.tsv"
)

var (
	sourceID = regexp.MustCompile(`^[a-z0-9][A-Za-z0-9._/#+-]*$`)
	day      = regexp.MustCompile(`^(19|20)\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$`)
	blob     = regexp.MustCompile(`^https://(github\.com/[\w.-]+/[\w.-]+/(blob|raw|commit|tree)|raw\.githubusercontent\.com/[\w.-]+/[\w.-]+)/[0-9a-f]{40}(/\S+)?$`)
	numbered = regexp.MustCompile(`^https://(github\.com/[\w.-]+/[\w.-]+/(issues|pull|discussions)/\d+(#\S+)?|arxiv\.org/\w+/\d{4}\.\d{4,5}v\d+|doi\.org/10\.\S+|web\.archive\.org/web/\d{8,14}\w*/\S+)$`)
)

// readSources reads the two tables; where there is none it is empty. bad is told of
// each line that cannot be used.
func readSources(files fileSet, bad func(file string, line int, what string)) *Sources {
	s := &Sources{byID: readSourceTable(files, sourcesFile, bad), descent: map[string]descent{}}
	files.table(descentFile, 3, bad, func(line int, row []string) {
		switch {
		case row[1] == "" || row[2] == "":
			bad(descentFile, line, row[0]+": say what it came from, and how that was found")
		case s.descends(row[1], row[0]):
			bad(descentFile, line, row[0]+" and "+row[1]+" come from one another: keep the direction that was found")
		default:
			d := s.descent[row[0]]
			d.from, d.how = append(d.from, row[1]), row[2]
			s.descent[row[0]] = d
		}
	})
	return s
}

// readSourceTable reads a table of documents, by id.
func readSourceTable(files fileSet, file string, bad func(file string, line int, what string)) map[string]*Source {
	byID := map[string]*Source{}
	files.table(file, 5, bad, func(line int, row []string) {
		src := &Source{ID: row[0], Date: row[1], Project: row[2], Licence: row[3], URL: row[4], line: line}
		if byID[src.ID] != nil {
			bad(file, line, src.ID+" stands in the table already: keep one line, or give this one another id")
			return
		}
		byID[src.ID] = src
	})
	return byID
}

// checkSources says what is wrong with the documents of a table. A start does not:
// those in the program were checked by its tests, those of a fetched edition before
// it was put in force.
func (c *checker) checkSources(file string, byID map[string]*Source) {
	for _, src := range byID {
		if problem := src.problem(); problem != "" {
			c.say(file, src.line, "%s: %s", src.ID, problem)
		}
	}
}

// problem says what is wrong with a source; "" for nothing.
func (s *Source) problem() string {
	u, err := url.Parse(s.URL)
	switch {
	case !sourceID.MatchString(s.ID):
		return "is no id: write letters, digits and ._/#+-, the first a small letter or a digit"
	case s.Project == "":
		return "no project: say who made the document, such as owner/repository or a host"
	case s.Date != "" && !day.MatchString(s.Date):
		return s.Date + " is no date: write 2026-05-16"
	case err != nil || u.Scheme != "https" || u.Host == "" || strings.ContainsAny(s.URL, " \t"):
		return s.URL + " is no address: write https://..."
	case blob.MatchString(s.URL), numbered.MatchString(s.URL):
	case u.Host == "github.com" || u.Host == "raw.githubusercontent.com":
		return s.URL + " points to a file that changes: put the commit of 40 digits in place of the branch"
	case s.Date == "":
		return s.URL + " is a page that changes: add the date on which it was read, or a link to an archived copy"
	}
	return ""
}

// descends reports whether project's data came from another's, on whatever way.
func (s *Sources) descends(project, from string) bool {
	return project == from || slices.ContainsFunc(s.descent[project].from, func(p string) bool { return s.descends(p, from) })
}

// independent counts the projects that say something of their own: what came from
// another one that says the same does not count, and what came from the same third
// one counts once.
func (s *Sources) independent(projects []string) int {
	var kept []string
	for i, p := range projects {
		copied := slices.Index(projects, p) < i ||
			slices.ContainsFunc(projects, func(o string) bool { return o != p && s.descends(p, o) }) ||
			slices.ContainsFunc(kept, func(o string) bool { return s.share(p, o) })
		if !copied {
			kept = append(kept, p)
		}
	}
	return len(kept)
}

// share reports whether two projects' data came from the same third one.
func (s *Sources) share(a, b string) bool {
	return slices.ContainsFunc(s.descent[a].from, func(p string) bool { return s.descends(b, p) || s.share(p, b) })
}
