package experiment

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"telltale/evidence/stats"
)

//go:embed templates
var shipped embed.FS

// What every plan has.
const (
	Level = stats.Level
	Alpha = 0.05
	Power = 0.8
)

// A Template is a plan without devices, with instructions for people.
type Template struct {
	Name    string   `json:"name"`
	Plan    Plan     `json:"plan"`
	Do      string   `json:"do"`       // what to do at the device
	Shows   string   `json:"shows"`    // what its result can show
	ShowNot string   `json:"show_not"` // and cannot
	Sites   []string `json:"sites"`    // to visit by hand; their names are excluded
}

// Templates are those that are shipped, by name.
func Templates() (all []*Template, err error) {
	files, err := fs.Glob(shipped, "templates/*.txt")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := shipped.ReadFile(file)
		if err != nil {
			return nil, err
		}
		t, err := parseTemplate(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s:%w", file, err)
		}
		t.Name = strings.TrimSuffix(path.Base(file), ".txt")
		t.Plan.Template = t.Name
		all = append(all, t)
	}
	return all, nil
}

// parseTemplate reads a template: keys, then parts behind lines such as "-- do --".
func parseTemplate(text string) (*Template, error) {
	t := &Template{Plan: Plan{Version: planVersion, Compare: Phases, Block: 3600, Match: ByHour, Settle: 600, Present: Asked, Test: TheTest, Level: Level, Alpha: Alpha, Power: Power}}
	parts := map[string]*string{"do": &t.Do, "shows": &t.Shows, "shows not": &t.ShowNot}
	var into *string
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if name, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(name, " --") {
			if into, ok = parts[strings.TrimSuffix(name, " --")]; !ok {
				return nil, fmt.Errorf("%d: no part is called %q", n, name)
			}
			continue
		}
		if into != nil {
			*into += line + "\n"
			continue
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("%d: a key with a colon is expected", n)
		}
		if err := t.set(key, strings.TrimSpace(value)); err != nil {
			return nil, fmt.Errorf("%d: %s: %w", n, key, err)
		}
	}
	for name, part := range parts {
		if *part = strings.TrimSpace(*part); *part == "" {
			return nil, fmt.Errorf("%d: the part %q is missing", n, name)
		}
	}
	if t.Plan.Question == "" {
		return nil, fmt.Errorf("%d: the question is missing", n)
	}
	if err := t.Plan.checkPhases(); err != nil {
		return nil, fmt.Errorf("%d: %w", n, err)
	}
	return t, nil
}

func (t *Template) set(key, value string) (err error) {
	p := &t.Plan
	seconds := func() (int64, error) {
		d, err := time.ParseDuration(value)
		return int64(d / time.Second), err
	}
	switch key {
	case "question":
		p.Question = value
	case "compare":
		p.Compare = value
	case "match":
		p.Match = value
	case "present":
		p.Present = value
	case "block":
		p.Block, err = seconds()
	case "settle":
		p.Settle, err = seconds()
	case "phase":
		parts := strings.SplitN(value, " ", 3)
		if len(parts) < 3 {
			return errors.New("a condition, a length and what it is are expected")
		}
		length, err := time.ParseDuration(parts[1])
		p.Phases = append(p.Phases, Phase{Condition: parts[0], Seconds: int64(length / time.Second), Says: parts[2]})
		return err
	case "sites":
		t.Sites = append(t.Sites, strings.Fields(value)...)
		p.Exclude = t.Sites
	default:
		return errors.New("no such key")
	}
	return err
}

// Settings are what a person says of a template's plan.
type Settings struct {
	Devices  []Device
	Vendor   string
	Length   time.Duration // of each phase; 0 as the template has it
	Return   bool          // the first condition is come back to
	AlwaysOn bool          // the device is there throughout
	Exclude  []string
}

// Fill returns the template's plan with what a person says.
func (t *Template) Fill(s Settings) (*Plan, error) {
	p := t.Plan
	p.Devices, p.Vendor = s.Devices, s.Vendor
	p.Phases = slices.Clone(p.Phases)
	if s.Return {
		last := p.Phases[len(p.Phases)-1].Condition
		if p.Compare != Phases || len(p.Phases) != 2 || last != "B" {
			return nil, fmt.Errorf("template %s has no condition to come back to: leave out --return", t.Name)
		}
		p.Phases = append(p.Phases, Phase{Condition: "C", Says: "back: " + p.Phases[0].Says, Seconds: p.Phases[0].Seconds})
	}
	if s.Length != 0 {
		for i := range p.Phases {
			p.Phases[i].Seconds = int64(s.Length / time.Second)
		}
	}
	if s.AlwaysOn {
		p.Present = Always
	}
	p.Exclude = slices.Clone(p.Exclude)
	for _, name := range s.Exclude {
		name = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(name), "."))
		if name == "" || strings.ContainsAny(name, " /:*") || len(name) > 253 {
			return nil, fmt.Errorf("--exclude: %q is no domain name", cmp.Or(name, " "))
		}
		p.Exclude = append(p.Exclude, name)
	}
	return &p, p.check()
}
